"""What a clip is like, found in one pass: its shots, what moves in each, and by what to know it.

Memory doesn't grow with the clip but for some kilobytes a second.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage

from modules.animation.boxes import Box
from modules.animation.tracks import Shots

LOOKED_AT = 96  # pixels of the longer side, at most about twice as many
PRINTS_PER_SECOND = 8
PRINT = 12  # rows and columns of a print
_VALUES = PRINT * PRINT * 3
# Standard deviation over time, in levels of 255, from which a pixel moves; and in medians over the
# picture, since a hand that trembles, or noise, moves all of it a little.
MOVES, MOVES_MORE = 4.0, 3.0
SHAKEN = 10.0  # the median from which the camera moves, and nothing can be told from the ground
JOINED = 0.06  # of the shorter side: parts that are no farther apart than twice that are one
LEAST_SIDE, LEAST_AREA = 0.06, 0.0015  # of the shorter side, and of the picture: less is a speck


class Segment(NamedTuple):
    """A shot, or a part of a long one."""

    start: int
    end: int  # the first frame that is not in it
    moving: tuple[Box, ...]  # what moves, the largest first, in pixels of the clip

    @property
    def is_still(self) -> bool:
        return not self.moving


class Survey(NamedTuple):
    """A clip as it was found."""

    size: tuple[int, int]  # (height, width)
    fps: Fraction
    frame_count: int
    segments: tuple[Segment, ...]
    prints: np.ndarray  # (N, PRINT * PRINT * 3) uint8, PRINTS_PER_SECOND of them: small frames
    sha256: str
    notes: tuple[str, ...] = ()  # what the reader has noticed

    @property
    def seconds(self) -> float:
        return float(self.frame_count / self.fps)

    def to_json(self) -> dict[str, Any]:
        prints = base64.b64encode(self.prints.tobytes()).decode()
        return {**self._asdict(), 'fps': str(self.fps), 'prints': prints}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Survey:
        """Raises ValueError, TypeError or KeyError where they are no survey's."""
        segments = tuple(
            Segment(int(start), int(end), tuple(Box(*map(float, box)) for box in moving))
            for start, end, moving in values['segments']
        )
        prints = np.frombuffer(base64.b64decode(values['prints'], validate=True), np.uint8)
        height, width = map(int, values['size'])
        return cls(
            (height, width),
            Fraction(values['fps']),
            int(values['frame_count']),
            segments,
            prints.reshape(-1, _VALUES),
            str(values['sha256']),
            tuple(map(str, values['notes'])),
        )


def survey(
    frames: Iterable[np.ndarray], fps: Fraction, sha256: str, longest: int, shortest: int
) -> Survey:
    """Looks through a clip.

    Args:
        frames: (H, W, 3) uint8; the same array again is a frame that is repeated.
        longest: frames of a segment at most.
        shortest: frames that a part of a shot has at least, but for the shot's only one.
    """
    shots, segments = Shots(), _Segments(longest, shortest)
    prints: list[np.ndarray] = []
    last: np.ndarray | None = None
    count, small, size = 0, None, (0, 0)
    for count, frame in enumerate(frames, 1):
        size = frame.shape[0], frame.shape[1]
        if frame is not last:
            last, small = frame, _reduced(frame)
            segments.begin(count - 1, shots.begins(frame))
            segments.add(small)
        assert small is not None
        if len(prints) * fps <= (count - 1) * PRINTS_PER_SECOND:
            tiny = small.resize((PRINT, PRINT), Image.Resampling.BOX)
            prints.append(np.asarray(tiny).reshape(-1))
    found = tuple(segments.ended(count, size))
    stacked = np.array(prints, np.uint8).reshape(-1, _VALUES)
    return Survey(size, fps, count, found, stacked, sha256)


def _reduced(frame: np.ndarray) -> Image.Image:
    """Means over squares of pixels, at most some LOOKED_AT of them in a row."""
    return Image.fromarray(frame).reduce(max(1, max(frame.shape[:2]) // LOOKED_AT))


class _Moments:
    """Of each pixel, how much it has moved so far."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Any = 0.0
        self.squares: Any = 0.0

    def add(self, pixels: np.ndarray) -> None:
        self.count += 1
        self.sum = self.sum + pixels
        self.squares = self.squares + pixels * pixels

    def joined(self, other: _Moments) -> _Moments:
        both = _Moments()
        both.count = self.count + other.count
        both.sum, both.squares = self.sum + other.sum, self.squares + other.squares
        return both

    def deviation(self) -> np.ndarray:
        """(h, w): of all three channels, in levels."""
        mean = self.sum / self.count
        variance = np.maximum(self.squares / self.count - mean * mean, 0)
        return np.sqrt(variance.mean(axis=2))


class _Segments:
    """Grows the segments of a clip.

    Long shots are cut; what is left over at the end of one and is too short goes to the part before
    where that stays within half as many frames more.
    """

    def __init__(self, longest: int, shortest: int):
        self._longest, self._shortest = longest, shortest
        self._done: list[tuple[int, int, bool, _Moments]] = []  # start, end, begins a shot
        self._start, self._shot = 0, True
        self._moments = _Moments()

    def begin(self, number: int, begins_shot: bool) -> None:
        """Ends what grows where a shot begins, or it is long enough."""
        if not number or not (begins_shot or number - self._start >= self._longest):
            return
        self._end(number)
        self._start, self._shot, self._moments = number, begins_shot, _Moments()

    def add(self, small: Image.Image) -> None:
        self._moments.add(np.asarray(small, np.float64))

    def _end(self, number: int) -> None:
        length = number - self._start
        if not self._shot and length < min(self._shortest, self._longest // 2) and self._done:
            start, _, shot, moments = self._done.pop()
            self._done.append((start, number, shot, moments.joined(self._moments)))
        else:
            self._done.append((self._start, number, self._shot, self._moments))

    def ended(self, count: int, size: tuple[int, int]) -> Iterator[Segment]:
        if count:
            self._end(count)
        for start, end, _, moments in self._done:
            yield Segment(start, end, tuple(moving_boxes(moments.deviation(), size)))


def moving_boxes(deviation: np.ndarray, size: Sequence[int]) -> list[Box]:
    """Where something moves in front of what does not; all of a picture where the camera does.

    Args:
        deviation: (h, w), of each pixel over time, in levels, of the picture made smaller.
        size: (height, width) of the picture.

    Returns:
        Boxes in pixels of the picture, the largest first.
    """
    height, width = size
    middle = float(np.median(deviation))
    if middle > SHAKEN:
        return [Box(0, 0, width, height)]
    moves = deviation > max(MOVES, MOVES_MORE * middle)
    reach = max(1, round(JOINED * min(deviation.shape)))
    near = ndimage.binary_dilation(moves, np.ones((3, 3), bool), iterations=reach)
    labels, count = ndimage.label(near, np.ones((3, 3), bool))
    boxes = []
    for label in range(1, count + 1):
        rows, columns = np.nonzero((labels == label) & moves)
        down, across = np.ptp(rows) + 1, np.ptp(columns) + 1
        if max(down, across) < LEAST_SIDE * min(deviation.shape):
            continue
        if len(rows) < LEAST_AREA * deviation.size:
            continue
        y, x = height / deviation.shape[0], width / deviation.shape[1]
        box = Box(columns.min() * x, rows.min() * y, across * x, down * y)
        boxes.append(Box(*map(float, box)))
    return sorted(boxes, key=lambda box: -box.area)
