"""When frames are shown: the constant rate of a clip, and the place of each frame at it."""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from fractions import Fraction
from typing import NamedTuple, TypeVar

import numpy as np

from modules.runtime.files import PathLike

T = TypeVar('T')
Rate = int | float | Fraction
FOLDER_FPS = 25
# A frame may be shown so many seconds too early or too late.
TOLERANCE = 0.010
# Most frames per second of a clip without a constant rate; up to SMOOTH, each must also stay as
# long as it should: else a steady clip would stutter at a rate that barely fits.
FASTEST, SMOOTH = 100, 50
# What a numerator or a denominator may be: encoders and containers count with 32 bits.
LARGEST = 2**31 - 1


class Pace(NamedTuple):
    """N frames of a clip at a constant rate; each is shown from its slot to the next one's."""

    fps: Fraction
    slots: np.ndarray  # (N,) int64, ascending; of frames in the same slot the last one is shown
    frame_count: int

    def notes(self, path: PathLike) -> Iterator[str]:
        """A line about frames that are left out."""
        lost = len(self.slots) - len(np.unique(self.slots))
        if lost:
            yield (
                f'{path}: {lost} of {len(self.slots)} frames are left out, shown for less than '
                f'1/{FASTEST} s'
            )


def exact_rate(fps: Rate) -> Fraction:
    """29.97002997 becomes 30000/1001."""
    rate = Fraction(fps).limit_denominator(1001) if isinstance(fps, float) else Fraction(fps)
    if rate <= 0:
        raise ValueError(f'fps = {fps}')
    return rate


def manageable(rate: Fraction) -> Fraction:
    """The rate itself or, if encoders can't count with it, one that is as good as equal."""
    largest = max(rate.numerator, rate.denominator)
    return rate if largest <= LARGEST else rate.limit_denominator(100_000)


def find_pace(
    stamps: np.ndarray,
    tick: Fraction,
    rates: Sequence[Fraction],
    last: int | None = None,
    is_last_exact: bool = False,
) -> Pace:
    """The constant rate of a clip, and its frames' places.

    A clip that has one keeps it. Otherwise it is the lowest, up to `FASTEST`, at which every frame
    begins, and the last one ends, within `TOLERANCE`; frames are repeated to that end.

    Args:
        stamps: (N,) int64, ascending, all different: when frames begin, in ticks.
        tick: in seconds.
        rates: what the container and the decoder say.
        last: how long the last frame is shown, in ticks; None: unknown.
        is_last_exact: `last` counts even in a clip of constant rate and if it is shorter than the
            others, as the delays of a GIF do; in other formats that may be a guess.
    """
    rates = [manageable(rate) for rate in (*rates, *_mean_rate(stamps, tick))]
    times = (stamps - stamps[0]) * float(tick)
    step = _usual_step(times) or float(1 / (rates[0] if rates else FOLDER_FPS))
    held = last * float(tick) if last else None
    is_meant = held is not None and (is_last_exact or held > 1.5 * step)
    rates = rates or [Fraction(FOLDER_FPS)]
    steady = _steady(times, rates, held if is_meant else None)
    if steady is not None:
        return steady
    return _unsteady(np.append(times, times[-1] + (held or step)), rates)


def browsers_delays(delays: np.ndarray, tick: Fraction) -> np.ndarray:
    """How long browsers show the frames of an animated picture whose delays are these, in ticks.

    What is to stay for 10 ms or less stays for 100 ms: its writer meant "as fast as can be".
    """
    return np.where(delays <= float(1 / (100 * tick)), round(1 / (10 * tick)), delays)


class Repeats(AbstractSet[int]):
    """The numbers of frames that show the one before again; also of hours it takes little room.

    Args:
        slots: the numbers of those that are new.
        frame_count: of all of them.
    """

    def __init__(self, slots: Iterable[int] = (), frame_count: int = 0):
        self._new, self._count = frozenset(slots), frame_count

    @classmethod
    def _from_iterable(cls, it: Iterable[T]) -> frozenset[T]:
        return frozenset(it)

    def __contains__(self, number: object) -> bool:
        return number not in self._new and number in range(self._count)

    def __iter__(self) -> Iterator[int]:
        return (number for number in range(self._count) if number not in self._new)

    def __len__(self) -> int:
        return max(0, self._count - len(self._new))


