"""Clips of the tracks of a long one: found in a first pass, cropped in a second.

Both passes stream: memory doesn't grow with the clip. A record beside the clips holds what has been
found so far, so that a killed run goes on where it was.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from tqdm import tqdm

from modules.animation.boxes import Box, cut
from modules.animation.tracks import FindBoxes, Look, Rules, Track, fault, link_looks, look_through
from modules.runtime.errors import UserError, shortened
from modules.runtime.files import PathLike, atomic_output, file_hash
from modules.runtime.json_text import parse_json
from modules.runtime.locks import folder_of_one_run
from modules.video import VideoReader, VideoWriter
from modules.video.levels import to_bytes
from modules.video.prefetch import prefetch

FORMATS = ('mp4', 'png')  # of the clips written
LONGEST_NAME = 200  # bytes; file systems take 255, with number, frames and extension
_SAVED_EVERY = 10  # seconds, while the detector is at work


class Cropped(NamedTuple):
    """What became of a clip's tracks."""

    written: list[Path]  # now
    present: list[Path]  # since an earlier run
    short: int  # tracks of too few frames
    small: int  # of long ones, those too small
    largest: float  # side of the largest of these, in pixels; 0 without any
    notes: list[str]  # what the reader has noticed


def crop_tracks(
    clip: PathLike,
    folder: PathLike,
    find: FindBoxes,
    rules: Rules,
    size: int = 256,
    kind: str = 'mp4',
    option: str = '--out',
) -> Cropped:
    """Writes the tracks of a clip as clips CLIP#NUMBER@START-END of their own into a folder.

    CLIP is the clip's name without extension; tracks count from 0, frames likewise, and END is the
    first frame that is not among them. Clips are written whole or not at all. Those that are there
    already, from a run with the same settings, stay as they are.

    Args:
        clip: whatever VideoReader reads.
        folder: made if it is not there.
        find: see FindBoxes; it must find the same in the same frame.
        size: side of the clips' frames.
        kind: 'mp4', or 'png' for folders of PNG pictures.
        option: that names the folder, for messages.

    Raises:
        UserError: the clip can't be read, or the folder holds other clips of this name.
    """
    clip, folder = Path(clip), Path(folder)
    if kind == 'mp4' and size % 2:
        raise UserError(f'--size {size}: mp4 holds even sizes only; give {size + 1}, or png')
    name = os.path.basename(os.path.abspath(clip))
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise UserError(f'{name}: too long a name for clips of it; rename it')
    if os.path.realpath(clip) == os.path.realpath(folder):
        raise UserError(f'{option} {folder}: is the clip itself; take another folder')
    with VideoReader(clip) as reader, folder_of_one_run(folder, option):
        settings = {
            'clip': name,
            'sha256': clip_hash(clip),
            'rules': rules._asdict(),
            'size': size,
            'format': kind,
        }
        record = Record(folder / f'.{name}.tracks.json', settings, option)
        if record.tracks is None:
            find_tracks(reader, find, rules, record)
        assert record.tracks is not None
        faults = [fault(track, rules) for track in record.tracks]
        wanted = [track for track, wrong in zip(record.tracks, faults) if wrong is None]
        stem = name if clip.is_dir() else clip.stem
        placed = {folder / clip_name(stem, *each, kind): each[1] for each in enumerate(wanted)}
        present = [path for path in placed if path.exists()]
        record.claim(present)
        todo = {path: track for path, track in placed.items() if path not in present}
        write_tracks(reader, todo, folder / f'.{name}.unfinished', size, kind)
        small = [track.box.w for track, wrong in zip(record.tracks, faults) if wrong == 'small']
        return Cropped(
            [*todo],
            present,
            faults.count('short'),
            len(small),
            max(small, default=0.0),
            [*dict.fromkeys(reader.notes)],
        )


def clip_hash(clip: Path) -> str:
    """SHA-256, in hexadecimal, of a clip's bytes; of a folder's names and bytes."""
    if not clip.is_dir():
        with open(clip, 'rb') as file:
            return file_hash(file)
    digest = hashlib.sha256()
    for path in sorted(path for path in clip.iterdir() if path.is_file()):
        with open(path, 'rb') as file:
            digest.update(os.fsencode(path.name) + b'\0' + file_hash(file).encode() + b'\n')
    return digest.hexdigest()


def clip_name(name: str, number: int, track: Track, kind: str) -> str:
    """That of a track's clip; `name` is what it begins with."""
    name = f'{name}#{number}@{track.start:06d}-{track.end:06d}'
    return name if kind == 'png' else f'{name}.{kind}'


