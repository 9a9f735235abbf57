"""A picture in the motion of a clip, frame by frame from the decoder to the result."""

import argparse
import itertools
from typing import Any, Mapping, Optional, Tuple

import numpy as np
from tqdm import tqdm

from modules.animation.animator import animate, find_best_frame
from modules.animation.inputs import read_resized
from modules.animation.normalization import Normalization
from modules.checkpoints.models import StoredModels
from modules.eager import Engine
from modules.inference.choice import build_engine
from modules.runtime.errors import UserError
from modules.video import VideoReader, VideoWriter
from modules.video.levels import to_bytes
from modules.video.prefetch import prefetch


def initial_frame(
    options: argparse.Namespace,
    engine: Engine,
    source: np.ndarray,
    reader: VideoReader,
    size: Tuple[int, int],
) -> Optional[np.ndarray]:
    """The driving frame that movement is measured from; None for the first."""
    driving = read_resized(reader, size)
    if options.find_best_frame:
        number, frame = find_best_frame(engine, source, driving)
        print(f'best frame: {number}')
        return frame
    if options.best_frame is None:
        return None
    frame = None
    if options.best_frame >= 0:
        frame = next(itertools.islice(driving, options.best_frame, None), None)
    if frame is None:
        raise UserError(
            f'--best_frame {options.best_frame}: {options.driving_video} has no such frame; '
            'they count from 0'
        )
    return frame


def animate_clip(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    size: Tuple[int, int],
    source: np.ndarray,
    reader: VideoReader,
    writer: VideoWriter,
    device: str,
) -> None:
    """Animates a picture with the driving clip of demo.py's options into a writer.

    Args:
        config, size, source: from `read_config_and_source`.
        reader: of the driving clip.
        device: its name, for the progress bar.
    """
    models = StoredModels(config, options.checkpoint)
    params = config['model_params']
    engine = build_engine(models, params, size, options.engine, options.precision)
    initial = initial_frame(options, engine, source, reader, size)
    # One decoder serves the networks and, side by side, the picture of the result.
    driving, shown = itertools.tee(prefetch(read_resized(reader, size)))
    normalization = Normalization(options.relative, options.relative, options.adapt_scale)
    frames = animate(engine, source, driving, normalization, initial)
    with writer:
        # Where nobody watches, as in a log file, the bar stays away.
        total = reader.frame_count
        bar = tqdm(zip(frames, shown), f'on {device}', total, unit='frame', disable=None)
        for frame, driving_frame in bar:
            if options.side_by_side:
                frame = np.concatenate([source, driving_frame, frame], axis=1)
            writer.write(to_bytes(frame))
