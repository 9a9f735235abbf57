"""Measures loading, training and animation beside what they replace.

    python tools/benchmark.py --torch_repo first-order-model --torch_python torch/bin/python

Prints Markdown tables. Sections, chosen by --only:

    loading    training samples per second by two worker processes, beside decoding whole clips
    training   time and peak memory of a training step, beside the official PyTorch code's
    scaling    training samples per second by several processes, which share the cores and a batch,
               beside one, and the memory of each
    animation  time and peak memory of the frames of an animation by each engine, beside the
               official PyTorch code's in the forms that are used where it is to be fast (as it is,
               compiled, by OpenVINO, ...), and how far the frames are from the reference engine's
    start      time from the import of the framework to the first frame of an animation, weights
               from a file, beside the official PyTorch code's
    demo       time and peak memory of the whole demo, from files to a file, beside the official
               demo.py's and a script's that runs its networks in the forms of `animation`
    live       results per second and latency of a picture that follows a camera, by the bundled
               networks and by those of the config, from JPEG bytes to JPEG bytes

What is compared runs in turns (A B A B ...), --repeats times, and medians are shown; (largest -
smallest) / median is the spread. Networks are measured on the CPU, in processes of their own which
take every core they may, with the same weights and inputs.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

from modules.animation.inputs import BUNDLED
from modules.animation.option_values import at_least
from modules.config import load_config
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.runtime.messages import note
from modules.runtime.process import has_bf16
from tools.benchmarking.animation import compare_animation
from tools.benchmarking.common import Report
from tools.benchmarking.demo import compare_demo
from tools.benchmarking.live import compare_live
from tools.benchmarking.loading import compare_loading
from tools.benchmarking.ours import ENGINES
from tools.benchmarking.runs import find_official
from tools.benchmarking.scaling import compare_scaling
from tools.benchmarking.start import compare_start
from tools.benchmarking.training import compare_training
from tools.markdown import table
from tools.official.forms import FORMS
from tools.provenance import provenance

CODE = 'modules', 'frames_dataset.py'  # that is measured
SECTIONS = ('loading', 'training', 'scaling', 'animation', 'start', 'demo', 'live')
BY_ENGINES = ('animation', 'demo', 'live')  # those that --engine is for
NOISY = 0.25  # spread above which a warning is printed
LEAST = {  # of the options that are numbers
    'repeats': 1, 'clips': 1, 'frames': 2, 'samples': 1,
    'batch_size': 1, 'steps': 1, 'driving': 2, 'seconds': 1,
}  # fmt: skip


def list_of(choices: Sequence[str]):
    """What argparse makes of 'a,b': those of the choices, in their order."""

    def parse(text: str) -> list[str]:
        names = text.split(',')
        for name in names:
            if name not in choices:
                raise argparse.ArgumentTypeError(f'{name!r} is none of {", ".join(choices)}')
        return [name for name in choices if name in names]

    return parse


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    add = parser.add_argument
    only = list_of(SECTIONS)
    add(
        '--only',
        type=only,
        default=SECTIONS,
        metavar='A,B',
        help=f'what to measure, of {", ".join(SECTIONS)} (default: all)',
    )
    default = ROOT / 'config' / 'vox-256.yaml'
    add('--config', type=Path, default=default, metavar='FILE.yaml', help='config of the networks')
    add('--repeats', type=int, default=3, help='measure everything N times')
    add('--out', type=Path, help='also write all figures as JSON')
    add('--torch_repo', type=Path, metavar='FOLDER', help='clone of the official repository')
    python = 'interpreter with PyTorch; if left out, this one'
    add('--torch_python', metavar='PYTHON', help=python)
    group = parser.add_argument_group('loading')
    add = group.add_argument
    data = 'data set to load; drawn there if it does not exist'
    add('--data', type=Path, metavar='FOLDER', help=data)
    add('--clips', type=int, default=4, help='clips to draw')
    add('--frames', type=int, default=300, help='frames of each clip')
    add('--samples', type=int, default=600, help='samples of an epoch')
    group = parser.add_argument_group('training')
    add = group.add_argument
    add('--batch_size', type=int, default=2, help='samples of a step')
    add('--steps', type=int, default=3, help='steps of each run, after a first one')
    group = parser.add_argument_group('scaling', 'each run has as many --steps as one of training')
    add = group.add_argument
    processes, numbers = at_least(1), 'numbers of processes to try'
    add('--processes', type=processes, nargs='+', default=[1, 2, 4], metavar='N', help=numbers)
    batch = 'samples of a step, of all processes together; if left out, that of the config'
    add('--joint_batch', type=at_least(1), metavar='N', help=batch)
    group = parser.add_argument_group('animation')
    add = group.add_argument
    add('--driving', type=int, default=10, help='driving frames')
    engines = list_of(list(ENGINES))
    add(
        '--engine',
        dest='engines',
        type=engines,
        default=list(ENGINES),
        metavar='A,B',
        help=f'what to measure, of {", ".join(ENGINES)} (default: all)',
    )
    add(
        '--peer',
        dest='peers',
        action='append',
        choices=FORMS,
        metavar='NAME',
        help=f'measure this one beside: {"; ".join(FORMS)}; repeat the option for several; if left '
        'out, all that are installed',
    )
    group = parser.add_argument_group('demo', '--engine and --peer as of animation')
    add = group.add_argument
    add('--picture', type=Path, default=BUNDLED / 'source.png', help='default: the bundled one')
    add('--clip', type=Path, default=BUNDLED / 'driving.mp4', help='default: the bundled one')
    group = parser.add_argument_group('live')
    group.add_argument('--seconds', type=int, default=10, help='seconds of each run')
    options = parser.parse_args()
    options.peers = options.peers or list(FORMS)
    for name, least in LEAST.items():
        if getattr(options, name) < least:
            parser.error(f'--{name} {getattr(options, name)}: give a number of at least {least}')
    return options


def engines_here(engines: Sequence[str]) -> list[str]:
    """Those that this CPU has instructions for; of others a line says so.

    Raises:
        UserError: there are none.
    """
    lacking = [name for name in engines if ENGINES[name][1] == 'bf16' and not has_bf16()]
    left = [name for name in engines if name not in lacking]
    if not left:
        others = ', '.join(name for name in ENGINES if name not in lacking)
        raise UserError(
            f'--engine {",".join(lacking)}: this CPU has no instructions for it; '
            f'give one of {others}'
        )
    for name in lacking:
        note(f'{name}: not measured: this CPU has no instructions for it')
    return left


def machine_line(machine: dict[str, Any]) -> str:
    text = (
        '{cpu}, {cores} cores, {gigabytes:.0f} GB of memory, load {load:.1f}; {system}; '
        'Python {python}, paddle {paddle}, numpy {numpy}, torch {torch}'
    )
    return text.format(gigabytes=machine['memory_bytes'] / 1e9, **machine)


def spread_lines(report: Report) -> list[str]:
    """The spread of all that was timed, and a warning for each that is too large."""
    if all(len(series.values) == 1 for series in report.series.values()):
        return ['Measured once: no spread.']
    rows = [[name, f'{100 * series.spread:.0f} %'] for name, series in report.series.items()]
    warnings = [
        f'WARNING: {name}: spread of {100 * series.spread:.0f} %, more than {100 * NOISY:.0f} %: '
        'was the machine doing something else?'
        for name, series in report.series.items()
        if series.spread > NOISY
    ]
    return [*table(['timed', 'spread'], rows), *(['', *warnings] if warnings else [])]


def main() -> None:
    options = parse_arguments()
    if set(options.only) & set(BY_ENGINES):
        options.engines = engines_here(options.engines)
    config = load_config(options.config, need=('dataset_params.frame_shape', 'train_params'))
    official = find_official(options.torch_repo, options.torch_python)
    made = provenance(CODE)
    machine = made['machine'] = {**made['machine'], 'torch': official.version or 'none'}
    named = options.config  # the default as one would type it
    named = named.relative_to(ROOT) if named.is_relative_to(ROOT) else named
    print(f'Machine: {machine_line(machine)}\n\nConfig: {named}', flush=True)
    compare = {
        'loading': lambda: compare_loading(config, options),
        'training': lambda: compare_training(config, official, options),
        'scaling': lambda: compare_scaling(config, options),
        'animation': lambda: compare_animation(config, official, options),
        'start': lambda: compare_start(config, official, options),
        'demo': lambda: compare_demo(config, official, options),
        'live': lambda: compare_live(config, options),
    }
    figures: dict[str, Any] = {**made, 'config': str(named)}
    for section in options.only:
        report = compare[section]()
        figures[section] = report.figures
        print('\n'.join(['', f'## {section}', '', *report.lines, '', *spread_lines(report)]))
    if options.out is not None:
        with atomic_output(options.out) as path:
            path.write_text(json.dumps(figures, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    run_command(main)
