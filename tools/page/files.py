"""The page's files: all in one folder of the process's own, which goes with it.

The folder lies among the system's temporary files. Readers never see its path: `Doors`
(tools/page/doors.py) says /files in its place, both ways. What a reader sent or was given lies in a
folder of a name that nobody can guess, and is theirs until they replace it or leave, or its time is
over.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

PREFIX = 'first-order-model-page-'
SHOWN = '/files'  # what readers see of the folder's path
_LOCK = '.lock'
_YOUNG = 60  # seconds in which a folder may not be locked yet
_LONGEST_NAME = 80


class Files:
    """The folder, and whose is what in it.

    Args:
        folder: an empty one; see `open_files`.
        keep_seconds: after which a file goes even if its reader is still there.
        most_bytes: of all files together.
    """

    def __init__(self, folder: Path, keep_seconds: float, most_bytes: int) -> None:
        self.folder = folder.resolve()
        self._keep_seconds, self._most_bytes = keep_seconds, most_bytes
        self._held: defaultdict[str, dict[str, Path]] = defaultdict(dict)
        self._busy: set[Path] = set()
        self._lock = threading.Lock()
        for part in ('in', 'out', 'examples', 'spool'):
            (self.folder / part).mkdir()

    @property
    def spool(self) -> Path:
        """For what is not whole yet."""
        return self.folder / 'spool'

    def new_upload(self, name: str) -> Path:
        """A path for a file that a reader sends, in a folder of its own."""
        return self._new('in') / safe_name(name)

    def new_output(self) -> Path:
        """A new folder for results."""
        return self._new('out')

    def _new(self, part: str) -> Path:
        folder = self.folder / part / secrets.token_hex(16)
        folder.mkdir()
        return folder

    def sent(self, path: object) -> Path | None:
        """A file that was sent, or is an example; None where there is no such file."""
        if not isinstance(path, str) or '\0' in path:
            return None
        found = Path(path)
        kind = found.parent.parent
        is_ours = kind == self.folder / 'in' or found.parent == self.folder / 'examples'
        with contextlib.suppress(OSError):
            if is_ours and found.is_file() and not found.is_symlink():
                return found
        return None

    def has_room(self, more: int) -> bool:
        """Whether so many bytes still fit."""
        with contextlib.suppress(OSError):
            if shutil.disk_usage(self.folder).free < 2 * more:
                return False
        return self.size() + more <= self._most_bytes

    def size(self) -> int:
        """Bytes of all files."""
        return sum(_size(path) for path in self.folder.rglob('*'))

    def hold(self, session: str, slot: str, path: Path | None) -> None:
        """What lies in the folder of `path` is this reader's now, and what was in its place goes.

        Args:
            slot: 'picture', 'clip', 'result', ...
            path: a file that was sent or made; None, or an example: nothing to be held.
        """
        folder = None
        if path is not None and path.parent.parent in (self.folder / 'in', self.folder / 'out'):
            folder = path.parent
        with self._lock:
            before = self._held[session].pop(slot, None)
            if folder is not None:
                self._held[session][slot] = folder
        if before is not None and before != folder:
            shutil.rmtree(before, ignore_errors=True)

    def leave(self, session: str) -> None:
        """Removes all that is this reader's."""
        with self._lock:
            folders = list(self._held.pop(session, {}).values())
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    @contextlib.contextmanager
    def at_work(self, *paths: Path) -> Iterator[None]:
        """Within the block these files' time is not over."""
        folders = {path.parent for path in paths} | set(paths)
        self._busy |= folders
        try:
            yield
        finally:
            self._busy -= folders

    def sweep(self, now: float | None = None) -> None:
        """Removes what has lain here for too long."""
        oldest = (time.time() if now is None else now) - self._keep_seconds
        for folder in [*(self.folder / 'in').iterdir(), *(self.folder / 'out').iterdir()]:
            with contextlib.suppress(OSError):
                if folder not in self._busy and folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
        with self._lock:
            for session, slots in list(self._held.items()):
                for slot, folder in list(slots.items()):
                    if not folder.exists():
                        del slots[slot]
                if not slots:
                    del self._held[session]

    def without_paths(self, message: str) -> str:
        """A message with the names of files in place of their paths."""
        return re.sub(re.escape(str(self.folder)) + r'(/[^\s:;,]*)?', _name_of, message)


def _name_of(found: re.Match[str]) -> str:
    return found[0].rstrip('/').rpartition('/')[2]


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):  # gone meanwhile
        return path.lstat().st_size
    return 0


def safe_name(name: str) -> str:
    """A name for a file that a reader has named: its last part, without what means something to
    systems and shells.
    """
    last = name.replace('\\', '/').rpartition('/')[2]
    plain = re.sub(r'[^\w.-]+', '_', last).strip('._-')
    stem, dot, suffix = plain.rpartition('.')
    if not dot:
        stem, suffix = plain, ''
    suffix = re.sub(r'\W', '', suffix)[:8]
    while len(stem.encode()) > _LONGEST_NAME:
        stem = stem[:-1]
    return (stem or 'file') + (f'.{suffix.lower()}' if suffix else '')


@contextlib.contextmanager
def open_files(keep_seconds: float, most_bytes: int) -> Iterator[Files]:
    """The folder, which is gone after the block; those of processes that were killed go, too."""
    parent = Path(tempfile.gettempdir())
    _remove_left(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    lock = FileLock(folder / _LOCK)
    lock.acquire()
    try:
        yield Files(folder, keep_seconds, most_bytes)
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left(parent: Path) -> None:
    """Folders whose process is no more."""
    for folder in parent.glob(f'{PREFIX}*'):
        with contextlib.suppress(OSError, Timeout):
            status = folder.lstat()
            mine = not hasattr(os, 'getuid') or status.st_uid == os.getuid()
            if not mine or folder.is_symlink() or time.time() - status.st_mtime < _YOUNG:
                continue
            with FileLock(folder / _LOCK).acquire(blocking=False):
                pass
            shutil.rmtree(folder, ignore_errors=True)
