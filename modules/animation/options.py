"""The command line options of demo.py, a function for each group of `--help`; needs no Paddle."""

import argparse
import math
import os
from pathlib import Path

from modules.animation.inputs import BUNDLED
from modules.inference.options import add_engine_options
from modules.runtime.errors import UserError
from modules.runtime.files import check_output
from modules.runtime.messages import note
from modules.video import IMAGE_SUFFIXES

Options = argparse.ArgumentParser | argparse._ArgumentGroup


def add_input_options(parser: argparse.ArgumentParser) -> None:
    """What is animated: see `choose_config` for what is left out."""
    group = parser.add_argument_group('inputs')
    group.add_argument(
        '--config',
        type=Path,
        help='of the checkpoint; if left out, that of a known name or of a run, else the bundled '
        'one',
    )
    group.add_argument(
        '--checkpoint',
        help='weights: a known name (vox, vox-512), .pth.tar, .pdparams, .safetensors, the folder '
        "of a run (its newest ones) or of .npz files; the config's ckpt_model if left out",
    )
    group.add_argument(
        '--source_image',
        type=Path,
        default=BUNDLED / 'source.png',
        help='the picture, or a clip: its frame i then goes with driving frame i',
    )
    group.add_argument(
        '--driving_video',
        type=Path,
        help='mp4, gif, mov, webm, ... or a folder of images; a picture is a clip of one frame',
    )
    group.add_argument(
        '--frames',
        type=int,
        metavar='N',
        help='animate the first N frames of the driving video alone, for a try',
    )


def _add_normalization_options(group: Options) -> None:
    group.add_argument(
        '--relative',
        action='store_true',
        help="carry over the movement, not the pose; the first driving frame's pose should be "
        "the picture's",
    )
    group.add_argument(
        '--adapt_scale',
        action='store_true',
        help='with --relative: scale the movement by the ratio of the sizes of the two objects',
    )


def add_motion_options(parser: argparse.ArgumentParser) -> None:
    """How the motion is carried over, and where it is kept: see `check_motion_options`."""
    group = parser.add_argument_group('motion')
    _add_normalization_options(group)
    group.add_argument(
        '--motion_scale',
        type=_factor,
        default=1.0,
        metavar='FACTOR',
        help='with --relative: the movement is FACTOR times the driving one; 0: none',
    )
    best = group.add_mutually_exclusive_group()
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
    group.add_argument(
        '--smooth',
        action='store_true',
        help='smooth the motion over time where it is slow (one-euro filter); says by how much',
    )
    files = group.add_mutually_exclusive_group()
    files.add_argument(
        '--save_motion',
        type=Path,
        metavar='FILE',
        help='keep the motion, keypoints without pixels, for --motion',
    )
    files.add_argument(
        '--motion',
        type=Path,
        metavar='FILE',
        help='take the motion from this file; --driving_video then gives its sound, and its frames '
        'to --side_by_side, if it is given',
    )


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """What is written, and how."""
    group = parser.add_argument_group('result')
    group.add_argument(
        '--result_video',
        type=Path,
        default=Path('result.mp4'),
        help='.mp4, .gif, .png or .jpg of a single frame, or a name without extension: a folder of '
        'PNG frames',
    )
    group.add_argument(
        '--side_by_side', action='store_true', help='show picture | driving video | result'
    )
    group.add_argument(
        '--audio', action='store_true', help="give the result the driving video's sound"
    )


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """What computes it."""
    group = parser.add_argument_group('engine')
    add_engine_options(group)  # type: ignore[arg-type]  # a group adds options as a parser does
    _add_cpu(group)


def add_animation_options(parser: argparse.ArgumentParser) -> None:
    """What is animated, and how, without more: for tools/compare.py."""
    add_input_options(parser)
    _add_normalization_options(parser)
    _add_cpu(parser)


def _add_cpu(group: Options) -> None:
    group.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')


def check_motion_options(options: argparse.Namespace) -> None:
    """Says what changes nothing.

    Raises:
        UserError: --motion_scale without --relative: there is no movement then to be scaled, since
            the driving pose itself is taken.
    """
    if options.relative:
        return
    if options.motion_scale != 1:
        raise UserError(
            f'--motion_scale {options.motion_scale:g}: scales the movement since the first frame, '
            'which is carried over by --relative; add that'
        )
    from_frame = options.best_frame is not None or options.find_best_frame
    if options.adapt_scale or from_frame:
        note('--adapt_scale, --best_frame and --find_best_frame change nothing without --relative')


def check_result_options(options: argparse.Namespace) -> None:
    """
    Raises:
        UserError: what is written would replace, or become, what it is made from.
    """
    inputs = [options.source_image, options.driving_video, options.motion, options.checkpoint]
    there = [path for path in inputs if path is not None and os.path.exists(path)]
    for name in ('result_video', 'save_motion'):
        path = getattr(options, name)
        for other in there:
            if path is not None and os.path.realpath(path) == os.path.realpath(other):
                raise UserError(f'--{name} {path}: would replace what it is made from')
    result = os.path.realpath(options.result_video)
    if options.save_motion is not None:
        if os.path.realpath(options.save_motion) == result:
            raise UserError(f'--save_motion {options.save_motion}: is the --result_video')
        check_output(options.save_motion)
    for name in ('driving_video', 'source_image'):
        folder = getattr(options, name)
        inside = folder is not None and os.path.dirname(result) == os.path.realpath(folder)
        if inside and result.lower().endswith(IMAGE_SUFFIXES):
            raise UserError(
                f'--result_video {options.result_video}: would become a frame of the folder '
                f'{folder}; choose another place'
            )
    if options.side_by_side and options.driving_video is None:
        raise UserError(
            '--side_by_side: a motion file holds no frames to show; add its --driving_video'
        )


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f'{text}: give a number of at least 0')
    return value
