"""Compares this project's numbers with those of the official PyTorch code.

    python tools/parity.py check FILE.npz ...
    python tools/parity.py dump --torch_repo CLONE [--torch_python PYTHON] --config C \\
        [--checkpoint X] --out FILE.npz

`check` computes what a recorded file holds and compares; `dump` records such a file by running the
official code from a clone of its repository (PyTorch needed).
"""

import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import numpy as np

from modules.inference.options import ENGINES
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.gpu import switch_tf32_off
from modules.runtime.json_text import parse_json
from modules.runtime.process import prepare_process

Arrays = dict[str, np.ndarray]

# Largest error accepted, by set; 'demo' frames in levels of 255. See error() for its definition.
BARS = {'unit': 2e-5, 'nets': 1e-6, 'full': 2e-5, 'trajectory': 1e-5, 'demo': 2e-5}
LOSS_BAR = 1e-6  # of the losses along a trajectory
FRAME_BAR = 1.0  # of 8-bit frames

# What a file whose meta or arrays make no sense runs into on the way.
UNUSABLE = (UserError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, OSError)


class Outcome(NamedTuple):
    """One compared array."""

    name: str
    error: float
    bar: float
    note: str = ''

    @property
    def ok(self) -> bool:
        return self.error <= self.bar  # False for NaN


def group_of(name: str) -> str:
    return '.'.join(name.split('.')[:3])


def peak(array: np.ndarray) -> float:
    return float(np.abs(array).max()) if array.size else 0.0


def error(ours: np.ndarray, golden: np.ndarray, floor: float) -> float:
    """max|ours - golden| over the larger of max|golden| and `floor`; 8-bit frames: in levels."""
    if golden.dtype == np.uint8:
        return peak(ours.astype(int) - golden.astype(int))
    difference = np.abs(ours.astype('float64') - golden.astype('float64'))
    if not np.isfinite(difference).all():
        return float('inf')
    scale = max(peak(golden), floor)
    largest = peak(difference)
    return largest / scale if scale else (0.0 if largest == 0 else float('inf'))


def compare(golden: Arrays, ours: Arrays, set_name: str) -> Iterator[Outcome]:
    """Compares every array of `golden`; one that was not computed fails."""
    largest: dict[str, float] = {}
    for name, array in golden.items():
        largest[group_of(name)] = max(largest.get(group_of(name), 0.0), peak(array))
    for name, array in golden.items():
        bar = LOSS_BAR if (set_name, name) == ('trajectory', 'losses') else BARS[set_name]
        of_frames = set_name == 'demo' and array.dtype == np.uint8
        bar = FRAME_BAR if of_frames else bar
        if array.dtype.kind != 'f' and not of_frames:
            yield Outcome(name, float('inf'), bar, f'recorded as {array.dtype}, not as numbers')
        elif name not in ours:
            yield Outcome(name, float('inf'), bar, 'nothing is computed under this name')
        elif ours[name].shape != array.shape:
            note = f'shape {ours[name].shape}, recorded {array.shape}'
            yield Outcome(name, float('inf'), bar, note)
        else:
            floor = 1e-6 * largest[group_of(name)]
            yield Outcome(name, error(ours[name], array, floor), bar)


