"""The one animation loop (paper Sec. 3.4): arrays in, arrays out, as the frames come."""

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor

from modules.animation.batches import map_batches
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


def to_batch(*frames: np.ndarray) -> Tensor:
    """B frames (H, W, C) float in [0, 1] -> (B, C, H, W) float32."""
    return paddle.to_tensor(np.stack(frames).astype('float32', copy=False).transpose(0, 3, 1, 2))


def _singly(parts: Sequence[Tensor | None], count: int) -> Iterator[Sequence[Any]]:
    """What a run has, or gave, for so many frames, frame by frame, in batches of one."""
    if count == 1:
        yield parts
        return
    for i in range(count):
        yield [None if part is None else part[i : i + 1] for part in parts]


def detect_all(engine: Engine, frames: Sequence[np.ndarray]) -> list[Keypoints]:
    """The keypoints of frames (H, W, C), in as few runs as the engine's batch allows."""
    found: list[Keypoints] = []
    for start in range(0, len(frames), engine.batch):
        batch = frames[start : start + engine.batch]
        detected = _singly(engine.detect(to_batch(*batch)), len(batch))
        found += [Keypoints(*parts) for parts in detected]
    return found


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

    def pose(detected: Keypoints) -> np.ndarray:
        kp = detected.value[0].numpy()
        return (kp - kp.mean(axis=0)) / np.sqrt(hull_area(kp))

    def detect(frames: list[np.ndarray]) -> list[tuple[np.ndarray, Keypoints]]:
        return list(zip(frames, detect_all(engine, frames)))

    target = pose(*detect_all(engine, [source]))
    best = None
    for number, (frame, detected) in enumerate(map_batches(detect, driving, engine.batch)):
        try:
            distance = np.square(pose(detected) - target).sum()
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
        # In one run where that takes several frames: it takes as long for one as for all.
        self.kp_source, self.kp_initial = detect_all(self.engine, [source, initial])
        self.encoded = self.engine.encode(self.source, self.kp_source)
        adapt = normalization.adapt_movement_scale and normalization.use_relative_movement
        self.scale = movement_scale(self.kp_source, self.kp_initial) if adapt else 1.0

    def explain(self, frame: np.ndarray, with_deformed: bool = True) -> Animated:
        """A driving frame (H, W, C) -> the source in its pose, and all that led to it.

        Args:
            with_deformed: compute `generated.deformed`, which nothing but a picture of it needs.
        """
        return self.explain_batch([frame], with_deformed)[0]

    @paddle.no_grad()
    def explain_batch(
        self,
        frames: Sequence[np.ndarray],
        with_deformed: bool = True,
        kp_driving: Keypoints | None = None,
    ) -> list[Animated]:
        """`explain` for frames in one run, at most `engine.batch`.

        Args:
            kp_driving: their keypoints, where they are known already.
        """
        driving = to_batch(*frames)
        if kp_driving is None:
            kp_driving = self.engine.detect(driving)
        kp_norm = normalize_kp(
            self.kp_source, kp_driving, self.kp_initial, self.normalization, self.scale
        )
        generated = self.engine.decode(self.encoded, kp_norm, self.kp_source, with_deformed)
        runs = ((driving,), kp_driving, kp_norm, generated)
        found = []
        for image, kp, norm, made in zip(*(_singly(parts, len(frames)) for parts in runs)):
            led_to = Keypoints(*kp), Keypoints(*norm), Generated(*made)
            found.append(Animated(self.source, image[0], self.kp_source, *led_to))
        return found


def explained_animation(
    models: Models | Engine,
    source: np.ndarray,
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: np.ndarray | None = None,
    with_deformed: bool = True,
) -> Iterator[Animated]:
    """Animates `source` by the frames of `driving` as they come, holding a batch of the engine's at
    a time: a single frame, unless it was made for more.

    Args:
        models, source, normalization: as for Animator.
        driving: frames (H, W, C) float in [0, 1] of the source's size. The same array again is a
            frame that is repeated (see VideoReader) and not computed again: none may be changed.
            Where they break off with an error, what came before is animated first.
        initial: the driving frame whose pose is the source's; the first one if None.
        with_deformed: as for Animator.explain.

    Yields:
        A result, and what explains it, for every driving frame; the same object if it is repeated.
    """
    engine = as_engine(models)
    animator: Animator | None = None

    def explain(frames: list[np.ndarray]) -> list[Animated]:
        nonlocal animator
        if animator is None:
            start = frames[0] if initial is None else initial
            animator = Animator(engine, source, start, normalization)
        return animator.explain_batch(frames, with_deformed)

    yield from map_batches(explain, driving, engine.batch)


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


def animate_several(
    models: Models | Engine,
    sources: Sequence[np.ndarray],
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: np.ndarray | None = None,
) -> Iterator[tuple[np.ndarray, ...]]:
    """`animate` for several sources at once, in whose driving frames keypoints are found once.

    Yields:
        For every driving frame a frame of each source; the same tuple if it is repeated.
    """
    engine = as_engine(models)
    animators: list[Animator] = []

    @paddle.no_grad()
    def frames_of(batch: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        if not animators:
            start = batch[0] if initial is None else initial
            animators.extend(Animator(engine, each, start, normalization) for each in sources)
        detected = engine.detect(to_batch(*batch))
        made = [animator.explain_batch(batch, False, detected) for animator in animators]
        return [tuple(step.frame for step in steps) for steps in zip(*made)]

    return map_batches(frames_of, driving, engine.batch)
