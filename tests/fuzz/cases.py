"""What a number stands for: the files of a case."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz.mutating import plain

Files = dict[str, bytes]  # by name; the first is what a command is given
Mutation = Callable[[Random, bytes], bytes]  # raises ValueError for what is not of its format

LARGEST = 4 * 2**20  # bytes of a file
_STEPS = (1, 1, 1, 1, 2, 2, 3, 4, 8)  # how many changes


class Wrong(Exception):  # noqa: N818 (a verdict, not an error)
    """What a reader gave is not what the file holds."""


class Seed(NamedTuple):
    files: Files
    is_sound: bool = True  # else it is known to be refused


class Reader(NamedTuple):
    """What reads files of a kind, and where these come from."""

    name: str
    title: str  # in the report
    seeds: Callable[[], Mapping[str, Seed]]
    mutations: Sequence[Mutation]
    read: Callable[[Path, Random], bool]  # False: what is damaged is passed over without a word
    share: float  # of all cases, in parts of the sum
    suffixes: Sequence[str] = ()  # other names that a case may go by
    seconds: int = 10
    is_process: bool = False  # runs commands


_seeds: dict[str, Mapping[str, Seed]] = {}


def seeds_of(reader: Reader) -> Mapping[str, Seed]:
    if reader.name not in _seeds:
        _seeds[reader.name] = reader.seeds()
    return _seeds[reader.name]


def make_case(reader: Reader, number: int, seed: int) -> Files:
    """The files of a case; the same for the same arguments and packages."""
    rng = Random(f'{seed}/{reader.name}/{number}')
    known = seeds_of(reader)
    sound = [name for name in known if known[name].is_sound]
    others = [name for name in known if not known[name].is_sound]
    name = rng.choice(others if others and rng.random() < 0.2 else sound)
    files = dict(known[name].files)
    for _ in range(rng.choice(_STEPS)):
        chosen = rng.choice(list(files))
        files[chosen] = _changed(rng, reader, files[chosen], known)[:LARGEST]
    if len(files) > 1 and rng.random() < 0.1:
        del files[rng.choice(list(files)[1:])]
    if reader.suffixes and len(files) == 1 and rng.random() < 0.1:
        first = next(iter(files))
        renamed = str(Path(first).with_suffix(rng.choice(reader.suffixes)))
        files = {renamed if key == first else key: data for key, data in files.items()}
    return files


def _changed(rng: Random, reader: Reader, data: bytes, known: Mapping[str, Seed]) -> bytes:
    with warnings.catch_warnings():  # of zipfile, most of all: there may be two of a name
        warnings.simplefilter('ignore')
        return _mutated(rng, reader, data, known)


def _mutated(rng: Random, reader: Reader, data: bytes, known: Mapping[str, Seed]) -> bytes:
    if reader.mutations and rng.random() < 0.65:
        for mutation in rng.sample(list(reader.mutations), len(reader.mutations)):
            try:
                return mutation(rng, data)
            except Exception:  # not of that format, or not any more
                continue
    other = rng.choice(list(known.values())).files
    return plain.mutate(rng, data, rng.choice(list(other.values())))


def write_case(files: Files, folder: Path) -> Path:
    """Writes the files; where the first one is."""
    for name, data in files.items():
        path = folder / name
        if path.is_dir():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / next(iter(files))
