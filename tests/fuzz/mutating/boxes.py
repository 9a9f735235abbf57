"""Changes of files that are made of parts with a size and a name: MP4, AVIF, WebP, AVI, PNG,
Matroska, JPEG, TIFF, GIF, MPEG-TS, Ogg.
"""

import struct
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import NamedTuple

from tests.fuzz.mutating.plain import NUMBERS

_HOLDERS = (
    b'moov trak mdia minf stbl dinf edts udta meta moof traf mvex iprp ipco tref ilst '
    b'avc1 hev1 av01 mp4a'
).split()
_EBML_HOLDERS = (
    0x1A45DFA3, 0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0xAE, 0xE0, 0xE1, 0x1F43B675, 0xA0,
    0x1C53BB6B, 0xBB, 0xB7, 0x1254C367, 0x7373, 0x67C8, 0x4DBB,
)  # fmt: skip
_MOST = 4000


class Part(NamedTuple):
    start: int
    body: int  # where its content begins
    end: int
    size_at: int  # where its size is written
    size_bytes: int  # 0: it has none
    order: str  # '<' or '>'; '~': as Matroska does


def _iso(data: bytes, at: int = 0, end: int | None = None, deep: int = 0) -> Iterator[Part]:
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, name = struct.unpack_from('>I4s', data, at)
        head = 8
        if size == 1 and at + 16 <= end:
            size, head = struct.unpack_from('>Q', data, at + 8)[0], 16
        stop = end if size == 0 else min(at + size, end)
        if stop <= at + 7:
            return
        yield Part(at, at + head, stop, at, 4, '>')
        if name in _HOLDERS and deep < 9:
            skip = {b'meta': 4, b'mp4a': 28}.get(
                name, 78 if name in (b'avc1', b'hev1', b'av01') else 0
            )
            yield from _iso(data, at + head + skip, stop, deep + 1)
        at = stop


def _riff(data: bytes, at: int = 0, end: int | None = None, deep: int = 0) -> Iterator[Part]:
    end = len(data) if end is None else end
    while at + 8 <= end:
        name, size = struct.unpack_from('<4sI', data, at)
        stop = min(at + 8 + size + size % 2, end)
        yield Part(at, at + 8, stop, at + 4, 4, '<')
        if name in (b'RIFF', b'LIST', b'ANMF') and deep < 6:
            yield from _riff(data, at + (24 if name == b'ANMF' else 12), stop, deep + 1)
        at = stop


def _png(data: bytes) -> Iterator[Part]:
    at = 8
    while at + 12 <= len(data):
        size = struct.unpack_from('>I', data, at)[0]
        yield Part(at, at + 8, min(at + 12 + size, len(data)), at, 4, '>')
        at += 12 + size


def _vint(data: bytes, at: int, is_name: bool) -> tuple[int, int]:
    """(value, bytes) of one of Matroska's numbers."""
    first = data[at]
    length = 9 - first.bit_length()
    if length > 8:
        raise ValueError
    value = int.from_bytes(data[at : at + length], 'big')
    return (value if is_name else value & ~(1 << (7 * length))), length


def _ebml(data: bytes, at: int = 0, end: int | None = None, deep: int = 0) -> Iterator[Part]:
    end = len(data) if end is None else end
    while at + 2 <= end:
        name, name_bytes = _vint(data, at, True)
        size, size_bytes = _vint(data, at + name_bytes, False)
        body = at + name_bytes + size_bytes
        stop = min(body + size, end)
        yield Part(at, body, stop, at + name_bytes, size_bytes, '~')
        if name in _EBML_HOLDERS and deep < 8:
            yield from _ebml(data, body, stop, deep + 1)
        at = stop


def _jpeg(data: bytes) -> Iterator[Part]:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        size = struct.unpack_from('>H', data, at + 2)[0]
        yield Part(at, at + 4, min(at + 2 + size, len(data)), at + 2, 2, '>')
        at += 2 + size


def _tiff(data: bytes) -> Iterator[Part]:
    """The entries of the first directory; their counts are their sizes."""
    order = '<' if data[:2] == b'II' else '>'
    at = struct.unpack_from(order + 'I', data, 4)[0]
    yield Part(4, 4, 8, 4, 4, order)
    count = struct.unpack_from(order + 'H', data, at)[0]
    for number in range(min(count, 100)):
        entry = at + 2 + 12 * number
        yield Part(entry, entry, entry + 12, entry + 4, 4, order)
        yield Part(entry, entry + 8, entry + 12, entry + 2, 2, order)


def _gif(data: bytes) -> Iterator[Part]:
    yield Part(6, 6, 13, 6, 2, '<')
    at = 13 + (3 << (1 + (data[10] & 7)) if data[10] & 0x80 else 0)
    while at < len(data) and data[at] in (0x21, 0x2C):
        start = at
        if data[at] == 0x2C:
            flags = data[at + 9]
            at += 11 + (3 << (1 + (flags & 7)) if flags & 0x80 else 0)
        else:
            at += 2
        first = at
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
        yield Part(start, first + 1, min(at, len(data)), first, 1, '<')


