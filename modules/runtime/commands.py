"""What every command shares: one-line errors with exit status 2, and messages nobody need read.

Nothing here imports Paddle, so that a mistake in the arguments is reported at once.
"""

import argparse
import contextlib
import errno
import os
import sys
import warnings
from typing import Any, Callable, Iterator, NoReturn, Union

from modules.runtime.errors import OUTPUT_ERRORS, UserError

# What it says when nobody reads our messages any more: a closed pipe, a closed terminal.
_READER_LEFT = (errno.EPIPE, errno.EIO)


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
        if error.errno not in OUTPUT_ERRORS:
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


def _show_warning(message: Union[Warning, str], *place: object, **more: object) -> None:
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
