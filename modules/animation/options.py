"""The options of demo.py, a function a group; needs no Paddle."""

import argparse
import math
import os
from pathlib import Path

from modules.animation.boxes import Box
from modules.animation.composing import LARGEST
from modules.animation.faces import INSTALL, has_face_detector
from modules.runtime.errors import UserError
from modules.runtime.files import check_output
from modules.runtime.messages import note
from modules.video.writing import MOVIE_SUFFIXES

ALL_FACES = 'all'  # of --faces
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


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """--paste_back, --no_paste_back, --faces, --size and --upscale."""
    group = parser.add_argument_group('result')
    pasting = group.add_mutually_exclusive_group()
    pasting.add_argument(
        '--paste_back',
        action='store_true',
        help='put what was animated back into the whole picture; this is done anyway where the '
        'picture was cropped',
    )
    pasting.add_argument(
        '--no_paste_back',
        action='store_true',
        help='give what the networks paint alone, in their size',
    )
    group.add_argument(
        '--faces',
        type=_faces,
        default=1,
        metavar='all|N',
        help='animate all faces of the picture, or its N largest, each by the same driving video '
        '(default: 1; another one alone: --source_crop)',
    )
    scaling = group.add_mutually_exclusive_group()
    scaling.add_argument(
        '--size', type=_size, metavar='W,H', help='width and height of the result in pixels'
    )
    scaling.add_argument(
        '--upscale',
        type=_factor,
        metavar='FACTOR',
        help='the result FACTOR times as wide and high, by Lanczos interpolation alone: no detail '
        'is added',
    )


def check_result_options(options: argparse.Namespace) -> None:
    """
    Raises:
        UserError: several faces are asked for, together with what goes with one alone.
    """
    if options.faces != 1:
        text = f'--faces {ALL_FACES if options.faces is None else options.faces}'
        if options.crop in ('object', 'none'):
            raise UserError(f'{text}: --crop {options.crop} looks for no faces; leave that out')
        if options.source_crop is not None:
            raise UserError(
                f'{text}: --source_crop is the one face to animate; leave one of them out'
            )
        if options.no_paste_back:
            raise UserError(f'{text}: several faces have one picture; leave out --no_paste_back')
        if not has_face_detector():
            raise UserError(f'{text}: faces are found by an extra: {INSTALL}')
    is_movie = options.result_video.suffix.lower() in MOVIE_SUFFIXES
    if options.size is not None and is_movie and any(length % 2 for length in options.size):
        width, height = options.size
        even = f'{width + width % 2} x {height + height % 2}'
        note(
            f'--size {width},{height}: {options.result_video.suffix} holds even sizes alone: the '
            f'last row or column is doubled to {even}'
        )


def _faces(text: str) -> int | None:
    """How many; None for all."""
    if text == ALL_FACES:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: give all, or a number of at least 1')
    return int(text)


def _size(text: str) -> tuple[int, int]:
    """W,H -> (width, height)."""
    numbers = text.replace('x', ',').split(',')
    if len(numbers) != 2 or not all(n.isdecimal() and 0 < int(n) <= LARGEST for n in numbers):
        raise argparse.ArgumentTypeError(
            f'{text}: give width and height in pixels, such as 1280,720; {LARGEST} at most'
        )
    return int(numbers[0]), int(numbers[1])


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor <= 16:
        raise argparse.ArgumentTypeError(f'{text}: give a factor above 0, such as 2; 16 at most')
    return factor


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
