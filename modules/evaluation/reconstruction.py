"""Clips reconstructed from their first frame, frame by frame (paper Sec. 4)."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from modules.animation.animator import animate
from modules.data.clips import Clip
from modules.eager import Engine
from modules.evaluation.frame_pairs import FramePair
from modules.evaluation.whole_clips import read_whole
from modules.runtime.messages import warn
from modules.video import map_repeated
from modules.video.levels import to_bytes, to_float


def reconstruct(
    engine: Engine,
    clip: Clip,
    num_frames: int | None = None,
    tell: Callable[[str], None] = warn,
) -> Iterator[FramePair]:
    """The frames of a clip and what becomes of the first one by their motion, one by one.

    Args:
        num_frames: most frames, from the first on; None for all.
        tell: as for read_whole.

    Raises:
        DamagedClipError: the clip can't be read so far.
    """
    frames = itertools.islice(read_whole(clip, tell), num_frames)
    first = next(frames)
    waiting: deque[np.ndarray] = deque()  # for their reconstructions

    def driving() -> Iterator[np.ndarray]:
        for frame in itertools.chain([first], frames):
            waiting.append(frame)
            yield frame

    floats = map_repeated(to_float, driving())
    for number, prediction in enumerate(animate(engine, to_float(first), floats)):
        truth = waiting.popleft()
        yield FramePair(clip.path, number, truth, prediction, to_bytes(prediction))
    assert not waiting, 'a frame without its reconstruction'
