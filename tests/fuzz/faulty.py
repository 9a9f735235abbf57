"""Readers with a fault each, to see that it is noticed."""

import ctypes
import importlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from modules.runtime.errors import UserError
from tests.fuzz.cases import Reader, Seed, Wrong

SOUND = b'sound' * 20
_libc = ctypes.CDLL(None)
_libc.fopen.restype = ctypes.c_void_p
_libc.fclose.argtypes = (ctypes.c_void_p,)


def raising(path: Path) -> None:
    raise ValueError('raised')


def sleeping(path: Path) -> None:
    time.sleep(600)


def busy(path: Path) -> None:
    while True:
        pass


def filling(path: Path) -> None:
    np.ones(5 * 2**29 // 8)  # 2.5 GiB


def writing(path: Path) -> None:
    Path('elsewhere').write_text('')


def writing_unseen(path: Path) -> None:
    """As a C library does, of which Python hears nothing."""
    _libc.fclose(_libc.fopen(b'unseen', b'w'))


def removing(path: Path) -> None:
    Path('/proc/self/nothing').unlink(missing_ok=True)


def leaving(path: Path) -> None:
    tempfile.mkdtemp()


def running(path: Path) -> None:
    subprocess.run([sys.executable, '-c', ''], check=True)


def evaluating(path: Path) -> None:
    eval(f'{len(path.read_bytes())} + 1')


def importing(path: Path) -> None:
    importlib.import_module('this')


def dying(path: Path) -> None:
    os.abort()


def printing(path: Path) -> None:
    os.write(2, b'a library was here\n')


def endless(path: Path) -> None:
    raise UserError('a' * 5000)


def two_lines(path: Path) -> None:
    print('error: one too many', file=sys.stderr)
    raise UserError('a line')


def wrong(path: Path) -> None:
    raise Wrong('other pixels')


# What is told of each.
FAULTS: dict[Callable[[Path], None], str] = {
    raising: 'ValueError at faulty.py',
    sleeping: 'no answer for 10 s',
    busy: 'takes more than 1 s',
    filling: 'takes 2.5 GiB',
    writing: "writes 'elsewhere'",
    writing_unseen: "writes ['unseen']",
    removing: "os.remove '/proc/self/nothing'",
    leaving: 'leaves tmp',
    running: 'runs subprocess.Popen',
    evaluating: "compile of '<string>'",
    importing: "imports 'this'",
    dying: 'ends the process by SIGABRT',
    printing: "prints b'a library was here",
    endless: 'a line of 5007 characters',
    two_lines: 'with 2 lines of errors',
    wrong: 'Wrong at faulty.py',
}


_LIMITS = {filling: 10}  # seconds, where one is too few


def _reader(fault: Callable[[Path], None]) -> Reader:
    def read(path: Path, rng: Random) -> bool:
        if path.read_bytes() != SOUND:
            fault(path)
        return True

    return Reader(fault.__name__, fault.__name__, _seeds, (), read, 1, (), _LIMITS.get(fault, 1))


def _seeds() -> dict[str, Seed]:
    return {'a': Seed({'a': SOUND})}


def _read_soundly(path: Path, rng: Random) -> bool:
    if len(path.read_bytes()) < len(SOUND):
        raise UserError(f'{path}: cut off')
    return path.read_bytes()[:1] == SOUND[:1]


FAULTY = {fault.__name__: _reader(fault) for fault in FAULTS}
SOUNDLY = {'soundly': Reader('soundly', 'soundly', _seeds, (), _read_soundly, 3)}
MIXED = {**SOUNDLY, 'dying': FAULTY['dying']}
