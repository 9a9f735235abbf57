"""The one animation loop (paper Sec. 3.4): arrays in, arrays out, as the frames come.

Driving poses are a stream of keypoints, which are found in frames or come from a file, and may be
changed on their way (modules/animation/driving.py) to what paints them.
"""

import functools
import operator
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor

from modules.animation.batches import map_batches
from modules.animation.normalization import (
    ABSOLUTE,
    Normalization,
    movement_scale,
    normalize_kp,
)
from modules.build import Models
from modules.eager import Engine, as_engine
from modules.generator import Generated
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


@paddle.no_grad()
def detect_all(engine: Engine, frames: Sequence[np.ndarray]) -> list[Keypoints]:
    """The keypoints of frames (H, W, C), in as few runs as the engine's batch allows."""
    found: list[Keypoints] = []
    for start in range(0, len(frames), engine.batch):
        batch = frames[start : start + engine.batch]
        detected = _singly(engine.detect(to_batch(*batch)), len(batch))
        found += [Keypoints(*parts) for parts in detected]
    return found


def detected(engine: Engine, frames: Iterable[np.ndarray]) -> Iterator[Keypoints]:
    """The keypoints of frames as they come, a batch of the engine's at a time; the same object for
    a frame that is repeated.
    """
    return map_batches(functools.partial(detect_all, engine), frames, engine.batch)


def _joined(keypoints: Sequence[Keypoints]) -> Keypoints:
    """Keypoints in batches of one -> in one batch."""
    if len(keypoints) == 1:
        return keypoints[0]
    value, jacobian = (list(parts) for parts in zip(*keypoints))
    return Keypoints(paddle.concat(value), None if jacobian[0] is None else paddle.concat(jacobian))


class Painter:
    """Paints one source in poses; what depends on the source alone is computed once.

    Args:
        models: networks with trained weights, which are switched to eval mode, or an engine
            (modules/inference/engine.py) made of them.
        source: (H, W, C) float in [0, 1], of the size the model was trained for.
        normalization: how poses are carried over to the source.
        rest: the keypoints that relative movement is added to; the source's if None.
    """

    @paddle.no_grad()
    def __init__(
        self,
        models: Models | Engine,
        source: np.ndarray,
        normalization: Normalization = ABSOLUTE,
        rest: Keypoints | None = None,
    ):
        self.engine = as_engine(models)
        self.normalization = normalization
        self.source = to_batch(source)
        (self.kp_source,) = detect_all(self.engine, [source])
        self.rest = self.kp_source if rest is None else rest
        self.encoded = self.engine.encode(self.source, self.kp_source)
        self.kp_initial: Keypoints | None = None
        self.scale = 1.0

    def start(self, kp_initial: Keypoints) -> None:
        """Says the driving pose that is the source's; to be called before anything is painted.

        Raises:
            UserError: the size of the movement is to be adapted, and keypoints span no area.
        """
        self.kp_initial = kp_initial
        normalization = self.normalization
        if normalization.adapt_movement_scale and normalization.use_relative_movement:
            self.scale = movement_scale(self.rest, kp_initial)

    @paddle.no_grad()
    def paint(self, driving: Keypoints, with_deformed: bool = False) -> tuple[Generated, Keypoints]:
        """The source in each of B driving poses, at most `engine.batch`, and these carried over.

        Args:
            with_deformed: compute `deformed`, too, which nothing but a picture of it needs.
        """
        if self.kp_initial is None:
            raise ValueError('start() comes before paint()')
        kp_norm = normalize_kp(self.rest, driving, self.kp_initial, self.normalization, self.scale)
        made = self.engine.decode(self.encoded, kp_norm, self.kp_source, with_deformed)
        return made, kp_norm

    def frames(self, driving: Sequence[Keypoints]) -> list[np.ndarray]:
        """The source in driving poses, at most `engine.batch`: (H, W, C) float32 in [0, 1] each."""
        made, _ = self.paint(_joined(driving))
        return [frame.transpose(1, 2, 0) for frame in made.prediction.numpy()]

    def explain(
        self, frames: Sequence[np.ndarray], driving: Sequence[Keypoints], with_deformed: bool = True
    ) -> list[Animated]:
        """Likewise, and all that led to it.

        Args:
            frames: (H, W, C) in [0, 1], those in which the poses were found.
        """
        made, kp_norm = self.paint(_joined(driving), with_deformed)
        runs = zip(_singly(kp_norm, len(frames)), _singly(made, len(frames)))
        return [
            Animated(self.source, to_batch(frame), self.kp_source, kp, Keypoints(*n), Generated(*g))
            for frame, kp, (n, g) in zip(frames, driving, runs)
        ]


