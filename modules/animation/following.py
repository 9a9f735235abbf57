"""One box over a clip, or a smoothed one that follows what wanders; frames pass, boxes stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from modules.animation.boxes import Box, around, overlap

# A frame (H, W, 3) uint8, and the box of the one before that had one -> its box, if it has one.
Locate = Callable[[np.ndarray, Box | None], Box | None]

LOOKS = 4  # at frames of a second; heads are slower than that
MOST_LOOKS = 600  # at a clip, however long
WANDERS = 0.4  # of its side: a box whose middle moves no more over the clip stands still
GROWS = 1.5  # likewise for the ratio of its sizes
SMOOTHED = 0.6  # seconds: sigma of the Gaussian along the way of a box that follows
JUMP = 0.15  # overlap of two boxes, one after the other, below which the clip has a cut there
_GRID = 24  # rows and columns of pixels by which frames are compared, for the place of a cut


class Segment(NamedTuple):
    """What is between two cuts of a clip."""

    start: int  # number of its first frame
    numbers: np.ndarray  # (N,) of the frames that were looked at
    boxes: np.ndarray  # (N, 4), their boxes
    sigma: float  # frames, of the smoothing; 0 where one box stands for all


class Way:
    """A box for every frame of a clip.

    Args:
        segments: in the order of their starts; at least one.
    """

    def __init__(self, segments: list[Segment]):
        self._segments = segments

    @classmethod
    def still(cls, box: Box) -> Way:
        """The same box for every frame."""
        return cls([Segment(0, np.zeros(1), np.array([box], float), 0.0)])

    @property
    def stands_still(self) -> bool:
        return len(self._segments) == 1 and self._segments[0].sigma == 0

    def box(self, number: int) -> Box:
        """The box of a frame, which count from 0."""
        begun = [segment for segment in self._segments if segment.start <= number]
        _, numbers, boxes, sigma = begun[-1] if begun else self._segments[0]
        if sigma == 0:
            return Box(*boxes[0].tolist())
        # What moves goes on before the first and after the last look, for as long as from look to
        # look.
        step = float(np.median(np.diff(numbers)))
        number_there = min(max(number, numbers[0] - step), numbers[-1] + step)
        weights = _weights(number_there, numbers, sigma)
        return Box(*(weights @ boxes).tolist())


def _weights(number: float, numbers: np.ndarray, sigma: float) -> np.ndarray:
    """Those of a local line through boxes: a Gaussian's, without its pull to the middle at ends."""
    apart = (numbers - number) / sigma
    weights = np.exp(-0.5 * (apart**2 - (apart**2).min()))  # of which one is 1, however far
    first, second = (weights * apart).sum(), (weights * apart**2).sum()
    spread = weights.sum() * second - first**2
    if spread > 1e-9:
        weights = weights * (second - first * apart) / spread
    return weights / weights.sum()


def look_step(fps: Fraction | float, count: int | None) -> int:
    """How many frames it is from one look to the next.

    Args:
        count: of the clip's frames; None where that is not known.
    """
    return max(1, round(float(fps) / LOOKS), -(-(count or 0) // MOST_LOOKS))


def find_way(
    frames: Iterable[np.ndarray], locate: Locate, fps: Fraction | float, count: int | None = None
) -> Way | None:
    """The box of what `locate` finds, for every frame; None where it finds nothing in any.

    Args:
        frames: (H, W, 3) uint8, one after the other.
        count: of them, where it is known.
    """
    step = look_step(fps, count)
    looks, changes = _Looks(), _Changes()
    for number, frame in enumerate(frames):
        changes.see(number, frame)
        if number % step == 0:
            box = locate(frame, looks.last)
            if box is not None:
                looks.add(number, box, changes.largest)
                changes.forget()
    if looks.last is None:
        return None
    boxes = np.array(looks.boxes, float)
    sigma = max(SMOOTHED * float(fps), step)
    return Way(_segments(np.array(looks.numbers), boxes, looks.cuts, sigma))


class _Changes:
    """Where a clip changes most, which is where a cut is if there is one; a few pixels are kept."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self.forget()

    def forget(self) -> None:
        self._most, self.largest = -1.0, 0

    def see(self, number: int, frame: np.ndarray) -> None:
        steps = [-(-length // _GRID) for length in frame.shape[:2]]
        pixels = frame[:: steps[0], :: steps[1]].astype(int)
        if self._before is not None:
            change = float(np.abs(pixels - self._before).mean())
            if change > self._most:
                self._most, self.largest = change, number
        self._before = pixels


class _Looks:
    """What was found in the frames that were looked at.

    A box far from the one before is a mistake, unless the next one is with it: then it is a cut.
    """

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.boxes: list[Box] = []
        self.cuts: list[int] = []  # numbers of the first frames after them
        self._far: tuple[int, Box, int] | None = None

    @property
    def last(self) -> Box | None:
        return self.boxes[-1] if self.boxes else None

    def add(self, number: int, box: Box, cut: int) -> None:
        if self.last is not None and overlap(box, self.last) < JUMP:
            if self._far is None or overlap(box, self._far[1]) < JUMP:
                self._far = number, box, cut
                return
            self.numbers.append(self._far[0])
            self.boxes.append(self._far[1])
            self.cuts.append(self._far[2])
        self.numbers.append(number)
        self.boxes.append(box)
        self._far = None


def _segments(
    numbers: np.ndarray, boxes: np.ndarray, cuts: list[int], sigma: float
) -> list[Segment]:
    segments = []
    ends = [*cuts, np.inf]
    for start, end in zip([0, *cuts], ends):
        mine = (numbers >= start) & (numbers < end)
        if mine.any():
            segments.append(_segment(start, numbers[mine], boxes[mine], sigma))
    return segments


def _segment(start: int, numbers: np.ndarray, boxes: np.ndarray, sigma: float) -> Segment:
    """One box where little moves, else all of them, without those that stand out."""
    boxes = _median_of_three(boxes)
    centres, heights = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 3]
    low, high = np.percentile(centres, [2, 98], axis=0)
    least, most = np.percentile(heights, [2, 98])
    height = float(np.median(heights))
    ratio = float(boxes[0, 2] / boxes[0, 3])
    moved = float(((high - low) / (height * ratio, height)).max())
    if moved > WANDERS or most / least > GROWS:
        return Segment(start, numbers.astype(float), boxes, sigma)
    x, y = ((low + high) / 2).tolist()
    # Half of what it moves is room that the box has anyway.
    box = around((x, y), height * (1 + moved / 2), ratio)
    return Segment(start, numbers[:1].astype(float), np.array([box], float), 0.0)


def _median_of_three(boxes: np.ndarray) -> np.ndarray:
    """Each box (N, 4) beside its neighbours, so that a single mistake is none."""
    if len(boxes) < 3:
        return boxes
    inner = np.median(np.stack([boxes[:-2], boxes[1:-1], boxes[2:]]), axis=0)
    return np.concatenate([boxes[:1], inner, boxes[-1:]])
