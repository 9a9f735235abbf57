"""Which parts of a clip become clips of a data set: tracks, and what is wrong with the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from modules.animation.boxes import Box, around, brought_inside, overlap, square
from modules.animation.tracks import Rules, Track, fault
from tools.dataset_preparing.survey import PRINT, PRINTS_PER_SECOND, Survey

AUTO, FACE, OBJECT, NONE = 'auto', 'face', 'object', 'none'
CROPS = (AUTO, FACE, OBJECT, NONE)  # of --crop
TOUCHED = 0.02  # of a face's square, which has to move at least
# Standard deviation of a print's values, in levels, that have to change while a track is there;
# rounding alone reaches 0.5.
FROZEN = 0.7


class Chosen(NamedTuple):
    """What becomes of a clip."""

    tracks: list[Track]
    faults: Counter[str]  # of the tracks that are left out: 'still', 'short', 'small'
    largest: float  # side of the largest that is too small, in pixels


def object_tracks(survey: Survey, increase: float) -> list[Track]:
    """A square around each thing that moves, as long as the shot; inside the picture."""
    picture = _picture(survey)
    return [
        Track(segment.start, segment.end, _inside(square(box, 1 + 2 * increase), picture))
        for segment in survey.segments
        for box in segment.moving
    ]


def whole_tracks(survey: Survey) -> list[Track]:
    """The middle square of each shot in which something moves."""
    picture = _picture(survey)
    middle = around(picture.centre, min(survey.size))
    return [
        Track(segment.start, segment.end, middle) for segment in survey.segments if segment.moving
    ]


def _picture(survey: Survey) -> Box:
    return Box(0, 0, survey.size[1], survey.size[0])


def _inside(box: Box, picture: Box) -> Box:
    return brought_inside(box, picture, shrink=0, move=max(picture.w, picture.h) / box.w)


def is_still(track: Track, survey: Survey) -> bool:
    """Whether nothing moves where a track is, such as a face on a poster, or while it is there."""
    touched = 0.0
    for segment in survey.segments:
        if segment.start < track.end and track.start < segment.end:
            of_segment = sum(_common(track.box, box) for box in segment.moving)
            touched = max(touched, of_segment / track.box.area)
    return touched <= TOUCHED or _is_frozen(track, survey)


def _is_frozen(track: Track, survey: Survey) -> bool:
    """Whether the prints of a track's time are all the same where it is."""
    first, last = (math.ceil(n * PRINTS_PER_SECOND / survey.fps) for n in track[:2])
    mine = survey.prints[first:last].reshape(-1, PRINT, PRINT, 3)
    if len(mine) < 2:
        return False
    (height, width), (x, y, w, h) = survey.size, track.box
    top, bottom = (int(np.clip(line * PRINT / height, 0, PRINT - 1)) for line in (y, y + h))
    left, right = (int(np.clip(line * PRINT / width, 0, PRINT - 1)) for line in (x, x + w))
    held = mine[:, top : bottom + 1, left : right + 1].astype(np.float64)
    return float(held.std(axis=0).max()) < FROZEN


def _common(one: Box, other: Box) -> float:
    """Area of the intersection."""
    shared = overlap(one, other)
    return shared * (one.area + other.area) / (1 + shared)


def choose(tracks: Sequence[Track], survey: Survey, rules: Rules) -> Chosen:
    """Those that are long, large and move; a shot in which nothing moves counts as one that is
    left out.
    """
    kept, faults, largest = [], Counter[str](), 0.0
    faults['still'] += sum(segment.is_still for segment in survey.segments if not tracks)
    for track in tracks:
        wrong = 'still' if is_still(track, survey) else fault(track, rules)
        if wrong is None:
            kept.append(track)
            continue
        faults[wrong] += 1
        if wrong == 'small':
            largest = max(largest, track.box.w)
    return Chosen(kept, +faults, largest)
