"""The options of demo.py, a function a group; needs no Paddle."""

import argparse
import math
import os
from pathlib import Path

from modules.animation.boxes import Box
from modules.animation.faces import INSTALL, has_face_detector
from modules.runtime.errors import UserError
from modules.runtime.files import check_output

CROPS = ('auto', 'face', 'object', 'none')


def add_crop_options(parser: argparse.ArgumentParser) -> None:
    """--crop, --source_crop, --driving_crop and --show_crop."""
    group = parser.add_argument_group('cropping')
    group.add_argument(
        '--crop',
        choices=CROPS,
        default='auto',
        help='what of picture and clip goes into the model: the face, the object that its own '
        'keypoints find, or, with none, all; auto (the default): all of what is cropped already, '
        'else the face, else the object',
    )
    for name, of in (('source', 'picture'), ('driving', 'clip')):
        group.add_argument(
            f'--{name}_crop',
            type=_box,
            metavar='X,Y,W,H',
            help=f'crop the {of} to this box: left, top, width and height in pixels',
        )
    group.add_argument(
        '--show_crop',
        type=Path,
        metavar='FILE.png',
        help="write the picture and the clip's first frame with their boxes drawn in",
    )


def check_crop_options(options: argparse.Namespace) -> None:
    """
    Raises:
        UserError: faces are asked for, and what finds them is not installed; --show_crop can't be
            written, or would replace an input.
    """
    by_hand = options.source_crop is not None and options.driving_crop is not None
    if options.crop == 'face' and not by_hand and not has_face_detector():
        raise UserError(f'--crop face: faces are found by an extra: {INSTALL}')
    path = options.show_crop
    if path is None:
        return
    if path.suffix.lower() != '.png':
        raise UserError(f'--show_crop {path}: is written as PNG; give a name that ends in .png')
    inputs = [os.path.realpath(p) for p in (options.source_image, options.driving_video)]
    if os.path.realpath(path) in inputs or os.path.realpath(path.parent) in inputs:
        raise UserError(f'--show_crop {path}: would replace or join what the result is made from')
    check_output(path)


def _box(text: str) -> Box:
    """x,y,w,h -> Box."""
    try:
        x, y, w, h = (float(number) for number in text.split(','))
    except ValueError:
        x = y = w = h = math.nan
    if not all(map(math.isfinite, (x, y, w, h))) or w < 1 or h < 1:
        raise argparse.ArgumentTypeError(
            f'{text}: give four numbers x,y,w,h: left, top, width and height in pixels'
        )
    return Box(x, y, w, h)
