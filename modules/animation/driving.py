"""Where driving poses come from, a clip or a motion file, and what is done to them on their way to
what paints them (modules/animation/animator.py).
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np
import paddle

from modules.animation.animator import detect_all, detected
from modules.animation.motion_file import Motion
from modules.animation.normalization import hull_area
from modules.animation.smoothing import JACOBIAN_BETA, Jitter, OneEuroFilter
from modules.animation.timeline import Timeline
from modules.eager import Engine
from modules.runtime.errors import UserError
from modules.util import Keypoints


class Driving(Protocol):
    """Driving poses; each iteration begins with the first. Repeated ones are the same object."""

    def __iter__(self) -> Iterator[Keypoints]: ...

    def pose(self, number: int) -> Keypoints | None:
        """One of them; None where there is none of this number."""


class ClipDriving:
    """Poses found in the frames of a clip, which are decoded as they are asked for.

    Args:
        frames: makes an iterator of the frames (H, W, C) float in [0, 1] of the model's size.
        frame_at: gives the frame of a number; none where there is none of this number.
    """

    def __init__(
        self,
        engine: Engine,
        frames: Callable[[], Iterator[np.ndarray]],
        frame_at: Callable[[int], Iterator[np.ndarray]],
    ):
        self._engine, self._frames, self._frame_at = engine, frames, frame_at

    def __iter__(self) -> Iterator[Keypoints]:
        return detected(self._engine, self._frames())

    def pose(self, number: int) -> Keypoints | None:
        frame = next(self._frame_at(number), None)
        return None if frame is None else detect_all(self._engine, [frame])[0]


class MotionDriving:
    """Poses of a motion file, those that a timeline takes."""

    def __init__(self, motion: Motion, timeline: Timeline):
        self._motion, self._timeline = motion, timeline

    def __iter__(self) -> Iterator[Keypoints]:
        motion = self._motion.take(list(self._timeline.numbers()))
        slots = [*motion.slots.tolist(), motion.frame_count]
        for place, (here, after) in enumerate(itertools.pairwise(slots)):
            yield from itertools.repeat(_pose_at(motion, place), after - here)

    def pose(self, number: int) -> Keypoints | None:
        if not self._timeline.has(number):
            return None
        place = int(np.searchsorted(self._motion.slots, number, 'right')) - 1
        return _pose_at(self._motion, place)


def _pose_at(motion: Motion, place: int) -> Keypoints:
    value, jacobian = motion.value, motion.jacobian
    one = slice(place, place + 1)
    return Keypoints(
        paddle.to_tensor(value[one]),
        None if jacobian is None else paddle.to_tensor(jacobian[one]),
    )


class Recorder:
    """Keeps the poses that pass by, as they were detected, for a motion file.

    Args:
        timeline: of the clip.
        size: (H, W) of the frames that they are found in.
        detector: what finds them, see `detector_hash`.

    Attributes:
        count: how many there were, with the repeated ones.
    """

    def __init__(self, timeline: Timeline, size: tuple[int, int], detector: str):
        self._timeline, self._size, self._detector = timeline, size, detector
        self._poses: list[list[np.ndarray]] = []
        self._slots: list[int] = []
        self.count = 0

    def record(self, keypoints: Iterable[Keypoints]) -> Iterator[Keypoints]:
        """The same poses."""
        last = None
        for pose in keypoints:
            if pose is not last:
                last = pose
                self._poses.append([part.numpy()[0] for part in pose if part is not None])
                self._slots.append(self.count)
            self.count += 1
            yield pose

    def motion(self, boxes: np.ndarray | None = None) -> Motion:
        """What was kept.

        Args:
            boxes: what was cropped of the clip, as of Motion.
        """
        parts = [np.stack(part) for part in zip(*self._poses)]
        return Motion(
            parts[0],
            parts[1] if len(parts) > 1 else None,
            np.array(self._slots, 'int64'),
            self.count,
            self._timeline.fps,
            self._size,
            self._detector,
            boxes,
            self._timeline.start,
            self._timeline.speed,
        )


class Trembling(NamedTuple):
    """How much keypoints tremble, in pixels, and the entries of Jacobians; see Jitter."""

    keypoints: Jitter
    jacobians: Jitter

    @classmethod
    def of(cls, size: tuple[int, int]) -> 'Trembling':
        """For frames of (H, W): coordinates from -1 to 1 are as many pixels, less one."""
        return cls(Jitter(((size[1] - 1) / 2, (size[0] - 1) / 2)), Jitter())


class Smoother:
    """Smooths poses over time, and measures how much they trembled, and do.

    A pose that is repeated is one sample, which counts for the time until the next one.

    Args:
        fps: of the poses, per second.
        size: (H, W) of the frames.
    """

    def __init__(self, fps: Fraction, size: tuple[int, int]):
        self._fps = fps
        self._filters = OneEuroFilter(), OneEuroFilter(num_axes=2, beta=JACOBIAN_BETA)
        self.before, self.after = Trembling.of(size), Trembling.of(size)

    def smooth(self, keypoints: Iterable[Keypoints]) -> Iterator[Keypoints]:
        """The poses, smoothed; the same object for one that is repeated."""
        last, result, passed = None, None, 0
        for pose in keypoints:
            passed += 1
            if pose is not last or result is None:
                result = self._next(pose, float(passed / self._fps))
                last, passed = pose, 0
            yield result

    def _next(self, pose: Keypoints, seconds: float) -> Keypoints:
        parts: list[paddle.Tensor | None] = []
        for part, filtered, before, after in zip(pose, self._filters, self.before, self.after):
            if part is None:
                parts.append(None)
                continue
            array = part.numpy()
            smooth = filtered(array, seconds).astype(array.dtype)
            before.add(array.reshape(-1, 2))
            after.add(smooth.reshape(-1, 2))
            parts.append(paddle.to_tensor(smooth))
        return Keypoints(*parts)

    def report(self) -> str:
        """One line: the figures before and after."""
        figures = [(b.value, a.value) for b, a in zip(self.before, self.after)]
        if figures[0][0] is None:
            return 'jitter: of fewer than three frames there is none'
        line = 'jitter of the keypoints: {:.3f} pixels, smoothed {:.3f}'.format(*figures[0])
        if figures[1][0] is not None:
            line += '; of the Jacobians: {:.4f}, smoothed {:.4f}'.format(*figures[1])
        return line


def find_best_frame(kp_source: Keypoints, keypoints: Iterable[Keypoints]) -> tuple[int, Keypoints]:
    """The driving pose that is most like the source's: its number and itself.

    Poses are compared by the model's own keypoints, centred and scaled to a hull of area 1. Those
    whose keypoints span no area are passed over.

    Raises:
        UserError: the source's span none, or those of no frame do.
    """

    def shape(pose: Keypoints) -> np.ndarray:
        kp = pose.value[0].numpy()
        return (kp - kp.mean(axis=0)) / np.sqrt(hull_area(kp))

    target = shape(kp_source)
    best: tuple[float, int, Keypoints] | None = None
    last = None
    for number, pose in enumerate(keypoints):
        if pose is last:
            continue
        last = pose
        try:
            distance = float(np.square(shape(pose) - target).sum())
        except UserError:  # of no size, so not to be compared; the next frames may be
            continue
        if best is None or distance < best[0]:
            best = distance, number, pose
    if best is None:
        raise UserError(
            'the keypoints span no area in any driving frame, so there is none to compare; leave '
            'out --find_best_frame for this model or clip'
        )
    return best[1:]
