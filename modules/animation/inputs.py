"""What demo.py and tools/compare.py animate: config, picture, clip, motion and their time; needs no
Paddle.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.animation.motion_file import Motion, check_config, read_motion
from modules.animation.timeline import Led, TimedClip, Timeline, beside, find_timeline
from modules.checkpoints.download import CONFIGS
from modules.config import load_config
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import note
from modules.video import (
    PICTURE_SUFFIXES,
    AnyReader,
    VideoReader,
    first_frame,
    is_moving,
    map_repeated,
    open_frames,
    resize_frame,
)
from modules.video.writing import holds_sound

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / 'doc' / 'demo'
BUNDLED_CONFIG = ROOT / 'config' / 'demo-128.yaml'
BUNDLED_CHECKPOINT = BUNDLED / 'demo-128.safetensors'
SQUEEZED = 0.02  # of the ratio of width to height, that nobody sees


def choose_config(options: argparse.Namespace) -> None:
    """Without a config, that of the checkpoint; without that either, what is bundled. Without a
    driving clip and a motion file, the bundled clip.

    Raises:
        UserError: --frames is no number of frames.
    """
    if options.frames is not None and options.frames < 1:
        raise UserError(f'--frames {options.frames}: give a number of at least 1')
    if options.driving_video is None and getattr(options, 'motion', None) is None:
        options.driving_video = BUNDLED / 'driving.mp4'
    options.config, options.checkpoint = choose_weights(options.config, options.checkpoint)


def choose_weights(
    config: PathLike | None, checkpoint: PathLike | None
) -> tuple[PathLike, PathLike | None]:
    """A config and weights, where one or both are left out.

    Returns:
        The path of a config; a path or a known name, None where the config lists the weights.
    """
    if config is not None:
        return config, checkpoint
    if checkpoint is None:
        return BUNDLED_CONFIG, BUNDLED_CHECKPOINT
    return _config_of(str(checkpoint)), checkpoint


def _config_of(checkpoint: str) -> Path:
    """The config of a known name, that in the folder of a run, or the bundled one."""
    path = Path(checkpoint)
    if checkpoint in CONFIGS and not os.path.exists(checkpoint):
        return ROOT / 'config' / CONFIGS[checkpoint]
    beside = (path if os.path.isdir(path) else path.parent) / 'config.yaml'
    if os.path.isfile(beside):
        return beside
    if path.exists():  # else who reads it says so
        note(f'{checkpoint}: without --config, {BUNDLED_CONFIG.name} is taken')
    return BUNDLED_CONFIG


def is_same(path: PathLike | None, other: Path) -> bool:
    """Whether two paths lead to the same file."""
    return path is not None and os.path.realpath(path) == os.path.realpath(other)


def read_config_and_source(
    options: argparse.Namespace,
) -> tuple[dict[str, Any], tuple[int, int], np.ndarray]:
    """The config, the model's (H, W), and the picture of that size, float32 in [0, 1]; of a clip
    the first frame.
    """
    config, size, picture = _read_config_and_picture(options)
    note_squeezed(options.source_image, picture.shape, size)
    return config, size, resize_frame(picture, size)


def _read_config_and_picture(
    options: argparse.Namespace,
) -> tuple[dict[str, Any], tuple[int, int], np.ndarray]:
    """The config, the model's (H, W), and the picture as it is, (H, W, 3) uint8; of a clip the
    first frame.
    """
    config = load_config(options.config, need=('dataset_params.frame_shape',))
    size = tuple(config['dataset_params']['frame_shape'][:2])
    picture = first_frame(options.source_image)
    bundled = is_same(options.checkpoint, BUNDLED_CHECKPOINT)
    if bundled and not is_same(options.source_image, BUNDLED / 'source.png'):
        note(
            'the bundled networks have seen drawn creatures alone; for a face give --checkpoint vox'
        )
    return config, size, picture


def last_stays(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Frames, and the last one of them without end."""
    frame = None
    for frame in frames:
        yield frame
    if frame is not None:
        yield from itertools.repeat(frame)


class Inputs(NamedTuple):
    """What demo.py animates."""

    config: dict[str, Any]
    size: tuple[int, int]  # the model's (H, W)
    picture: np.ndarray  # (H, W, 3) uint8: the picture, or the first frame of a clip
    sources: VideoReader | None  # that clip
    driving: TimedClip | None  # None where the motion comes from a file, and no clip is given
    motion: Motion | None  # of the file, all of it
    timeline: Timeline  # of what leads: the motion of a file, else the clip

    @property
    def fps(self) -> Fraction:
        """Frames per second of the result."""
        return self.timeline.fps

    @property
    def frame_count(self) -> int | None:
        """Frames of the result; None where that is not known."""
        return self.timeline.frame_count

    def source_frames(self) -> Iterator[np.ndarray]:
        """Those of the source, uint8, without end: a picture, and a clip's last frame, stay."""
        if self.sources is None:
            return itertools.repeat(self.picture)
        return last_stays(self.sources)

    def sound(self, options: argparse.Namespace) -> dict[str, Any]:
        """What the options ask of a VideoWriter: sound in step with what is seen, if there is any,
        there and back.
        """
        asked: dict[str, Any] = {'there_and_back': options.loop}
        can_hold = holds_sound(options.result_video)
        if options.no_audio or not (can_hold or options.audio):
            return asked
        if self.driving is None or not self.driving.has_audio:
            if options.audio:
                note(f'{options.driving_video or options.motion} has no sound to copy')
        elif options.loop and can_hold:
            note('--loop: written without sound, which is not played backwards; see --no_audio')
        else:
            heard = self.driving.timeline
            asked['audio_from'] = self.driving.path
            asked.update(audio_start=heard.start, audio_speed=heard.speed)
        return asked

    def notes(self) -> list[str]:
        """What was noticed on decoding; complete when all has been read."""
        readers = [reader for reader in (self.driving, self.sources) if reader is not None]
        return [line for reader in readers for line in reader.notes]

    def close(self) -> None:
        """Gives the decoders back."""
        for reader in (self.driving, self.sources):
            if reader is not None:
                reader.close()


