"""The one animation loop (paper Sec. 3.4): arrays in, arrays out, one frame at a time."""

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor

from modules.animation.normalization import (
    ABSOLUTE,
    Normalization,
    hull_area,
    movement_scale,
    normalize_kp,
)
from modules.build import Models
from modules.eager import Engine, as_engine
from modules.generator import Generated
from modules.runtime.errors import UserError
from modules.util import Keypoints
from modules.video import map_repeated


class Animated(NamedTuple):
    """A frame of an animation, and what explains it; all in batches of one."""

    source: Tensor  # (1, C, H, W) in [0, 1]
    driving: Tensor  # (1, C, H, W) in [0, 1]
    kp_source: Keypoints
    kp_driving: Keypoints  # as detected
    kp_norm: Keypoints  # carried over to the source
    generated: Generated

    @property
    def frame(self) -> np.ndarray:
        """The result: (H, W, C) float32 in [0, 1]."""
        return self.generated.prediction[0].numpy().transpose(1, 2, 0)


def to_batch(frame: np.ndarray) -> Tensor:
    """(H, W, C) float in [0, 1] -> (1, C, H, W) float32."""
    return paddle.to_tensor(frame.astype('float32').transpose(2, 0, 1)[np.newaxis])


@paddle.no_grad()
def find_best_frame(
    models: Models | Engine, source: np.ndarray, driving: Iterable[np.ndarray]
) -> tuple[int, np.ndarray]:
    """The driving frame whose pose is most like the source's: its number and itself.

    Poses are compared by the model's own keypoints, centred and scaled to a hull of area 1. Frames
    whose keypoints span no area are passed over.

    Raises:
        UserError: the source's span none, or those of no frame do.
    """
    engine = as_engine(models)

    def pose(frame: np.ndarray) -> np.ndarray:
        kp = engine.detect(to_batch(frame)).value[0].numpy()
        return (kp - kp.mean(axis=0)) / np.sqrt(hull_area(kp))

    target = pose(source)
    best, last = None, None
    for number, frame in enumerate(driving):
        if frame is last:  # repeated
            continue
        last = frame
        try:
            distance = np.square(pose(frame) - target).sum()
        except UserError:  # of no size, so not to be compared; the next frames may be
            continue
        if best is None or distance < best[0]:
            best = distance, number, frame
    if best is None:
        raise UserError(
            'the keypoints span no area in any driving frame, so there is none to compare; leave '
            'out --find_best_frame for this model or clip'
        )
    return best[1:]


class Animator:
    """Animates one source image; all that depends on the source alone is computed once.

    Args:
        models: networks with trained weights, which are switched to eval mode, or an engine
            (modules/inference/engine.py) made of them.
        source: (H, W, C) float in [0, 1], of the size the model was trained for.
        initial: (H, W, C), the driving frame whose pose is the source's.
    """

    @paddle.no_grad()
    def __init__(
        self,
        models: Models | Engine,
        source: np.ndarray,
        initial: np.ndarray,
        normalization: Normalization = ABSOLUTE,
    ):
        self.engine = as_engine(models)
        self.normalization = normalization
        self.source = to_batch(source)
        self.kp_source = self.engine.detect(self.source)
        self.kp_initial = self.engine.detect(to_batch(initial))
        self.encoded = self.engine.encode(self.source, self.kp_source)
        adapt = normalization.adapt_movement_scale and normalization.use_relative_movement
        self.scale = movement_scale(self.kp_source, self.kp_initial) if adapt else 1.0

    @paddle.no_grad()
    def explain(self, frame: np.ndarray, with_deformed: bool = True) -> Animated:
        """A driving frame (H, W, C) -> the source in its pose, and all that led to it.

        Args:
            with_deformed: compute `generated.deformed`, which nothing but a picture of it needs.
        """
        driving = to_batch(frame)
        kp_driving = self.engine.detect(driving)
        kp_norm = normalize_kp(
            self.kp_source, kp_driving, self.kp_initial, self.normalization, self.scale
        )
        generated = self.engine.decode(self.encoded, kp_norm, self.kp_source, with_deformed)
        return Animated(self.source, driving, self.kp_source, kp_driving, kp_norm, generated)


def explained_animation(
    models: Models | Engine,
    source: np.ndarray,
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: np.ndarray | None = None,
    with_deformed: bool = True,
) -> Iterator[Animated]:
    """Animates `source` by the frames of `driving` as they come, holding one at a time.

    Args:
        models, source, normalization: as for Animator.
        driving: frames (H, W, C) float in [0, 1] of the source's size. The same array again is a
            frame that is repeated (see VideoReader) and not computed again: none may be changed.
        initial: the driving frame whose pose is the source's; the first one if None.
        with_deformed: as for Animator.explain.

    Yields:
        A result, and what explains it, for every driving frame; the same object if it is repeated.
    """
    animator, last = None, None
    for frame in driving:
        if animator is None:
            initial = frame if initial is None else initial
            animator = Animator(models, source, initial, normalization)
        if frame is not last:
            last, step = frame, animator.explain(frame, with_deformed)
        yield step


def animate(
    models: Models | Engine,
    source: np.ndarray,
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """The frames of `explained_animation` alone: (H, W, C) float32 in [0, 1], one by one."""
    steps = explained_animation(
        models, source, driving, normalization, initial, with_deformed=False
    )
    return map_repeated(attrgetter('frame'), steps)
