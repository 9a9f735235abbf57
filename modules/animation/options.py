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
        metavar='FILE.yaml',
        help='config of the checkpoint; if left out, that of the known name or of the run, else '
        'the bundled one',
    )
    group.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help='a known name (vox, vox-512), a file (.pth.tar, .pdparams, .safetensors), the folder '
        'of a run (its newest checkpoint) or of .npz files; if left out, ckpt_model of the config',
    )
    group.add_argument(
        '--source_image',
        type=Path,
        default=BUNDLED / 'source.png',
        metavar='PICTURE',
        help='the picture; or a clip, whose frame i then goes with driving frame i',
    )
    group.add_argument(
        '--driving_video',
        type=Path,
        metavar='CLIP',
        help='mp4, gif, mov, webm, ... or a folder of images; a picture is a clip of one frame; if '
        'left out, the bundled clip, or none with --motion',
    )


def add_crop_options(parser: argparse.ArgumentParser) -> None:
    """What of picture and clip goes into the model: see `check_crop_options`."""
    group = parser.add_argument_group('cropping')
    group.add_argument(
        '--crop',
        choices=CROPS,
        default='auto',
        help='what part of picture and clip goes into the model. face: the largest face; object: '
        'what the keypoints of the model find; none: all of it; auto (the default): all of what is '
        'cropped already, else the face, else the object',
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
        help='animate only the first N frames of the driving video, to try something out',
    )


def add_time_options(parser: argparse.ArgumentParser) -> None:
    """What of the driving video is animated, when it is shown, and what is heard."""
    group = parser.add_argument_group('time and sound')
    group.add_argument(
        '--start',
        type=values.moment,
        metavar='T',
        help='where to begin in the driving video, in seconds (2.5) or as a frame (60f)',
    )
    group.add_argument(
        '--end',
        type=values.moment,
        metavar='T',
        help='where to end; the frame at that moment is not shown any more',
    )
    _add_frames_option(group)
    group.add_argument(
        '--fps',
        type=values.rate,
        metavar='F',
        help="frames per second of the result, if not the driving video's; the duration stays, "
        'frames are dropped or repeated',
    )
    group.add_argument(
        '--speed',
        type=values.speed,
        default=values.speed('1'),
        metavar='FACTOR',
        help='play FACTOR times as fast; the sound keeps its pitch',
    )
    group.add_argument(
        '--loop',
        action='store_true',
        help='play there and back: all frames, then the same backwards',
    )
    sound = group.add_mutually_exclusive_group()
    sound.add_argument(
        '--audio',
        action='store_true',
        help='keep the sound, as is done anyway, and say so if there is none',
    )
    sound.add_argument(
        '--no_audio', action='store_true', help="leave out the driving video's sound"
    )


def _add_normalization_options(group: Options) -> None:
    group.add_argument(
        '--relative',
        action='store_true',
        help='carry over the movement since the first driving frame, not the pose; that frame '
        'should show the pose of the picture',
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
        help='with --relative: move FACTOR times as far as the driving object; 0: not at all',
    )
    best = group.add_mutually_exclusive_group()
    best.add_argument(
        '--best_frame',
        type=int,
        metavar='N',
        help='with --relative: measure the movement from driving frame N (counted from 0 in the '
        'file), not from the first one that is animated',
    )
    best.add_argument(
        '--find_best_frame',
        action='store_true',
        help='with --relative: measure it from the frame whose keypoints are most like those of '
        'the picture',
    )
    group.add_argument(
        '--smooth',
        action='store_true',
        help='smooth the motion over time (one-euro filter), and say by how much',
    )
    files = group.add_mutually_exclusive_group()
    files.add_argument(
        '--save_motion',
        type=Path,
        metavar='FILE',
        help='save the motion (keypoints, no pixels) to this file, for --motion',
    )
    files.add_argument(
        '--motion',
        type=Path,
        metavar='FILE',
        help='take the motion from this file; a --driving_video then only gives the sound, and the '
        'frames for --side_by_side',
    )


def add_result_options(parser: argparse.ArgumentParser) -> None:
    """What is written, and how: see `check_result_options`."""
    group = parser.add_argument_group('result')
    group.add_argument(
        '--result_video',
        type=Path,
        default=Path('result.mp4'),
        metavar='FILE',
        help='.mp4 or .gif; .png or .jpg for a single frame; a name without extension becomes a '
        'folder of PNG frames',
    )
    group.add_argument(
        '--side_by_side', action='store_true', help='show picture | driving video | result'
    )
    pasting = group.add_mutually_exclusive_group()
    pasting.add_argument(
        '--paste_back',
        action='store_true',
        help='put what was animated back into the whole picture, as is done anyway if the picture '
        'was cropped',
    )
    pasting.add_argument(
        '--no_paste_back',
        action='store_true',
        help='write only the square that the networks paint, in their size',
    )
    group.add_argument(
        '--faces',
        type=values.faces,
        default=1,
        metavar='all|N',
        help='animate all faces of the picture, or its N largest, with the same driving video '
        '(default: 1; to choose one that is not the largest: --source_crop)',
    )
    scaling = group.add_mutually_exclusive_group()
    scaling.add_argument(
        '--size', type=values.size, metavar='W,H', help='width and height of the result in pixels'
    )
    scaling.add_argument(
        '--upscale',
        type=values.upscaling,
        metavar='FACTOR',
        help='make the result FACTOR times as wide and high (Lanczos interpolation, which adds no '
        'detail)',
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
