"""Tries Pythons and PaddlePaddles: the quick tests and the bundled demo, with each pair of them.

    python tools/try_versions.py --pythons python3.10 python3.11 --paddles 3.1 3.2 3.3 \\
        --out versions.md

For each pair it makes an environment in a temporary folder, installs what a CPU install and the
tests need, with the newest patch of that PaddlePaddle, and removes it again: two to four minutes
and 2 GB of disk for a while. The table says what passed; versions.json beside it has the names of
the tests that failed, too.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

import numpy as np

from modules.animation.motion_file import read_motion
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output, check_output
from modules.video import VideoReader
from tools.markdown import table

PYTHONS = ('python3.10', 'python3.11', 'python3.12', 'python3.13')
PADDLES = ('3.1', '3.2', '3.3')
REQUIREMENTS = ('requirements-common.txt', 'requirements-dev.txt')
_LONGEST = 3600  # seconds of any step
# Before 3.3 Paddle needs it from Python 3.12 on, but doesn't ask for it.
_ASKED_FOR_LATER = 'setuptools'
_NO_WHEEL = 'no matching distribution found for paddlepaddle'


class StepError(Exception):
    """A step of a pair failed; the message says how."""


@dataclass
class Pair:
    """A Python with a PaddlePaddle, and what came of them."""

    python: str  # 3.10.13
    paddle: str  # 3.3, and once it is installed 3.3.1
    failure: str = ''  # in a line; none where all is well
    counts: dict[str, int] = field(default_factory=dict)  # of tests: passed, failed, skipped
    failed_tests: list[str] = field(default_factory=list)
    demo: str = ''
    seconds: dict[str, float] = field(default_factory=dict)  # of install, tests, demo


def main() -> None:
    options = parse_arguments()
    pythons = [(python, version_of(python)) for python in options.pythons]
    check_output(options.out)
    pairs, frames = [], None
    for python, version in pythons:
        for paddle in options.paddles:
            pair = Pair(version, paddle)
            frames = try_pair(pair, python, frames)
            pairs.append(pair)
            print(' '.join(cells(pair)), flush=True)
            write(options.out, pairs)
    print(f'written: {options.out}, {options.out.with_suffix(".json")}')


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--pythons', nargs='+', default=PYTHONS, metavar='PYTHON',
        help='names or paths of interpreters (default: python3.10 to python3.13)',
    )  # fmt: skip
    parser.add_argument(
        '--paddles', nargs='+', default=PADDLES, metavar='VERSION',
        help='versions, of each of which the newest patch is taken (default: 3.1 3.2 3.3)',
    )  # fmt: skip
    parser.add_argument('--out', type=Path, default=Path('versions.md'), help='table to write')
    options = parser.parse_args()
    if options.out.suffix == '.json':
        raise UserError(f'{options.out}: is where the figures go; end the name of the table in .md')
    return options


def version_of(python: str) -> str:
    try:
        command = [python, '-c', 'import platform; print(platform.python_version())']
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f'--pythons {python}: is no Python that runs ({error})') from error


def try_pair(pair: Pair, python: str, expected: np.ndarray | None) -> np.ndarray | None:
    """Fills in what comes of a pair.

    Args:
        expected: the demo's frames from the pairs before, (N, H, W, 3) uint8; None: this is the
            first one that has any.

    Returns:
        `expected`, or this pair's frames if there were none.
    """
    with tempfile.TemporaryDirectory(prefix='versions-') as name:
        folder = Path(name)
        try:
            with _timed(pair, 'install'):
                mine = _install(pair, python, folder)
            with _timed(pair, 'tests'):
                _test(pair, mine, folder)
            with _timed(pair, 'demo'):
                expected = _animate(pair, mine, folder, expected)
        except StepError as error:
            pair.failure = str(error)
    return expected


@contextlib.contextmanager
def _timed(pair: Pair, step: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        pair.seconds[step] = round(time.monotonic() - start, 1)


def _install(pair: Pair, python: str, folder: Path) -> str:
    """An environment -> its Python."""
    mine = str(folder / 'venv' / 'bin' / 'python')
    _done([python, '-m', 'venv', str(folder / 'venv')], folder)
    wanted = [part for name in REQUIREMENTS for part in ('-r', str(ROOT / name))]
    command = [mine, '-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
    wanted += [f'paddlepaddle=={pair.paddle}.*', _ASKED_FOR_LATER]
    _done([*command, '--only-binary', ':all:', *wanted], folder)
    ask = "import importlib.metadata; print(importlib.metadata.version('paddlepaddle'))"
    pair.paddle = _done([mine, '-c', ask], folder).stdout.strip()
    return mine


def _test(pair: Pair, python: str, folder: Path) -> None:
    report = folder / 'report.xml'
    command = [python, '-m', 'pytest', '-q', '-m', 'quick', '-p', 'no:cacheprovider']
    done = _run([*command, f'--junitxml={report}'], folder, ROOT)
    if done.returncode not in (0, 1) or not report.exists():
        raise StepError(f'the tests: {_last_line(done)}')
    pair.counts, pair.failed_tests = outcomes(report)


def outcomes(report: Path) -> tuple[dict[str, int], list[str]]:
    """pytest's report -> how many tests passed, failed and were skipped; names of the failed."""
    counts, names = {'passed': 0, 'failed': 0, 'skipped': 0}, []
    for case in ElementTree.parse(report).iter('testcase'):
        if case.find('failure') is not None or case.find('error') is not None:
            counts['failed'] += 1
            names.append(f'{case.get("classname", "")}::{case.get("name")}')
        else:
            counts['passed' if case.find('skipped') is None else 'skipped'] += 1
    return counts, names


