"""The processes that are measured: this project's and the official PyTorch code's, in turns.

Weights are drawn from their names, so that both do the same work and give the same numbers.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from modules.runtime.errors import UserError
from modules.runtime.process import has_bf16
from tools.benchmarking.common import Series, frames_file, read_frames
from tools.official.forms import FORMS
from tools.official.parity import check_clone, official_config, package_version

TOOLS = Path(__file__).resolve().parents[1]
OFFICIAL = 'official'
MEGABYTE = 10**6


class Contender(NamedTuple):
    """A program that is measured."""

    name: str
    command: Sequence[str]
    job: dict[str, Any]
    gpus: str = ''  # that it may see
    may_fail: bool = False


class Run(NamedTuple):
    """What a process found: see ours.py and ../official/benchmark.py."""

    seconds: list[float]
    peak_bytes: int
    version: str
    losses: list[dict[str, float]]
    frames: np.ndarray | None
    extra: Mapping[str, Any] = {}  # of the section `live`


class Official(NamedTuple):
    """The official code, or why it is not measured."""

    python: str = ''
    repo: Path | None = None
    version: str = ''
    reason: str = ''


def find_official(torch_repo: Path | None, torch_python: str | None) -> Official:
    """
    Args:
        torch_repo: clone of the official repository.
        torch_python: interpreter that has PyTorch; None: this one, if it has.

    Raises:
        UserError: no clone there, or no PyTorch in the interpreter that was named.
    """
    if torch_repo is None:
        return Official(reason='not measured: --torch_repo names no clone of it')
    check_clone(torch_repo)
    python = torch_python or sys.executable
    version = package_version(python, 'torch')
    if version is None and torch_python:
        raise UserError(
            f'--torch_python {python}: has no PyTorch; pip install torch there, or name another '
            'Python'
        )
    if version is None:
        return Official(reason=f'not measured: no PyTorch in {python}; name one by --torch_python')
    return Official(python, torch_repo.resolve(), version)


def run(contender: Contender, folder: Path, size: tuple[int, int]) -> Run:
    """Measures a contender once.

    Raises:
        UserError: it failed; what it printed is shown on stderr.
    """
    result = folder / 'result.json'
    frames_file(result).unlink(missing_ok=True)
    done = subprocess.run(
        [*contender.command, str(result)],
        input=json.dumps({**contender.job, 'started': time.time()}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        # Also where there is a GPU, the CPU is what is compared.
        env={**os.environ, 'CUDA_VISIBLE_DEVICES': contender.gpus},
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        raise UserError(
            f'{contender.name}: ended with status {done.returncode}, see above; if it was killed '
            'for memory, make batches smaller or clips shorter'
        )
    values = json.loads(result.read_text(encoding='utf-8'))
    frames = read_frames(result, size) if frames_file(result).exists() else None
    return Run(**{'losses': [], **values}, frames=frames)


def run_in_turns(
    contenders: Sequence[Contender],
    repeats: int,
    folder: Path,
    size: tuple[int, int],
    title: str,
    lacking: dict[str, str] | None = None,
) -> dict[str, list[Run]]:
    """The runs of each contender: A B A B ...

    Args:
        lacking: gets the name of one that may fail, and does, with a line; it has no runs then.

    Raises:
        UserError: another one failed.
    """
    runs: dict[str, list[Run]] = {contender.name: [] for contender in contenders}
    turns = [contender for _ in range(repeats) for contender in contenders]
    for contender in tqdm(turns, title, unit='run', disable=None):
        if contender.name not in runs:
            continue
        try:
            runs[contender.name].append(run(contender, folder, size))
        except UserError:
            if lacking is None or not contender.may_fail:
                raise
            lacking[contender.name] = 'not measured: it failed, see what it printed'
            del runs[contender.name]
    return runs


def official_contender(
    official: Official, config: Mapping[str, Any], job: dict[str, Any], form: str = OFFICIAL
) -> Contender:
    """
    Args:
        form: one of FORMS, in which its networks are run.
    """
    job = {**job, **official_config(config), 'torch_repo': str(official.repo), 'form': form}
    command = [official.python, str(TOOLS / 'official' / 'benchmark.py')]
    return Contender(form, command, job, may_fail=form != OFFICIAL)


def lack_of(official: Official, form: str) -> str:
    """Why the official networks are not measured in a form; '' if they can be."""
    package, bf16 = FORMS[form].package, FORMS[form].bf16
    if official.reason:
        return official.reason
    if package_version(official.python, package) is None:
        return f'not measured: no {package} in {official.python}'
    return 'not measured: this CPU has no instructions for it' if bf16 and not has_bf16() else ''


def our_contender(name: str, config: Mapping[str, Any], job: dict[str, Any]) -> Contender:
    command = [sys.executable, str(TOOLS / 'benchmarking' / 'ours.py')]
    return Contender(name, command, {**job, 'config': config})


def save_inputs(folder: Path, arrays: Mapping[str, np.ndarray], name: str = 'inputs') -> str:
    path = folder / f'{name}.npz'
    content: dict[str, Any] = dict(arrays)
    np.savez(path, **content)
    return str(path)


def times(runs: Sequence[Run]) -> Series:
    """Seconds of a step or frame: of each run the median of all but the first, a warm-up."""
    return Series(tuple(float(np.median(run.seconds[1:])) for run in runs))


def peaks(runs: Sequence[Run]) -> Series:
    return Series(tuple(float(run.peak_bytes) for run in runs))
