"""A picture in the motion of a clip, frame by frame from the decoder to the result."""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from tqdm import tqdm

from modules.animation.animator import animate, detect_all, find_best_frame
from modules.animation.crop_picture import write_crop_picture
from modules.animation.cropping import Crops, Material, choose_crops, cut_frames, cut_source
from modules.animation.faces import has_face_detector, load_face_detector
from modules.animation.finding import Detect, Finder
from modules.animation.following import Way
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
    way: Way | None = None,
) -> np.ndarray | None:
    """The driving frame that movement is measured from, cropped; None for the first."""
    driving = cut_frames(itertools.islice(reader, options.frames), way, size)
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


def keypoint_detection(engine: Engine) -> Detect:
    """An engine's keypoint detector, for arrays."""

    def detect(frames: Sequence[np.ndarray]) -> np.ndarray:
        with paddle.no_grad():
            return np.concatenate([kp.value.numpy() for kp in detect_all(engine, frames)])

    return detect


def crop(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    engine: Engine,
    picture: np.ndarray,
    reader: VideoReader,
) -> Crops:
    """What of picture and clip goes into the model, by demo.py's options; shown if they want it."""
    source = Material.of_picture(options.source_image, picture)
    driving = Material.of_clip(options.driving_video, reader, options.frames)
    size = tuple(config['dataset_params']['frame_shape'][:2])
    wants_faces = options.crop in ('auto', 'face') and has_face_detector()
    # Loaded once a face is looked for, which takes time and memory.
    faces = (lambda shown: load_face_detector()(shown)) if wants_faces else None
    finder = Finder(keypoint_detection(engine), size)
    crops = choose_crops(options, config, source, driving, finder, faces)
    if options.show_crop is not None:
        first = None if crops.driving is None else crops.driving.box(0)
        write_crop_picture(options.show_crop, [(picture, crops.source), (driving.first, first)])
        print(f'written: {options.show_crop}')
    return crops


def animate_clip(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    size: tuple[int, int],
    picture: np.ndarray,
    reader: VideoReader,
    writer: VideoWriter,
    device: str,
) -> None:
    """Animates a picture with the driving clip of demo.py's options into a writer.

    Args:
        config, size, picture: from `read_config_and_picture`.
        reader: of the driving clip.
        device: its name, for the progress bar.
    """
    models = StoredModels(config, options.checkpoint)
    params = config['model_params']
    engine = build_engine(
        models, params, size, options.engine, options.precision, batch=options.batch
    )
    crops = crop(options, config, engine, picture, reader)
    source = cut_source(picture, crops.source, size)
    initial = initial_frame(options, engine, source, reader, size, crops.driving)
    # One decoder serves the networks and, side by side, the picture of the result. While a batch is
    # computed it gets the next one ready.
    frames_in = itertools.islice(reader, options.frames)
    ready = prefetch(cut_frames(frames_in, crops.driving, size), ahead=max(2, engine.batch))
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