def _steady(times: np.ndarray, rates: Iterable[Fraction], held: float | None) -> Pace | None:
    """The pace of a clip whose frames follow each other at one of the rates, else None.

    Args:
        times: (N,) seconds, from 0 on.
        held: how long the last frame is shown; None: as long as the others.
    """
    numbers = np.arange(len(times))
    for rate in rates:
        slot = float(1 / rate)
        # By half a slot it would as well be the frame before.
        if np.abs(numbers * slot - times).max() > min(TOLERANCE + 1e-9, slot / 2):
            continue
        shown = 1 if held is None else max(1, round(held / slot))
        if held is None or abs(shown * slot - held) <= TOLERANCE + 1e-9:
            return Pace(rate, numbers, len(times) - 1 + shown)
    return None


def _unsteady(moments: np.ndarray, rates: Sequence[Fraction]) -> Pace:
    """The slowest pace at which all are in time.

    Args:
        moments: (N + 1,) seconds: when frames begin, and when the last one ends.
    """
    whole = [Fraction(rate) for rate in range(1, FASTEST + 1)]
    slow = [Fraction(1, seconds) for seconds in range(2, 61)]  # pictures that stay for long
    rates = sorted({*rates, *_usual_rates(moments[:-1], rates), *whole, *slow})
    # No two frames fit into one slot.
    slowest = 1 / (float(np.diff(moments).min()) + 2 * TOLERANCE)
    rates = [rate for rate in rates if slowest <= rate <= FASTEST]
    for lasting, fastest in ((True, SMOOTH), (False, FASTEST)):
        for rate in rates:
            # The first frames tell soon, in most cases.
            if rate <= fastest and _places(moments[:300], rate, lasting) is not None:
                places = _places(moments, rate, lasting)
                if places is not None:
                    return Pace(rate, places[:-1], int(places[-1]))
    # Too fast: what is shown for less than a slot is left out.
    places = np.floor(moments * FASTEST + 0.5).astype(np.int64)
    return Pace(Fraction(FASTEST), places[:-1], max(int(places[-1]), int(places[-2]) + 1))


def _places(moments: np.ndarray, rate: Fraction, lasting: bool) -> np.ndarray | None:
    """(N,) int64: a slot for each moment, all different; None if one would be out of time.

    Args:
        lasting: from one moment to the next, too, it must be as long as it should.
    """
    fps, margin = float(rate), (TOLERANCE + 1e-9) * float(rate)
    exact, numbers = moments * fps, np.arange(len(moments))
    # The earliest and latest slots at which there is still one for each of the others.
    earliest = np.maximum(np.ceil(exact - margin), 0)
    earliest = np.maximum.accumulate(earliest - numbers) + numbers
    latest = np.floor(exact + margin)
    latest[0] = 0
    latest = np.minimum.accumulate((latest - numbers)[::-1])[::-1] + numbers
    if (earliest > latest).any():
        return None
    nearest = np.clip(np.floor(exact + 0.5), earliest, latest)
    places = np.maximum.accumulate(nearest - numbers) + numbers
    if lasting and (np.abs(np.diff(places) - np.diff(exact)) > margin).any():
        return None
    return places.astype(np.int64)


def _mean_rate(stamps: np.ndarray, tick: Fraction) -> Iterator[Fraction]:
    span = int(stamps[-1] - stamps[0])
    if span:
        yield (len(stamps) - 1) / (span * tick)


def _usual_step(times: np.ndarray) -> float | None:
    """The median of the steps from frame to frame, in seconds; None of a single frame."""
    steps = np.sort(np.diff(times))
    return float(steps[len(steps) // 2]) if len(steps) else None


def _usual_rates(times: np.ndarray, rates: Sequence[Fraction]) -> Iterator[Fraction]:
    """The rate of those steps in time that are like the usual one."""
    median = _usual_step(times)
    if median is not None:
        steps = np.diff(times)
        # Stamps in milliseconds make steps of 33 and 34 out of 30 fps: their mean, or an opinion.
        alike = steps[np.abs(steps - median) <= median / 10]
        usual = Fraction(len(alike) / float(alike.sum())).limit_denominator(100_000)
        near = [rate for rate in rates if abs(rate - usual) < usual / 50]
        yield min(near, key=lambda rate: abs(rate - usual), default=usual)