def paint(
    painters: Sequence[Painter],
    keypoints: Iterable[Keypoints],
    initial: Keypoints | None = None,
) -> Iterator[tuple[np.ndarray, ...]]:
    """Every source in every driving pose, as the poses come; holds a batch of the engine's.

    Args:
        painters: of one engine; a pose is found once, whatever their number.
        keypoints: driving poses in batches of one. The same object again is a frame that is
            repeated and not painted again. Where they break off with an error, what came before is
            painted first.
        initial: the driving pose that is the sources'; the first one if None.

    Yields:
        For each pose a frame (H, W, C) float32 in [0, 1] of each painter; the same tuple again for
        a repeated one.
    """
    started = False

    def batch(driving: list[Keypoints]) -> list[tuple[np.ndarray, ...]]:
        nonlocal started
        if not started:
            for painter in painters:
                painter.start(driving[0] if initial is None else initial)
            started = True
        return list(zip(*(painter.frames(driving) for painter in painters)))

    return map_batches(batch, keypoints, painters[0].engine.batch)


def paint_moving(
    engine: Engine,
    sources: Iterable[np.ndarray],
    keypoints: Iterable[Keypoints],
    normalization: Normalization = ABSOLUTE,
    initial: Keypoints | None = None,
) -> Iterator[np.ndarray]:
    """A source that moves itself: its frame i in driving pose i, each encoded anew.

    Relative movement is added to the pose of the source's first frame, so that what is seen moves
    as the driving object alone. The shorter of both ends the result.

    Args:
        sources: frames (H, W, C) float in [0, 1]; the same array again is not encoded again.
        keypoints, initial: as for `paint`.

    Yields:
        (H, W, C) float32 in [0, 1]; the same array again where frame and pose are the same.
    """
    painter: Painter | None = None
    rest: Keypoints | None = None
    last: tuple[Any, Any] = None, None
    for driving, source in zip(keypoints, sources):
        if last[0] is not driving or last[1] is not source:
            if painter is None or last[1] is not source:
                initial = driving if initial is None else initial
                painter = Painter(engine, source, normalization, rest)
                painter.start(initial)
                rest = painter.rest
            (frame,) = painter.frames([driving])
            last = driving, source
        yield frame


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
        models, source, normalization: as for Painter.
        driving: frames (H, W, C) float in [0, 1] of the source's size. The same array again is a
            frame that is repeated (see VideoReader) and not computed again: none may be changed.
            Where they break off with an error, what came before is animated first.
        initial: the driving frame whose pose is the source's; the first one if None.
        with_deformed: as for Painter.paint.

    Yields:
        A result, and what explains it, for every driving frame; the same object if it is repeated.
    """
    painter: Painter | None = None
    engine = as_engine(models)

    def explain(frames: list[np.ndarray]) -> list[Animated]:
        nonlocal painter
        keypoints = detect_all(engine, frames)
        if painter is None:
            painter = Painter(engine, source, normalization)
            painter.start(keypoints[0] if initial is None else detect_all(engine, [initial])[0])
        return painter.explain(frames, keypoints, with_deformed)

    yield from map_batches(explain, driving, engine.batch)


def animate(
    models: Models | Engine,
    source: np.ndarray,
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """The frames of `explained_animation` alone: (H, W, C) float32 in [0, 1], one by one."""
    engine = as_engine(models)
    start = None if initial is None else detect_all(engine, [initial])[0]
    painter = Painter(engine, source, normalization)
    made = paint([painter], detected(engine, driving), start)
    return map_repeated(operator.itemgetter(0), made)
