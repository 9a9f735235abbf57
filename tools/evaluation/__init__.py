"""Serves tools/evaluate.py and other comparisons: metrics, detectors, reports."""
