"""Animates a picture with the motion of a video.

    python demo.py --config config/vox-256.yaml --checkpoint vox-cpk.pth.tar \\
        --source_image me.jpg --driving_video clip.mp4 --relative --adapt_scale

Without arguments it animates the bundled picture with the bundled clip and checkpoint.
"""

import argparse
import itertools
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import numpy as np
from tqdm import tqdm

from modules.config import load_config
from modules.inference.options import add_engine_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.process import choose_device, prepare_process
from modules.video import IMAGE_SUFFIXES, VideoReader, VideoWriter, read_image, resize_frame
from modules.video.prefetch import prefetch

ROOT = Path(__file__).resolve().parent
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


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    add_animation_options(parser)
    parser.add_argument(
        '--result_video',
        type=Path,
        default=Path('result.mp4'),
        help='.mp4, .gif, or a name without extension: a folder of PNG frames',
    )
    best = parser.add_mutually_exclusive_group()
    best.add_argument(
        '--best_frame',
        type=int,
        metavar='N',
        help='with --relative: movement is measured from driving frame N instead of frame 0',
    )
    best.add_argument(
        '--find_best_frame',
        action='store_true',
        help="likewise, from the frame whose keypoints are most like the picture's",
    )
    parser.add_argument(
        '--side_by_side', action='store_true', help='show picture | driving video | result'
    )
    parser.add_argument(
        '--audio', action='store_true', help="give the result the driving video's sound"
    )
    add_engine_options(parser)
    options = parser.parse_args()
    choose_bundled(options)
    from_frame = options.best_frame is not None or options.find_best_frame
    if (options.adapt_scale or from_frame) and not options.relative:
        note('--adapt_scale, --best_frame and --find_best_frame change nothing without --relative')
    result = os.path.realpath(options.result_video)
    for path in (options.source_image, options.driving_video):
        if os.path.exists(path) and result == os.path.realpath(path):
            parser.error(f'--result_video {path}: would replace what it is made from')
    in_driving = os.path.dirname(result) == os.path.realpath(options.driving_video)
    if in_driving and result.lower().endswith(IMAGE_SUFFIXES):
        parser.error(
            f'--result_video {options.result_video}: would become a frame of the folder '
            f'{options.driving_video}; choose another place'
        )
    return options


def note(message: str) -> None:
    print(f'note: {message}', file=sys.stderr)


def read_config_and_source(
    options: argparse.Namespace,
) -> Tuple[Dict[str, Any], Tuple[int, int], np.ndarray]:
    """The config, the model's (H, W), and the picture of that size, float32 in [0, 1]."""
    config = load_config(options.config, need=('dataset_params.frame_shape',))
    size = tuple(config['dataset_params']['frame_shape'][:2])
    return config, size, resize_frame(read_image(options.source_image), size)


def read_resized(path: Path, size: Tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames of a clip as they are decoded, float32 in [0, 1] of the model's size."""
    with VideoReader(path) as reader:
        for frame in reader:
            yield resize_frame(frame, size)


def initial_frame(options: argparse.Namespace, engine, source, size) -> Optional[np.ndarray]:
    """The driving frame that movement is measured from; None for the first."""
    from animate import find_best_frame

    driving = read_resized(options.driving_video, size)
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


def main() -> None:
    options = parse_arguments()
    config, size, source = read_config_and_source(options)
    with VideoReader(options.driving_video) as reader:
        fps, total, has_audio = reader.fps, reader.frame_count, reader.has_audio
    audio_from = options.driving_video if options.audio and has_audio else None
    writer = VideoWriter(options.result_video, fps, audio_from=audio_from)
    if options.audio and not has_audio:
        note(f'{options.driving_video} has no sound to copy')

    prepare_process()
    device = choose_device(options.cpu)
    from animate import Normalization, animate, to_bytes
    from modules.checkpoints.models import StoredModels
    from modules.inference.engine import build_engine

    models = StoredModels(config, options.checkpoint)
    params = config['model_params']
    engine = build_engine(models, params, size, options.engine, options.precision)
    initial = initial_frame(options, engine, source, size)
    # One decoder serves the networks and, side by side, the picture of the result.
    driving, shown = itertools.tee(prefetch(read_resized(options.driving_video, size)))
    normalization = Normalization(options.relative, options.relative, options.adapt_scale)
    frames = animate(engine, source, driving, normalization, initial)
    with writer:
        # Where nobody watches, as in a log file, the bar stays away.
        bar = tqdm(zip(frames, shown), f'on {device}', total, unit='frame', disable=None)
        for frame, driving_frame in bar:
            if options.side_by_side:
                frame = np.concatenate([source, driving_frame, frame], axis=1)
            writer.write(to_bytes(frame))
    for warning in filter(None, (writer.audio_warning, writer.rate_warning)):
        note(warning)
    print(f'written: {options.result_video}')


if __name__ == '__main__':
    run_command(main)
