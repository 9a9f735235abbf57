"""Whether a clip's file is whole, in those formats where libav takes a part for it, or a whole one
for damaged."""

import itertools
import mmap
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from modules.runtime.files import PathLike

MOV, MATROSKA = 'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm'
# How a clip begins, of which libav plays one a file.
BEGINNINGS = {
    'flv': b'FLV\x01',
    'asf': bytes.fromhex('3026b2758e66cf11a6d900aa0062ce6c'),
    'apng': b'\x89PNG\r\n\x1a\n',
    'webp': b'WEBPVP8X',
}


def is_cut_short(path: PathLike, kind: str) -> bool:
    """Looks for the end itself. `kind` is libav's name of the format."""
    length = os.path.getsize(path)
    with open(path, 'rb') as file:
        if kind == MOV:
            return max(end for _, end in _boxes(file, length)) > length
        if kind == MATROSKA:
            return next(_segments(file), 0) > length
        if kind == 'gif':
            return _is_gif_cut(file.read())
        if kind == 'apng':
            return _is_png_cut(file, length)
    return False


def has_another_clip(path: PathLike, kind: str) -> bool:
    """Whether a clip follows that libav doesn't read, in a file joined byte by byte."""
    length = os.path.getsize(path)
    with open(path, 'rb') as file:
        if kind == MOV:
            names = [name for name, _ in _boxes(file, length)]
            return names.count(b'ftyp') > 1 and b'moof' not in names  # fragments are all read
        if kind == MATROSKA:  # libav does read a second one, but no third
            return len(list(itertools.islice(_segments(file), 3))) > 2
        beginning = BEGINNINGS.get(kind)
        if beginning and length:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return data.find(beginning, data.find(beginning) + 1) >= 0
    return False


def is_still(path: PathLike, kind: str) -> bool:
    """Whether what libav takes for a clip is an AVIF or HEIF picture: it has no table of frames."""
    if kind != MOV:
        return False
    with open(path, 'rb') as file:
        names = {name for name, _ in _boxes(file, os.path.getsize(path))}
    return b'meta' in names and not names & {b'moov', b'moof'}


def _boxes(file: BinaryIO, length: int) -> Iterator[tuple[bytes, int]]:
    """Name and end of each box of an mp4 or mov; `length` where it has none, as the last may.

    A box starts with its size and name, 4 bytes each. What is appended may be no box at all.
    """
    end = 0
    while end < length:
        file.seek(end)
        size, name, long_size = struct.unpack('>I4sQ', file.read(16).ljust(16, b'\0'))
        size = long_size if size == 1 else size
        end += size
        is_vital = name in (b'mdat', b'moof', b'moov')
        if size < 8 or (end > length and not is_vital):
            end = length
        yield name, end


def _segments(file: BinaryIO) -> Iterator[int]:
    """Where each segment of an mkv or webm ends, of which a header stands before each.

    Nothing from one on that doesn't say.
    """

    def size() -> int:  # as many bytes follow the first one as that has leading zero bits
        first = file.read(1)
        more = 8 - first[0].bit_length() if first else 0
        limit = 1 << 7 * (more + 1)
        value = int.from_bytes(first + file.read(more), 'big') % limit
        return 0 if value == limit - 1 else value  # all ones: unknown

    while file.read(4) == b'\x1a\x45\xdf\xa3':  # the name of a header
        file.seek(size(), os.SEEK_CUR)
        if file.read(4) != b'\x18\x53\x80\x67':  # the name of a segment
            return
        content = size()
        if not content:
            return
        end = file.tell() + content
        yield end
        if end > os.path.getsize(file.name):
            return
        file.seek(end)


def _is_gif_cut(data: bytes) -> bool:
    """Whether a GIF ends within a block. That its last byte, a semicolon, is missing is no harm."""

    def skip_table(flags: int) -> int:
        return 3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0

    def skip_parts(place: int) -> int:  # each with its length in front; one of length 0 is the last
        while data[place]:
            place += data[place] + 1
        return place + 1

    try:
        place = 13 + skip_table(data[10])
        while place < len(data):
            kind = data[place : place + 1]
            if kind == b'!':  # an extension
                place = skip_parts(place + 2)
            elif kind == b',':  # a picture
                place = skip_parts(place + 11 + skip_table(data[place + 9]))
            elif kind == b';':
                return False
            else:  # padding, or an invention
                rest = data[place:].rstrip(b'\0\r\n')
                return bool(rest) and (b'!\xf9\x04' in rest or not rest.endswith(b';'))
        return place > len(data)
    except IndexError:
        return True


