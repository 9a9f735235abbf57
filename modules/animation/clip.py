"""A picture in the motion of a clip, frame by frame from the decoder to the result."""

import argparse
import itertools
from collections.abc import Iterator
from operator import itemgetter

import numpy as np
from tqdm import tqdm

from modules.animation.animator import Painter, detected, paint, paint_moving
from modules.animation.driving import (
    ClipDriving,
    Driving,
    MotionDriving,
    Recorder,
    Smoother,
    find_best_frame,
)
from modules.animation.inputs import Inputs
from modules.animation.motion_file import check_detector, write_motion
from modules.animation.normalization import Normalization
from modules.checkpoints.models import StoredModels
from modules.eager import Engine
from modules.inference.choice import build_engine
from modules.runtime.errors import UserError
from modules.runtime.messages import note
from modules.util import Keypoints
from modules.video import VideoWriter, map_repeated
from modules.video.levels import to_bytes
from modules.video.prefetch import prefetch


def initial_pose(
    options: argparse.Namespace, kp_source: Keypoints, driving: Driving, count: int | None
) -> Keypoints | None:
    """The driving pose that movement is measured from; None for the first.

    Args:
        count: of the poses, for the bar.
    """
    if options.find_best_frame:
        print('looking for the best frame', flush=True)
        bar = tqdm(iter(driving), 'best frame', count, unit='frame', disable=None)
        number, pose = find_best_frame(kp_source, bar)
        print(f'best frame: {number}')
        return pose
    if options.best_frame is None:
        return None
    found = driving.pose(options.best_frame)
    if found is None:
        raise UserError(
            f'--best_frame {options.best_frame}: {options.motion or options.driving_video} has no '
            f'such frame{f" within --frames {options.frames}" if options.frames else ""}; they '
            'count from 0'
        )
    return found


def animate_clip(
    options: argparse.Namespace, inputs: Inputs, writer: VideoWriter, device: str
) -> None:
    """Animates a picture with the motion of demo.py's options into a writer.

    Args:
        inputs: from `open_inputs`.
        device: its name, for the progress bar.
    """
    models = StoredModels(inputs.config, options.checkpoint)
    recorder = None
    if options.motion is not None or options.save_motion is not None:
        detector = models.detector_hash()
        if inputs.motion is not None:
            check_detector(options.motion, inputs.motion, detector)
        else:
            recorder = Recorder(inputs.fps, inputs.size, detector)
    smoother = Smoother(inputs.fps, inputs.size) if options.smooth else None
    engine = _engine(options, inputs, models)

    driving: Driving = ClipDriving(engine, inputs.driving_frames)
    if inputs.motion is not None:
        driving = MotionDriving(inputs.motion)
    normalization = Normalization(
        options.relative, options.relative, options.adapt_scale, options.motion_scale
    )
    painter = Painter(engine, inputs.source, normalization)
    initial = initial_pose(options, painter.kp_source, driving, inputs.frame_count)

    keypoints, shown = _poses(options, inputs, engine, driving)
    if recorder is not None:
        keypoints = recorder.record(keypoints)
    if smoother is not None:
        keypoints = smoother.smooth(keypoints)
    frames: Iterator[np.ndarray]
    sources: Iterator[np.ndarray]
    if inputs.sources is None:
        frames = map_repeated(itemgetter(0), paint([painter], keypoints, initial))
        sources = inputs.source_frames()
    else:
        seen, sources = itertools.tee(inputs.source_frames())
        frames = paint_moving(engine, seen, keypoints, normalization, initial)
    with writer:
        # Where nobody watches, as in a log file, the bar stays away.
        bar = tqdm(frames, f'on {device}', inputs.frame_count, unit='frame', disable=None)
        for frame, source, driving_frame in zip(bar, sources, shown):
            if options.side_by_side:
                frame = np.concatenate([source, driving_frame, frame], axis=1)
            writer.write(to_bytes(frame))
        if inputs.motion is not None and writer.frame_count < inputs.motion.frame_count:
            # Known beforehand (see `open_inputs`) but of streams without time stamps.
            raise UserError(f'{options.driving_video}: ends before the motion does; leave it out')
        if recorder is not None:
            write_motion(options.save_motion, recorder.motion())
    if smoother is not None:
        print(smoother.report())


def _engine(options: argparse.Namespace, inputs: Inputs, models: StoredModels) -> Engine:
    batch = options.batch
    if inputs.sources is not None:
        if batch is not None and batch > 1:
            note(f'--batch {batch}: frames of a moving source are computed one by one')
        batch = 1
    params = inputs.config['model_params']
    return build_engine(models, params, inputs.size, options.engine, options.precision, batch=batch)


def _poses(
    options: argparse.Namespace, inputs: Inputs, engine: Engine, driving: Driving
) -> tuple[Iterator[Keypoints], Iterator[np.ndarray | None]]:
    """Driving poses, and the frames to be shown beside the result, if they are."""
    if inputs.motion is not None and not options.side_by_side:
        return iter(driving), itertools.repeat(None)
    # One decoder serves the networks and, side by side, the picture of the result. While a batch is
    # computed it gets the next one ready.
    ready = prefetch(inputs.driving_frames(), ahead=max(2, engine.batch))
    if inputs.motion is not None:
        return iter(driving), ready
    seen, shown = itertools.tee(ready)
    return detected(engine, seen), shown
