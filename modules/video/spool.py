"""Frames put aside in a file, to be had again from the last one to the first."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import imageio.v3 as iio
import numpy as np

from modules.runtime.files import PathLike


class Spool:
    """Keeps frames (H, W, 3) uint8 without loss on disk; in memory stays a number for each.

    Usable in a `with` statement.

    Args:
        folder: where the file lies, which has no name there: nothing is left behind.

    Raises:
        OSError: the disk is full, or fails.
    """

    def __init__(self, folder: PathLike):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by `close`)
        self._places: list[tuple[int, int]] = []  # start and end of each frame
        self._last: np.ndarray | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def close(self) -> None:
        """Gives the room on the disk back."""
        self._file.close()

    def add(self, frame: np.ndarray) -> None:
        """Puts a frame aside; one equal to that before takes no room."""
        if self._last is not None and np.array_equal(frame, self._last):
            self._places.append(self._places[-1])
            return
        # The fastest level: it lies there for some minutes only.
        data = iio.imwrite('<bytes>', frame, plugin='pillow', extension='.png', compress_level=1)
        start = self._places[-1][1] if self._places else 0
        self._file.write(data)
        self._places.append((start, start + len(data)))
        self._last = frame.copy()

    def __reversed__(self) -> Iterator[np.ndarray]:
        """The frames from the last one to the first."""
        for start, end in reversed(self._places):
            self._file.seek(start)
            yield iio.imread(self._file.read(end - start), plugin='pillow', extension='.png')
