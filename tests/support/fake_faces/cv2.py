"""Stands in for OpenCV, of which nothing is used but this."""


def setNumThreads(count):
    assert count == 1
