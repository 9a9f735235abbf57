"""Draws the creatures of the demo: shapes, bodies, motion, scenes."""
