"""Measures motion transfer on drawn creatures, where the true result of an animation is known.

    python tools/motion_transfer.py --frames 16
    python tools/motion_transfer.py --frames 16 --torch_repo first-order-model \\
        --torch_python torch/bin/python

Creatures and motions are of those that make_demo_dataset.py never draws. Three tasks: a creature
reconstructed from its own clip, and animated by another creature that makes the same motion from
the same first pose, by absolute and by relative keypoints. Two figures for each:

    moving   mean absolute error over the pixels that move (source and truth differ by more than
             15/255 in some channel), relative to the error of showing the unmoved source; 1 is no
             better than that, 0 is perfect
    frame    mean absolute error over whole frames, in [0, 1]

The mean over the cases comes with the half width of its 95 % confidence interval. With
--torch_repo the official PyTorch code does the same, with the same weights, and the largest
difference between any two values is printed.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import numpy as np
from tqdm import tqdm

from modules.config import load_config
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.runtime.process import choose_device, prepare_process
from modules.video import write_video
from modules.video.levels import to_float
from tools.creature_drawing.creatures import HeldOutCase, held_out_cases
from tools.evaluation.bootstrap import half_width
from tools.markdown import table
from tools.official.animation import Animate, Animation, official_animation, require_official
from tools.provenance import provenance

MOVING = 15 / 255  # least change, in some channel, of a pixel that moves
# What is measured: networks, and how motion is carried over.
CODE = (
    *('modules/keypoint_detector.py', 'modules/dense_motion.py', 'modules/generator.py'),
    *('modules/util.py', 'modules/ops', 'modules/animation/normalization.py'),
    *('tools/creature_drawing', 'doc/demo/demo-128.safetensors'),
)
TASKS = ('reconstruction', 'absolute', 'relative')
THEIRS = '{}, official code'  # the title of a task


class Errors(NamedTuple):
    """Of one animation against the drawn truth."""

    moving: float  # relative to showing the unmoved source
    frame: float  # in [0, 1]


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--config',
        type=Path,
        default=ROOT / 'config' / 'demo-128.yaml',
        metavar='FILE.yaml',
        help='config of the networks',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help='a known name, a file, or the folder of a run (its newest '
        'checkpoint), as for demo.py; if left out, '
        'ckpt_model of the config',
    )
    parser.add_argument('--cases', type=int, default=20, help='creatures to animate')
    parser.add_argument('--frames', type=int, default=32, help='frames of each clip')
    parser.add_argument('--seed', type=int, default=0, help='seed: another one gives other cases')
    parser.add_argument('--out', type=Path, help='also write the figures of every case as JSON')
    parser.add_argument(
        '--videos',
        type=Path,
        metavar='FOLDER',
        help='folder to create, with a video of each case and task: source | driving | result | '
        'truth',
    )
    parser.add_argument(
        '--torch_repo',
        type=Path,
        metavar='FOLDER',
        help='clone of the official repository, to measure it beside',
    )
    parser.add_argument(
        '--torch_python', metavar='PYTHON', help='interpreter with PyTorch; if left out, this one'
    )
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    options = parser.parse_args()
    if options.torch_python and not options.torch_repo:
        parser.error('--torch_python: runs the official code; add --torch_repo, a clone of it')
    for name, least in (('cases', 1), ('frames', 2), ('seed', 0)):
        if getattr(options, name) < least:
            parser.error(f'--{name} {getattr(options, name)}: give a number of at least {least}')
    return options


def compare(result: np.ndarray, truth: np.ndarray, source: np.ndarray) -> Errors:
    """Errors of a result (T, H, W, 3) float in [0, 1].

    Args:
        truth: (T, H, W, 3).
        source: (H, W, 3), the picture that was animated.

    Raises:
        ValueError: nothing moves.
    """
    unmoved, error = np.abs(source - truth), np.abs(result - truth)
    moving = unmoved.max(axis=-1) > MOVING
    if not moving.any():
        raise ValueError('no pixel moves')
    return Errors(float(error[moving].sum() / unmoved[moving].sum()), float(error.mean()))


def driving_of(case: HeldOutCase, task: str) -> np.ndarray:
    """The clip (T, H, W, 3) uint8 that drives the creature."""
    return case.clip if task == 'reconstruction' else case.driving


def animation_of(case: HeldOutCase, task: str) -> Animation:
    driving = to_float(driving_of(case, task))
    return Animation(to_float(case.clip[0]), driving, relative=task == 'relative')


def transfer(models, animation: Animation) -> np.ndarray:
    """The result, float (T, H, W, 3) in [0, 1]."""
    from modules.animation.animator import animate
    from modules.animation.normalization import Normalization

    normalization = Normalization(animation.relative, animation.relative)
    return np.stack(list(animate(models, animation.source, animation.driving, normalization)))


def panels(case: HeldOutCase, task: str, result: np.ndarray) -> np.ndarray:
    """source | driving | result | truth -> (T, H, 4 * W, 3) uint8."""
    from modules.video.levels import to_bytes

    source = np.broadcast_to(case.clip[0], case.clip.shape)
    return np.concatenate([source, driving_of(case, task), to_bytes(result), case.clip], axis=2)


def run_cases(
    models,
    cases: Iterator[HeldOutCase],
    count: int,
    videos: Path | None,
    animate_theirs: Animate | None = None,
) -> list[dict[str, Any]]:
    """All tasks of all cases -> a row for each case: its name and its errors by task.

    Args:
        animate_theirs: the official code. Then a row also has its errors, and the largest
            difference between its results and ours.
    """
    rows = []
    for case in tqdm(cases, total=count, unit='case', disable=None):
        row: dict[str, Any] = {'case': case.name}
        truth = to_float(case.clip)
        animations = [animation_of(case, task) for task in TASKS]
        results = [transfer(models, animation) for animation in animations]
        for task, result in zip(TASKS, results):
            row[task] = compare(result, truth, truth[0])._asdict()
            if videos is not None:
                write_video(videos / f'{case.name}_{task}.mp4', panels(case, task, result), 25)
        if animate_theirs is not None:
            theirs = animate_theirs(animations)
            for task, result in zip(TASKS, theirs):
                row[THEIRS.format(task)] = compare(result, truth, truth[0])._asdict()
            apart = (np.abs(a - b).max() for a, b in zip(results, theirs))
            row['largest_difference'] = float(max(apart))
        rows.append(row)
    return rows


def mean_rows(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """For each task its title, and the mean of each figure over the cases."""
    means: list[tuple[str, ...]] = []
    tasks = [title for task in TASKS for title in (task, THEIRS.format(task)) if title in rows[0]]
    for task in tasks:
        cells = []
        for name, digits in (('moving', 3), ('frame', 4)):
            values = np.array([row[task][name] for row in rows])
            cells.append(f'{values.mean():.{digits}f} ± {half_width(values):.{digits}f}')
        means.append((task, *cells))
    return means


def main() -> None:
    options = parse_arguments()
    config = load_config(options.config, need=('dataset_params.frame_shape',))
    height, width = config['dataset_params']['frame_shape'][:2]
    if height != width:
        raise UserError(f'{options.config}: creatures are drawn square, not {height} x {width}')
    official = options.torch_repo and require_official(options.torch_repo, options.torch_python)
    prepare_process(options.cpu)
    device = choose_device(options.cpu)
    print(
        f'{options.cases} cases of {options.frames} frames, {len(TASKS)} tasks each, on {device}',
        flush=True,
    )
    from modules.checkpoints.models import StoredModels

    models = StoredModels(config, options.checkpoint).load()
    cases = held_out_cases(options.cases, height, options.frames, options.seed)
    with contextlib.ExitStack() as stack:
        folder = animate_theirs = None
        if official is not None:
            theirs = official_animation(official, config, options.checkpoint)
            animate_theirs = stack.enter_context(theirs)
        if options.videos is not None:
            folder = stack.enter_context(atomic_output(options.videos, folder=True))
        rows = run_cases(models, cases, options.cases, folder, animate_theirs)
    print(*table(('task', 'moving pixels, relative', 'whole frame'), mean_rows(rows)), sep='\n')
    if official is not None:
        largest = max(row['largest_difference'] for row in rows)
        print(f'largest difference from the official code, of values in [0, 1]: {largest:.1e}')
    if options.out is not None:
        with atomic_output(options.out) as path:
            figures = {**provenance(CODE), 'cases': rows}
            path.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    run_command(main)
