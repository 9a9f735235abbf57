"""Makes a data set of clips: cut at shots, cropped to faces or to what moves, split, looked over.

    python tools/prepare_dataset.py phone --out data/mine
    python train.py --data data/mine

What comes out is what train.py reads: clips of one size in train/ and test/, named by identity,
with a report and a contact sheet. Damaged clips, stills and clips that come twice are left out, and
named. A run that was stopped goes on where it was; doc/own-data.md tells all about it.
"""

import argparse
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from modules.animation.faces import load_face_detector
from modules.animation.option_values import at_least, rate, share
from modules.animation.track_options import add_track_options, check_track_options
from modules.animation.tracks import Rules
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.locks import folder_of_one_run
from modules.runtime.messages import counted, note, warn
from modules.runtime.process import available_cores
from tools.dataset_preparing.choosing import AUTO, CROPS, FACE
from tools.dataset_preparing.outcome import Prepared, Settings
from tools.dataset_preparing.preparing import Preparation
from tools.dataset_preparing.report import write_report
from tools.dataset_preparing.sources import find_sources
from tools.dataset_preparing.splitting import CLIP, PERSON, TEST, TRAIN

SHOWN = 10  # lines about clips that are left out


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        'clips',
        nargs='+',
        type=Path,
        metavar='CLIP',
        help='videos, or folders of them; a folder within such a folder holds the clips of a '
        'person (or of whatever is animated)',
    )
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FOLDER', help='folder of the data set'
    )
    parser.add_argument(
        '--crop',
        choices=CROPS,
        default=AUTO,
        help='face: each face; object: what moves; none: the middle square of each shot; auto: '
        'faces if half of the clips have one, else what moves',
    )
    parser.add_argument(
        '--fps',
        type=rate,
        default=Fraction(25),
        metavar='F',
        help='clips of higher rates are brought to this one (default: 25)',
    )
    add_track_options(parser, 'object', fewest=2)
    parser.add_argument(
        '--split',
        choices=(PERSON, CLIP),
        default=PERSON,
        help='keep all of a person, or of a clip, in the same part (default: person)',
    )
    parser.add_argument(
        '--test',
        type=share(0.9),
        default=0.2,
        metavar='SHARE',
        help='share of the persons or clips that is kept for testing; 0: none',
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of the split: another one gives another split'
    )
    parser.add_argument(
        '--workers', type=at_least(1), metavar='N', help='processes (default: one for each core)'
    )
    options = parser.parse_args()
    check_track_options(parser, options)
    if options.format == 'mp4' and options.size % 2:
        parser.error(
            f'--size {options.size}: mp4 holds even sizes only; give {options.size + 1}, or png'
        )
    return options


def settings_of(options: argparse.Namespace) -> Settings:
    rules = Rules(
        options.every, options.min_frames, options.max_frames, options.min_size, options.increase
    )
    return Settings(
        options.size,
        options.format,
        options.crop,
        options.fps,
        rules,
        options.split,
        options.test,
        options.seed,
    )


def tell(prepared: Prepared, options: argparse.Namespace, sheets: list[Path]) -> None:
    """Says what was made and what was left out, and what can be done next."""
    for each in prepared.left_out[:SHOWN]:
        parts = '1 part: ' if each.tracks == 1 else f'{each.tracks} parts: ' if each.tracks else ''
        warn(f'{each.source}: left out: {parts}{each.why}')
    if len(prepared.left_out) > SHOWN:
        warn(f'{len(prepared.left_out) - SHOWN} more lines are in {options.out / "report.md"}')
    if options.test and prepared.level != options.split:
        note(f'a single {options.split}: the parts are split by {prepared.level}')
    for name in (TRAIN, TEST):
        mine = [part for part in prepared.parts if part.part == name]
        ids = len({part.source.person for part in mine})
        print(f'{name}: {counted(len(mine), "clip")} of {counted(ids, "person")}')
    counts = Counter(each.what for each in prepared.left_out for _ in range(max(1, each.tracks)))
    if counts:
        told = ', '.join(f'{count} {what}' for what, count in sorted(counts.items()))
        print(f'left out: {told}')
    print(f'look at {sheets[0]}; {options.out / "report.md"} tells the rest')
    print(f'next: python train.py --data {options.out}')


def main() -> None:
    options = parse_arguments()
    if options.crop == FACE:
        load_face_detector()  # says so at once where it is not there
    found = find_sources(options.clips, options.out)
    if found.others:
        others = counted(len(found.others), 'other file')
        note(f'{others} beside the clips, such as {found.others[0]}')
    workers = options.workers or available_cores()
    settings = settings_of(options)
    with folder_of_one_run(options.out, '--out'):
        prepared = Preparation(found.sources, options.out, settings, workers).run()
        sheets = write_report(prepared, settings, options.out, workers)
    tell(prepared, options, sheets)


if __name__ == '__main__':
    run_command(main)
