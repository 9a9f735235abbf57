"""Keypoints smoothed over time by the one-euro filter, and a figure for how much they tremble.

Casiez, Roussel, Vogel: 1 euro filter, a simple speed-based low-pass filter for noisy input in
interactive systems (CHI 2012). What moves slowly, where trembling is seen, is smoothed strongly;
what moves fast, where a delay would be seen, hardly.

Frequencies are in Hz and speeds per second, so that a clip is smoothed alike whatever its rate.
"""

from collections.abc import Sequence

import numpy as np

# At rest what trembles faster than so many times a second is taken out.
MIN_CUTOFF = 1.0
# By how many Hz the cutoff rises for each unit per second. A frame is two units wide, and objects
# cross a fifth of it in a second; entries of a local map change some ten times as fast. Keypoints
# that tremble by half a pixel then tremble a quarter as much at rest, and two thirds in motion,
# where they lag behind by less than a pixel of 128.
BETA, JACOBIAN_BETA = 20.0, 2.0
# Speeds themselves are smoothed by a filter of this cutoff, as in the paper.
SPEED_CUTOFF = 1.0


def _share(cutoff: np.ndarray | float, seconds: float) -> np.ndarray:
    """The weight of a new sample, so many seconds after the last, in a low-pass filter."""
    step = 2 * np.pi * np.asarray(cutoff) * seconds
    return step / (step + 1)


class OneEuroFilter:
    """Smooths points of any number of coordinates, each point by its own speed.

    Args:
        num_axes: how many of the last axes are a point's coordinates: 1 for keypoints (K, 2), 2 for
            Jacobians (K, 2, 2). Its speed is the norm over these, so that the result is the same
            whichever way the frame is turned.
    """

    def __init__(
        self,
        num_axes: int = 1,
        min_cutoff: float = MIN_CUTOFF,
        beta: float = BETA,
        speed_cutoff: float = SPEED_CUTOFF,
    ):
        self.min_cutoff, self.beta, self.speed_cutoff = min_cutoff, beta, speed_cutoff
        self._axes = tuple(range(-num_axes, 0))
        self._value: np.ndarray | None = None
        self._velocity: np.ndarray | None = None

    def __call__(self, sample: np.ndarray, seconds: float) -> np.ndarray:
        """The sample, smoothed; the first one as it is.

        Args:
            seconds: that have passed since the sample before.
        """
        sample = sample.astype('float64')
        if self._value is None or self._velocity is None:
            self._value, self._velocity = sample, np.zeros_like(sample)
            return sample
        # In the paper speed is measured from the last smoothed value, here too.
        velocity = (sample - self._value) / seconds
        share = _share(self.speed_cutoff, seconds)
        self._velocity = self._velocity + share * (velocity - self._velocity)
        speed = np.sqrt(np.square(self._velocity).sum(axis=self._axes, keepdims=True))
        share = _share(self.min_cutoff + self.beta * speed, seconds)
        self._value = self._value + share * (sample - self._value)
        return self._value


class Jitter:
    """How much points tremble: their distance from the middle of the points one frame before and
    one after, as a root mean square over points and frames.

    A steady movement, however fast, counts for nothing, a change from frame to frame for all.

    Args:
        scale: (x, y) that coordinates are multiplied by, to give pixels.
    """

    def __init__(self, scale: Sequence[float] = (1.0, 1.0)):
        self._scale = np.asarray(scale, 'float64')
        self._last: list[np.ndarray] = []
        self._sum, self._count = 0.0, 0

    def add(self, points: np.ndarray) -> None:
        """Takes the next frame's points (K, 2)."""
        self._last.append(points * self._scale)
        if len(self._last) == 3:
            before, here, after = self._last
            self._sum += np.square(here - (before + after) / 2).sum(axis=-1).mean()
            self._count += 1
            del self._last[0]

    @property
    def value(self) -> float | None:
        """None of fewer than three frames."""
        return float(np.sqrt(self._sum / self._count)) if self._count else None
