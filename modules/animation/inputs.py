"""What demo.py and tools/compare.py animate: options, config, picture and clip; needs no Paddle."""

import argparse
import functools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modules.checkpoints.download import CONFIGS
from modules.config import load_config
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import note
from modules.video import map_repeated, read_image, resize_frame

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / 'doc' / 'demo'
BUNDLED_CONFIG = ROOT / 'config' / 'demo-128.yaml'
BUNDLED_CHECKPOINT = BUNDLED / 'demo-128.safetensors'
SQUEEZED = 0.02  # of the ratio of width to height, that nobody sees


def add_animation_options(parser: argparse.ArgumentParser) -> None:
    """What is animated, and how: see `choose_config` for what is left out."""
    parser.add_argument(
        '--config',
        type=Path,
        help='of the checkpoint; if left out, that of a known name or of a run, else the bundled '
        'one',
    )
    parser.add_argument(
        '--checkpoint',
        help='weights: a known name (vox, vox-512), .pth.tar, .pdparams, .safetensors, the folder '
        "of a run (its newest ones) or of .npz files; the config's ckpt_model if left out",
    )
    parser.add_argument(
        '--source_image', type=Path, default=BUNDLED / 'source.png', help='the picture'
    )
    parser.add_argument(
        '--driving_video',
        type=Path,
        default=BUNDLED / 'driving.mp4',
        help='mp4, gif, mov, webm, ... or a folder of images',
    )
    parser.add_argument(
        '--relative',
        action='store_true',
        help="carry over the movement, not the pose; the first driving frame's pose should be "
        "the picture's",
    )
    parser.add_argument(
        '--adapt_scale',
        action='store_true',
        help='with --relative: scale the movement by the ratio of the sizes of the two objects',
    )
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')


def add_frames_option(parser: argparse._ActionsContainer) -> None:
    """How much is animated, for a try."""
    parser.add_argument(
        '--frames',
        type=int,
        metavar='N',
        help='animate the first N frames of the driving video alone, for a try',
    )


def choose_config(options: argparse.Namespace) -> None:
    """Without a config, that of the checkpoint; without that either, what is bundled.

    Raises:
        UserError: --frames is no number of frames.
    """
    if options.frames is not None and options.frames < 1:
        raise UserError(f'--frames {options.frames}: give a number of at least 1')
    if options.config is not None:
        return
    if options.checkpoint is None:
        options.checkpoint = BUNDLED_CHECKPOINT
        options.config = BUNDLED_CONFIG
    else:
        options.config = _config_of(options.checkpoint)


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
    """The config, the model's (H, W), and the picture of that size, float32 in [0, 1]."""
    config = load_config(options.config, need=('dataset_params.frame_shape',))
    size = tuple(config['dataset_params']['frame_shape'][:2])
    picture = read_image(options.source_image)
    bundled = options.checkpoint and _is_same(options.checkpoint, BUNDLED_CHECKPOINT)
    if bundled and not _is_same(options.source_image, BUNDLED / 'source.png'):
        note(
            'the bundled networks have seen drawn creatures alone; for a face give --checkpoint vox'
        )
    note_squeezed(options.source_image, picture.shape, size)
    return config, size, resize_frame(picture, size)


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


def read_resized(frames: Iterable[np.ndarray], size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames of a clip as they are decoded, float32 in [0, 1] of the model's size.

    A repeated frame is the same array again.
    """
    return map_repeated(functools.partial(resize_frame, size=size), frames)