class Record:
    """The file of what has been found in a clip, with the settings that it was found by.

    Args:
        settings: all that the clips depend on, in values that JSON can hold.
        option: that names the folder, for messages.

    Attributes:
        tracks: all of them; None as long as the clip has not been looked through.

    Raises:
        UserError: the file is damaged, or holds other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], option: str):
        self._path, self._option = path, option
        self._settings = json.loads(json.dumps(settings))
        self._looks: dict[int, tuple[Box, ...]] = {}
        self._claimed = False  # whether clips in the folder are those of this record
        self._saved = time.monotonic()
        self.tracks: list[Track] | None = None
        mend = f'take another {option}, or remove {path} and its clips'
        try:
            there = parse_json(path.read_text(encoding='utf-8'))
            self._take(there)
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise UserError(f'{path}: damaged; {mend}') from error
        for key, value in self._settings.items():
            if there.get(key) != value:
                raise UserError(
                    f'{path.parent}: holds clips of '
                    f'{_difference(settings["clip"], key, there.get(key), value)}; '
                    f'{mend}'
                )

    def _take(self, there: Mapping[str, Any]) -> None:
        looks = {int(number): boxes for number, boxes in there['looks'].items()}
        self._looks = {n: tuple(map(_told_box, found)) for n, found in looks.items()}
        self._claimed = bool(there['claimed'])
        if there['tracks'] is not None:
            self.tracks = [
                Track(int(start), int(end), _told_box(box)) for start, end, box in there['tracks']
            ]

    def find(self, find: FindBoxes, number: int, frame: np.ndarray) -> tuple[Box, ...]:
        """What is found in a frame, or was by an earlier run."""
        if number not in self._looks:
            self._looks[number] = _as_boxes(find(frame))
            if time.monotonic() - self._saved > _SAVED_EVERY:
                self.save()
        return self._looks[number]

    def finish(self, tracks: list[Track]) -> None:
        self.tracks = tracks
        self.save()

    def claim(self, present: Sequence[Path]) -> None:
        """Says that the tracks' clips are being written.

        Raises:
            UserError: clips of their names are there already, and not of this record.
        """
        if present and not self._claimed:
            raise UserError(
                f'{present[0]}: is there already, and not from this run; rename the clip, or take '
                f'another {self._option}'
            )
        if not self._claimed:
            self._claimed = True
            self.save()

    def save(self) -> None:
        content = {
            **self._settings,
            'tracks': self.tracks,
            'claimed': self._claimed,
            'looks': {str(number): boxes for number, boxes in self._looks.items()},
        }
        with atomic_output(self._path) as path:
            path.write_text(json.dumps(content), encoding='utf-8')
        self._saved = time.monotonic()


def _told_box(numbers: Iterable[float]) -> Box:
    """Raises ValueError or TypeError unless they are a box in a frame."""
    box = Box(*map(float, numbers))
    if not all(abs(number) < 1e6 for number in box):  # nor NaN
        raise ValueError(f'no box: {box}')
    return box


def _as_boxes(boxes: Iterable[Iterable[float]]) -> tuple[Box, ...]:
    return tuple(Box(*map(float, box)) for box in boxes)


def _difference(clip: str, key: str, there: Any, here: Any) -> str:
    """Of what other clips are; for one line."""
    if key == 'sha256':
        return f'another {clip}'
    if isinstance(there, dict) and isinstance(here, dict):
        absent = 'left out'
        pairs = {key: (there.get(key, absent), here.get(key, absent)) for key in (*here, *there)}
        key = next(key for key, (before, now) in pairs.items() if before != now)
        return _difference(clip, key, *pairs[key])
    return f'{clip} made with {shortened(key)} {shortened(str(there))}, not {here}'


class Frames(Protocol):
    """A clip whose frames, (H, W, 3) uint8, come one after another, as often as asked for."""

    fps: Fraction
    frame_count: int | None

    def __iter__(self) -> Iterator[np.ndarray]: ...


def find_tracks(clip: Frames, find: FindBoxes, rules: Rules, record: Record) -> None:
    """Looks through a clip, and keeps in the record what is found, at last the tracks."""
    record.finish(link_looks(_looks(clip, find, rules, record), rules))


def _looks(clip: Frames, find: FindBoxes, rules: Rules, record: Record) -> Iterator[Look]:
    ready = prefetch(clip)
    bar = tqdm(ready, 'looking for tracks', clip.frame_count, unit='frame', disable=None)
    try:
        yield from look_through(bar, functools.partial(record.find, find), rules.every)
    finally:
        record.save()


class _Growing:
    """The clip of a track, which grows in a place of its own.

    Args:
        stack: closes the writer, and takes away what it has written, where it is not finished.
    """

    def __init__(self, place: Path, track: Track, writer: VideoWriter, stack: ExitStack):
        self.place, self.track = place, track
        self._stack = stack.enter_context(ExitStack())
        self._writer = self._stack.enter_context(writer)

    def write(self, frame: np.ndarray, size: int) -> None:
        self._writer.write(to_bytes(cut(frame, self.track.box, (size, size))))

    def finish(self) -> None:
        self._stack.close()
        os.replace(self._writer.path, self.place)


def write_tracks(
    clip: Frames, tracks: Mapping[Path, Track], scratch: Path, size: int, kind: str
) -> None:
    """Writes the clips of tracks, which may be at the same time, in one pass.

    Args:
        tracks: of `clip`, by the paths at which their clips appear, whole.
        scratch: a folder of this call alone, on the same disk; what is there goes.
        size, kind: as for crop_tracks.
    """
    shutil.rmtree(scratch, ignore_errors=True)  # by a run that was killed
    if not tracks:
        return
    waiting = sorted(tracks.items(), key=lambda each: each[1].start, reverse=True)
    last = max(track.end for track in tracks.values())
    frames = prefetch(itertools.islice(clip, last))
    bar = tqdm(frames, 'cropping', last, unit='frame', disable=None)
    growing: list[_Growing] = []
    suffix = '' if kind == 'png' else f'.{kind}'
    scratch.mkdir()
    try:
        with ExitStack() as stack:
            for number, frame in enumerate(bar):
                while waiting and waiting[-1][1].start == number:
                    place, track = waiting.pop()
                    # A neutral name: what follows a dot in a clip's would be an extension.
                    path = scratch / f'{len(waiting)}{suffix}'
                    growing.append(_Growing(place, track, VideoWriter(path, clip.fps), stack))
                for each in growing:
                    each.write(frame, size)
                    if each.track.end == number + 1:
                        each.finish()
                growing = [each for each in growing if each.track.end > number + 1]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
