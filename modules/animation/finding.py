"""Where a model's object is in a picture, by the model's own keypoints (paper Sec. 3.1).

Keypoints lie on an object alike wherever it is in the frame, as long as most of it is there: what
training asks of them (paper Eq. 9). So a crop of the picture tells by its keypoints where in it,
and how large, the object is, compared with another picture of such an object, which is framed as
the model wants it. Crops of all places and sizes are looked at, and those whose keypoints have the
right shape are moved to where they say the object is, until they say so of themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from modules.animation.boxes import Box, around, cut, overlap, whole
from modules.video.levels import to_bytes

# Frames (H, W, 3) float in [0, 1] -> their keypoints (N, K, 2), x and y in [-1, 1].
Detect = Callable[[Sequence[np.ndarray]], np.ndarray]

SMALLEST = 0.25  # sides of crops, in shorter sides of the picture; the largest hold all of it
SIZE_STEP = 1.6  # from one size to the next: keypoints bear more, see tools/crop_figures.py
PLACE_STEP = 0.35  # from one place to the next, in sides of the crop
CANDIDATES = 6  # that are looked at closely
ROUNDS = 3  # of moving them
APART = 0.6  # overlap from which two candidates are one
# What a candidate is looked at through in the end: factors of its side and moves in sides.
GLANCES = ((1.0, 0, 0), (1.25, 0, 0), (0.85, 0, 0), (1.1, 0.1, 0.1), (1.1, -0.1, -0.1))


class Found(NamedTuple):
    """Where an object is, and how sure that is."""

    box: Box
    unlikeness: float  # of its keypoints' shape to the wanted: 0 is the same, 1 is none
    agreement: (
        float  # overlap of the boxes that somewhat different crops lead to: 1 is all the same
    )

    @property
    def quality(self) -> float:
        """From 0 (anything) to 1 (the same keypoints, wherever one looks from)."""
        return max(0.0, 1 - self.unlikeness) * self.agreement


class _Match(NamedTuple):
    box: Box  # in which the keypoints would lie where the wanted ones do
    unlikeness: float


def _match(crop: Box, points: np.ndarray, wanted: np.ndarray) -> _Match | None:
    """Where keypoints (K, 2) of a crop say the object is; None where they tell nothing.

    Scale and place are those of the least squares between the keypoints and the wanted ones.
    """
    middle, wanted_middle = points.mean(axis=0), wanted.mean(axis=0)
    centred, wanted_centred = points - middle, wanted - wanted_middle
    spread = np.square(wanted_centred).sum()
    scale = float((centred * wanted_centred).sum() / spread)
    if scale < 0.05:  # turned around, or all in one point
        return None
    apart = np.square(centred / scale - wanted_centred).sum() / spread
    x, y = middle - scale * wanted_middle
    centre = crop.centre[0] + x * crop.w / 2, crop.centre[1] + y * crop.h / 2
    return _Match(around(centre, scale * crop.h, crop.w / crop.h), float(np.sqrt(apart)))


def crops_to_try(height: int, width: int, ratio: float = 1.0) -> list[Box]:
    """Crops of a picture, of all sizes and at all places from which an object can be told.

    Args:
        ratio: width / height of the model's frames.
    """
    shorter, longer = sorted((height, width / ratio))  # in heights of a crop
    crops = []
    side = longer
    while side >= SMALLEST * shorter:
        across, down = (_places(n, s) for n, s in ((width, side * ratio), (height, side)))
        crops += [Box(x, y, side * ratio, side) for y in down for x in across]
        side /= SIZE_STEP
    return crops


def _places(length: float, side: float) -> Iterable[float]:
    """Where crops of a side begin along an axis; in the middle where the side is longer."""
    room = length - side
    if room <= 0:
        return [room / 2]
    return np.linspace(0, room, int(np.ceil(room / (PLACE_STEP * side))) + 1)


def find_object(
    picture: np.ndarray, wanted: np.ndarray, detect: Detect, size: tuple[int, int]
) -> Found | None:
    """The box in which a picture's keypoints lie as those of a well-framed one do.

    Args:
        picture: (H, W, 3) uint8.
        wanted: (K, 2), keypoints of another picture, x and y in [-1, 1] of its frame.
        size: the model's (H, W).

    Returns:
        The best there is, with how good that is; None where nowhere any keypoints are of the
        wanted shape at all.
    """

    def look(crops: Sequence[Box]) -> list[_Match]:
        """What keypoints in these crops say, where they say something."""
        frames = (cut(picture, crop, size) for crop in crops)
        points = _in_runs(detect, frames)
        matches = [_match(crop, found, wanted) for crop, found in zip(crops, points)]
        return [match for match in matches if match is not None and is_near(match.box)]

    def is_near(box: Box) -> bool:
        """Whether it has to do with the picture, and is no single pixel."""
        return overlap(box, whole(picture)) > 0 and 8 < box.h < 4 * max(picture.shape[:2])

    ratio = size[1] / size[0]
    matches = _best_apart(look(crops_to_try(*picture.shape[:2], ratio)))
    for _ in range(ROUNDS):
        matches = _best_apart([*matches, *look([match.box for match in matches])])
    found = [_looked_at(match, look) for match in matches]
    return max(found, key=lambda each: each.quality, default=None)


def _in_runs(detect: Detect, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Keypoints of frames, of which a few are held at a time."""
    waiting: list[np.ndarray] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == 16:
            yield from detect(waiting)
            waiting = []
    if waiting:
        yield from detect(waiting)


def _best_apart(matches: Iterable[_Match]) -> list[_Match]:
    """The best of them, each unlike those before it."""
    kept: list[_Match] = []
    for match in sorted(matches, key=lambda match: match.unlikeness):
        if all(overlap(match.box, other.box) < APART for other in kept):
            kept.append(match)
        if len(kept) == CANDIDATES:
            break
    return kept


def _looked_at(match: _Match, look: Callable[[Sequence[Box]], list[_Match]]) -> Found:
    """A candidate seen from several sides: in the middle of what they say it is."""
    x, y = match.box.centre
    _, _, w, h = match.box
    glances = [around((x + dx * w, y + dy * h), h * factor, w / h) for factor, dx, dy in GLANCES]
    seen = look(glances)
    if not seen:
        return Found(match.box, 1.0, 0.0)
    boxes = np.array([each.box for each in seen])
    box = Box(*np.median(boxes, axis=0).tolist())
    agreement = sum(overlap(box, each.box) for each in seen) / len(GLANCES)
    return Found(box, float(np.median([each.unlikeness for each in seen])), agreement)
