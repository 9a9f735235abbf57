"""Runs the official code from a clone of its repository."""
