"""What a batch remembers of each result, so that what is there whole is not made again.

FOLDER/.batch/HASH.json says of which row a result is, by a hash of the row's options and of what is
in its files, and what the result's bytes are. It is written before the work begins, without the
latter, and again when it is done.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from modules.animation.job_options import INPUTS, OUTPUTS
from modules.checkpoints.places import find_weights, listed_weights
from modules.checkpoints.reading import content_hash
from modules.config import load_config
from modules.runtime.files import atomic_output, file_hash
from modules.runtime.json_text import parse_json
from tools.batching.places import RECORDS, REPORTS

_SCRATCH = re.compile(r'\..{0,40}\.[a-z0-9_]{8}', re.DOTALL)  # of modules/runtime/files.py
_FRAME = re.compile(r'\d{6}\.png')


class Fingerprints:
    """SHA-256 of files and folders, read again only where they have been changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], str] = {}

    def of_row(self, options: argparse.Namespace) -> str:
        """Of all that a row's result depends on, wherever its files lie.

        Raises:
            OSError, UserError: something can't be read, as who does the work will say.
        """
        values = {
            name: str(value)
            for name, value in sorted(vars(options).items())
            if name not in INPUTS + OUTPUTS
        }
        for name in ('source_image', 'driving_video', 'motion', 'config'):
            path = getattr(options, name)
            values[name] = '' if path is None else self._of(Path(path))
        values['weights'] = ' '.join(map(self._of_weights, _weights(options)))
        # What they are called matters by their kinds alone.
        for name in OUTPUTS:
            path = getattr(options, name)
            values[name] = 'none' if path is None else path.suffix.lower()
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()

    def _of(self, path: Path) -> str:
        status = path.stat()
        key = os.path.realpath(path), status.st_ino, status.st_size, status.st_mtime_ns
        if path.is_dir():  # whose own time says nothing of what is in its files
            return content_of(path)
        if key not in self._known:
            self._known[key] = content_of(path)
        return self._known[key]

    def _of_weights(self, path: Path) -> str:
        return content_hash(path) if path.is_dir() else self._of(path)


def _weights(options: argparse.Namespace) -> list[Path]:
    if options.checkpoint is not None:
        return [find_weights(options.checkpoint)]
    listed = listed_weights(load_config(options.config))
    return [find_weights(path) for name, path in listed.items() if path and name != 'discriminator']


def content_of(path: Path) -> str:
    """SHA-256 of a file; of a folder, of its files and their names, without hidden ones."""
    if not path.is_dir():
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError(path)
        with open(path, 'rb') as file:
            return file_hash(file)
    files = sorted(entry for entry in path.iterdir() if entry.is_file())
    lines = (f'{f.name} {content_of(f)}' for f in files if not f.name.startswith('.'))
    return hashlib.sha256(os.fsencode('\n'.join(lines))).hexdigest()


class Record:
    """Of the results of a row.

    Args:
        folder: of the batch.
        outputs: what is written, as paths within it; the result is first.
    """

    def __init__(self, folder: Path, outputs: Sequence[str]):
        self.folder, self.outputs = folder, list(outputs)
        name = hashlib.sha256(os.fsencode(outputs[0])).hexdigest()[:32]
        self.path = folder / RECORDS / f'{name}.json'
        self._held: dict[str, Any] = _read(self.path)

    def finished(self, fingerprint: str | None) -> dict[str, Any] | None:
        """What is known of the results, if they are there, whole, and of this row; else None."""
        there = self._held.get('contents')
        if fingerprint is None or self._held.get('row') != fingerprint or not there:
            return None
        if list(there) != self.outputs:
            return None
        try:
            whole = all(content_of(self.folder / name) == there[name] for name in there)
        except OSError:
            return None
        return self._held if whole else None

    def begin(self, fingerprint: str | None) -> None:
        """Notes that these results are being made; what is there of an earlier row goes."""
        for name in self._held.get('outputs', ()):
            _remove(self.folder / name)
        for name in self.outputs:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        self._write({'outputs': self.outputs, 'row': fingerprint})

    def finish(self, fingerprint: str | None, **known: Any) -> None:
        """Notes that they are there.

        Args:
            known: what the report says of them.
        """
        contents = {name: content_of(self.folder / name) for name in self.outputs}
        held = {'outputs': self.outputs, 'row': fingerprint, 'contents': contents, **known}
        self._write(held)

    def drop(self) -> None:
        """Forgets what could not be made."""
        self.path.unlink(missing_ok=True)

    def _write(self, held: dict[str, Any]) -> None:
        with atomic_output(self.path) as path:
            path.write_text(json.dumps(held, indent=1) + '\n', encoding='utf-8')
        self._held = held


def _read(path: Path) -> dict[str, Any]:
    """What a record holds; nothing where there is none, or a damaged one."""
    try:
        held = parse_json(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    outputs = held.get('outputs') if isinstance(held, dict) else None
    if not isinstance(outputs, list) or not all(map(_is_inside, outputs)):
        return {}
    return dict(held)


def _is_inside(name: Any) -> bool:
    """Whether a name in a record, which is removed if need be, leads to a place in the folder."""
    if not isinstance(name, str) or not name:
        return False
    path = PurePath(name)
    return not path.is_absolute() and '..' not in path.parts and path.parts[:1] != (RECORDS,)


def _remove(path: Path) -> None:
    """Takes a result of this batch away, if it looks like one."""
    if path.is_dir() and not path.is_symlink():
        if all(_FRAME.fullmatch(entry.name) for entry in path.iterdir()):
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes what a run that was killed left unfinished. Nobody else may be writing there."""
    records = folder / RECORDS
    for left in records.glob('.*'):
        if _SCRATCH.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)
    _sweep_beside([folder / name for name in REPORTS])
    for path in records.glob('*.json'):
        held = _read(path)
        if held and 'contents' not in held:
            _sweep_beside([folder / name for name in held['outputs']])


def sweep_row(folder: Path, outputs: Sequence[str]) -> None:
    """Removes what a process that died left of a row."""
    _sweep_beside([folder / name for name in outputs])


def _sweep_beside(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.parent.is_dir():
            continue
        begins = f'.{path.name[:40]}.'
        for left in path.parent.iterdir():
            if left.name.startswith(begins) and _SCRATCH.fullmatch(left.name) and left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
