"""A frame and its reconstruction, and what looks at both."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np


class FramePair(NamedTuple):
    """A frame of a clip and its reconstruction."""

    clip: Path  # of the dataset
    number: int  # of the frame, from 0
    truth: np.ndarray  # (H, W, 3) uint8
    prediction: np.ndarray  # (H, W, 3) float32 in [0, 1], as the generator gives it
    result: np.ndarray  # (H, W, 3) uint8: the prediction as it is saved


class PairDetector(Protocol):
    """Finds the same keypoints in a frame's truth and in its reconstruction."""

    def __call__(self, pair: FramePair) -> tuple[np.ndarray, np.ndarray]:
        """-> (K, 2) of the truth and (K, 2) of the result; x, y in pixels, NaN where not found."""
        ...


class Embedder(Protocol):
    """Tells who or what is in a frame."""

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        """(H, W, 3) uint8 -> (D,), or None if nobody is found."""
        ...
