"""Pairs of frames for tests of metrics."""

from pathlib import Path

import numpy as np

from modules.evaluation.frame_pairs import FramePair

SIZE = 64


def pair_of(truth, result, clip='clip', number=0):
    prediction = np.asarray(result, 'float32') / 255
    return FramePair(Path(clip), number, truth, prediction, result)


def noise(seed, size=24):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype('uint8')


class Fixed:
    """A detector that knows the frames."""

    def __init__(self, *known):
        self._known = known

    def __call__(self, frame):
        return next(points for known, points in self._known if known is frame)
