"""The same clip twice, be it cut shorter, made smaller or encoded anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tools.dataset_preparing.survey import Survey

NEAR = 8.0  # mean difference of prints, in levels, up to which they may be of the same frame
# Correlation, from which what changes over time is the same: two parts of a talk reach 0.4, a clip
# at another rate, smaller and compressed more, 0.94.
ALIKE = 0.85
QUIET = 0.25  # of the largest change: values that change less tell of noise
SHARED = 0.8  # of the shorter clip, which has to be in the other
LEAST = 6  # prints that are compared
STEPS = (0.0, 0.25, -0.25, 0.5, -0.5)  # prints are of times that differ by up to so many of them
PLACES = 8  # of a clip's middle in another one that are tried
ABOUT = 0.9  # ratio of two lengths, from which they count as the same


def find_duplicates(surveys: Mapping[str, Survey]) -> dict[str, str]:
    """Which clips are left out, and the one that each is a duplicate of.

    The longer one stays, of about the same length the larger picture, else the first by name.
    """
    names = sorted(surveys)
    duplicates: dict[str, str] = {}
    pairs = sorted(_pairs([surveys[name] for name in names]))
    for first, second in pairs:
        one, other = names[first], names[second]
        if one in duplicates or other in duplicates:
            continue
        keeps = _better(surveys[one], surveys[other])
        duplicates[other if keeps else one] = one if keeps else other
    return duplicates


def _better(one: Survey, other: Survey) -> bool:
    """Whether the first of two is kept."""
    ratio = one.seconds / other.seconds
    if not ABOUT <= ratio <= 1 / ABOUT:
        return ratio > 1
    pixels = [survey.size[0] * survey.size[1] for survey in (one, other)]
    return pixels[0] >= pixels[1]


def _pairs(surveys: Sequence[Survey]) -> Iterator[tuple[int, int]]:
    """Numbers of clips that are the same, the smaller one first."""
    lengths = [len(survey.prints) for survey in surveys]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    everything = np.concatenate([survey.prints for survey in surveys]) if surveys else np.empty(0)
    seen = set()
    for number, survey in enumerate(surveys):
        if lengths[number] < LEAST:
            continue
        middle = lengths[number] // 2
        for other, offset in _places(survey.prints[middle], everything, starts, number):
            pair = (min(number, other), max(number, other))
            shifts = (offset - middle + step for step in STEPS)
            if pair not in seen and any(
                same(survey.prints, surveys[other].prints, shift) for shift in shifts
            ):
                seen.add(pair)
                yield pair


def _places(
    wanted: np.ndarray, everything: np.ndarray, starts: np.ndarray, number: int
) -> Iterator[tuple[int, int]]:
    """Where in which other clips a print may be: (number of the clip, print in it)."""
    apart = np.empty(len(everything), np.float32)
    for begin in range(0, len(everything), 2**14):
        some = everything[begin : begin + 2**14].astype(np.int16)
        apart[begin : begin + 2**14] = np.abs(some - wanted).mean(axis=1)
    for other in range(len(starts) - 1):
        if other == number:
            continue
        mine = apart[starts[other] : starts[other + 1]]
        best = np.argsort(mine, kind='stable')[:PLACES]
        yield from ((other, int(place)) for place in best if mine[place] <= NEAR)


def same(one: np.ndarray, other: np.ndarray, shift: float) -> bool:
    """Whether two clips show the same, and move alike, one of them `shift` prints later.

    Args:
        one, other: prints (N, P), (M, P) uint8.
        shift: print i of the first goes with i + shift of the second, which may lie between two.
    """
    places = np.arange(len(one)) + shift
    held = (places >= 0) & (places <= len(other) - 1)
    if held.sum() < max(LEAST, SHARED * min(len(one), len(other))):
        return False
    before = np.floor(places[held]).astype(int)
    after = np.minimum(before + 1, len(other) - 1)
    share = (places[held] - before)[:, None]
    a, b = one[held].astype(np.float64), other[before] * (1 - share) + other[after] * share
    if np.abs(a - b).mean() > NEAR:
        return False
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    moved = np.maximum(a.std(axis=0), b.std(axis=0))
    some = moved >= QUIET * moved.max()
    a, b = a[:, some], b[:, some]
    power = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return power > 0 and float((a * b).sum() / power) >= ALIKE