def open_inputs(options: argparse.Namespace) -> Inputs:
    """Opens all that demo.py's options name.

    Raises:
        UserError: something is not there, can't be read, or doesn't fit the rest.
    """
    config, size, picture = _read_config_and_picture(options)
    sources = VideoReader(options.source_image) if is_moving(options.source_image) else None
    if sources is not None and sources.frame_count == 1:
        sources = None
    if sources is not None and options.faces != 1:
        raise UserError(
            f'--faces: {options.source_image} moves, and several faces are animated in a picture '
            'alone; leave that out'
        )
    driving = motion = None
    if options.motion is not None:
        motion = read_motion(options.motion)
        check_config(options.motion, motion, size, config['model_params'])
        led = Led(options.motion, motion.fps, motion.frame_count)
    if options.driving_video is not None:
        reader = open_frames(options.driving_video)
        if motion is None:
            timeline = _timeline(options, reader)
            driving = TimedClip(reader, timeline)
        else:
            timeline = _timeline(options, led)
            driving = TimedClip(reader, beside(timeline, reader, motion.start, motion.speed))
    elif motion is not None:
        timeline = _timeline(options, led)
    else:
        raise ValueError('neither a driving clip nor a motion file')
    inputs = Inputs(config, size, picture, sources, driving, motion, timeline)
    _check_lengths(options, inputs)
    return inputs


def _timeline(options: argparse.Namespace, clip: Led | AnyReader) -> Timeline:
    times = options.start, options.end, options.frames, options.fps, options.speed
    return find_timeline(clip, *times)


def stretch_text(options: argparse.Namespace) -> str:
    """' within' and those options that leave out a part of the driving video; '' without any."""
    given = [
        f'--{name} {value}'
        for name in ('start', 'end', 'frames')
        if (value := getattr(options, name)) is not None
    ]
    return ' within ' + ' '.join(given) if given else ''


def _check_lengths(options: argparse.Namespace, inputs: Inputs) -> None:
    """Says what ends before the result does, or before it should."""
    count, driving, sources = inputs.frame_count, inputs.driving, inputs.sources
    if Path(options.result_video).suffix.lower() in PICTURE_SUFFIXES and (count or 1) > 1:
        raise UserError(
            f'--result_video {options.result_video}: a picture holds one frame, and there are '
            f'{count}; give .mp4, or a name without extension for a folder of pictures'
        )
    if inputs.motion is not None and driving is not None and options.side_by_side:
        held = driving.frame_count
        if held is not None and count is not None and held < count:
            raise UserError(
                f'{options.driving_video}: has {held} frames, and {options.motion} the motion of '
                f'{count}; for --side_by_side give the clip that it was made from'
            )
    if sources is not None:
        if sources.frame_count is not None and sources.frame_count < (count or 0):
            note(
                f'{options.source_image}: ends after {sources.frame_count} of {count} frames; its '
                'last one stays'
            )
        if sources.fps != inputs.fps:
            note(
                f'{options.source_image}: {float(sources.fps):.4g} frames a second, and the motion '
                f'{float(inputs.fps):.4g}: they go together frame by frame'
            )


def is_squeezed(shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether what has a shape (H, W, ...) is distorted to a size (H, W), by more than SQUEEZED."""
    ratio = shape[1] * size[0] / (shape[0] * size[1])
    return max(ratio, 1 / ratio) > 1 + SQUEEZED


def note_squeezed(path: PathLike, shape: Sequence[int], size: tuple[int, int]) -> None:
    """Says that a picture or clip will be distorted, if it will.

    Args:
        shape: its height and width, and what may follow.
        size: the model's (H, W).
    """
    if is_squeezed(shape, size):
        note(
            f'{path}: {shape[1]} x {shape[0]} is squeezed to {size[1]} x {size[0]}; crop it to '
            'that shape for a better result'
        )


def read_resized(frames: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames of a clip as they are decoded, float32 in [0, 1] of the model's size.

    A repeated frame is the same array again.
    """
    return map_repeated(functools.partial(resize_frame, size=size), frames)