def read_golden(path: Path) -> tuple[dict, Arrays]:
    """The meta and the arrays of a recorded file; nothing in it is executed.

    Raises:
        UserError: it can't be read or has no usable meta.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = parse_json(str(arrays.pop('meta')))
    except (*UNUSABLE, EOFError, zipfile.BadZipFile, zlib.error, struct.error) as problem:
        raise UserError(f'{path}: not a readable golden file ({problem})') from problem
    if not isinstance(meta, dict) or meta.get('set') not in BARS:
        raise UserError(f'{path}: its meta names no known set ({", ".join(BARS)})')
    return meta, arrays


def check_file(path: Path, engine: str = 'eager') -> list[Outcome]:
    """Computes and compares one file; a file that can't be compared is one failed outcome.

    What the file lacks is told and no failure: a recording may be of a part.
    """
    from modules.parity import sets as parity_sets

    try:
        meta, golden = read_golden(path)
        results = {n: a for n, a in golden.items() if not parity_sets.is_input(meta['set'], n)}
        if not results:
            raise UserError(f'{path}: holds nothing to compare')
        ours = parity_sets.compute(meta, golden, path, engine=engine)
        outcomes = list(compare(results, ours, meta['set']))
        not_recorded = [name for name in ours if name not in golden]
        differs = meta['set'] == 'nets' and not all(outcome.ok for outcome in outcomes)
        name = first_differing_op(meta, golden, path) if differs else None
    except UNUSABLE as problem:
        message = ' '.join(str(problem).split())
        return [Outcome(str(path), float('inf'), 0.0, message)]
    if not_recorded:
        print(f'not in the file, so not compared: {shorten(not_recorded)}')
    if name:
        print(f'first op that differs: {name}')
    return outcomes


def shorten(names: list[str]) -> str:
    """How many, and the groups that the first ones belong to."""
    groups = list(dict.fromkeys(map(group_of, names)))
    more = ', ...' if len(groups) > 4 else ''
    return f'{len(names)} arrays ({", ".join(groups[:4])}{more})'


def first_differing_op(meta: dict, golden: Arrays, path: Path) -> str | None:
    """The first result of the training step that differs when all before it are as recorded."""
    from modules.parity import sets as parity_sets
    from modules.test_mode import results_of_step

    ours = parity_sets.compute(meta, golden, path, results_of_step(golden))
    taps = {n: golden[n] for n in ours if n in golden and n.startswith('train.')}
    return next((o.name for o in compare(taps, ours, 'nets') if not o.ok), None)


def report(outcomes: list[Outcome]) -> None:
    """A line per group of arrays: its worst error, the bar, the verdict."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(group_of(outcome.name), []).append(outcome)
    for name, members in groups.items():
        worst = max(members, key=badness)
        many = f' ({len(members)} arrays, worst {worst.name})' if len(members) > 1 else ''
        verdict = 'ok' if worst.ok else f'FAIL {worst.note}'.rstrip()
        label = worst.name if len(members) == 1 else name
        print(f'{label:48s} {worst.error:.1e}  bar {worst.bar:.0e}  {verdict}{many}')


def badness(outcome: Outcome) -> float:
    """For ordering: the error in units of its bar; what is not comparable comes last."""
    ratio = outcome.error / outcome.bar if outcome.bar else float('inf')
    return float('inf') if np.isnan(ratio) else ratio


def check(files: list[Path], engine: str = 'eager') -> bool:
    outcomes: list[Outcome] = []
    for path in files:
        print(f'== {path}')
        found = check_file(path, engine)
        report(found)
        outcomes += found
    worst = max(outcomes, key=badness)
    failed = [outcome for outcome in outcomes if not outcome.ok]
    if failed:
        print(f'FAIL {len(failed)} of {len(outcomes)} arrays, worst {worst.error:.1e} {worst.name}')
    else:
        print(f'PASS {len(outcomes)} arrays, worst {worst.error:.1e}')
    return not failed


def main() -> None:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    commands = parser.add_subparsers(
        dest='command', required=True, metavar='check|dump', help='what to do'
    )
    check_parser = commands.add_parser('check', help='compare with recorded files')
    check_parser.add_argument(
        'files',
        nargs='+',
        type=Path,
        metavar='FILE.npz',
        help='recorded files',
    )
    check_parser.add_argument(
        '--engine',
        choices=[name for name in ENGINES if name != 'auto'],
        default='eager',
        help='engine of the full and demo sets; the others, in float64, are computed eagerly',
    )
    dump_parser = commands.add_parser('dump', help='record a file with the official code')
    dump_parser.add_argument(
        '--torch_repo',
        required=True,
        type=Path,
        metavar='FOLDER',
        help='clone of the official code',
    )
    dump_parser.add_argument(
        '--torch_python', metavar='PYTHON', help='interpreter with PyTorch; if left out, this one'
    )
    dump_parser.add_argument(
        '--config', required=True, type=Path, metavar='FILE.yaml', help='config of the networks'
    )
    dump_parser.add_argument(
        '--checkpoint', type=Path, help='official .pth.tar; if left out, seeded weights'
    )
    dump_parser.add_argument(
        '--out', required=True, type=Path, metavar='FILE.npz', help='file to write'
    )
    dump_parser.add_argument(
        '--seed', type=int, default=0, help='seed of weights, frames and noise'
    )
    options = parser.parse_args()
    if options.command == 'dump':
        from tools.official.parity import dump

        dump(
            options.torch_repo,
            options.config,
            options.checkpoint,
            options.out,
            options.seed,
            options.torch_python,
        )
    else:
        for path in options.files:
            if not path.is_file():
                raise UserError(f'{path}: no such file; record one by `tools/parity.py dump`')
        prepare_process()
        switch_tf32_off()
        if not check(options.files, options.engine):
            sys.exit(1)


if __name__ == '__main__':
    run_command(main)
