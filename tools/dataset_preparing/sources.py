"""The clips that a data set is made of: where they are, whom they show, what they are called."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from modules.animation.track_clips import LONGEST_NAME, clip_hash
from modules.data.clips import FOLDER, MOVIE, clip_kind
from modules.runtime.errors import UserError, reason_of
from modules.video import IMAGE_SUFFIXES

LEAST_PICTURES = 2  # of a folder that is a clip


class Source(NamedTuple):
    """A clip of the user's; nothing is opened yet."""

    path: Path
    name: str  # as the report shows it: below the folder that the user gave; no other's
    person: str  # the identity: what stands before '#' in the names of its clips
    stem: str  # begins these names; no other source's does

    @property
    def key(self) -> str:
        """A name for the files about this clip, safe and short."""
        return hashlib.sha256(os.fsencode(self.name)).hexdigest()[:20]


class Found(NamedTuple):
    """What is in the places that the user gave."""

    sources: list[Source]
    others: list[str]  # files that are no clips


def find_sources(places: Sequence[Path], out: Path) -> Found:
    """All clips in some places, each a clip or a folder of clips, sorted by name.

    The person of a clip is the folder that it lies in, below the one given; else what stands before
    '#' in its name; else it is the name, and the clip is a person of its own. Hidden files and the
    folder of the data set itself are passed over.

    Raises:
        UserError: a place is not there, or there is no clip in any.
    """
    entries: list[tuple[Path, str, str | None]] = []
    others: list[str] = []
    for place in places:
        if not place.exists():
            raise UserError(f'{place}: no such clip or folder of clips')
        if _is_clip(place):
            entries.append((place, place.name or str(place), None))
        elif place.is_dir():
            _walk(place, place, None, out.resolve(), entries, others)
        else:
            raise UserError(f'{place}: is no clip; give videos, or folders of them')
    if not entries:
        where = ', '.join(map(str, places))
        raise UserError(f'{where}: no clips here; give videos, or folders of them')
    unique = {os.path.realpath(path): (path, name, person) for path, name, person in entries}
    counts = Counter(name for _, name, _ in unique.values())
    listed = [
        (path, name if counts[name] == 1 else str(path), person)
        for path, name, person in unique.values()
    ]
    return Found(_named(sorted(listed, key=lambda entry: entry[1])), others)


def _is_clip(path: Path) -> bool:
    """Whether a file is a video, or a folder holds pictures alone."""
    kind = clip_kind(path)
    if kind != FOLDER:
        return kind == MOVIE
    names = [name for name in _entries(path) if not name.startswith('.')]
    pictures = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    return len(names) == len(pictures) >= LEAST_PICTURES and not any(
        clip_kind(path / name) == MOVIE for name in names
    )


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise UserError(f'{folder}: {reason_of(error)}') from error


def _walk(
    folder: Path,
    top: Path,
    person: str | None,
    out: Path,
    entries: list[tuple[Path, str, str | None]],
    others: list[str],
) -> None:
    for name in _entries(folder):
        path = folder / name
        if name.startswith('.') or path.resolve() == out:
            continue
        if _is_clip(path):
            entries.append((path, path.relative_to(top).as_posix(), person))
        elif path.is_dir() and not path.is_symlink():  # a link may lead around in a circle
            _walk(path, top, person or name, out, entries, others)
        else:
            others.append(path.relative_to(top).as_posix())


def _named(entries: Iterable[tuple[Path, str, str | None]]) -> list[Source]:
    """With persons and stems, of which no two are alike."""
    found = []
    for path, name, folder in entries:
        own = path.name if path.is_dir() else path.stem
        before, mark, after = own.partition('#')
        person = folder or before or own
        rest = (after.lstrip('#') if mark and not folder else own).replace('#', '-')
        found.append((path, name, person.replace('#', '-'), rest))
    stems = [_stem(person, rest) for _, _, person, rest in found]
    counts = Counter(stem.lower() for stem in stems)
    sources = []
    for (path, name, person, rest), stem in zip(found, stems):
        if counts[stem.lower()] > 1:  # told apart by what they are made of
            mark = hashlib.sha256(os.fsencode(name)).hexdigest()[:6]
            stem = f'{person}#{rest}-{mark}'
        sources.append(Source(path, name, person, stem))
    return sources


def _stem(person: str, rest: str) -> str:
    return person if rest in ('', person) else f'{person}#{rest}'


def identity(source: Source) -> str:
    """Tells whether a clip is the one it was, without reading all of a large file."""
    if source.path.is_dir():
        return clip_hash(source.path)
    status = source.path.stat()
    return f'{status.st_size}-{status.st_mtime_ns}'


def too_long(source: Source) -> str | None:
    """What is wrong with a clip whose name leaves no room for those of its parts."""
    if len(os.fsencode(source.stem)) > LONGEST_NAME:
        return 'too long a name for clips of it; rename it'
    return None
