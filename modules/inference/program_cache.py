"""Compiled programs on disk: found by what they depend on, whole or not at all.

An entry is a folder named by its key. It is written under another name and renamed, so that runs at
the same time don't meet; a file named SUMS tells the size and checksum of each file, and an entry
that differs is as good as none. The least recently used ones go when all together are too large.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from modules.runtime.errors import OUTPUT_ERRORS, reason_of
from modules.runtime.files import file_hash
from modules.runtime.json_text import parse_json
from modules.runtime.messages import note
from modules.runtime.user_cache import private_folder

FOLDER = 'programs'
LIMIT = 3 * 2**30  # bytes of all entries
ROOM = 2**30  # bytes that must be free to write one: more than the largest takes
SUMS = 'sums.json'
_UNFINISHED = '.unfinished-'
_ABANDONED = 24 * 3600  # seconds after which an unfinished entry has been left by a dead process


def key_of(parts: Mapping[str, str]) -> str:
    """The name of an entry that depends on these."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


class ProgramCache:
    """Entries in the user's cache folder, or nowhere if there can be none."""

    def __init__(self) -> None:
        self.folder: Path | None = private_folder(FOLDER)
        self._told = False

    def find(self, key: str) -> Path | None:
        """The folder of an entry; None if there is none or it is damaged."""
        if self.folder is None:
            return None
        entry = self.folder / key
        try:
            if parse_json((entry / SUMS).read_text(encoding='utf-8')) != _sums(entry):
                return None
            os.utime(entry / SUMS)
        except (OSError, ValueError):
            return None
        return entry

    def drop(self, key: str) -> None:
        """Takes an entry away that is of no use."""
        if self.folder is not None:
            shutil.rmtree(self.folder / key, ignore_errors=True)

    @contextlib.contextmanager
    def fill(self, key: str) -> Iterator[Path]:
        """An empty folder to write an entry into.

        What is written there can be used until the block ends. Then it becomes the entry, or goes
        if it can't: another run was faster, or there is no space, which is told in a line.
        """
        scratch = self._scratch(key)
        try:
            yield scratch
            self._adopt(scratch, key)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _scratch(self, key: str) -> Path:
        if self.folder is not None:
            try:
                if shutil.disk_usage(self.folder).free >= ROOM:
                    return Path(tempfile.mkdtemp(prefix=f'{_UNFINISHED}{key}-', dir=self.folder))
                self._tell(f'less than {ROOM // 2**30} GiB is free')
            except OSError as error:
                self._tell(reason_of(error))
        return Path(tempfile.mkdtemp())

    def _tell(self, problem: str) -> None:
        """Says, once, why programs are not kept."""
        if not self._told:
            note(f'{self.folder}: {problem}; programs are not kept')
        self._told = True

    def _adopt(self, scratch: Path, key: str) -> None:
        if self.folder is None or scratch.parent != self.folder or self.find(key) is not None:
            return
        entry = self.folder / key
        try:
            (scratch / SUMS).write_text(json.dumps(_sums(scratch)), encoding='utf-8')
            try:
                os.replace(scratch, entry)
            except OSError:  # an entry is there: of a faster run, or a damaged one
                if self.find(key) is not None:
                    return
                with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=self.folder) as away:
                    os.replace(entry, Path(away) / 'damaged')
                os.replace(scratch, entry)
            self._trim(self.folder, key)
        except OSError as error:  # next time it is compiled again
            if error.errno in OUTPUT_ERRORS:  # else runs have met
                self._tell(reason_of(error))

    def _trim(self, folder: Path, newest: str) -> None:
        """Removes what is beyond the limit, and what dead processes left."""
        found = []
        for entry in folder.iterdir():
            # What is none of ours, or is taken away meanwhile, is passed over.
            with contextlib.suppress(OSError):
                files = list(entry.iterdir())
                used = max((file.stat().st_mtime for file in files), default=0.0)
                if entry.name.startswith(_UNFINISHED):
                    if entry.stat().st_mtime < (folder / newest).stat().st_mtime - _ABANDONED:
                        shutil.rmtree(entry, ignore_errors=True)
                else:
                    found.append((used, entry, sum(file.stat().st_size for file in files)))
        total = sum(size for _, _, size in found)
        for _, entry, size in sorted(found):
            if total > LIMIT and entry.name != newest:
                shutil.rmtree(entry, ignore_errors=True)
                total -= size


def _sums(entry: Path) -> dict[str, str]:
    """SHA-256 of each file but SUMS."""
    sums = {}
    for path in sorted(entry.iterdir()):
        if path.name != SUMS:
            with open(path, 'rb') as file:
                sums[path.name] = file_hash(file)
    return sums
