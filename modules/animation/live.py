"""A picture that moves with a camera: the newest frame first, older ones are dropped."""

from __future__ import annotations

import functools
import statistics
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from modules.animation.animator import Painter, detect_all
from modules.animation.boxes import Box, around, cut
from modules.animation.normalization import Normalization
from modules.animation.recording import Recording
from modules.build import Models
from modules.eager import Engine, as_engine
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.newest import Newest
from modules.util import Keypoints
from modules.video.jpeg import decode_jpeg
from modules.video.levels import to_bytes

# As demo.py --relative --adapt_scale: nobody sits before a camera just as in the picture.
RELATIVE = Normalization(True, True, True)
_RECENT = 30  # results that latency and rate are those of


class Result(NamedTuple):
    """The picture in the pose of a camera's frame."""

    picture: np.ndarray  # (h, w, 3) uint8, of the model's size
    number: int  # of that frame, as `Live.show` was told
    latency: float  # seconds from there to the result
    keypoints: np.ndarray  # (K, 2): those of the frame as they were found, x and y in [-1, 1]


class _Shot(NamedTuple):
    """What the camera gave."""

    frame: np.ndarray | bytes
    number: int
    when: float


class Live:
    """Animates a picture by frames of a camera, as they come and as fast as the engine is.

    Two threads use it: one shows frames, the other goes through the results.

        live = Live(engine, picture, size)
        threading.Thread(target=camera, args=[live]).start()   # calls live.show(frame) for each
        for result in live.results():
            ...

    Nothing is queued: of the frames that come while one is computed, the next result follows the
    newest, and the others are dropped. So a result is never later than the time of two, however
    slow the engine.

    Movement counts from the neutral pose, which is the picture's: that of the first frame, or of
    the one after `calibrate`. All but `results` may be called by any thread.

    Args:
        models: networks or an engine, as for Painter; of one frame a run. It belongs to the thread
            of `results`.
        picture: (H, W, 3) uint8. The middle of it, of the model's shape, is animated.
        size: (h, w) of the model's frames.
        normalization: how poses are carried over to the picture. Where a neutral pose has no size,
            since its keypoints span no area, movement is not scaled.
        mirror: see there.

    Attributes:
        mirror: turns the camera's frames round, left and right, so that the picture moves like a
            mirror of who is seen; may be set at any time, and the neutral pose follows.
        dropped: how many frames nobody has animated.
    """

    def __init__(
        self,
        models: Models | Engine,
        picture: np.ndarray,
        size: tuple[int, int],
        normalization: Normalization = RELATIVE,
        mirror: bool = False,
    ):
        self.mirror, self.dropped = mirror, 0
        self._engine, self._size, self._normalization = as_engine(models), size, normalization
        self._shots: Newest[_Shot] = Newest()
        self._picture = cut_middle(picture, size)
        self._neutral: np.ndarray | None = None  # as the camera saw it
        self._pose = _Pose()
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)  # times and latencies
        self._recording: Recording | None = None
        self._failure: UserError | None = None  # of the recording
        self._lock = threading.Lock()  # of the recording, and who ends it

    # ---- for the camera's thread ----

    def show(self, frame: np.ndarray | bytes, number: int = 0) -> None:
        """Gives the camera's newest frame, which takes no time: all else is done when, and if, its
        turn comes. A thread that decoded beside an engine on all cores would be late itself.

        Args:
            frame: (H, W, 3) uint8, or a JPEG file. The middle of it, of the model's shape, is
                looked at.
            number: that its result will have.
        """
        self.dropped += self._shots.put(_Shot(frame, number, time.perf_counter()))

    # ---- for the thread that computes ----

    def results(self) -> Iterator[Result]:
        """A result for the newest frame, and again, until `close`. Waits where there is none.

        Raises:
            UserError: a frame was no JPEG, or is too large.
        """
        while (shot := self._shots.take()) is not None:
            result = self._animate(shot)
            self._record(result.picture)
            yield result

    def _animate(self, shot: _Shot) -> Result:
        # Others may change these meanwhile; that counts from the next frame on.
        picture, mirror, neutral = self._picture, self.mirror, self._neutral
        seen = self._prepare(shot.frame)
        if neutral is None:
            self._neutral = neutral = seen
        pose, painter = self._pose, self._pose.painter
        frame = _turned(seen) if mirror else seen
        (keypoints,) = detect_all(self._engine, [frame])
        if painter is None or pose.picture is not picture:
            painter = Painter(self._engine, picture, self._normalization)
            pose = _Pose(picture, painter)
        if pose.neutral is not neutral or pose.mirror is not mirror:
            initial = keypoints
            if neutral is not seen:
                (initial,) = detect_all(self._engine, [_turned(neutral) if mirror else neutral])
            _start(painter, initial)
            pose = pose._replace(neutral=neutral, mirror=mirror)
        self._pose = pose
        made = to_bytes(painter.frames([keypoints])[0])
        now = time.perf_counter()
        self._recent.append((now, now - shot.when))
        return Result(made, shot.number, now - shot.when, keypoints.value[0].numpy())

    def _prepare(self, frame: np.ndarray | bytes) -> np.ndarray:
        whole = decode_jpeg(frame, self._size) if isinstance(frame, bytes) else frame
        return cut_middle(whole, self._size)

    # ---- for anyone ----

    def calibrate(self) -> None:
        """The pose of the next frame is the neutral one."""
        self._neutral = None

    def change_picture(self, picture: np.ndarray, box: Box | None = None) -> None:
        """Animates another picture, (H, W, 3) uint8, from the next frame on.

        Args:
            box: what of it is animated; the middle if None.
        """
        if box is None:
            self._picture = cut_middle(picture, self._size)
        else:
            self._picture = cut(picture, box, self._size)

    @property
    def rate(self) -> float | None:
        """Results per second of late; None before there are two."""
        times = [when for when, _ in self._recent]
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else None

    @property
    def latency(self) -> float | None:
        """Seconds from a frame to its result, the median of late; None before there is one."""
        return statistics.median(spent for _, spent in self._recent) if self._recent else None

    def close(self) -> None:
        """Ends `results`; a recording that is not stopped is dropped."""
        self._shots.close()
        with self._lock:
            recording, self._recording = self._recording, None
        if recording is not None:
            recording.discard()

    # ---- recording ----

    @property
    def recording(self) -> Recording | None:
        """What is being recorded."""
        return self._recording

    def record(self, path: PathLike, most_seconds: float | None = None) -> None:
        """Begins to write the results to a clip, see Recording. One is written at a time.

        Raises:
            UserError: the place can't be written.
            ValueError: one is being recorded.
        """
        with self._lock:
            if self._recording is not None:
                raise ValueError('one is being recorded')
            self._failure, self._recording = None, Recording(path, most_seconds)

    def stop_recording(self) -> bool:
        """Ends the clip; False if there has not been a result to be written.

        Raises:
            UserError: the clip could not be written.
            ValueError: nothing is being recorded.
        """
        with self._lock:
            recording, failure = self._recording, self._failure
            self._recording = self._failure = None
        if failure is not None:
            raise failure
        if recording is None:
            raise ValueError('nothing is being recorded')
        if recording.empty:
            recording.discard()
            return False
        recording.finish(time.perf_counter())
        return True

    def _record(self, picture: np.ndarray) -> None:
        with self._lock:  # so that it does not end meanwhile
            if self._recording is None:
                return
            try:
                self._recording.add(picture, time.perf_counter())
            except UserError as error:
                self._failure, self._recording = error, None


class _Pose(NamedTuple):
    """What paints a picture, and the neutral frame and way round that it has started with."""

    picture: np.ndarray | None = None
    painter: Painter | None = None
    neutral: np.ndarray | None = None
    mirror: bool = False


def _start(painter: Painter, initial: Keypoints) -> None:
    try:
        painter.start(initial)
    except UserError:  # no area; the pose itself is there
        painter.scale = 1.0


def _turned(frame: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(frame[:, ::-1])


def cut_middle(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The largest part of a picture (H, W, 3) uint8 that has the shape of a size (h, w), in the
    middle: (h, w, 3) float32 in [0, 1].
    """
    return cut(picture, _middle(*picture.shape[:2], *size), size)


@functools.lru_cache(maxsize=4)
def _middle(height: int, width: int, h: int, w: int) -> Box:
    """In whole pixels, so that the same weights serve all frames of a camera."""
    picture = Box(0, 0, width, height)
    ratio = w / h
    side = min(height, width / ratio)
    return Box(*(float(round(number)) for number in around(picture.centre, side, ratio)))
