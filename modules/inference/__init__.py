"""Compiled engines: the choice, programs, layers, kernels and their cache."""
