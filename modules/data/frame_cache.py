"""A folder on disk with the frames of clips, each compressed on its own and without any loss.

To take two frames out of an H.264 clip, up to 250 others have to be decoded on the way; out of an
entry of this cache, none. Lossless WebP holds a 256x256 frame in some 35 kB (a sixth of its 196 kB)
and gives it back in 1 ms, the very pixels that decoding gave. A missing, damaged or evicted entry
only costs time: the clip is decoded then.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from PIL import Image
from PIL import __version__ as pillow_version
from tqdm import tqdm

from modules.data.clips import EXACT, FOLDER, Clip, CrashError, Size, clip_kind, decode_apart
from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike, atomic_output
from modules.runtime.locks import taking_turns
from modules.runtime.messages import counted, note
from modules.runtime.user_cache import user_cache

GIGABYTE = 10**9
SUFFIX = '.frames'
# Part of every entry's name: a change in how clips are decoded, or entries written, gets a new one.
VERSION = 3
# Magic, frames, height, width, numerator and denominator of the rate, where the table begins; then
# the checksums of the table and of all that stands before it here.
_HEADER = struct.Struct('<8sIIIQQQI')
_SUM = struct.Struct('<I')
_HEAD = _HEADER.size + _SUM.size
_MAGIC = b'FOMMFRM2'
# The table has a row for each frame: where its bytes begin, how many they are, their checksum.
_ROW = np.dtype([('start', '<u8'), ('size', '<u8'), ('crc', '<u4')])
_WEBP_LARGEST = 16383  # pixels on a side; larger frames are kept as PNG


class Filled(NamedTuple):
    """What `FrameCache.fill` could not store."""

    damaged: list[tuple[Clip, str]]  # clips that break off on decoding, and why
    crashed: list[tuple[Clip, str]]  # clips that end the process that decodes them
    left_out: int  # clips without room
    reason: str  # why there was no room
    notes: list[str]  # a line about each thing that is left out of a clip


class _NoRoomError(Exception):
    """The cache, or the disk, is full."""


def default_cache_dir() -> Path:
    return user_cache() / 'frames'


class FrameCache:
    """The cache in one folder, which several processes and datasets may share.

    An entry belongs to a clip as it stands: path, size and time of its last change make its name.
    """

    def __init__(self, folder: PathLike | None = None, limit: int = 100 * GIGABYTE):
        """Creates the folder.

        Args:
            folder: None for `default_cache_dir()`.
            limit: most bytes of all entries together. A call of `fill` never takes more than half
                of the space that is free on the disk either.

        Raises:
            UserError: the folder can't be created or written.
        """
        self.folder, self.limit = Path(folder or default_cache_dir()), limit
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f'{self.folder}: {reason_of(error)}; set dataset_params.cache_dir '
                'to a folder for decoded frames'
            ) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise UserError(
                f'{self.folder}: no permission to write; set dataset_params.cache_dir to another '
                'folder for decoded frames'
            )

    def entry(self, path: PathLike, size: Size, resize: str = EXACT) -> Path:
        """Where the frames of the clip at `path` are, or would be.

        Args:
            size: (height, width) of a frame, by which strips are cut.
            resize: how frames are brought to it.

        Raises:
            FileNotFoundError: no such clip.
        """
        path = Path(os.path.realpath(path))  # resolve() fails on links in a circle
        status = path.stat()
        # Another version of the decoders may round pixels otherwise.
        identity = [str(path), status.st_size, status.st_mtime_ns, list(size), VERSION]
        if resize != EXACT:
            identity += [resize, _pictures(path)]
        text = json.dumps([*identity, av.__version__, pillow_version])
        return self.folder / (hashlib.sha256(text.encode()).hexdigest()[:40] + SUFFIX)

    def find(self, path: PathLike, size: Size, resize: str = EXACT) -> Clip | None:
        """The clip at `path` as its entry describes it; None without an entry, or a damaged one."""
        with contextlib.suppress(OSError), open(self.entry(path, size, resize), 'rb') as file:
            header = _read_header(file)
            kind = clip_kind(path)
            if header and kind and _has_sound_table(file, header):
                count, height, width, *rate, _, _ = header
                rate_of_clip = Fraction(*rate)
                return Clip(Path(path), kind, count, (height, width), rate_of_clip, (), resize)
        return None

    def fill(self, clips: Sequence[Clip], threads: int = 1) -> Filled:
        """Makes an entry for each of these clips that has none; says so when there is work.

        Entries that other datasets used longest ago make room; a clip that does not fit all the
        same goes without. Only one process at a time fills a cache, others wait.
        """
        with taking_turns(self.folder / 'lock', f'fills {self.folder}'):
            return _Filling(self, clips).run(threads)


def is_cached(clip: Clip) -> bool:
    """Whether it has an entry: not a folder of pictures, unless these must be resized."""
    return clip.kind != FOLDER or clip.resize != EXACT


def _pictures(path: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of each file in a folder, whose own time tells of no change in them."""
    if not path.is_dir():
        return []
    found = ((entry.name, entry.stat()) for entry in os.scandir(path))
    return sorted((name, status.st_size, status.st_mtime_ns) for name, status in found)


