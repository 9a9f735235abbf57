"""Pictures where a clip may be given: a clip of one frame."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from modules.runtime.files import PathLike
from modules.video.animated_pictures import is_animated
from modules.video.opening import CLIP_SUFFIXES
from modules.video.pictures import IMAGE_SUFFIXES, Size, read_image
from modules.video.reading import VideoReader
from modules.video.timing import FOLDER_FPS, Repeats


class Still:
    """A picture as a clip of one frame, read when it is opened; attributes as of VideoReader."""

    frame_count: int | None = 1
    repeats = Repeats()
    has_audio = False

    def __init__(self, path: PathLike):
        """Raises: as `read_image`."""
        self.path = Path(path)
        self._picture = read_image(path)
        self.fps = Fraction(FOLDER_FPS)
        self.size: Size = self._picture.shape[:2]
        self.notes: list[str] = []

    def __enter__(self) -> Still:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is open."""

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter([self._picture])

    def frames_at(self, numbers: Iterable[int]) -> Iterator[np.ndarray]:
        """As of VideoReader."""
        return (self._picture for _ in itertools.takewhile(lambda number: number == 0, numbers))


AnyReader = VideoReader | Still


def is_picture(path: PathLike) -> bool:
    """Whether a file is a single picture, as its name and its first bytes tell; GIF is a clip."""
    suffix = Path(path).suffix.lower()
    may_move = os.path.isdir(path) or suffix in CLIP_SUFFIXES or is_animated(path)
    return suffix in IMAGE_SUFFIXES and not may_move


def is_moving(path: PathLike) -> bool:
    """Whether a file is a clip, as its name and its first bytes tell, or it is a folder."""
    is_clip = Path(path).suffix.lower() in CLIP_SUFFIXES
    return os.path.isdir(path) or is_clip or is_animated(path)


def open_frames(path: PathLike) -> AnyReader:
    """A clip, a folder of pictures, or a picture, which is a clip of one frame.

    Raises:
        UserError: as VideoReader and `read_image`.
    """
    return Still(path) if is_picture(path) else VideoReader(path)


def first_frame(path: PathLike) -> np.ndarray:
    """(H, W, 3) uint8 of a picture, or of the beginning of a clip or folder.

    Raises:
        UserError: as VideoReader and `read_image`.
    """
    if not is_moving(path):
        return read_image(path)
    with VideoReader(path) as reader:
        return next(iter(reader))
