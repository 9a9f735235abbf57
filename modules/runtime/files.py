"""Outputs whole or not at all; what tells files apart."""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from modules.runtime.errors import OUTPUT_ERRORS, UserError, reason_of

_IN_USE = '.in-use'  # the lock within such a hidden folder
_TAKEN = '{}: exists already; remove it or choose another name'
_ABANDONED = 24 * 3600  # seconds after which one without a lock has been left by a dead process

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def atomic_output(path: PathLike, folder: bool = False) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` when the block succeeds and goes when it fails.

    It lies in a hidden folder beside `path` and keeps the name, whose extension encoders look at.
    With `folder` it is an existing empty folder, which may replace an empty folder at `path` only:
    so no two runs write the same one. What a killed one has left of it is removed.

    Raises:
        UserError: the parent folder does not exist or can't be written, or `path` is taken.
    """
    path = Path(path)
    if folder:
        remove_leftovers(path.parent, path.name)
        _refuse_second(path)
    scratch = _make_scratch(path, folder)
    in_use = FileLock(scratch / _IN_USE, fallback_to_soft=False, thread_local=False)
    try:
        with contextlib.suppress(OSError, Timeout):  # where there are no locks, or no space for one
            in_use.acquire(blocking=False)
        target = scratch / path.name
        if folder:
            target.mkdir()
        yield target
        os.replace(target, path)
    except (OSError, UserError) as error:
        if not scratch.is_dir():
            raise removed(path.parent, path.name) from error
        if isinstance(error, UserError):
            raise
        if folder and error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # it has come meanwhile
            raise UserError(_TAKEN.format(path)) from error
        # write() doesn't say where the disk is full, and ours would be a place unknown to the user.
        inside = str(error.filename or scratch).startswith(str(scratch))
        if inside and error.errno in OUTPUT_ERRORS:
            error.filename = str(path)
        raise
    finally:
        in_use.release(force=True)
        shutil.rmtree(scratch, ignore_errors=True)


def removed(folder: Path, name: str) -> UserError:
    """What somebody else has done while `name` was being written there."""
    return UserError(f'{folder}: was removed while {name} was being written; start again')


def check_output(path: PathLike, folder: bool = False) -> None:
    """Raises at once what `atomic_output` would raise on entering; leaves nothing behind.

    What a process that was killed has left of the same output is removed.
    """
    path = Path(path)
    shutil.rmtree(_make_scratch(path, folder))
    remove_leftovers(path.parent, path.name)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Removes what `atomic_output` could not, since its process was killed.

    Args:
        name: of the output; None: whatever it was.
    """
    with contextlib.suppress(OSError):
        for place in _scratches(folder, name):
            if _is_abandoned(place):
                shutil.rmtree(place, ignore_errors=True)


def _scratches(folder: Path, name: str | None) -> Iterator[Path]:
    """The hidden folders in which an output of this name grows; None: any output."""
    wanted = '.{1,40}' if name is None else re.escape(name[:40])
    pattern = re.compile(rf'\.{wanted}\.[a-z0-9_]{{8}}', re.DOTALL)
    return (p for p in folder.iterdir() if pattern.fullmatch(p.name) and p.is_dir())


def _is_abandoned(scratch: Path) -> bool:
    """Whether no process is writing there. The system frees the locks of one that ends."""
    try:
        if not (scratch / _IN_USE).exists():  # it is not locked yet, or can't be
            return time.time() - scratch.stat().st_mtime > _ABANDONED
        return not _is_locked(scratch)
    except OSError:
        return False


def _is_locked(scratch: Path) -> bool:
    try:
        with FileLock(scratch / _IN_USE, fallback_to_soft=False).acquire(blocking=False):
            return False
    except Timeout:
        return True


def _refuse_second(path: Path) -> None:
    """Raises UserError where another process writes the same folder. Two that begin at the very
    same moment both go on, and the second to end finds the place taken.
    """
    with contextlib.suppress(OSError):
        places = _scratches(path.parent, path.name)
        if any((place / _IN_USE).exists() and _is_locked(place) for place in places):
            raise UserError(
                f'{path}: another run is writing it; wait for it, or choose another name'
            )


def _make_scratch(path: Path, folder: bool) -> Path:
    """A new hidden folder beside `path`, which may become an output; see `atomic_output`."""
    try:
        present = _status(path)
        if not path.parent.is_dir():
            raise UserError(f'{path.parent}: no such folder for {path.name}; create it first')
        is_folder = present is not None and stat.S_ISDIR(present.st_mode)
        if folder and present and not (is_folder and path.name and not os.listdir(path)):
            raise UserError(_TAKEN.format(path))
        if not folder and is_folder:
            raise UserError(f'{path}: is a folder; give the output a file name')
        # A part of the name tells whose it is; all of it might be too long.
        return Path(tempfile.mkdtemp(prefix=f'.{path.name[:40]}.', dir=path.parent))
    except PermissionError as error:
        raise UserError(f'{path.parent}: no permission to write; choose another folder') from error
    except OSError as error:
        if error.errno in OUTPUT_ERRORS:
            raise
        raise UserError(f'{path}: {reason_of(error)}; choose another output') from error


def _status(path: Path) -> os.stat_result | None:
    """None where nothing is. OSError where nothing can be, such as under too long a name."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def open_file(path: PathLike) -> BinaryIO:
    """A file, open for reading; nothing that one would wait for, such as a pipe or a device.

    Raises:
        OSError: it can't be opened; its `strerror` says why, also of other things than files, and
            of a path that no file can have.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISREG(mode):
            return open(path, 'rb')
    except ValueError as error:  # a zero byte, or half a character
        raise OSError(errno.EINVAL, 'no file can have this name', os.fspath(path)) from error
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    what = os.strerror(number) if number == errno.EISDIR else 'is no file'
    raise OSError(number, what, os.fspath(path))


def file_hash(file: BinaryIO, kind: str = 'sha256') -> str:
    """SHA-256, or another checksum, in hexadecimal, of the bytes from the file's position on."""
    digest = hashlib.new(kind, usedforsecurity=False)
    while chunk := file.read(2**22):
        digest.update(chunk)
    return digest.hexdigest()
