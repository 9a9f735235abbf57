"""What demo.py and tools/compare.py animate: options, config, picture and clip; needs no Paddle."""

import argparse
import functools
from pathlib import Path
from typing import Any, Dict, Iterator, Tuple

import numpy as np

from modules.config import load_config
from modules.video import VideoReader, map_repeated, read_image, resize_frame

ROOT = Path(__file__).resolve().parents[2]
BUNDLED = ROOT / 'doc' / 'demo'


def add_animation_options(parser: argparse.ArgumentParser) -> None:
    """What is animated, and how: see `choose_bundled` for those that are left out."""
    parser.add_argument(
        '--config', type=Path, help='of the checkpoint; the bundled one if left out'
    )
    parser.add_argument(
        '--checkpoint',
        help='weights: .pth.tar, .pdparams, .safetensors, a folder of .npz files or a known name; '
        "the config's ckpt_model if left out",
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


def choose_bundled(options: argparse.Namespace) -> None:
    """Without a config, the bundled one, with its weights unless others are given."""
    if options.config is None:
        options.config = ROOT / 'config' / 'demo-128.yaml'
        options.checkpoint = options.checkpoint or BUNDLED / 'demo-128.safetensors'


def read_config_and_source(
    options: argparse.Namespace,
) -> Tuple[Dict[str, Any], Tuple[int, int], np.ndarray]:
    """The config, the model's (H, W), and the picture of that size, float32 in [0, 1]."""
    config = load_config(options.config, need=('dataset_params.frame_shape',))
    size = tuple(config['dataset_params']['frame_shape'][:2])
    return config, size, resize_frame(read_image(options.source_image), size)


def read_resized(reader: VideoReader, size: Tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames of a clip as they are decoded, float32 in [0, 1] of the model's size.

    A repeated frame is the same array again.
    """
    return map_repeated(functools.partial(resize_frame, size=size), reader)
