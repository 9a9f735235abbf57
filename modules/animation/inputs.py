"""What demo.py and tools/compare.py animate: config, picture, clip and motion; needs no Paddle."""

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
from modules.checkpoints.download import CONFIGS
from modules.config import load_config
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import note
from modules.video import (
    PICTURE_SUFFIXES,
    AnyReader,
    VideoReader,
    is_moving,
    map_repeated,
    open_frames,
    read_image,
    resize_frame,
)

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


def _is_same(path: PathLike, other: Path) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)


def read_config_and_source(
    options: argparse.Namespace,
) -> tuple[dict[str, Any], tuple[int, int], np.ndarray]:
    """The config, the model's (H, W), and the picture of that size, float32 in [0, 1]; of a clip
    the first frame.
    """
    config = load_config(options.config, need=('dataset_params.frame_shape',))
    size = tuple(config['dataset_params']['frame_shape'][:2])
    picture = _read_source(options.source_image)
    bundled = options.checkpoint and _is_same(options.checkpoint, BUNDLED_CHECKPOINT)
    if bundled and not _is_same(options.source_image, BUNDLED / 'source.png'):
        note(
            'the bundled networks have seen drawn creatures alone; for a face give --checkpoint vox'
        )
    note_squeezed(options.source_image, picture.shape, size)
    return config, size, resize_frame(picture, size)


def _read_source(path: PathLike) -> np.ndarray:
    if not is_moving(path):
        return read_image(path)
    with VideoReader(path) as reader:
        return next(iter(reader))


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
    source: np.ndarray  # (H, W, 3) float32 in [0, 1]: the picture, or the first frame of a clip
    sources: VideoReader | None  # that clip
    driving: AnyReader | None  # None where the motion comes from a file, and no clip is given
    motion: Motion | None  # of the file
    fps: Fraction  # of the result
    frame_count: int | None  # likewise; None where that is not known

    def driving_frames(self) -> Iterator[np.ndarray]:
        """The frames of the driving clip that are animated, as of `read_resized`."""
        if self.driving is not None:
            yield from read_resized(self.driving, self.size, self.frame_count)

    def source_frames(self) -> Iterator[np.ndarray]:
        """Those of the source, without end: a picture, and a clip's last frame, stay."""
        if self.sources is None:
            return itertools.repeat(self.source)
        return last_stays(read_resized(self.sources, self.size))

    @property
    def sound(self) -> PathLike | None:
        """The clip whose sound can go with the result."""
        return self.driving.path if self.driving is not None and self.driving.has_audio else None

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
    config, size, source = read_config_and_source(options)
    sources = VideoReader(options.source_image) if is_moving(options.source_image) else None
    if sources is not None and sources.frame_count == 1:
        sources = None
    driving = None if options.driving_video is None else open_frames(options.driving_video)
    motion = None
    if options.motion is not None:
        motion = read_motion(options.motion)
        check_config(options.motion, motion, size, config['model_params'])
        if options.frames is not None:
            motion = motion.take(range(min(options.frames, motion.frame_count)))
    if driving is not None and (motion is None or options.side_by_side):
        note_squeezed(options.driving_video, driving.size, size)
    led: Motion | AnyReader | None = motion or driving
    if led is None:
        raise ValueError('neither a driving clip nor a motion file')
    counts = (count for count in (led.frame_count, options.frames) if count is not None)
    inputs = Inputs(
        config, size, source, sources, driving, motion, led.fps, min(counts, default=None)
    )
    _check_lengths(options, inputs)
    return inputs


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


def note_squeezed(path: Path, shape: Sequence[int], size: tuple[int, int]) -> None:
    """Says that a picture or clip will be distorted, where that is by more than SQUEEZED.

    Args:
        shape: its height and width, and what may follow.
        size: the model's (H, W).
    """
    ratio = shape[1] * size[0] / (shape[0] * size[1])
    if max(ratio, 1 / ratio) > 1 + SQUEEZED:
        note(
            f'{path}: {shape[1]} x {shape[0]} is squeezed to {size[1]} x {size[0]}; crop it to '
            'that shape for a better result'
        )


def read_resized(
    reader: Iterable[np.ndarray], size: tuple[int, int], count: int | None = None
) -> Iterator[np.ndarray]:
    """The frames of a clip as they are decoded, float32 in [0, 1] of the model's size.

    A repeated frame is the same array again.

    Args:
        count: of the frames from its start; all if None.
    """
    frames = itertools.islice(reader, count)
    return map_repeated(functools.partial(resize_frame, size=size), frames)
