"""Stands in for the package that finds faces."""