def _animate(
    pair: Pair, python: str, folder: Path, expected: np.ndarray | None
) -> np.ndarray | None:
    """Runs the bundled demo; see `try_pair`."""
    result, motion = folder / 'result', folder / 'motion.safetensors'
    command = [python, str(ROOT / 'demo.py'), '--cpu', '--result_video', str(result)]
    done = _run([*command, '--save_motion', str(motion)], folder, folder)
    if done.returncode:
        pair.demo = f'failed: {_last_line(done)}'
        return expected
    keypoints = read_motion(motion)
    finite = all(
        np.isfinite(array).all()
        for array in (keypoints.value, keypoints.jacobian)
        if array is not None
    )
    with VideoReader(result) as reader:
        frames = np.stack(list(reader))
    if not finite or np.ptp(frames) < 100:
        pair.demo = 'failed: numbers that are not finite' if not finite else 'failed: empty frames'
        return expected
    if expected is None:
        pair.demo = f'{len(frames)} frames'
        return frames
    if frames.shape != expected.shape:
        pair.demo = f'failed: frames of shape {frames.shape}, others have {expected.shape}'
        return expected
    most = int(np.abs(frames.astype('int16') - expected).max())
    pair.demo = f'{len(frames)} frames, ' + ('the same' if not most else f'{most} of 255 apart')
    return expected


def _done(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command that has to succeed.

    Raises:
        StepError: it did not.
    """
    done = _run(command, folder, folder)
    if done.returncode:
        if _NO_WHEEL in done.stderr.lower():
            raise StepError('no wheel for this Python')
        raise StepError(f'the install: {_last_line(done)}')
    return done


def _run(command: Sequence[str], folder: Path, place: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in `place`; what it keeps for later goes into `folder`."""
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    environment['XDG_CACHE_HOME'] = str(folder / 'cache')
    environment['PYTHONPYCACHEPREFIX'] = str(folder / 'bytecode')
    # pip keeps its downloads where it always does: the same package comes again for the next pair.
    if 'pip' in command:
        environment.pop('XDG_CACHE_HOME')
        environment |= {k: v for k, v in os.environ.items() if k == 'XDG_CACHE_HOME'}
    try:
        return subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, errors='replace',
            timeout=_LONGEST, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise StepError(f'{Path(command[0]).name}: more than {_LONGEST} s') from error


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a command said last, without the folders that only this run has."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ['no message']
    errors = [line for line in lines if line.startswith('ERROR')] or lines
    return f'status {done.returncode}: {errors[-1].strip()[:200]}'


def cells(pair: Pair) -> tuple[str, ...]:
    """A row of the table."""
    tests = ', '.join(f'{count} {what}' for what, count in pair.counts.items() if count)
    seconds = ' + '.join(f'{pair.seconds[step]:.0f}' for step in pair.seconds)
    failed = pair.failure or ', '.join(pair.failed_tests[:3])
    more = len(pair.failed_tests) - 3
    failed += f' and {more} more' if more > 0 else ''
    row = (pair.python, pair.paddle, tests, pair.demo, seconds, failed)
    return tuple(cell.replace('|', '\\|') for cell in row)


def write(out: Path, pairs: Sequence[Pair]) -> None:
    """The table, and all figures as JSON beside it."""
    header = ('Python', 'Paddle', 'quick tests', 'demo', 'seconds', 'what failed')
    lines = table(header, [cells(pair) for pair in pairs])
    day = datetime.date.today()
    place = f'{platform.system()}, {platform.machine()}, {os.cpu_count()} CPU cores'
    end = f'\n{day.day} {day:%B %Y}, {place}. Seconds: install + tests + demo.\n'
    with atomic_output(out) as path:
        path.write_text('\n'.join((*lines, end)), encoding='utf-8')
    with atomic_output(out.with_suffix('.json')) as path:
        told = {'date': day.isoformat(), 'place': place, 'pairs': [asdict(pair) for pair in pairs]}
        path.write_text(json.dumps(told, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    run_command(main)
