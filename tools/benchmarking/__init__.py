"""Serves tools/benchmark.py."""
