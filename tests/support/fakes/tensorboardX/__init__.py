"""Stands in for tensorboardX where it is not installed. What is not closed is not written."""