def read_entry(entry: Path, indices: Sequence[int]) -> np.ndarray | None:
    """(N, H, W, 3) uint8: the frames of these numbers; None if the entry is gone or damaged."""
    frames: dict[int, np.ndarray] = {}
    try:
        with open(entry, 'rb', buffering=0) as file:
            header = _read_header(file)
            if header is None:
                return None
            count, table = header[0], header[-2]
            for index in set(indices):
                if not 0 <= index < count:
                    return None
                file.seek(table + index * _ROW.itemsize)
                start, size, crc = np.frombuffer(file.read(_ROW.itemsize), _ROW)[0].item()
                if not _HEAD <= start <= start + size <= table:
                    return None
                file.seek(start)
                data = file.read(size)
                if zlib.crc32(data) != crc:
                    return None
                frames[index] = np.asarray(Image.open(io.BytesIO(data), formats=('WEBP', 'PNG')))
    except OSError:
        return None
    return np.stack([frames[index] for index in indices])


def write_entry(path: Path, clip: Clip) -> tuple[int, list[str]]:
    """Decodes the clip into an entry -> its size in bytes, and what was noticed on the way.

    Raises:
        UserError: damage in the clip.
        OSError: the disk is full, or fails.
    """
    rows: list[tuple[int, int, int]] = []
    notes: list[str] = []
    largest = max(clip.size)
    options: dict[str, Any] = {'format': 'WEBP', 'lossless': True, 'method': 0, 'quality': 0}
    if largest > _WEBP_LARGEST:
        options = {'format': 'PNG', 'compress_level': 1}
    with open(path, 'wb') as file:
        file.write(bytes(_HEAD))
        for frame in clip.frames(notes):
            packed = io.BytesIO()
            Image.fromarray(frame).save(packed, **options)
            data = packed.getvalue()
            rows.append((file.tell(), len(data), zlib.crc32(data)))
            file.write(data)
        if len(rows) != clip.frame_count:
            raise UserError(f'{clip.path}: {len(rows)} frames instead of {clip.frame_count}')
        table = file.tell()
        packed_rows = np.array(rows, _ROW).tobytes()
        file.write(packed_rows)
        end = file.tell()
        file.seek(0)
        rate = clip.fps.numerator, clip.fps.denominator
        facts = (clip.frame_count, *clip.size, *rate, table, zlib.crc32(packed_rows))
        header = _HEADER.pack(_MAGIC, *facts)
        file.write(header + _SUM.pack(zlib.crc32(header)))
    return end, notes


def _read_header(file: BinaryIO) -> tuple[int, ...] | None:
    """(frames, height, width, rate's numerator and denominator, table, its checksum).

    None if it isn't whole, or damaged.
    """
    data = file.read(_HEAD)
    if len(data) < _HEAD or _SUM.pack(zlib.crc32(data[: _HEADER.size])) != data[_HEADER.size :]:
        return None
    magic, *fields = _HEADER.unpack(data[: _HEADER.size])
    end = fields[-2] + fields[0] * _ROW.itemsize
    return tuple(fields) if magic == _MAGIC and os.fstat(file.fileno()).st_size == end else None


