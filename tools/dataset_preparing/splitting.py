"""Which clips are for training and which for testing; none of a person, or of a clip, for both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

PERSON, CLIP, TRACK = 'person', 'clip', 'track'
TRAIN, TEST = 'train', 'test'


class Piece(NamedTuple):
    """A clip of the data set to be, by what it can be kept together with."""

    person: str
    clip: str
    track: str


class Split(NamedTuple):
    """Which part each piece is in."""

    parts: list[str]  # in the order of the pieces
    level: str  # what is kept together
    units: dict[str, str]  # part of each of these


def split_level(pieces: Sequence[Piece], wanted: str) -> str:
    """What can be kept together so that both parts have something: the wanted, or less."""
    levels = (PERSON, CLIP, TRACK)
    for level in levels[levels.index(wanted) :]:
        if len({getattr(piece, level) for piece in pieces}) > 1:
            return level
    return TRACK


def split(
    pieces: Sequence[Piece], wanted: str, share: float, seed: int, before: Mapping[str, str]
) -> Split:
    """Draws units for the test part; the same for the same units, in whatever order.

    Args:
        wanted: PERSON or CLIP.
        share: of the units, which are for testing; at least one, unless it is 0.
        before: part of units of an earlier run, which stay where they are.
    """
    level = split_level(pieces, wanted)
    names = sorted({getattr(piece, level) for piece in pieces}, key=lambda name: _draw(seed, name))
    count = max(1, round(share * len(names))) if share and len(names) > 1 else 0
    units = {name: before[name] for name in names if name in before}
    for name in names:
        if name not in units:
            missing = count - sum(part == TEST for part in units.values())
            units[name] = TEST if missing > 0 else TRAIN
    if names and TRAIN not in units.values():  # of an earlier run nothing but tests is left
        units[names[-1]] = TRAIN
    return Split([units[getattr(piece, level)] for piece in pieces], level, units)


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f'{seed}:{name}'.encode('utf-8', 'surrogateescape')).hexdigest()
