"""Clips, the cache of their frames, the loader and augmentation."""
