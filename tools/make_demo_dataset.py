"""Draws a dataset of animated creatures: small clips to train on and try things with in minutes.

    python tools/make_demo_dataset.py data/creatures --train 2000 --test 40 --size 128

OUT/train and OUT/test hold clips named like 00012#walk.mp4: what stands before the # is the
creature, so that `id_sampling: True` pairs the clips of one. The clips depend on the options only,
not on --workers. OUT/cases, if asked for, holds pictures to animate by clips of another creature,
and the true results. OUT/phone, likewise, holds clips as people take them with phones, for
prepare_dataset.py. OUT/joints/test holds the exact joints of each test clip, for evaluate.py
--detector joints: `points` (frames, joints, 2), x and y in pixels, and `visible`.
"""

import os
import sys
from argparse import Namespace
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

import numpy as np
from tqdm import tqdm

from modules.checkpoints.npz_file import write_npz
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.video import write_picture, write_video
from tools.creature_drawing.creatures import (
    Creature,
    Joints,
    clip_times,
    draw_clip,
    held_out_cases,
    joints,
    random_stream,
)
from tools.creature_drawing.motion import KINDS, Motion
from tools.creature_drawing.phone_clips import write_phone_clip

SUFFIXES = {'mp4': '.mp4', 'gif': '.gif', 'frames': '', 'stacked': '.png'}
MOST_CREATURES = 100_000  # five digits in the names


class Item(NamedTuple):
    """A creature to draw: one task of a worker."""

    part: str  # train or test
    number: int  # within its part: decides on its random numbers
    name: str  # unique in the whole dataset
    clips: int


class Clip(NamedTuple):
    name: str
    frames: np.ndarray  # uint8 (T, size, size, 3)
    joints: Joints | None  # of a test clip


def parse_args() -> Namespace:
    parser = ArgumentParser(description='Draws a dataset of animated creatures.')
    parser.add_argument('out', metavar='FOLDER', help='folder to create')
    parser.add_argument('--train', type=int, default=2000, help='clips in FOLDER/train')
    parser.add_argument('--test', type=int, default=40, help='clips in FOLDER/test')
    parser.add_argument(
        '--cases',
        type=int,
        default=0,
        help='folders in FOLDER/cases: source.png, driving.mp4 of another creature in the same '
        'motion, and truth.mp4, what an animation of the one by the other should show',
    )
    parser.add_argument(
        '--phone',
        type=int,
        default=0,
        help='clips in FOLDER/phone, as phones take them: upright, turned by a tag, at uneven '
        'times, of two creatures or several shots; one comes twice, one is still. --size is their '
        'shorter side, --frames the length of a shot',
    )
    parser.add_argument('--size', type=int, default=128, help='height and width in pixels')
    parser.add_argument('--frames', type=int, default=32, help='frames in a clip')
    parser.add_argument('--fps', type=float, default=25, metavar='F', help='frames per second')
    parser.add_argument(
        '--format',
        choices=list(SUFFIXES),
        default='mp4',
        help='mp4, gif: a file per clip; frames: a folder of PNG per clip; stacked: a PNG with '
        'the frames side by side',
    )
    parser.add_argument(
        '--clips_per_creature',
        type=int,
        default=4,
        help='clips of each creature, each in another kind of motion',
    )
    parser.add_argument(
        '--legs',
        choices=['4', '2', 'any'],
        default='any',
        help='legs of the creatures; any: one in ten has two',
    )
    parser.add_argument('--mirror', action='store_true', help='half of the creatures face left')
    parser.add_argument('--seed', type=int, default=0, help='seed: another one gives other clips')
    parser.add_argument(
        '--workers', type=int, default=os.cpu_count(), help='processes side by side'
    )
    return parser.parse_args()


def check(args: Namespace) -> None:
    """Raises UserError for a value out of its range."""
    ranges = {
        'train': (0, None),
        'test': (0, None),
        'cases': (0, None),
        'phone': (0, 10_000),
        'size': (16, 2048),
        'frames': (2, 10_000),
        'clips_per_creature': (1, len(KINDS)),
        'seed': (0, None),
        'workers': (1, None),
    }
    for name, (least, most) in ranges.items():
        value = getattr(args, name)
        if value < least or (most is not None and value > most):
            bounds = f'at least {least}' if most is None else f'from {least} to {most}'
            raise UserError(f'--{name} {value}: give a number {bounds}')
    if not 0 < args.fps <= 1000:
        raise UserError(f'--fps {args.fps}: give a number above 0, up to 1000')
    if args.train + args.test + args.cases + args.phone == 0:
        raise UserError(
            '--train 0 --test 0 --cases 0 --phone 0: nothing to draw; ask for a clip at least'
        )
    if (args.format == 'mp4' or args.cases or args.phone) and args.size % 2:
        raise UserError(f'--size {args.size}: mp4 needs an even size; give one or another --format')
    if len(items(args)) > MOST_CREATURES:
        raise UserError(f'more than {MOST_CREATURES} creatures; lower --train or --test')