def _packets(data: bytes) -> Iterator[Part]:
    for at in range(0, len(data) - 187, 188):
        yield Part(at, at + 4, at + 188, at, 0, '>')


def _ogg(data: bytes) -> Iterator[Part]:
    at = 0
    while data[at : at + 4] == b'OggS':
        count = data[at + 26]
        body = at + 27 + count
        end = body + sum(data[at + 27 : body])
        yield Part(at, body, min(end, len(data)), at + 26, 1, '<')
        at = end


def _flv(data: bytes) -> Iterator[Part]:
    at = 13
    while at + 11 < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], 'big')
        yield Part(at, at + 11, min(at + 15 + size, len(data)), at + 1, 3, '>')
        at += 15 + size


def parts_of(data: bytes) -> list[Part]:
    """Raises ValueError for a format that is not known."""
    ways: tuple[tuple[bool, Callable[[bytes], Iterator[Part]]], ...] = (
        (data[4:8] in (b'ftyp', b'moov', b'wide', b'free'), _iso),
        (data[:4] == b'RIFF', _riff),
        (data[:8] == b'\x89PNG\r\n\x1a\n', _png),
        (data[:4] == b'\x1aE\xdf\xa3', _ebml),
        (data[:2] == b'\xff\xd8', _jpeg),
        (data[:4] in (b'II*\0', b'MM\0*'), _tiff),
        (data[:3] == b'GIF', _gif),
        (data[:1] == b'G' and data[188:189] == b'G', _packets),
        (data[:4] == b'OggS', _ogg),
        (data[:3] == b'FLV', _flv),
    )
    found = []
    for fits, way in ways:
        if fits:
            for part in way(data):
                found.append(part)
                if len(found) > _MOST:
                    break
            break
    if not found:
        raise ValueError('no known format')
    return found


def mutate(rng: Random, data: bytes) -> bytes:
    parts = parts_of(data)
    part, way = rng.choice(parts), rng.randrange(10)
    piece = data[part.start : part.end]
    if way == 0:
        changed = _exchanged(rng, data, parts, part, b'')
    elif way == 1:
        changed = _exchanged(rng, data, parts, part, piece * rng.choice((2, 2, 3, 100)))
    elif way == 2:
        other = rng.choice(parts)
        changed = _exchanged(rng, data, parts, part, data[other.start : other.end])
    elif way in (3, 4) and part.size_bytes:
        own = part.end - part.start
        size = rng.choice((*NUMBERS, own + 1, own - 1, 2 * own, own // 2, len(data)))
        changed = _resized(data, part, size)
    elif way == 5:
        name = rng.choice([data[p.start : p.start + 8] for p in parts])
        at = part.start + rng.choice((0, 4))
        changed = data[:at] + name[at - part.start :][:4] + data[at + 4 :]
    elif way == 6:
        cut = rng.randint(part.body, part.end) if part.body <= part.end else part.end
        changed = _exchanged(rng, data, parts, part, data[part.start : cut])
    else:
        changed = _field(rng, data, part)
    return _summed(changed) if data[:4] == b'\x89PNG' and rng.random() < 0.85 else changed


def _field(rng: Random, data: bytes, part: Part) -> bytes:
    """A number near the beginning of a part."""
    size = rng.choice((1, 1, 2, 2, 4, 4, 8))
    at = part.body + rng.randrange(0, max(1, min(part.end - part.body, 90)))
    value = rng.choice((*NUMBERS, rng.getrandbits(32))) % 2 ** (8 * size)
    order = 'little' if part.order == '<' else 'big'
    return data[:at] + value.to_bytes(size, order) + data[at + size :]


def _resized(data: bytes, part: Part, size: int) -> bytes:
    count = part.size_bytes
    if part.order == '~':
        size = (size % 2 ** (7 * count)) | 1 << (7 * count)
    packed = (size % 2 ** (8 * count)).to_bytes(count, 'little' if part.order == '<' else 'big')
    return data[: part.size_at] + packed + data[part.size_at + count :]


def _exchanged(rng: Random, data: bytes, parts: list[Part], part: Part, piece: bytes) -> bytes:
    """Another part in its place; mostly with the sizes of those around it as they must be then."""
    change = len(piece) - (part.end - part.start)
    if rng.random() < 0.7:
        for around in parts:
            holds = around.start < part.start and around.end >= part.end
            if holds and around.size_bytes and around.order in '<>':
                told = data[around.size_at : around.size_at + around.size_bytes]
                size = int.from_bytes(told, 'little' if around.order == '<' else 'big')
                data = _resized(data, around, size + change)
    return data[: part.start] + piece + data[part.end :]


def _summed(data: bytes) -> bytes:
    """A PNG with the checksums that its chunks should have."""
    changed = bytearray(data)
    for part in _png(data):
        if part.end - part.start >= 12:
            crc = zlib.crc32(data[part.start + 4 : part.end - 4])
            changed[part.end - 4 : part.end] = struct.pack('>I', crc)
    return bytes(changed)
