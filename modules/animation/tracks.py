"""Where an object, such as a face, stays about the same place of a clip: tracks, one box each.

As the published data sets of faces were cut (crop-video.py of the official repository): a track
goes on while a box overlaps its first one, and is cropped by a square around all of its boxes.
Beyond that, it ends where the shot does, and its square stays one at the border of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from modules.animation.boxes import Box, overlap, square

# A picture (H, W, 3) uint8, RGB -> the boxes of the objects in it.
FindBoxes = Callable[[np.ndarray], Sequence[Box]]

OVERLAP = 0.25  # with its first box, below which a track ends; as officially
# Frames in which a detector may miss what is there, where it looks at that many.
MISSED = 3
# In percent of the range of levels, how much more than before a frame differs from the last one, at
# the same place and in its colours alone, where a shot begins. The first is the default of ffmpeg's
# filter scdet; the second finds what looks alike but for a few things, and heeds no motion.
CHANGED, RECOLOURED = 10, 4
_GRID = 64  # rows and columns of pixels that are compared


class Look(NamedTuple):
    """What was found in a frame that was looked at."""

    number: int
    boxes: tuple[Box, ...]
    begins_shot: bool = False


class Track(NamedTuple):
    """An object from frame `start` to the one before `end`."""

    start: int
    end: int
    box: Box  # a square, which may reach beyond the picture

    @property
    def frame_count(self) -> int:
        return self.end - self.start


class Rules(NamedTuple):
    """Which tracks are wanted."""

    every: int = 5  # the step from one look of the detector to the next, in frames
    min_frames: int = 64  # this and the next one as the paper has it of its data set
    max_frames: int = 1024  # a longer one is cut
    min_size: int = 256  # side of the square, in pixels of the clip
    increase: float = 0.1  # the square's margin on each side, in sides of all boxes; as officially


def look_through(
    frames: Iterable[np.ndarray],
    find: Callable[[int, np.ndarray], Sequence[Box]],
    every: int = 1,
) -> Iterator[Look]:
    """Looks for objects in the first and last frame of each shot and in every so many between.

    Args:
        frames: (H, W, 3) uint8, of which two are held. The same array again is a frame that is
            repeated, and not looked at again.
        find: gives the boxes of the objects in a frame, of which it is told the number, too.
    """
    shots = Shots()
    last: np.ndarray | None = None
    seen: np.ndarray | None = None  # the frame that was looked at last, and what was found
    found: tuple[Box, ...] = ()
    number, looked, start = -1, -1, 0

    def look(number: int, frame: np.ndarray) -> tuple[Box, ...]:
        nonlocal seen, found
        if frame is not seen:
            seen, found = frame, tuple(find(number, frame))
        return found

    for number, frame in enumerate(frames):
        begins = frame is not last and shots.begins(frame)
        if begins and last is not None and looked < number - 1:
            yield Look(number - 1, look(number - 1, last))
        if begins:
            start = number
        if (number - start) % every == 0:
            yield Look(number, look(number, frame), begins)
            looked = number
        last = frame
    if last is not None and looked < number:
        yield Look(number, look(number, last))


class Shots:
    """Where shots begin, by what changes from frame to frame."""

    def __init__(self) -> None:
        self._before: np.ndarray | None = None
        self._changes: np.ndarray | None = None

    def begins(self, frame: np.ndarray) -> bool:
        """Whether a frame (H, W, 3) uint8 is the first of a shot; one after another."""
        steps = [-(-length // _GRID) for length in frame.shape[:2]]
        pixels = frame[:: steps[0], :: steps[1]].astype(np.int16).reshape(-1, 3)
        before, self._before = self._before, pixels
        if before is None:
            return True
        # Sorted values tell colours without their places: how far they have to be moved.
        moved = np.abs(np.sort(pixels, axis=0) - np.sort(before, axis=0))
        changes = np.array([np.abs(pixels - before).mean(), moved.mean()]) * 100 / 255
        # What changes all the time, as in a moving camera's pictures, is no new shot.
        last, self._changes = self._changes, changes
        sudden = np.minimum(changes, np.abs(changes - (changes if last is None else last)))
        return bool((sudden > (CHANGED, RECOLOURED)).any())


class _Growing:
    """A track that may go on."""

    def __init__(self, number: int, box: Box):
        self.start, self.last = number, number
        self.first, self.all = box, box

    def add(self, number: int, box: Box) -> None:
        self.last = number
        left, top = min(self.all.x, box.x), min(self.all.y, box.y)
        right = max(self.all.x + self.all.w, box.x + box.w)
        bottom = max(self.all.y + self.all.h, box.y + box.h)
        self.all = Box(left, top, right - left, bottom - top)

    def ended(self, increase: float) -> Track:
        return Track(self.start, self.last + 1, square(self.all, 1 + 2 * increase))


def link_looks(looks: Iterable[Look], rules: Rules) -> list[Track]:
    """The tracks of a clip, those that `fault` finds fault with included, in the order of starts.

    Between two looks boxes are taken to lie between those found, so that the square, around all
    of them, holds them, too.
    """
    growing: list[_Growing] = []
    tracks: list[Track] = []

    def end(ended: Iterable[_Growing]) -> None:
        for track in ended:
            growing.remove(track)
            tracks.append(track.ended(rules.increase))

    for number, boxes, begins_shot in looks:
        if begins_shot:
            end([*growing])
        end([track for track in growing if number - track.start >= rules.max_frames])
        matched = _match(growing, boxes)
        for track, box in matched.items():
            track.add(number, boxes[box])
        end([t for t in growing if t.last < number and number - t.last > MISSED])
        taken = {*matched.values()}
        growing += [_Growing(number, box) for i, box in enumerate(boxes) if i not in taken]
    end([*growing])
    return sorted(tracks, key=lambda track: (track.start, track.box.x, track.box.y))


def _match(tracks: Sequence[_Growing], boxes: Sequence[Box]) -> dict[_Growing, int]:
    """Which box goes on with which track: those that overlap most first, each one once."""
    pairs = [
        (overlap(track.first, box), track, i) for track in tracks for i, box in enumerate(boxes)
    ]
    matched: dict[_Growing, int] = {}
    for common, track, i in sorted(pairs, key=lambda pair: -pair[0]):
        if common > OVERLAP and track not in matched and i not in matched.values():
            matched[track] = i
    return matched


def fault(track: Track, rules: Rules) -> str | None:
    """What is wrong with a track: 'short' or 'small'; None if it is wanted."""
    if track.frame_count < rules.min_frames:
        return 'short'
    return 'small' if track.box.w < rules.min_size else None