def items(args: Namespace) -> list[Item]:
    """The creatures of both parts; a creature is never in both."""
    todo: list[Item] = []
    for part, count in (('train', args.train), ('test', args.test)):
        for index, first in enumerate(range(0, count, args.clips_per_creature)):
            clips = min(args.clips_per_creature, count - first)
            todo.append(Item(part, index, f'{len(todo):05d}', clips))
    return todo


def draw_item(item: Item, args: Namespace) -> Iterator[Clip]:
    """The creature's clips, each in front of its own background."""
    rng = random_stream(args.seed, item.part, item.number)
    legs = None if args.legs == 'any' else int(args.legs)
    creature = Creature.random(rng, legs, mirrored=None if args.mirror else False)
    # All kinds are put in order and the first taken, so that more clips don't change the others.
    kinds = rng.choice(list(KINDS), len(KINDS), replace=False, p=list(KINDS.values()))
    for kind in kinds[: item.clips]:
        motion = Motion.random(rng, str(kind))
        frames = draw_clip(creature.elsewhere(rng), motion, args.frames, args.size)
        known = None
        if item.part == 'test':
            known = joints(creature, motion, clip_times(args.frames))
        yield Clip(f'{item.name}#{kind}', frames, known)


def write_item(item: Item, args: Namespace, folder: Path) -> int:
    """Draws and writes the creature's clips below `folder` -> how many."""
    for clip in draw_item(item, args):
        path = folder / item.part / f'{clip.name}{SUFFIXES[args.format]}'
        if clip.joints is not None:
            pixels = (clip.joints.points + 1) / 2 * (args.size - 1)
            arrays = {'points': pixels.astype('float32'), 'visible': clip.joints.visible}
            write_npz(folder / 'joints' / 'test' / f'{path.name}.npz', arrays)
        if args.format == 'stacked':
            write_picture(path, np.concatenate(list(clip.frames), axis=1))
        else:
            write_video(path, clip.frames, args.fps)
    return item.clips


def write_cases(args: Namespace, folder: Path) -> None:
    """Draws the held-out creatures and motions into folders below `folder`."""
    legs = None if args.legs == 'any' else int(args.legs)
    folder.mkdir()
    for case in held_out_cases(args.cases, args.size, args.frames, args.seed, legs):
        place = folder / case.name
        place.mkdir()
        write_picture(place / 'source.png', case.clip[0])
        write_video(place / 'driving.mp4', case.driving, args.fps)
        write_video(place / 'truth.mp4', case.clip, args.fps)


def write_phone_clips(args: Namespace, folder: Path) -> None:
    """Draws clips as phones take them into a folder."""
    folder.mkdir()
    draw = partial(write_phone_clip, folder, size=args.size, frames=args.frames, seed=args.seed)
    with ProcessPoolExecutor(args.workers) as pool:
        numbers = pool.map(draw, range(args.phone))
        list(tqdm(numbers, 'phone', args.phone, unit='clip', disable=None))


def write_all(args: Namespace, folder: Path) -> None:
    """Fills `folder`, in as many processes as asked for."""
    todo = items(args)
    for part in {item.part for item in todo}:
        (folder / part).mkdir()
    if args.test:
        (folder / 'joints' / 'test').mkdir(parents=True)
    task = partial(write_item, args=args, folder=folder)
    with tqdm(total=args.train + args.test, unit='clip', disable=None) as bar:
        if args.workers == 1:
            for count in map(task, todo):
                bar.update(count)
            return
        with ProcessPoolExecutor(args.workers) as pool:
            for count in pool.map(task, todo, chunksize=4):
                bar.update(count)


def main() -> None:
    args = parse_args()
    check(args)
    with atomic_output(args.out, folder=True) as folder:
        if args.train + args.test:
            write_all(args, folder)
        if args.cases:
            write_cases(args, folder / 'cases')
        if args.phone:
            write_phone_clips(args, folder / 'phone')


if __name__ == '__main__':
    run_command(main)
