"""Clips that libav plays."""

import bisect
import contextlib
import itertools
from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import av
import numpy as np

from modules.runtime.errors import UserError
from modules.video.colours import alpha_hides_all, display_matrix, to_rgb
from modules.video.decoding import decode, paced, take
from modules.video.opening import damage_error, errors_named
from modules.video.pictures import ignores_alpha
from modules.video.survey import survey
from modules.video.timing import Repeats


class Movie:
    """The frames of a clip, one after another or at random; attributes as of VideoReader."""

    def __init__(self, path: Path):
        self.path, self._clip = path, survey(path)
        self.fps, self.frame_count = self._clip.fps, self._clip.frame_count
        self.has_audio = self._clip.has_audio
        self.repeats = Repeats(self._clip.slots, self.frame_count or 0)
        opening = decode(path, self._clip, is_short=True)
        with contextlib.closing(opening) as frames, errors_named(path):
            _, first = next(frames)
            self._turn, self._stored = display_matrix(first), (first.height, first.width)
            self.size = to_rgb(first, self._turn).shape[:2]
            shown = itertools.chain([first], (frame for _, frame in frames))
            self._ignore_alpha = ignores_alpha(map(alpha_hides_all, shown))
        self._scaled = 0

    @property
    def notes(self) -> list[str]:
        if not self._scaled:
            return self._clip.notes
        height, width = self.size
        return [
            *self._clip.notes,
            f'{self.path}: changes its frame size; {self._scaled} frames are scaled to '
            f'{width}x{height}',
        ]

    def frames(self, numbers: Iterable[int] | None = None) -> Generator[np.ndarray, None, None]:
        source, self._scaled = None, 0
        wanted = itertools.count() if numbers is None else iter(numbers)
        first = next(wanted, None)
        if first is None:
            return
        with contextlib.closing(self._steps_from(first)) as steps:
            for decoded in take(steps, itertools.chain([first], wanted)):
                if decoded is not source:
                    source, frame = decoded, self._convert(decoded)
                yield frame

    def _steps_from(self, number: int) -> Generator[tuple[int, av.VideoFrame], None, None]:
        """Yields (number, frame) from this number on, or from one before it."""
        key_numbers = [self._clip.slot(key) for key in self._clip.keys]
        nearest = bisect.bisect_right(key_numbers, number) - 1
        if nearest > 0:
            jump = decode(self.path, self._clip, self._clip.keys[nearest])
            with contextlib.closing(paced(jump, self.frame_count, key_numbers[nearest])) as steps:
                first = None
                with contextlib.suppress(UserError):  # as in `pick`: the whole way decides
                    first = next((step for step in steps if step[0] == number), None)
                if first is not None:
                    yield first
                    yield from steps
                    return
        yield from paced(decode(self.path, self._clip), self.frame_count)

    def pick(self, wanted: Sequence[int]) -> dict[int, np.ndarray]:
        """The frames of these numbers, which ascend."""
        try:
            return self._pick(wanted, self._clip.keys)
        except UserError:
            # A jump may land among frames that need what was skipped; the whole way decides.
            return self._pick(wanted, [])

    def _pick(self, wanted: Sequence[int], keys: list[int]) -> dict[int, np.ndarray]:
        """Decodes the `wanted` frames, jumping to keyframes with these stamps."""
        frames: dict[int, np.ndarray] = {}
        key_numbers = [self._clip.slot(key) for key in keys]
        steps, position = paced(decode(self.path, self._clip), self.frame_count), 0
        for number in wanted:
            nearest = bisect.bisect_right(key_numbers, number) - 1
            if nearest > 0 and key_numbers[nearest] > position:
                steps.close()
                jump = decode(self.path, self._clip, keys[nearest], True)
                steps = paced(jump, self.frame_count, key_numbers[nearest])
            position, decoded = next((step for step in steps if step[0] == number), (number, None))
            if decoded is None:
                raise damage_error(self.path, number, self.frame_count)
            frames[number] = self._convert(decoded)
        steps.close()
        return frames

    def _convert(self, decoded: av.VideoFrame) -> np.ndarray:
        is_odd = (decoded.height, decoded.width) != self._stored
        self._scaled += is_odd
        with errors_named(self.path):
            size = self._stored if is_odd else None
            return to_rgb(decoded, self._turn, size, self._ignore_alpha)
