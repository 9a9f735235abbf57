"""Where a model's object is in a picture, by the model's own keypoints (paper Sec. 3.1).

Keypoints lie on an object alike wherever it is in the frame, as long as most of it is there: what
training asks of them (paper Eq. 9). So a crop of the picture tells by its keypoints where in it,
and how large, the object is, compared with another picture of such an object, which is framed as
the model wants it. Crops of all places and sizes are looked at, and those whose keypoints have the
right shape are moved to where they say the object is, until they say so of themselves.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from modules.animation.boxes import Box, around, cut, overlap, whole
from modules.video.levels import to_bytes
from modules.video.resizing import resize_frame

# Frames (H, W, 3) float in [0, 1] -> their keypoints (N, K, 2), x and y in [-1, 1].
Detect = Callable[[Sequence[np.ndarray]], np.ndarray]

SMALLEST = 0.25  # sides of crops, in shorter sides of the picture; the largest hold all of it
SIZE_STEP = 1.6  # from one size to the next: keypoints bear more, see tools/crop_figures.py
PLACE_STEP = 0.35  # from one place to the next, in sides of the crop
CANDIDATES = 6  # that are looked at closely
ROUNDS = 3  # of moving them
APART = 0.6  # overlap from which two candidates are one
LEAST_PIXELS, MOST_SIDES = 8, 4  # of a box: its pixels, and the longer sides of the picture
AGREE = 0.3  # distance of keypoints, in their spread, up to which two crops show the same object
FILLED_BY_POSE = 0.55  # part of a frame
AT_ONCE = 16  # crops held
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
    if spread < 1e-8:
        return None
    scale = float((centred * wanted_centred).sum() / spread)
    if scale < 0.05:  # turned around, or all in one point
        return None
    apart = np.square(centred / scale - wanted_centred).sum() / spread
    x, y = middle - scale * wanted_middle
    centre = crop.centre[0] + x * crop.w / 2, crop.centre[1] + y * crop.h / 2
    return _Match(around(centre, scale * crop.h, crop.w / crop.h), float(np.sqrt(apart)))


def crops_to_try(shape: Sequence[int], ratio: float = 1.0) -> list[Box]:
    """Crops of a picture, of all sizes and at all places from which an object can be told.

    Args:
        shape: height and width of the picture, and what may follow.
        ratio: width / height of the model's frames.
    """
    height, width = shape[:2]
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


class Finder:
    """Finds a model's object in pictures (H, W, 3) uint8.

    Args:
        detect: the model's keypoint detector.
        size: (H, W) of its frames.
    """

    def __init__(self, detect: Detect, size: tuple[int, int]):
        self.detect = detect
        self.size = size
        self.ratio = size[1] / size[0]

    def points(self, picture: np.ndarray, box: Box) -> np.ndarray:
        """(K, 2): the keypoints of what a box holds."""
        return np.asarray(self.detect([cut(picture, box, self.size)]))[0]

    def fills(self, picture: np.ndarray, wanted: np.ndarray) -> float:
        """Overlap of all of a picture with where its keypoints say that the object is."""
        found = _look(self, picture, [whole(picture)], wanted)
        return overlap(found[0].box, whole(picture)) if found else 0.0

    def find(self, picture: np.ndarray, wanted: np.ndarray) -> Found | None:
        """The box in which a picture's keypoints lie as those of a well-framed one do.

        Args:
            wanted: (K, 2), keypoints of another picture, x and y in [-1, 1] of its frame.

        Returns:
            The best there is, with how good that is; None where nowhere any keypoints are of the
            wanted shape at all.
        """
        small = SMALLEST * min(picture.shape[0], picture.shape[1] / self.ratio)
        if small > 2 * self.size[0]:  # pixels that no crop would show
            scale = self.size[0] / small
            shape = [max(1, round(length * scale)) for length in picture.shape[:2]]
            found = self.find(to_bytes(resize_frame(picture, (shape[0], shape[1]))), wanted)
            if found is None:
                return None
            across, down = picture.shape[1] / shape[1], picture.shape[0] / shape[0]
            x, y, w, h = found.box
            return found._replace(box=Box(x * across, y * down, w * across, h * down))
        crops = crops_to_try(picture.shape, self.ratio)
        matches = _best_apart(_look(self, picture, crops, wanted))
        for _ in range(ROUNDS):
            again = _look(self, picture, [match.box for match in matches], wanted)
            matches = _best_apart([*matches, *again])
        seen = [self.find_near(picture, wanted, match.box) for match in matches]
        return max(seen, key=lambda each: each.quality, default=None)

    def pose(self, picture: np.ndarray) -> np.ndarray | None:
        """(K, 2), x and y in [-1, 1]: keypoints to look for, where there is no picture to compare.

        Those on which most crops of the picture agree, in a frame of which they fill FILLED_BY_POSE
        in the middle; None where no two agree.
        """
        crops = crops_to_try(picture.shape, self.ratio)
        frames = (cut(picture, crop, self.size) for crop in crops)
        centres = np.array([crop.centre for crop in crops])[:, None]
        halves = np.array([(crop.w / 2, crop.h / 2) for crop in crops])[:, None]
        points = centres + np.array(list(_in_runs(self.detect, frames))) * halves  # (N, K, 2)
        spread = np.sqrt(np.square(points - points.mean(1, keepdims=True)).sum(2).mean(1))
        apart = np.sqrt(np.square(points[:, None] - points[None]).sum(3).mean(2))
        agree = apart < AGREE * np.minimum(spread[:, None], spread[None])
        votes = agree.sum(1)
        if votes.max() < 2:
            return None
        pose = np.median(points[agree[votes.argmax()]], axis=0) * (1 / self.ratio, 1)
        low, high = pose.min(0), pose.max(0)
        return (pose - (low + high) / 2) / ((high - low).max() / 2 / FILLED_BY_POSE)

    def find_near(self, picture: np.ndarray, wanted: np.ndarray, box: Box) -> Found:
        """Likewise, where the object is about in a box: in the middle of what glances at it say."""
        (x, y), (_, _, w, h) = box.centre, box
        glances = [around((x + dx * w, y + dy * h), h * by, w / h) for by, dx, dy in GLANCES]
        seen = _look(self, picture, glances, wanted)
        if not seen:
            return Found(box, 1.0, 0.0)
        middle = Box(*np.median([each.box for each in seen], axis=0).tolist())
        unlikeness = float(np.median([each.unlikeness for each in seen]))
        # Keypoints that don't heed the picture lead each glance to itself: that is no agreement.
        agreed = _mean_overlap(middle, [each.box for each in seen], len(GLANCES))
        apart = _mean_overlap(glances[0], glances, len(GLANCES))
        return Found(middle, unlikeness, max(0.0, (agreed - apart) / (1 - apart)))


def _mean_overlap(box: Box, others: Sequence[Box], count: int) -> float:
    """Of `count` boxes, of which those that are not there have none."""
    return float(sum(overlap(box, other) for other in others)) / count


def _look(
    finder: Finder, picture: np.ndarray, crops: Sequence[Box], wanted: np.ndarray
) -> list[_Match]:
    """What keypoints in these crops say, where they say something that can be."""
    frames = (cut(picture, crop, finder.size) for crop in crops)
    points = _in_runs(finder.detect, frames)
    matches = [_match(crop, found, wanted) for crop, found in zip(crops, points)]
    most = MOST_SIDES * max(picture.shape[:2])
    return [
        match
        for match in matches
        if match is not None
        and LEAST_PIXELS <= match.box.h <= most
        and overlap(match.box, whole(picture)) > 0
    ]


def _in_runs(detect: Detect, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Keypoints of frames, of which a few are held at a time."""
    while run := list(itertools.islice(frames, AT_ONCE)):
        yield from detect(run)


def _best_apart(matches: Iterable[_Match]) -> list[_Match]:
    """The best of them, each unlike those before it."""
    kept: list[_Match] = []
    for match in sorted(matches, key=lambda match: match.unlikeness):
        if all(overlap(match.box, other.box) < APART for other in kept):
            kept.append(match)
        if len(kept) == CANDIDATES:
            break
    return kept
