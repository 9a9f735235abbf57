"""Clips as frames at a constant rate, one after the other or at random."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import (
    TypeVar,
)

import numpy as np

from modules.runtime.files import PathLike
from modules.video.animated_pictures import Animation, is_for_pillow
from modules.video.folders import Folder
from modules.video.movies import Movie
from modules.video.pictures import Size
from modules.video.timing import FOLDER_FPS, Rate, Repeats

S = TypeVar('S')
T = TypeVar('T')


class VideoReader:
    """The frames of a clip (any that libav plays), or of a folder of pictures, one after another.

    Usable in a `with` statement. Frames are decoded as they are asked for; each `iter()` starts at
    the first one and ends the iteration before. A folder's pictures come sorted by name, numbers in
    the names compared as numbers; hidden files in it are ignored.

    A clip of constant rate keeps it. Another one is given at the lowest rate, at most 100, at which
    every frame begins, and the last one ends, within 10 ms of its time: where one is shown for
    longer it is repeated (the same array again: don't write into it), so that sound and motion stay
    in step. Animated pictures keep their delays as browsers do. Sound that goes on for more than
    half a second after the last frame keeps that one on the screen.

    Rotation and mirroring of phone videos are applied; frames that change their size are scaled to
    that of the first; transparency is laid over white, as in `read_image`; HDR is converted to
    BT.709; pixels that are not square and interlaced fields stay as they are stored. Of several
    tracks of pictures the default one is read.

    Damage raises a UserError, a clip cut short already when it is opened. Not noticed is what a
    format can't tell: GIF, VP8 and VP9 carry no checks on what they draw, and ts, mpg, ogv, wmv and
    live webm may end after any packet. An flv or mkv that lacks more than half a second at its end
    has a line on it in `notes`.

    Attributes:
        fps: frames per second, exact; of a folder, `folder_fps`.
        frame_count: how many frames there are, exactly; None for raw streams without time stamps.
        repeats: the numbers of those that show the one before again.
        size: (height, width) of every frame.
        has_audio: whether there is a sound track.
        notes: a line about each thing that is left out or changed; what is noticed on decoding is
            told at the iteration's end.
    """

    def __init__(self, path: PathLike, folder_fps: Rate = FOLDER_FPS):
        """Goes through the packets of a clip, or lists the folder.

        Raises:
            UserError: nothing readable at `path`, no frames, a clip cut short. Iterating over a
                folder raises at once if one picture differs in size from the first.
        """
        self.path = Path(path)
        self._frames: Generator[np.ndarray, None, None] | None = None
        self._source: Folder | Animation | Movie
        if os.path.isdir(path):
            self._source = Folder(self.path, folder_fps)
        elif is_for_pillow(self.path):
            self._source = Animation(self.path)
        else:
            self._source = Movie(self.path)
        self.fps: Fraction = self._source.fps
        self.frame_count: int | None = self._source.frame_count
        self.repeats: Repeats = self._source.repeats
        self.size: Size = self._source.size
        self.has_audio: bool = self._source.has_audio

    @property
    def notes(self) -> list[str]:
        return self._source.notes

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration under way, if any, and gives its decoder and file back."""
        if self._frames is not None:
            with contextlib.suppress(ValueError):  # a thread is at work in it, and will end it
                self._frames.close()
            self._frames = None

    def __iter__(self) -> Iterator[np.ndarray]:
        self.close()
        self._frames = self._source.frames()
        return self._frames

    def frames_at(self, numbers: Iterable[int]) -> Iterator[np.ndarray]:
        """The frames of numbers that ascend or repeat, one after another.

        They are those of an iteration; a number that repeats gives the same array again. One that
        the clip doesn't have ends it, so that there may be more of them than frames. Decoding
        starts at the nearest keyframe before the first one (in formats without an exact index, at
        the clip's start, without the conversion to RGB of what is passed over) and ends with the
        last one.
        """
        self.close()
        self._frames = self._source.frames(numbers)
        return self._frames

    def read_frames(self, indices: Sequence[int]) -> np.ndarray:
        """(N, H, W, 3) uint8: the frames of these numbers, in this order; numbers may repeat.

        The same frames as an iteration gives, but decoding starts at the nearest keyframe before a
        wanted frame (in formats without an exact index, at the clip's start).

        Raises:
            IndexError: a number below 0 or not below `frame_count`.
            UserError: damage on the way there.
        """
        wanted = sorted(set(indices))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < (self.frame_count or np.inf):
            raise IndexError(f'{self.path}: frames {wanted} of {self.frame_count}')
        frames = self._source.pick(wanted)
        return np.array([frames[index] for index in indices], np.uint8).reshape(-1, *self.size, 3)


def read_frames(path: PathLike, indices: Sequence[int]) -> np.ndarray:
    """(N, H, W, 3) uint8: some frames of a clip or folder; see `VideoReader.read_frames`."""
    with VideoReader(path) as reader:
        return reader.read_frames(indices)


def map_repeated(function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """`function` of each item; of one that comes again, as VideoReader's repeated frames do, once.

    The same result then comes again for it, so that this may be done once more on results.
    """
    last: object = object()
    for item in items:
        if item is not last:
            last, result = item, function(item)
        yield result
