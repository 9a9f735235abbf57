"""The folder of an animated test set: what each pair leaves there, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import reprlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from frames_dataset import Pair
from modules.runtime.errors import UserError, shortened
from modules.runtime.files import PathLike, atomic_output, removed
from modules.runtime.json_text import parse_json
from modules.runtime.locks import folder_of_one_run
from modules.video import VideoWriter, write_picture

OUTPUTS = ('result', 'png', 'grid')  # kinds of output
RUN_FILE = 'run.json'
UNFINISHED = '.unfinished'  # ends the names of the hidden folders in which outputs grow
_ABSENT = 'left out'  # stands for a value of which only one of two runs has the key
LONGEST_NAME = 230  # bytes of a pair's name; file systems take 255, with an extension and more


class Strip:
    """Writes a PNG of all frames side by side, lossless, as datasets may hold clips.

    Used in a `with` statement; the frames stay in memory until it ends.
    """

    def __init__(self, path: PathLike):
        self.path = Path(path)
        self._frames: list[np.ndarray] = []

    def __enter__(self) -> Strip:
        return self

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame (H, W, 3) uint8."""
        self._frames.append(frame)

    def __exit__(self, kind: type | None, *exception: object) -> None:
        if kind is None:
            write_picture(self.path, np.concatenate(self._frames, axis=1))


Writer = Strip | VideoWriter


class AnimationFolder:
    """Files of a run under `path`, by the names of the clips, as the official code places them:

    DRIVING-SOURCE.mp4          'grid': what the networks do, frame by frame
    png/DRIVING-SOURCE.png      'png': the frames side by side, lossless
    result/DRIVING-SOURCE.mp4   'result': the animation alone
    run.json                    what all of them were made of and with

    Args:
        outputs: those of OUTPUTS that are wanted.
        suffix: extension of the videos.
    """

    def __init__(self, path: Path, outputs: Sequence[str], suffix: str):
        self.path = path
        self.outputs = [kind for kind in OUTPUTS if kind in outputs]
        self.suffix = suffix

    @contextlib.contextmanager
    def open(self, run: Mapping[str, Any]) -> Iterator[None]:
        """Makes the folder of a run, or takes up the same run; keeps others out for the while.

        Args:
            run: what the outputs depend on, in values that JSON can hold.

        Raises:
            UserError: the folder holds another run or something else, or a run is under way there.
        """
        with folder_of_one_run(self.path):
            self._check(json.loads(json.dumps(run)))
            self._sweep()  # what a run that was killed has left
            try:
                yield
            finally:
                self._sweep()  # what a process of this one has left

    def is_finished(self, name: str) -> bool:
        """Whether all wanted outputs of a pair are there."""
        return all(self._place(kind, name).is_file() for kind in self.outputs)

    @contextlib.contextmanager
    def pair(self, name: str, fps: Fraction) -> Iterator[dict[str, Writer]]:
        """Writers by kind for the outputs of a pair; these appear together when the block succeeds.

        Raises:
            UserError: the disk is full, or fails, or the folder is removed meanwhile.
        """
        with tempfile.TemporaryDirectory(prefix='.', suffix=UNFINISHED, dir=self.path) as scratch:
            grown = {kind: Path(scratch, kind + self._suffix(kind)) for kind in self.outputs}
            with contextlib.ExitStack() as stack:
                writers: dict[str, Writer] = {}
                for kind, path in grown.items():
                    if kind == 'png':
                        writers[kind] = stack.enter_context(Strip(path))
                    else:
                        writers[kind] = stack.enter_context(VideoWriter(path, fps))
                yield writers
            try:
                for kind, path in grown.items():
                    place = self._place(kind, name)
                    place.parent.mkdir(exist_ok=True)
                    os.replace(path, place)
            except FileNotFoundError as error:
                raise removed(self.path, name) from error

    def _sweep(self) -> None:
        for left in self.path.glob(f'.*{UNFINISHED}'):
            shutil.rmtree(left, ignore_errors=True)  # whose process may be ending just now

    def _suffix(self, kind: str) -> str:
        return '.png' if kind == 'png' else self.suffix

    def _place(self, kind: str, name: str) -> Path:
        folder = self.path if kind == 'grid' else self.path / kind
        return folder / (name + self._suffix(kind))

    def _check(self, run: Mapping[str, Any]) -> None:
        """Compares the run with the folder's; writes it down in an empty folder."""
        file = self.path / RUN_FILE
        try:
            there = parse_json(file.read_text(encoding='utf-8'))
        except FileNotFoundError:
            if any(not entry.name.startswith('.') for entry in self.path.iterdir()):
                raise UserError(
                    f'{self.path}: holds something else than animations (no {RUN_FILE}); take an '
                    'empty or a new --save_dir'
                ) from None
            with atomic_output(file) as path:
                path.write_text(json.dumps(run, indent=1) + '\n', encoding='utf-8')
            return
        except ValueError as error:
            raise UserError(f'{file}: damaged; take another --save_dir') from error
        difference = _difference(there, run)
        if difference is not None:
            raise UserError(
                f'{self.path}: holds another run: {difference}; take another --save_dir, or remove '
                'that folder'
            )


def name_pairs(clips: Sequence[str], pairs: Iterable[Pair]) -> dict[str, Pair]:
    """Pairs by the name of their outputs, DRIVING-SOURCE; `clips` are the names of all clips.

    Raises:
        UserError: two pairs would have the same name, or one is too long for a file.
    """
    named: dict[str, Pair] = {}
    for pair in pairs:
        name = f'{clips[pair.driving]}-{clips[pair.source]}'
        if named.setdefault(name, pair) != pair:
            one, other = (f'{clips[p.driving]} with {clips[p.source]}' for p in (named[name], pair))
            raise UserError(
                f'{name}: would be the result of {one} and of {other}; rename one of the clips'
            )
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise UserError(f'{name}: too long for the name of a result; rename one of the clips')
    return named


def _difference(there: Any, here: Any, path: str = '') -> str | None:
    """The first value, by its dotted path, in which two runs differ; None if there is none."""
    if there == here:
        return None
    if isinstance(there, dict) and isinstance(here, dict):
        pairs = {key: (there.get(key, _ABSENT), here.get(key, _ABSENT)) for key in (*here, *there)}
        key = next(key for key, (before, now) in pairs.items() if before != now)
        return _difference(*pairs[key], f'{path}.{shortened(key)}'.lstrip('.'))
    return f'{path or RUN_FILE} is {reprlib.repr(there)} there and {reprlib.repr(here)} now'
