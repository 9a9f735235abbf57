"""The options of demo.py, a function for each group of `--help`; needs no Paddle."""

import argparse
import os
from pathlib import Path

from modules.animation import option_values as values
from modules.animation.faces import INSTALL, has_face_detector
from modules.animation.inputs import BUNDLED
from modules.inference.options import add_engine_options
from modules.runtime.errors import UserError
from modules.runtime.files import check_output
from modules.runtime.messages import note
from modules.video import IMAGE_SUFFIXES
from modules.video.writing import MOVIE_SUFFIXES

CROPS = ('auto', 'face', 'object', 'none')
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


def add_crop_options(parser: argparse.ArgumentParser) -> None:
    """What of picture and clip goes into the model: see `check_crop_options`."""
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
            type=values.box,
            metavar='X,Y,W,H',
            help=f'crop the {of} to this box: left, top, width and height in pixels',
        )
    group.add_argument(
        '--show_crop',
        type=Path,
        metavar='FILE.png',
        help="write the picture and the clip's first frame with their boxes drawn in",
    )


def _add_frames_option(group: Options) -> None:
    group.add_argument(
        '--frames',
        type=int,
        metavar='N',
        help='animate the first N frames of the driving video alone, for a try',
    )


def add_time_options(parser: argparse.ArgumentParser) -> None:
    """What of the driving video is animated, when it is shown, and what is heard."""
    group = parser.add_argument_group('time and sound')
    group.add_argument(
        '--start',
        type=values.moment,
        metavar='T',
        help='where the driving video begins: 2.5, a second, or 60f, a frame',
    )
    group.add_argument(
        '--end',
        type=values.moment,
        metavar='T',
        help='where it ends; that moment itself is left out',
    )
    _add_frames_option(group)
    group.add_argument(
        '--fps',
        type=values.rate,
        metavar='F',
        help="the result's frames per second, if not the driving video's; it lasts as long, frames "
        'are left out or repeated',
    )
    group.add_argument(
        '--speed',
        type=values.speed,
        default=values.speed('1'),
        metavar='FACTOR',
        help='2 is twice as fast; the sound keeps its pitch',
    )
    group.add_argument(
        '--loop', action='store_true', help='there and back: the frames follow again, backwards'
    )
    sound = group.add_mutually_exclusive_group()
    sound.add_argument('--audio', action='store_true', help='say so where the result has no sound')
    sound.add_argument(
        '--no_audio', action='store_true', help="leave out the driving video's sound"
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
        type=values.motion_scale,
        default=1.0,
        metavar='FACTOR',
        help='with --relative: the movement is FACTOR times the driving one; 0: none',
    )
    best = group.add_mutually_exclusive_group()
    best.add_argument(
        '--best_frame',
        type=int,
        metavar='N',
        help='with --relative: movement is measured from driving frame N, which counts from 0 in '
        'the file, instead of the first that is animated',
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
    """What is written, and how: see `check_result_options`."""
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
        type=values.faces,
        default=1,
        metavar='all|N',
        help='animate all faces of the picture, or its N largest, each by the same driving video '
        '(default: 1; another one alone: --source_crop)',
    )
    scaling = group.add_mutually_exclusive_group()
    scaling.add_argument(
        '--size', type=values.size, metavar='W,H', help='width and height of the result in pixels'
    )
    scaling.add_argument(
        '--upscale',
        type=values.upscaling,
        metavar='FACTOR',
        help='the result FACTOR times as wide and high, by Lanczos interpolation alone: no detail '
        'is added',
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
    _add_frames_option(parser)
    _add_cpu(parser)


def _add_cpu(group: Options) -> None:
    group.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')


def check_crop_options(options: argparse.Namespace) -> None:
    """
    Raises:
        UserError: faces are asked for, and what finds them is not installed; there is no driving
            video to be cropped; --show_crop can't be written, or would replace an input.
    """
    by_hand = options.source_crop is not None and options.driving_crop is not None
    if options.crop == 'face' and not by_hand and not has_face_detector():
        raise UserError(f'--crop face: faces are found by an extra: {INSTALL}')
    if options.driving_crop is not None and options.motion is not None:
        raise UserError('--driving_crop: the keypoints of --motion were found in what was cropped')
    path = options.show_crop
    if path is None:
        return
    if path.suffix.lower() != '.png':
        raise UserError(f'--show_crop {path}: is written as PNG; give a name that ends in .png')
    given = [p for p in (options.source_image, options.driving_video) if p is not None]
    inputs = [os.path.realpath(p) for p in given]
    if os.path.realpath(path) in inputs or os.path.realpath(path.parent) in inputs:
        raise UserError(f'--show_crop {path}: would replace or join what the result is made from')
    check_output(path)


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
        UserError: what is written would replace, or become, what it is made from; several faces are
            asked for, together with what goes with one alone.
    """
    _check_places(options)
    if options.side_by_side and options.driving_video is None:
        raise UserError(
            '--side_by_side: a motion file holds no frames to show; add its --driving_video'
        )
    if options.faces != 1:
        _check_faces(options)
    is_movie = options.result_video.suffix.lower() in MOVIE_SUFFIXES
    if options.size is not None and is_movie and any(length % 2 for length in options.size):
        width, height = options.size
        even = f'{width + width % 2} x {height + height % 2}'
        note(
            f'--size {width},{height}: {options.result_video.suffix} holds even sizes alone: the '
            f'last row or column is doubled to {even}'
        )


def _check_places(options: argparse.Namespace) -> None:
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


def _check_faces(options: argparse.Namespace) -> None:
    text = f'--faces {values.ALL_FACES if options.faces is None else options.faces}'
    if options.crop in ('object', 'none'):
        raise UserError(f'{text}: --crop {options.crop} looks for no faces; leave that out')
    if options.source_crop is not None:
        raise UserError(f'{text}: --source_crop is the one face to animate; leave one of them out')
    if options.no_paste_back:
        raise UserError(f'{text}: several faces have one picture; leave out --no_paste_back')
    if not has_face_detector():
        raise UserError(f'{text}: faces are found by an extra: {INSTALL}')
