"""The user's cache folder: where what can be had again, but not for nothing, is kept."""

import os
import stat
from pathlib import Path
from typing import Optional


def user_cache() -> Path:
    """first-order-model in $XDG_CACHE_HOME or ~/.cache; it need not exist yet."""
    root = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(root) / 'first-order-model'


def private_folder(name: str) -> Optional[Path]:
    """A folder in the cache in which nobody else may write, or read; created if need be.

    Returns:
        None where there can be none: no permission, no space, or it belongs to somebody else.
    """
    folder = user_cache() / name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or not os.access(folder, os.W_OK | os.X_OK):
            return None
        if hasattr(os, 'getuid'):
            if status.st_uid != os.getuid():
                return None
            if status.st_mode & 0o077:
                folder.chmod(0o700)
    except OSError:
        return None
    return folder
