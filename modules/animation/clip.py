"""A picture in the motion of a clip, frame by frame from the decoder to the result."""

import argparse
import itertools
from collections.abc import Mapping
from typing import Any

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
    size: tuple[int, int],
) -> np.ndarray | None:
    """The driving frame that movement is measured from; None for the first."""
    driving = read_resized(reader, size, options.frames)
    if options.find_best_frame:
        print('looking for the best frame', flush=True)
        bar = tqdm(driving, 'best frame', count_of(options, reader), unit='frame', disable=None)
        number, frame = find_best_frame(engine, source, bar)
        print(f'best frame: {number}')
        return frame
    if options.best_frame is None:
        return None
    frame = None
    if options.best_frame >= 0:
        frame = next(itertools.islice(driving, options.best_frame, None), None)
    if frame is None:
        raise UserError(
            f'--best_frame {options.best_frame}: {options.driving_video} has no such frame'
            f'{f" within --frames {options.frames}" if options.frames else ""}; they count from 0'
        )
    return frame


def count_of(options: argparse.Namespace, reader: VideoReader) -> int | None:
    """How many frames are animated; None where that is not known."""
    known = [count for count in (reader.frame_count, options.frames) if count is not None]
    return min(known, default=None)


def animate_clip(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    size: tuple[int, int],
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
    engine = build_engine(
        models, params, size, options.engine, options.precision, batch=options.batch
    )
    initial = initial_frame(options, engine, source, reader, size)
    # One decoder serves the networks and, side by side, the picture of the result. While a batch is
    # computed it gets the next one ready.
    ready = prefetch(read_resized(reader, size, options.frames), ahead=max(2, engine.batch))
    driving, shown = itertools.tee(ready)
    normalization = Normalization(options.relative, options.relative, options.adapt_scale)
    frames = animate(engine, source, driving, normalization, initial)
    with writer:
        # Where nobody watches, as in a log file, the bar stays away.
        total = count_of(options, reader)
        bar = tqdm(zip(frames, shown), f'on {device}', total, unit='frame', disable=None)
        for frame, driving_frame in bar:
            if options.side_by_side:
                frame = np.concatenate([source, driving_frame, frame], axis=1)
            writer.write(to_bytes(frame))
