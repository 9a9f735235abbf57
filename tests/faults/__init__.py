"""Faults that are really made, while the commands work: what survives them, counted.

python -m tests.faults --rounds 3 --out FOLDER
"""
