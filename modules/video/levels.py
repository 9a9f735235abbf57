"""Pixels as 8-bit levels and as floats in [0, 1]."""

import numpy as np


def to_float(clip: np.ndarray) -> np.ndarray:
    """uint8 -> float32 in [0, 1]; float32 as it is. Any shape."""
    if clip.dtype == np.uint8:
        return np.divide(clip, np.float32(255), dtype=np.float32)
    return clip


def to_bytes(frame: np.ndarray) -> np.ndarray:
    """Float in [0, 1] -> uint8, rounded."""
    return np.rint(frame * 255).astype('uint8')
