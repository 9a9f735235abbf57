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
        '--size', type=at_least(16), default=256, metavar='N', help='width and height of the clips'
    )
    parser.add_argument(
        '--format', choices=FORMATS, default=FORMATS[0], help='png: a folder of pictures for each'
    )
    parser.add_argument(
        '--min_frames',
        type=at_least(fewest),
        default=RULES.min_frames,
        metavar='N',
        help=f'shorter ones are left out (default: {RULES.min_frames})',
    )
    parser.add_argument(
        '--max_frames',
        type=at_least(fewest),
        default=RULES.max_frames,
        metavar='N',
        help=f'longer ones are cut (default: {RULES.max_frames})',
    )
    parser.add_argument(
        '--min_size',
        type=at_least(1),
        metavar='PIXELS',
        help='squares smaller than that in the video are left out (default: --size, so that none '
        'is enlarged)',
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
        help=f'look for faces in each Nth frame and at shots (default: {RULES.every})',
    )


def check_track_options(parser: ArgumentParser, options: argparse.Namespace) -> None:
    """Completes the options, or ends with a line where they contradict each other."""
    if options.max_frames < options.min_frames:
        parser.error(f'--max_frames {options.max_frames}: is less than --min_frames')
    options.min_size = options.min_size or options.size
