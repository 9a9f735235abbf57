"""What fails for real: small disks, disks that nothing can be written to, clocks that jump."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.trials import SkippedError

# Python's clock of the day, of a process and all that it starts. libfaketime would change that of C
# libraries, too, but makes Python's own sleep fail (0.9.10, Python 3.11) and waits endless.
_CLOCK = """
import os, time
def _shift():
    try:
        with open(os.environ['CLOCK_FILE']) as file:
            return 86400 * int(file.read().strip('d\\n'))
    except (OSError, ValueError):
        return 0
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + _shift() * 10**9
"""


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    """`folder` is an empty file system of so many bytes of its own, as long as the block lasts."""
    _mount('mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', str(folder))
    try:
        yield
    finally:
        subprocess.run(['umount', '-l', str(folder)], check=True)


def change_disk(folder: Path, option: str) -> None:
    """Another size, such as `size=9m`; `ro`: nothing can be written; `rw`."""
    _mount('mount', '-o', f'remount,{option}', str(folder))


def _mount(*command: str) -> None:
    if os.geteuid() != 0:
        raise SkippedError('only root mounts file systems')
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise SkippedError('no program `mount`') from error
    except subprocess.CalledProcessError as error:
        raise SkippedError(f'no file system can be mounted: {error.stderr.strip()}') from error


class Clock:
    """A command's clock of the day, which goes wrong by whole days; `monotonic` ones stay right.

    Args:
        folder: for its files.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / 'clock'
        self._site = folder / 'site'
        self.jump(0)

    def jump(self, days: int) -> None:
        new = self._file.with_suffix('.new')
        new.write_text(f'{days:+d}d\n')
        os.replace(new, self._file)

    def environment(self, path: str) -> dict[str, str]:
        """For the command; `path` is the PYTHONPATH that it has."""
        self._site.mkdir(exist_ok=True)
        (self._site / 'sitecustomize.py').write_text(_CLOCK)
        return {'PYTHONPATH': f'{self._site}:{path}', 'CLOCK_FILE': str(self._file)}


@contextlib.contextmanager
def dated(paths: list[Path], days: int) -> Iterator[None]:
    """Files that seem to have been changed so many days from now, in the block."""
    before = [(path, path.stat().st_mtime_ns) for path in paths]
    then = time.time_ns() + days * 86400 * 10**9
    try:
        for path in paths:
            os.utime(path, ns=(then, then))
        yield
    finally:
        for path, changed in before:
            os.utime(path, ns=(changed, changed))
