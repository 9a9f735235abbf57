"""The checks of tools/gpu_check.py, how they are run and how they are reported."""
