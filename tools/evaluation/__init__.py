"""Serves tools/evaluate.py and other comparisons: detectors, intervals, reports."""
