"""What of a clip is animated when: a stretch of it, at a rate and a speed."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import note
from modules.video import AnyReader

HALF = Fraction(1, 2)


class Moment(NamedTuple):
    """A place in a clip, as a user writes it: `2.5`, a second, or `60f`, a frame's beginning."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Moment:
        """Raises ValueError where it is neither."""
        if not re.fullmatch(r'[0-9]{1,9}f|[0-9]{1,9}(\.[0-9]{1,9})?|\.[0-9]{1,9}', text):
            raise ValueError(f'{text}: give seconds, such as 2.5, or a frame, such as 60f')
        return cls(text)

    def __str__(self) -> str:
        return self.text

    def frame(self, rate: Fraction) -> int:
        """The number of the frame that begins next to it, at `rate` frames per second."""
        if self.text.endswith('f'):
            return int(self.text[:-1])
        return math.floor(Fraction(self.text) * rate + HALF)


class Timeline(NamedTuple):
    """Which frame of a clip each frame of a result shows; numbers only, and exact ones.

    A frame of the result shows what the clip shows in the middle of its time: each of the clip's
    frames comes and goes within half a frame of the result of when it should. The first shows the
    first all the same.
    """

    rate: Fraction  # frames of the clip per second of the clip
    fps: Fraction  # frames of the result per second of the result
    first: int = 0  # frame of the clip
    stop: int | None = None  # the first one that is not wanted; None: the clip's end, unknown yet
    speed: Fraction = Fraction(1)  # seconds of the clip per second of the result

    @property
    def step(self) -> Fraction:
        """Frames of the clip per frame of the result."""
        return self.speed * self.rate / self.fps

    @property
    def frame_count(self) -> int | None:
        """How many frames the result has, one at least; None: unknown."""
        if self.stop is None:
            return None
        return max(1, math.floor((self.stop - self.first) / self.step + HALF))

    @property
    def start(self) -> Fraction:
        """The clip's second that is second 0 of the result."""
        return self.first / self.rate

    def has(self, number: int) -> bool:
        """Whether a frame of the clip lies in the stretch."""
        return self.first <= number and (self.stop is None or number < self.stop)

    def number(self, index: int) -> int:
        """The clip's frame that a frame of the result shows; both count from 0."""
        if index == 0:
            return self.first
        return self.first + math.ceil((index + HALF) * self.step) - 1

    def numbers(self) -> Iterator[int]:
        """`number` of every frame of the result; without an end where that is unknown."""
        count = self.frame_count
        return map(self.number, itertools.count() if count is None else range(count))


class Led(NamedTuple):
    """What a timeline is of, where it is no clip."""

    path: PathLike
    fps: Fraction
    frame_count: int | None


def find_timeline(
    clip: AnyReader | Led,
    start: Moment | None = None,
    end: Moment | None = None,
    count: int | None = None,
    fps: Fraction | None = None,
    speed: Fraction = Fraction(1),
) -> Timeline:
    """The timeline of a clip from `start` until before `end`, of `count` of its frames at most.

    Args:
        fps: of the result; that of the clip if None.
        speed: how many times faster it is.

    Raises:
        UserError: the clip ends before `start`, or no frame lies between.
    """
    first, stop = start.frame(clip.fps) if start else 0, clip.frame_count
    if stop is not None:
        length = f'{float(stop / clip.fps):.4g} s ({stop} frames)'
        if start and first >= stop:
            raise UserError(f'--start {start}: {clip.path} ends before, after {length}')
        if end and end.frame(clip.fps) > stop:
            note(f'--end {end}: {clip.path} ends before, after {length}')
    ends = [end.frame(clip.fps)] if end else []
    if end and ends[0] <= first:
        after = f'after --start {start}' if start else 'before it'
        raise UserError(f'--end {end}: leaves no frame {after}; the end itself is left out')
    ends += [first + count] if count is not None else []
    ends += [stop] if stop is not None else []
    return Timeline(clip.fps, fps or clip.fps, first, min(ends, default=None), speed)


def beside(led: Timeline, clip: AnyReader, start: Fraction, speed: Fraction) -> Timeline:
    """The timeline of a clip that goes with one of something else, such as its saved motion.

    Args:
        led: of that.
        start: second of the clip that is second 0 of that.
        speed: seconds of the clip per second of that.
    """
    first = math.floor((start + led.start * speed) * clip.fps + HALF)
    timeline = Timeline(clip.fps, led.fps, first, None, led.speed * speed)
    stop = None
    if led.frame_count is not None:
        stop = first + math.ceil(led.frame_count * timeline.step)
    if clip.frame_count is not None:
        stop = clip.frame_count if stop is None else min(stop, clip.frame_count)
    return timeline._replace(stop=stop)


class TimedClip:
    """The frames of a clip that a timeline takes, one after another, as often as asked for.

    What is left out is not converted, nor decoded where it lies before and the format allows that.
    A frame that is shown again is the same array again.

    Attributes:
        path, size, has_audio, notes: of the clip; see VideoReader.
        fps, frame_count: of what is iterated.
    """

    def __init__(self, reader: AnyReader, timeline: Timeline):
        self.reader, self.timeline = reader, timeline
        self.path: Path = reader.path
        self.size, self.has_audio = reader.size, reader.has_audio
        self.fps, self.frame_count = timeline.fps, timeline.frame_count

    @property
    def notes(self) -> list[str]:
        return self.reader.notes

    def __enter__(self) -> TimedClip:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives the decoder back."""
        self.reader.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        frames = self.reader.frames_at(self.timeline.numbers())
        return frames if self.reader.frame_count is not None else self._some(frames)

    def _some(self, frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """The frames of a clip whose end shows when it is reached, or an error without any."""
        first = next(frames, None)
        if first is None:
            raise UserError(f'{self.path}: ends before frame {self.timeline.first}; begin earlier')
        yield first
        yield from frames

    def index(self, number: int) -> int:
        """Of the frames that are iterated the one about which a frame of the clip is shown."""
        return max(0, round((number - self.timeline.first) / self.timeline.step))

    def frame_at(self, number: int) -> Iterator[np.ndarray]:
        """A single frame, by its number in the clip; none where the stretch doesn't have it."""
        return self.reader.frames_at([number] if self.timeline.has(number) else [])
