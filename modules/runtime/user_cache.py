"""The user's cache folder: where what can be had again, but not for nothing, is kept."""

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path

from modules.runtime.errors import UserError, reason_of
from modules.runtime.messages import note

_lent_home: str | None = None


def user_cache() -> Path:
    """first-order-model in $XDG_CACHE_HOME or ~/.cache; it need not exist yet.

    Raises:
        UserError: there is no home folder, or none that may be written, as in many a container.
    """
    root = os.environ.get('XDG_CACHE_HOME')
    home = _home() if _lent_home is None else None
    if not root and home is None:
        raise UserError(
            'no home folder that may be written; set XDG_CACHE_HOME to a folder for the cache'
        )
    return Path(root or f'{home}/.cache') / 'first-order-model'


def lend_home() -> None:
    """Gives this process a temporary home folder where the user has none that may be written.

    Paddle puts files of its own into ~/.cache. Without a home it takes that for a folder named ~,
    in the current one, and fails where that may not be written.
    """
    global _lent_home
    home = _home()
    if _lent_home is None and (home is None or not _may_write(home / '.cache' / 'paddle')):
        _lent_home = tempfile.mkdtemp()
        atexit.register(shutil.rmtree, _lent_home, ignore_errors=True)
        os.environ['HOME'] = _lent_home


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:
        return None


def _may_write(folder: Path) -> bool:
    """Whether a folder may be written, or made."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return os.access(there, os.W_OK | os.X_OK)


def private_folder(name: str) -> Path | None:
    """A folder in the cache in which nobody else may write, or read; created if need be.

    Returns:
        None where there can be none, which is told in a line: no home folder that may be written,
        no permission, no space, or it belongs to somebody else.
    """
    try:
        folder = user_cache() / name
    except UserError as error:
        note(f'{error}; until then {name} are not kept')
        return None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = _lack(folder)
    except OSError as error:
        problem = reason_of(error)
    if problem is None:
        return folder
    note(f'{folder}: {problem}; {name} are not kept')
    return None


def _lack(folder: Path) -> str | None:
    """Why something is no private folder; None if it is one, or has been made one."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return 'is no folder'
    if hasattr(os, 'getuid') and status.st_uid != os.getuid():
        return 'belongs to another user'
    if not os.access(folder, os.W_OK | os.X_OK):
        return 'nothing can be written there'
    if hasattr(os, 'getuid') and status.st_mode & 0o077:
        folder.chmod(0o700)
    return None
