"""What every command shares: one-line errors with exit status 2, and outputs whole or not at all.

Nothing here imports Paddle, so that a mistake in the arguments is reported at once.
"""

import argparse
import contextlib
import errno
import os
import shutil
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Callable, Iterator, NoReturn, Union

PathLike = Union[str, os.PathLike]

# What the operating system says when the place for the output is at fault, not the program.
_OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EFBIG)


class UserError(Exception):
    """A mistake of the user, in one line that names the thing and its mend. Exit status 2."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse with its errors in one line; the usage is a `--help` away."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f'{message} (see --help)')


def run_command(main: Callable[[], None]) -> NoReturn:
    """Runs a script's `main` and exits: 0 on success, 2 with one line on stderr for a user's error.

    A full disk counts as one; anything else unforeseen keeps its traceback, for it is our defect.
    Warnings are shown in one line, too.
    """
    warnings.showwarning = _show_warning
    try:
        main()
    except UserError as error:
        message = str(error)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS:
            raise
        where = f' ({error.filename})' if error.filename else ''
        message = f'{os.strerror(error.errno)}{where}: free space or choose another output'
    else:
        sys.exit(0)
    print('error: ' + ' '.join(message.split()), file=sys.stderr)
    sys.exit(2)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    print(f'warning: {message}', file=sys.stderr)


@contextlib.contextmanager
def atomic_output(path: PathLike, folder: bool = False) -> Iterator[Path]:
    """Yields a temporary path that becomes `path` when the block succeeds and goes when it fails.

    It lies in a hidden folder beside `path` and keeps the name, whose extension encoders look at.
    With `folder` it is an existing empty folder, which may replace an empty folder at `path` only.

    Raises:
        UserError: the parent folder does not exist or can't be written, or `path` is taken.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f'{path.parent}: no such folder for {path.name}; create it first')
    if folder and path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f'{path}: exists already; remove it or choose another name')
    if not folder and path.is_dir():
        raise UserError(f'{path}: is a folder; give the output a file name')
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f'.{path.name}.', dir=path.parent))
    except PermissionError as error:
        raise UserError(f'{path.parent}: no permission to write; choose another folder') from error
    try:
        target = scratch / path.name
        if folder:
            target.mkdir()
        yield target
        os.replace(target, path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
