"""A picture in the motion of a clip, frame by frame from the decoder to the result."""

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
from tqdm import tqdm

from modules.animation.animator import animate, find_best_frame
from modules.animation.batches import twice
from modules.animation.inputs import read_resized
from modules.animation.normalization import Normalization
from modules.animation.options import stretch_text
from modules.animation.timeline import TimedClip
from modules.checkpoints.models import StoredModels
from modules.eager import Engine
from modules.inference.choice import build_engine
from modules.runtime.errors import UserError
from modules.video import VideoWriter
from modules.video.levels import to_bytes
from modules.video.prefetch import prefetch


def initial_frame(
    options: argparse.Namespace,
    engine: Engine,
    source: np.ndarray,
    clip: TimedClip,
    size: tuple[int, int],
) -> np.ndarray | None:
    """The driving frame that movement is measured from; None for the first."""
    if options.find_best_frame:
        print('looking for the best frame', flush=True)
        driving = read_resized(clip, size)
        bar = tqdm(driving, 'best frame', clip.frame_count, unit='frame', disable=None)
        index, frame = find_best_frame(engine, source, bar)
        print(f'best frame: {clip.timeline.number(index)}')
        return frame
    if options.best_frame is None:
        return None
    frame = next(read_resized(clip.frame_at(options.best_frame), size), None)
    if frame is None:
        raise UserError(
            f'--best_frame {options.best_frame}: {options.driving_video} has no such frame'
            f'{stretch_text(options)}; they count from 0, the first one of the file'
        )
    return frame


def animate_clip(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    size: tuple[int, int],
    source: np.ndarray,
    clip: TimedClip,
    writer: VideoWriter,
    device: str,
) -> None:
    """Animates a picture with the driving clip of demo.py's options into a writer.

    Args:
        config, size, source: from `read_config_and_source`.
        clip: what of the driving clip is animated.
        device: its name, for the progress bar.
    """
    models = StoredModels(config, options.checkpoint)
    params = config['model_params']
    engine = build_engine(
        models, params, size, options.engine, options.precision, batch=options.batch
    )
    initial = initial_frame(options, engine, source, clip, size)
    # One decoder serves the networks and, side by side, the picture of the result. While a batch is
    # computed it gets the next one ready.
    ready = prefetch(read_resized(clip, size), ahead=max(2, engine.batch))
    driving, shown = twice(ready)
    normalization = Normalization(options.relative, options.relative, options.adapt_scale)
    frames = animate(engine, source, driving, normalization, initial)
    with writer:
        # Where nobody watches, as in a log file, the bar stays away.
        steps = zip(frames, shown)
        bar = tqdm(steps, f'on {device}', clip.frame_count, unit='frame', disable=None)
        for frame, driving_frame in bar:
            if options.side_by_side:
                frame = np.concatenate([source, driving_frame, frame], axis=1)
            writer.write(to_bytes(frame))