def _is_png_cut(file: BinaryIO, length: int) -> bool:
    """Whether an animated PNG lacks frames, or ends within one."""
    place, announced, frames = 8, 0, 0
    while place + 8 <= length:
        file.seek(place)
        size, name, first = struct.unpack('>I4sI', file.read(12).ljust(12, b'\0'))
        place += 12 + size
        if name == b'acTL':
            announced = first
        frames += name == b'fcTL'
        if name == b'IEND':
            break
    return place > length or frames < announced


def avi_frames(path: PathLike, track: int) -> int | None:
    """How many frames an AVI holds, the empty ones included, which show the one before again.

    None if the file is shorter than it says.
    """
    length, frames = os.path.getsize(path), 0
    names = tuple(b'%02d' % track + kind for kind in (b'dc', b'db'))
    with open(path, 'rb') as file:
        end = 0
        while end < length:
            file.seek(end)
            name, size, kind = struct.unpack('<4sI4s', file.read(12).ljust(12, b'\0'))
            if name != b'RIFF' or kind not in (b'AVI ', b'AVIX'):
                break  # appended, and no part of it
            start, end = end, end + 8 + size
            if end > length or not size:
                return None
            frames += sum(name in names for name in _chunks(file, start + 12, end))
    return frames


def _chunks(file: BinaryIO, place: int, end: int) -> Iterator[bytes]:
    """The names of an AVI's chunks: each starts with its name and size, 4 bytes each."""
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack('<4sI', file.read(8).ljust(8, b'\0'))
        if name == b'LIST':
            place += 12  # what a list is of stands before what it holds
            continue
        yield name
        place += 8 + size + size % 2


class _TsPackets(NamedTuple):
    """The headers of the packets of a transport stream, (N,) each."""

    is_aligned: bool  # they follow each other without gaps
    track: np.ndarray
    counter: np.ndarray  # one more for each packet of a track with content, modulo 16
    begins: np.ndarray  # whether a unit begins here, such as a frame
    has_content: np.ndarray
    is_broken: np.ndarray  # known to have been received with errors
    may_jump: np.ndarray  # its counter may start anew here


def has_lost_packets(path: PathLike, track: int) -> bool | None:
    """Whether packets of a track are missing from a transport stream, or broken; None: unknown.

    Where streams have been joined byte by byte, too, counters jump: then a program table comes
    before the track goes on, and a frame begins there.
    """
    packets = _read_ts(path)
    if packets is None:
        return None
    if not packets.is_aligned:
        return True
    mine = np.flatnonzero((packets.track == track) & packets.has_content)
    if packets.is_broken[mine].any():
        return True
    step = np.diff(packets.counter[mine].astype(int)) % 16
    # A packet may be sent twice.
    jumps = np.flatnonzero((step != 1) & (step != 0) & ~packets.may_jump[mine[1:]])
    tables = np.flatnonzero(packets.track == 0)
    for before, after in zip(mine[jumps], mine[jumps + 1]):
        place = np.searchsorted(tables, after) - 1
        if not packets.begins[after] or place < 0 or tables[place] < before:
            return True
    return False


def _read_ts(path: PathLike) -> _TsPackets | None:
    """None of a file that doesn't start with packets of a usual size."""
    with open(path, 'rb') as file:
        start = file.read(5)
        # Cameras put a time of 4 bytes before each packet (.mts, .m2ts).
        size, offset = (188, 0) if start[:1] == b'G' else (192, 4)
        file.seek(0)
        # The first 12 bytes of each are enough.
        count = os.path.getsize(path) // size
        heads = np.empty((count, 12), np.uint8)
        step = 1 << 16
        for first in range(0, count, step):
            block = np.frombuffer(file.read(size * min(step, count - first)), np.uint8)
            heads[first : first + step] = block.reshape(-1, size)[:, offset : offset + 12]
    is_packet = heads[:, 0] == ord('G')
    if not is_packet[:8].all():
        return None
    second, third = heads[:, 1].astype(int), heads[:, 3]
    has_field = (third & 0x20) > 0
    return _TsPackets(
        is_aligned=bool(is_packet.all()),
        track=(second & 0x1F) << 8 | heads[:, 2],
        counter=third & 0x0F,
        begins=(second & 0x40) > 0,
        has_content=(third & 0x10) > 0,
        is_broken=(second & 0x80) > 0,
        may_jump=has_field & (heads[:, 4] > 0) & ((heads[:, 5] & 0x80) > 0),
    )
