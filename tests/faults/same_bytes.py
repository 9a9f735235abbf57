"""The same command twice, and with other numbers of threads and processes: are the bytes the same?

python -m tests.faults.same_bytes --out FOLDER
"""

import argparse
import datetime
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from modules.checkpoints.reading import read_checkpoint
from modules.video import VideoReader, read_image
from tests.faults.commands import COMMANDS, Command, Material, Place, to_json, write_material
from tests.support.phone_clips import OPTIONS, write_phone_clips
from tests.support.places import ROOT
from tools.markdown import table


class Case(NamedTuple):
    """A command, and what it is given other than the first time."""

    title: str
    command: Command
    ways: Mapping[str, 'Way']  # the first one is what the others are compared with


class Way(NamedTuple):
    """How a command is run."""

    threads: int = 1
    options: tuple[object, ...] = ()


class Found(NamedTuple):
    """What came of a way."""

    case: str
    way: str
    same: bool
    text: str  # the differences, if there are any


def _prepare(material: Material, out: Path) -> Sequence[object]:
    return [material.folder / 'phone', '--out', out / 'set', *OPTIONS, '--crop', 'object']


def _export(material: Material, out: Path) -> Sequence[object]:
    return ['--config', material.config, '--checkpoint', material.run, '--out', out / 'export']


def _bundled(material: Material, out: Path) -> Sequence[object]:
    return ['--result_video', out / 'result', '--cpu']


def _eager(material: Material, out: Path) -> Sequence[object]:
    return [*_bundled(material, out), '--engine', 'eager', '--frames', 8]


def _creatures(material: Material, out: Path) -> Sequence[object]:
    """The demo's own networks, on drawn creatures."""
    config = material.folder / 'creatures.yaml'
    return ['--config', config, '--save_dir', out / 'run', '--cpu', '--seed', 1]


THREADS = {'again': Way(), '2 threads': Way(2), '4 threads': Way(4)}
PREPARE = Command('prepare', 'tools/prepare_dataset.py', _prepare, _prepare, 'set')
EXPORT = Command('export', 'tools/export.py', _export, _export, 'export')
DEMO = Command('demo', 'demo.py', _bundled, _bundled, 'result')
EAGER = Command('demo', 'demo.py', _eager, _eager, 'result')
TRAIN = Command('train', 'train.py', _creatures, _creatures, 'run')
CASES = {
    'train': Case('train.py, tiny networks', COMMANDS['train'], THREADS),
    'train-demo': Case("train.py, the demo's networks, 64 x 64", TRAIN, THREADS),
    'animate': Case('animate.py', COMMANDS['animate'], THREADS),
    'evaluate': Case('tools/evaluate.py', COMMANDS['evaluate'], THREADS),
    'demo': Case('demo.py, the bundled networks, 128 x 128', DEMO, THREADS),
    'demo-eager': Case('likewise, `--engine eager`', EAGER, THREADS),
    'batch': Case(
        'tools/batch.py',
        COMMANDS['batch'],
        {**THREADS, '1 process': Way(1, ('--processes', 1))},
    ),
    'prepare': Case(
        'tools/prepare_dataset.py', PREPARE, {**THREADS, '2 workers': Way(1, ('--workers', 2))}
    ),
    'export': Case('tools/export.py, both formats', EXPORT, THREADS),
}


def compare(case: Case, material: Material, folder: Path, cache: Path) -> list[Found]:
    """Runs a case in all its ways."""
    here, first = folder / 'here', folder / 'first'  # the same place, which some outputs name
    expected = _results(case, Way(), material, Place(here, cache))
    here.rename(first)
    found = []
    for name, way in case.ways.items():
        results = _results(case, way, material, Place(here, cache))
        told = differences(first / 'out', here / 'out', expected, results)
        found.append(Found(case.title, name, not told, told))
        print(f'{case.title}: {name}: {told or "the same bytes"}', flush=True)
        shutil.rmtree(here)
    shutil.rmtree(folder)
    return found


def _results(case: Case, way: Way, material: Material, place: Place) -> dict[str, bytes]:
    environment = {'OMP_NUM_THREADS': str(way.threads)}
    done = case.command.run(material, place, *way.options, **environment)
    assert done.status == 0, done.errors
    found = case.command.results(place)
    assert found, f'{case.title}: no results'
    return found


def differences(
    one: Path, other: Path, first: Mapping[str, bytes], second: Mapping[str, bytes]
) -> str:
    """Which files are not the same, and by how much at most; '' if all are."""
    if first.keys() != second.keys():
        return f'other files: {sorted(first.keys() ^ second.keys())[:3]}'
    other_ones = [name for name in first if first[name] != second[name]]
    if not other_ones:
        return ''
    named = ', '.join(name.rpartition('/')[2] for name in other_ones[:2])
    told = [f'{len(other_ones)} of {len(first)} files differ ({named})']
    levels, weights = [], []
    for name in other_ones:
        paths = one / name, other / name
        if name.endswith('.png'):
            levels.append(_level(*map(read_image, paths)))
        elif name.endswith('.mp4'):
            levels += [_level(*pair) for pair in zip(*map(_frames, paths))]
        elif name.endswith('.safetensors'):
            weights.append(_weight(*paths))
    if levels:
        told.append(f'pictures by {max(levels)} of 255 levels at most')
    if weights:
        told.append(f'weights by {max(weights):.1e} at most')
    return ', '.join(told)


def _frames(path: Path) -> list[np.ndarray]:
    with VideoReader(path) as reader:
        return list(reader)


def _level(one: np.ndarray, other: np.ndarray) -> int:
    return int(np.abs(one.astype(int) - other).max())


def _weight(*paths: Path) -> float:
    one, other = (read_checkpoint(path).networks for path in paths)
    return max(
        float(np.abs(array - other[network][name]).max())
        for network, state in one.items()
        for name, array in state.items()
    )


def _write_creatures(material: Material) -> None:
    """A few steps of the demo's networks, on clips of 64 x 64."""
    import yaml

    from tests.support.dataset_files import frames, write_video

    data = material.folder / 'data-64'
    for part in ('train', 'test'):
        for number in range(8):
            write_video(data / part / f'{number}.mp4', frames(12, number, 64))
    config = yaml.safe_load((ROOT / 'config' / 'demo-64.yaml').read_text())
    config['dataset_params']['root_dir'] = str(data)
    config['train_params'].update(num_epochs=3, num_repeats=1, epoch_milestones=[2], batch_size=4)
    (material.folder / 'creatures.yaml').write_text(yaml.safe_dump(config))


def markdown(found: Sequence[Found]) -> str:
    ways = list(dict.fromkeys(each.way for each in found))
    by_place = {(each.case, each.way): 'same' if each.same else each.text for each in found}
    rows = [
        [case, *(by_place.get((case, way), '') for way in ways)]
        for case in dict.fromkeys(each.case for each in found)
    ]
    where = f'{datetime.date.today():%d %B %Y}, {os.cpu_count()} CPU cores, Python '
    return '\n'.join([*table(['command', *ways], rows), '', where + platform.python_version()])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', nargs='+', choices=CASES, default=list(CASES), metavar='CASE')
    parser.add_argument('--out', type=Path, help='folder for same_bytes.md and same_bytes.json')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='same-bytes-') as name:
        folder = Path(name)
        material = write_material(folder / 'material')
        _write_creatures(material)
        write_phone_clips(material.folder / 'phone')
        found = [
            each
            for case in options.only
            for each in compare(CASES[case], material, folder / case, folder / 'cache')
        ]
    print(markdown(found))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / 'same_bytes.md').write_text(markdown(found) + '\n', encoding='utf-8')
        held = [each._asdict() for each in found]
        (options.out / 'same_bytes.json').write_text(to_json(held), encoding='utf-8')
    return 1 if any(each.way == 'again' and not each.same for each in found) else 0


if __name__ == '__main__':
    sys.exit(main())
