"""Folders of pictures as clips."""

import itertools
import os
import re
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np

from modules.runtime.errors import UserError
from modules.runtime.messages import counted
from modules.video.pictures import IMAGE_SUFFIXES, Size, ignores_alpha, read_picture, stored_size
from modules.video.timing import Rate, Repeats, exact_rate


class Folder:
    """The pictures of a folder, one after another or at random; attributes as of VideoReader."""

    has_audio: bool = False
    repeats = Repeats()

    def __init__(self, path: Path, fps: Rate):
        self.path, self.fps = path, exact_rate(fps)
        self._pictures, others = _list_pictures(path)
        self.frame_count: int | None = len(self._pictures)
        first = read_picture(self._pictures[0])
        self.size: Size = first.colours.shape[:2]
        others_hide = (read_picture(picture).hides_all() for picture in self._pictures[1:])
        self._ignore_alpha = ignores_alpha(itertools.chain([first.hides_all()], others_hide))
        self.notes = (
            [f'{path}: {counted(len(others), "other file")} passed over, such as {others[0]}']
            if others
            else []
        )

    def frames(self, numbers: Iterable[int] | None = None) -> Generator[np.ndarray, None, None]:
        for picture in self._pictures:  # a header tells the odd one before others cost work
            if stored_size(picture) != stored_size(self._pictures[0]):
                self._read(picture)
        last, frame = None, None
        for number in range(len(self._pictures)) if numbers is None else numbers:
            if number >= len(self._pictures):
                return
            if frame is None or number != last:
                last, frame = number, self._read(self._pictures[number])
            yield frame

    def pick(self, wanted: Sequence[int]) -> dict[int, np.ndarray]:
        return {number: self._read(self._pictures[number]) for number in wanted}

    def _read(self, picture: Path) -> np.ndarray:
        frame = read_picture(picture).shown(self._ignore_alpha)
        if frame.shape[:2] != self.size:
            (height, width), (first_height, first_width) = frame.shape[:2], self.size
            raise UserError(
                f'{picture}: {width}x{height} pixels, but the first frame has '
                f'{first_width}x{first_height}; bring all frames to one size'
            )
        return frame


def _list_pictures(folder: Path) -> tuple[list[Path], list[str]]:
    """Pictures, sorted with the numbers in their names as numbers, and names of other files."""
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith('.'))
    except PermissionError as error:
        raise UserError(f'{folder}: no permission to read it; change its permissions') from error
    pictures = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    if not pictures:
        raise UserError(f'{folder}: no pictures in this folder; put PNG or JPEG frames there')

    def natural(name: str) -> tuple[list[str | int], str]:
        parts = re.split('([0-9]+)', name)
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], name

    others = sorted(set(names) - set(pictures))
    return [folder / name for name in sorted(pictures, key=natural)], others
