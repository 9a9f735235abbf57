"""Frames that come at an uneven pace, in a clip of a constant rate; no Paddle."""

from __future__ import annotations

import contextlib
import threading

import numpy as np

from modules.runtime.files import PathLike
from modules.video import VideoWriter

FPS = 30  # about as many as a camera gives: a frame begins within 1/60 s of its time


class _DiscardedError(Exception):
    """Ends a VideoWriter's block, so that nothing is left behind."""


class Recording:
    """Writes a clip in which every frame is seen for as long as it was.

    Its methods may be called by several threads.

    Args:
        path: of the clip, for VideoWriter; there once `finish` has returned.
        most_seconds: after which what comes is left out.

    Attributes:
        full: whether so much has been recorded.

    Raises:
        UserError: the place can't be written.
    """

    def __init__(self, path: PathLike, most_seconds: float | None = None):
        self._writer = VideoWriter(path, FPS)
        self._most = None if most_seconds is None else round(most_seconds * FPS)
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(self._writer)
        self._began: float | None = None
        self._last: np.ndarray | None = None

    @property
    def full(self) -> bool:
        return self._most is not None and self._writer.frame_count >= self._most

    @property
    def empty(self) -> bool:
        """Whether there has been no frame yet."""
        return self._last is None

    def add(self, frame: np.ndarray, when: float) -> None:
        """A frame (H, W, 3) uint8 that is seen from second `when` on, by any clock that goes on.

        Raises:
            UserError: the disk is full, or ffmpeg fails; nothing is left behind.
        """
        with self._lock:
            self._repeat_until(when)
            if self._began is None:
                self._began = when
            self._last = frame

    def finish(self, when: float) -> None:
        """Ends the clip at second `when`, after its last frame.

        Raises:
            UserError: as for `add`, or there was no frame.
        """
        with self._lock:
            self._repeat_until(when, at_least=self._writer.frame_count + 1)
            self._last = None
            self._stack.close()

    def discard(self) -> None:
        """Leaves nothing behind; to be called instead of `finish`, or without effect after it."""
        with self._lock:
            error = _DiscardedError()
            self._stack.__exit__(_DiscardedError, error, None)

    def _repeat_until(self, when: float, at_least: int = 0) -> None:
        """Writes the last frame as often as it was seen by second `when`."""
        if self._last is None or self._began is None:
            return
        slots = max(at_least, round((when - self._began) * FPS))
        if self._most is not None:
            slots = min(slots, self._most)
        try:
            for _ in range(slots - self._writer.frame_count):
                self._writer.write(self._last)
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise
