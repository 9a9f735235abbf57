"""The commands that faults are tried on, with networks so small that each takes seconds.

A `Material` is what they read; a `Command` says what is typed, and what is to be there at the end.
"""

import csv
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml
from PIL import Image

from tests.support.dataset_files import frames, write_video
from tests.support.places import ROOT
from tests.support.tiny import TINY

PATIENCE = 180  # seconds after which a command hangs
LONG = 60  # frames of the clip that demo.py, the batch and the page animate
MINE = ('.lock', '.batch')  # hidden, and meant to stay


class Material(NamedTuple):
    """What the commands read."""

    folder: Path
    run: Path  # the folder of a training run, whose newest weights animate

    @property
    def config(self) -> Path:
        return self.folder / 'tiny.yaml'

    @property
    def data(self) -> Path:
        return self.folder / 'data'

    @property
    def picture(self) -> Path:
        return self.folder / 'picture.png'

    @property
    def clip(self) -> Path:
        return self.folder / 'clip.mp4'

    @property
    def rows(self) -> Path:
        return self.folder / f'{self.run.name}.csv'


def write_material(folder: Path) -> Material:
    """Clips, a config, and weights, which a first run of train.py gives."""
    material = Material(folder, folder / 'run')
    for part, count in (('train', 8), ('test', 3)):
        for number in range(count):
            write_video(material.data / part / f'{number:02d}.mp4', frames(12, number))
    write_video(material.clip, frames(LONG, 20))
    Image.fromarray(frames(1, 21)[0]).save(material.picture)
    training = {
        **TINY['train_params'],
        'num_epochs': 3,
        'num_repeats': 2,
        'num_workers': 2,
        'checkpoint_minutes': 1e-6,  # a checkpoint each step: all may be torn
        'keep_checkpoints': 100,
    }
    config = {
        'dataset_params': {**TINY['dataset_params'], 'root_dir': str(material.data)},
        'model_params': TINY['model_params'],
        'train_params': training,
        'reconstruction_params': {'num_videos': 3},
        'animate_params': {
            'num_pairs': 4,
            'format': '.mp4',
            'normalization_params': {
                'use_relative_movement': True,
                'use_relative_jacobian': True,
                'adapt_movement_scale': False,
            },
        },
        'visualizer_params': {'kp_size': 2, 'draw_border': False},
    }
    config['dataset_params']['cache_gb'] = 1
    material.config.write_text(yaml.safe_dump(config))
    write_rows(material)
    place = Place(folder / 'first')
    done = COMMANDS['train'].run(material, place)
    assert done.status == 0, done.errors
    (place.out / 'run').rename(material.run)
    return material


def write_rows(material: Material) -> None:
    """The table of the batch."""
    names = ('picture', 'clip', 'result', 'config', 'crop', 'frames')
    rows = [
        (material.picture, material.clip, f'{number}.mp4', material.config, 'none', 20 + number)
        for number in range(6)
    ]
    with open(material.rows, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerow([*names, 'checkpoint'])
        writer.writerows([*row, material.run] for row in rows)


class Place:
    """Where a command works: its outputs, its temporary files, and the caches.

    Args:
        cache: of programs and frames, if not one of its own.
    """

    def __init__(self, folder: Path, cache: Path | None = None):
        self.folder = folder
        self.out, self.temporary = folder / 'out', folder / 'tmp'
        self.cache = cache or folder / 'cache'
        for path in (self.out, self.temporary, self.cache):
            path.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        own = {'XDG_CACHE_HOME': self.cache, 'TMPDIR': self.temporary, 'PYTHONPATH': ROOT}
        kept = {name: value for name, value in os.environ.items() if name != 'PYTEST_CURRENT_TEST'}
        return {'OMP_NUM_THREADS': '1', **kept, **{name: str(own[name]) for name in own}}

    def hidden(self) -> list[str]:
        """What a run has left among the outputs that is none."""
        found = [path for path in entries(self.out) if path.name.startswith('.')]
        return sorted(str(p.relative_to(self.out)) for p in found if p.name not in MINE)

    def files(self) -> dict[str, bytes]:
        """All outputs, by their names, but hidden ones."""
        found = {}
        for top, folders, names in os.walk(self.out):
            folders[:] = [name for name in folders if not name.startswith('.')]
            for name in names:
                if not name.startswith('.'):
                    path = Path(top, name)
                    found[path.relative_to(self.out).as_posix()] = path.read_bytes()
        return found


_BEFORE_THE_ERROR = re.compile(r'note: |warning: |row \d+: .*: FAILED: ')


class Ended(NamedTuple):
    """How a command has ended."""

    status: int
    printed: str
    errors: str

    def wrong_line(self) -> str | None:
        """What is wrong with an end by status 2, which is to have one line that begins `error: `.

        Notes and warnings may stand before it, and the rows of a batch that are lost.
        """
        lines = [line for line in self.errors.splitlines() if line.strip()]
        told = [line for line in lines if not _BEFORE_THE_ERROR.match(line)]
        if 'Traceback' in self.errors:
            return f'a traceback that ends {lines[-1]!r}'
        if len(told) != 1 or not told[0].startswith('error: '):
            return f'not one line that begins "error: ", but {told[-3:]}'
        return None


class Command(NamedTuple):
    """A command, with what it is to leave."""

    name: str
    script: str
    options: Callable[[Material, Path], Sequence[object]]  # of the first time; Path: of outputs
    again: Callable[[Material, Path], Sequence[object]]  # of the times after a fault
    output: str  # what it writes, within the folder of outputs
    growing: Callable[[str], bool] = lambda name: False  # files that change while it works
    once: bool = False  # its output is not made again
    ends_with: int = 0  # if a part of the work was lost: tools/batch.py goes on with other rows

    def start(
        self,
        material: Material,
        place: Place,
        *more: object,
        again: bool = False,
        **environment: str,
    ) -> subprocess.Popen[str]:
        options = (self.again if again else self.options)(material, place.out)
        return subprocess.Popen(
            [sys.executable, str(ROOT / self.script), *map(str, options), *map(str, more)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors='replace',
            cwd=place.folder,
            env={**place.environment(), **environment},
            start_new_session=True,  # a signal to all of its processes reaches no others
        )

    def run(
        self,
        material: Material,
        place: Place,
        *more: object,
        again: bool = False,
        **environment: str,
    ) -> Ended:
        return ended(self.start(material, place, *more, again=again, **environment))

    def results(self, place: Place) -> dict[str, bytes]:
        """What has to be the same whatever has happened."""
        return {name: data for name, data in place.files().items() if not _is_report(name)}


def _is_report(name: str) -> bool:
    """A batch's report tells how long it took; what a run has set aside is none of it any more."""
    return name.startswith(('batch/report.', 'run/set-aside-'))


def ended(process: subprocess.Popen[str]) -> Ended:
    """Waits for the end, which must come."""
    try:
        printed, errors = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        printed, errors = process.communicate()
        errors += f'\nTraceback: hangs for {PATIENCE} seconds'
    return Ended(process.returncode, printed, errors)


def _training(material: Material, out: Path) -> list[object]:
    return ['--config', material.config, '--save_dir', out / 'run', '--cpu']


def _training_again(material: Material, out: Path) -> list[object]:
    begun = list((out / 'run').glob('*-checkpoint.safetensors'))
    return [*_training(material, out), *(['--resume'] if begun else [])]


def _with_weights(material: Material) -> list[object]:
    return ['--config', material.config, '--checkpoint', material.run, '--cpu']


def _animating(material: Material, out: Path) -> list[object]:
    return [*_with_weights(material), '--save_dir', out / 'pairs']


def _evaluating(material: Material, out: Path) -> list[object]:
    return [*_with_weights(material), '--out', out / 'figures', '--save_frames']


def _demo(material: Material, out: Path) -> list[object]:
    pair = ['--source_image', material.picture, '--driving_video', material.clip]
    return [*_with_weights(material), *pair, '--crop', 'none', '--result_video', out / 'a.mp4']


def _batch(material: Material, out: Path) -> list[object]:
    return [material.rows, '--out', out / 'batch', '--device', 'cpu', '--processes', 2]


COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command(
            'train', 'train.py', _training, _training_again, 'run',
            lambda name: name == 'run/log.txt',
        ),
        Command('animate', 'animate.py', _animating, _animating, 'pairs'),
        Command('evaluate', 'tools/evaluate.py', _evaluating, _evaluating, 'figures', once=True),
        Command('demo', 'demo.py', _demo, _demo, 'a.mp4'),
        Command('batch', 'tools/batch.py', _batch, _batch, 'batch', ends_with=1),
    )
}  # fmt: skip


class Undisturbed(NamedTuple):
    """What a command gives where nothing happens to it, and when."""

    results: dict[str, bytes]
    first: float  # seconds until it begins to write
    seconds: float  # to its end
    size: int  # bytes that its outputs took at most


def measure(command: Command, material: Material, place: Place) -> Undisturbed:
    """Runs it once, with programs in the cache, and watches what it writes."""
    warm = Place(place.folder / 'warm', place.cache)
    done = command.run(material, warm)
    assert done.status == 0, done.errors
    begun = time.monotonic()
    process = command.start(material, place)
    first, size = None, 0
    while process.poll() is None:
        used = _used(place.out)
        if first is None and used is not None:
            first = time.monotonic() - begun
        size = max(size, used or 0)
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    done = ended(process)
    assert done.status == 0, done.errors
    results = command.results(place)
    assert results and command.results(warm) == results, f'{command.name}: other bytes'
    return Undisturbed(results, first or 0.0, seconds, size)


def _used(folder: Path) -> int | None:
    """Bytes in a folder; None where nothing is in it."""
    sizes = [_blocks(path) for path in entries(folder)]
    return sum(sizes) if sizes else None


def entries(folder: Path) -> list[Path]:
    """All that is in a folder while it changes."""
    walked = list(os.walk(folder))
    return [Path(top, name) for top, folders, files in walked for name in folders + files]


def _blocks(path: Path) -> int:
    try:
        return 4096 * (1 + path.stat().st_size // 4096)
    except OSError:  # it is gone
        return 0


def children(pid: int) -> Iterator[int]:
    """Processes that a process has started, and those that they have started."""
    try:
        tasks = list(Path(f'/proc/{pid}/task').iterdir())
        found = [child for task in tasks for child in (task / 'children').read_text().split()]
    except OSError:
        return
    for child in map(int, found):
        yield child
        yield from children(child)


def to_json(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + '\n'
