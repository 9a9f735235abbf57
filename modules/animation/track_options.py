"""Options of the commands that cut clips of what stays about the same place out of videos."""

import argparse

from modules.animation.option_values import at_least, share
from modules.animation.track_clips import FORMATS
from modules.animation.tracks import Rules
from modules.runtime.commands import ArgumentParser

RULES = Rules()


def add_track_options(parser: ArgumentParser, thing: str, fewest: int = 1) -> None:
    """
    Args:
        thing: what is cut out.
        fewest: frames of a clip that is of any use.
    """
    parser.add_argument(
        '--size',
        type=at_least(16),
        default=256,
        metavar='N',
        help='width and height of the clips in pixels',
    )
    parser.add_argument(
        '--format',
        choices=FORMATS,
        default=FORMATS[0],
        help='mp4: a video for each clip; png: a folder of pictures',
    )
    parser.add_argument(
        '--min_frames',
        type=at_least(fewest),
        default=RULES.min_frames,
        metavar='N',
        help=f'leave out clips of fewer frames (default: {RULES.min_frames})',
    )
    parser.add_argument(
        '--max_frames',
        type=at_least(fewest),
        default=RULES.max_frames,
        metavar='N',
        help=f'cut clips of more frames (default: {RULES.max_frames})',
    )
    parser.add_argument(
        '--min_size',
        type=at_least(1),
        metavar='PIXELS',
        help='leave out squares that are smaller in the video (default: --size, so that none is '
        'enlarged)',
    )
    parser.add_argument(
        '--increase',
        type=share(2),
        default=RULES.increase,
        metavar='SHARE',
        help=f'margin on each side, as a share of the {thing} and all of its movement '
        f'(default: {RULES.increase})',
    )
    parser.add_argument(
        '--every',
        type=at_least(1),
        default=RULES.every,
        metavar='N',
        help=f'look for faces in every Nth frame and where shots change (default: {RULES.every})',
    )


def check_track_options(parser: ArgumentParser, options: argparse.Namespace) -> None:
    """Completes the options, or ends with a line where they contradict each other."""
    if options.max_frames < options.min_frames:
        parser.error(f'--max_frames {options.max_frames}: is less than --min_frames')
    options.min_size = options.min_size or options.size
