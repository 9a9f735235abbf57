"""What every command shares: one-line errors with exit status 2, and outputs whole or not at all.

Nothing here imports Paddle, so that a mistake in the arguments is reported at once.
"""

import argparse
import contextlib
import errno
import os
import shutil
import stat
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, NoReturn, Optional, Union

PathLike = Union[str, os.PathLike]

# What the operating system says when the place for the output is at fault, not the program.
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)
# What it says when nobody reads our messages any more: a closed pipe, a closed terminal.
_READER_LEFT = (errno.EPIPE, errno.EIO)


class UserError(Exception):
    """A mistake of the user, in one line that names the thing and its mend. Exit status 2."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse with its errors in one line; the usage is a `--help` away."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f'{message} (see --help)')


def run_command(main: Callable[[], None]) -> NoReturn:
    """Runs a script's `main` and exits: 0 on success, 2 with one line on stderr for a user's error.

    A full disk counts as one; anything else unforeseen keeps its traceback, for it is our defect.
    Warnings are shown in one line, too. The work goes on if nobody reads what is printed, as in
    `python demo.py | true`, or can read it (`2>&-`).
    """
    warnings.showwarning = _show_warning
    _open_closed_streams()
    with _Messages('stdout'), _Messages('stderr'):
        sys.exit(_exit_status(main))


def _exit_status(main: Callable[[], None]) -> int:
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        where = f' ({error.filename})' if error.filename else ''
        mend = 'free space or choose another output'
        if error.errno == errno.EACCES:  # an input may be meant as well
            mend = 'change its permissions or choose another path'
        message = f'{os.strerror(error.errno)}{where}: {mend}'
    else:
        return 0
    print('error: ' + ' '.join(message.split()), file=sys.stderr)
    return 2


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f'warning: {message}', file=sys.stderr)


def _open_closed_streams() -> None:
    """Puts the null device where standard streams are closed (`2>&-`), lest a file get there."""
    number = 0
    while number <= 2:
        number = os.open(os.devnull, os.O_RDWR)
    os.close(number)
    for name in ('stdout', 'stderr'):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, 'w'))  # noqa: SIM115 (for the rest of the process)


class _Messages:
    """Stands for sys.stdout or sys.stderr. That nobody reads on, as in `| head -1`, is no error."""

    def __init__(self, name: str):
        self._name, self._stream = name, getattr(sys, name)

    def __enter__(self) -> None:
        setattr(sys, self._name, self)

    def __exit__(self, *exception: object) -> None:
        setattr(sys, self._name, self._stream)
        try:
            self.flush()
        except OSError:  # the disk is full, which has been told already
            self._discard()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._reader_may_leave():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._reader_may_leave():
            self._stream.flush()

    @contextlib.contextmanager
    def _reader_may_leave(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _READER_LEFT:
                raise
            self._discard()

    def _discard(self) -> None:
        """Sends the rest, too, nowhere: what is in the buffer, and what the interpreter flushes."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


@contextlib.contextmanager
def atomic_output(path: PathLike, folder: bool = False) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` when the block succeeds and goes when it fails.

    It lies in a hidden folder beside `path` and keeps the name, whose extension encoders look at.
    With `folder` it is an existing empty folder, which may replace an empty folder at `path` only.

    Raises:
        UserError: the parent folder does not exist or can't be written, or `path` is taken.
    """
    path = Path(path)
    scratch = _make_scratch(path, folder)
    try:
        target = scratch / path.name
        if folder:
            target.mkdir()
        yield target
        os.replace(target, path)
    except OSError as error:
        # write() doesn't say where the disk is full, and ours would be a place unknown to the user.
        inside = str(error.filename or scratch).startswith(str(scratch))
        if inside and error.errno in _OUTPUT_ERRORS:
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def check_output(path: PathLike, folder: bool = False) -> None:
    """Raises at once what `atomic_output` would raise on entering; leaves nothing behind."""
    shutil.rmtree(_make_scratch(Path(path), folder))


def _make_scratch(path: Path, folder: bool) -> Path:
    """A new hidden folder beside `path`, which may become an output; see `atomic_output`."""
    try:
        present = _status(path)
        if not path.parent.is_dir():
            raise UserError(f'{path.parent}: no such folder for {path.name}; create it first')
        is_folder = present is not None and stat.S_ISDIR(present.st_mode)
        if folder and present and not (is_folder and path.name and not os.listdir(path)):
            raise UserError(f'{path}: exists already; remove it or choose another name')
        if not folder and is_folder:
            raise UserError(f'{path}: is a folder; give the output a file name')
        # A part of the name tells whose it is; all of it might be too long.
        return Path(tempfile.mkdtemp(prefix=f'.{path.name[:40]}.', dir=path.parent))
    except PermissionError as error:
        raise UserError(f'{path.parent}: no permission to write; choose another folder') from error
    except OSError as error:
        if error.errno in _OUTPUT_ERRORS:
            raise
        raise UserError(f'{path}: {reason_of(error)}; choose another output') from error


def _status(path: Path) -> Optional[os.stat_result]:
    """None where nothing is. OSError where nothing can be, such as under too long a name."""
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def reason_of(error: OSError) -> str:
    """What the operating system says, to stand in the middle of a line."""
    return os.strerror(error.errno).lower()
