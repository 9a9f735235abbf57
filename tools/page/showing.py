"""What the networks see: keypoints and masks at some moments of a clip, as one picture."""

from __future__ import annotations

import argparse
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from modules.animation.animator import Animated, Painter, detect_all
from modules.animation.boxes import cut, whole
from modules.animation.clip import crop
from modules.animation.cropping import cut_frames
from modules.animation.inputs import open_inputs
from modules.animation.normalization import Normalization
from modules.checkpoints.models import StoredModels
from modules.eager import as_engine
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.util import Keypoints
from modules.video import write_picture
from modules.visualizer import Visualizer, resize_nearest, to_images

MOMENTS = 4
_LOOKED_AT = 400  # frames, at most
_SMALLEST = 128  # pixels of a square of the picture


def draw_networks(
    options: argparse.Namespace,
    path: Path,
    progress: Callable[[int, int | None], None],
    check: Callable[[], None],
) -> None:
    """Writes a picture of what leads to the result, a row for each of some moments.

    Columns: picture, driving frame and result with keypoints, the result, the occlusion map (white:
    warped; black: painted anew), the keypoints' masks in their colours.

    Args:
        options: from `job_options`.
        progress: called with the number of rows, and of all.
        check: called now and then; what it raises ends this.

    Raises:
        UserError: the clip has no frames, or whatever animating them would raise.
    """
    inputs = open_inputs(options)
    with contextlib.closing(inputs):
        models = StoredModels(inputs.config, options.checkpoint).load()
        engine = as_engine(models)
        check()
        crops = crop(options, inputs, engine)
        source = cut(inputs.picture, (crops.boxes or [whole(inputs.picture)])[0], inputs.size)
        count = min(inputs.frame_count or _LOOKED_AT, _LOOKED_AT)
        taken = set(np.linspace(0, count - 1, min(MOMENTS, count)).round().astype(int).tolist())
        frames = itertools.islice(
            cut_frames(inputs.driving or (), crops.driving, inputs.size), count
        )
        painter = Painter(
            engine,
            source,
            Normalization(options.relative, options.relative, options.adapt_scale),
        )
        rows: list[np.ndarray] = []
        for number, frame in enumerate(frames):
            check()
            if number == 0:
                painter.start(detect_all(engine, [frame])[0])
            if number in taken:
                explained = painter.explain([frame], detect_all(engine, [frame]))
                rows.append(_row(explained[0], inputs.config['visualizer_params']))
                progress(len(rows), len(taken))
    if not rows:
        raise UserError(f'{options.driving_video}: has no frames')
    with atomic_output(path) as part:
        write_picture(part, np.concatenate(rows))


def _row(step: Animated, params: dict[str, object]) -> np.ndarray:
    """One moment: (h, columns * w, 3) uint8."""
    visualizer = Visualizer(**params)  # type: ignore[arg-type]  # the config was checked
    made = step.generated
    prediction = to_images(made.prediction)
    size = prediction.shape[1:3]

    def dotted(images: np.ndarray, kp: Keypoints) -> np.ndarray:
        return visualizer.draw_keypoints(images, kp.value)

    columns = [
        dotted(to_images(step.source), step.kp_source),
        dotted(to_images(step.driving), step.kp_driving),
        dotted(prediction, step.kp_norm),
        prediction,
    ]
    if made.occlusion_map is not None:
        columns.append(resize_nearest(to_images(made.occlusion_map), size))
    columns.append(visualizer.draw_masks(made.mask, size))
    row = np.concatenate(columns, axis=2)[0]
    times = max(1, -(-_SMALLEST // size[0]))
    return (255 * row.clip(0, 1)).astype('uint8').repeat(times, axis=0).repeat(times, axis=1)