def _has_sound_table(file: BinaryIO, header: tuple[int, ...]) -> bool:
    """Whether where the frames lie is as it was written."""
    file.seek(header[-2])
    return zlib.crc32(file.read()) == header[-1]


class _Filling:
    """One call of `FrameCache.fill`."""

    def __init__(self, cache: FrameCache, clips: Sequence[Clip]):
        self._cache, self._lock = cache, threading.Lock()
        self._full = ''  # the reason, once there is no room left
        self._notes: list[str] = []
        for leftover in cache.folder.glob(f'.*{SUFFIX}.*'):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        self._todo: list[tuple[Clip, Path]] = []
        mine = set()
        for clip in clips:
            if not is_cached(clip):  # two pictures are opened as quickly as an entry
                continue
            with contextlib.suppress(OSError):  # taken away a moment ago: noticed on reading
                entry = cache.entry(clip.path, clip.size, clip.resize)
                mine.add(entry.name)
                if cache.find(clip.path, clip.size, clip.resize):
                    os.utime(entry)  # used now
                else:
                    self._todo.append((clip, entry))
        found = list(_entries(cache.folder))
        self._used = sum(size for _, size, _ in found)
        self._limit = min(cache.limit, self._used + shutil.disk_usage(cache.folder).free // 2)
        # Entries of other datasets, the least recently used at the end.
        self._foreign = sorted((e for e in found if e[2].name not in mine), reverse=True)

    def run(self, threads: int) -> Filled:
        failed: list[tuple[Clip, UserError]] = []
        left_out = 0
        if not self._todo:
            return Filled([], [], 0, '', [])
        clips = counted(len(self._todo), 'clip')
        note(f'decoding {clips} into {self._cache.folder}, once')
        pool = ThreadPoolExecutor(threads)
        try:
            futures: dict[Future[None], Clip] = {
                pool.submit(self._store, clip, entry): clip for clip, entry in self._todo
            }
            done, count = as_completed(futures), len(futures)
            bar = tqdm(done, 'frame cache', count, unit='clip', disable=None)
            for future in bar:
                try:
                    future.result()
                except UserError as error:
                    failed.append((futures[future], error))
                except _NoRoomError:
                    left_out += 1
        finally:
            pool.shutdown(cancel_futures=True)
        order = {clip: number for number, (clip, _) in enumerate(self._todo)}
        failed.sort(key=lambda clip_and_why: order[clip_and_why[0]])
        crashed = [(clip, str(why)) for clip, why in failed if isinstance(why, CrashError)]
        damaged = [(clip, str(why)) for clip, why in failed if not isinstance(why, CrashError)]
        return Filled(damaged, crashed, left_out, self._full, sorted(self._notes))

    def _store(self, clip: Clip, entry: Path) -> None:
        if self._full:
            raise _NoRoomError
        try:
            with atomic_output(entry) as temporary:
                size, notes = decode_apart(clip.path, write_entry, temporary, clip)
                self._make_room(size)
                self._notes += notes
        except OSError as error:  # a full disk, most of all
            self._full = f'{self._cache.folder}: {reason_of(error)}'
            raise _NoRoomError from error

    def _make_room(self, size: int) -> None:
        with self._lock:
            while self._used + size > self._limit:
                if not self._foreign:
                    self._full = self._full or self._describe_limit()
                    raise _NoRoomError
                _, freed, oldest = self._foreign.pop()
                oldest.unlink(missing_ok=True)
                self._used -= freed
            self._used += size

    def _describe_limit(self) -> str:
        if self._limit == self._cache.limit:
            return f'dataset_params.cache_gb is {self._limit / GIGABYTE:g}; raise it'
        return f'half of the free space of {self._cache.folder} is used up; free some'


def _entries(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """(when last used, size in bytes, path) of every entry."""
    for path in folder.glob(f'*{SUFFIX}'):
        with contextlib.suppress(OSError):  # evicted a moment ago
            status = path.stat()
            yield status.st_mtime, status.st_size, path
