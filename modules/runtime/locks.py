"""Locks between processes; when a process ends, however that may be, the system frees its locks."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from modules.runtime.errors import OUTPUT_ERRORS, UserError, reason_of
from modules.runtime.messages import note


@contextlib.contextmanager
def folder_of_one_run(folder: Path, option: str = '--save_dir') -> Iterator[None]:
    """Makes the folder of a command's results, and keeps other runs out for the while.

    Args:
        option: that names the folder, for the messages.

    Raises:
        UserError: another run is writing there, it is no folder, or it is removed meanwhile.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f'{folder}: is no folder; take another {option}') from error
    taken = f'{folder}: another run is writing there; wait for it, or take another {option}'
    with contextlib.ExitStack() as stack:
        try:
            _acquire(folder / '.lock', stack, blocking=False)
        except Timeout:
            raise UserError(taken) from None
        try:
            yield
        except FileNotFoundError as error:
            if folder.is_dir():
                raise
            raise UserError(
                f'{folder}: was removed while it was being written to; start again'
            ) from error


@contextlib.contextmanager
def taking_turns(path: Path, what: str | None = None) -> Iterator[None]:
    """Lets one process at a time into the block.

    Args:
        path: of the lock's file, in an existing folder.
        what: that another process does meanwhile, for the user who waits; None: nothing is said.
    """
    with contextlib.ExitStack() as stack:
        try:
            _acquire(path, stack, blocking=False)
        except Timeout:
            if what is not None:
                note(f'waiting for another process that {what}')
            _acquire(path, stack, blocking=True)
        yield


def _acquire(path: Path, stack: contextlib.ExitStack, blocking: bool) -> None:
    """Locks until `stack` closes. Raises Timeout where another has the lock, unless `blocking`."""
    try:
        stack.enter_context(FileLock(path, fallback_to_soft=False).acquire(blocking=blocking))
        # While it is held: whoever waits for the file that is gone notices and makes a new one.
        stack.callback(_remove, path)
    except Timeout:
        raise
    except OSError as error:
        if error.errno in OUTPUT_ERRORS:
            raise
        # Some network disks know no locks. The work goes on, as it would on its own.
        note(f'{path}: {reason_of(error)}; nothing keeps a second process out')


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # Windows removes no open file; `filelock` does it later
        path.unlink()
