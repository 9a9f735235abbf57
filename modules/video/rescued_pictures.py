"""Sound pixels out of pictures whose other parts are broken.

Pillow refuses a whole picture for a text, an EXIF value or a checksum that no pixel depends on, and
a JPEG for its lack of the two bytes that end it. Viewers show both.
"""

import itertools
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

PNG, JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'  # how files start
ORIENTATION, _SHORT = 274, 3  # EXIF's numbers: for how a picture lies, and of 16 bits
MAX_FILE = 2**29  # bytes of a file that is looked through
MAX_PROFILE = 2**24  # bytes of an ICC profile; the largest in use have some 3 MB

# JPEG's markers: frames, which tell the size, and those of them that are drawn in several passes; a
# scan; the end; what no pixel depends on: APP1 to APP13, APP15 and comments. APP0 and APP14 tell in
# which colours the pixels are stored; shorter ones, decoders pass over.
_SOF = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_SOS, _EOI = 0xDA, 0xD9
_METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})
_SHORTEST = {0xE0: 14, 0xEE: 12}
# Restarts belong to a scan's data.
_RESTARTS = range(0xD0, 0xD8)
_MARKER = re.compile(rb'\xff+([^\x00\xff\xd0-\xd7])')
# PNG's chunks that count.
_CHUNK = re.compile(rb'PLTE|tRNS|iCCP|eXIf|IDAT')
# TIFF's tags of sizes, samples, compressions, strips, tiles, palette, orientation and profile.
_TIFF_TAGS = frozenset((
    *(254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322),
    *(323, 324, 325, 332, 336, 338, 339, 347, *range(512, 522), 529, 530, 531, 532, 34675),
))  # fmt: skip
# The name of AVIF's EXIF in the list of what a file holds.
_EXIF_ITEM = re.compile(rb'(infe(?:.{8}|.{10}))Exif', re.DOTALL)


class Bare(NamedTuple):
    """A picture's file without metadata, and what is of use of them."""

    data: bytes
    exif: bytes = b''
    profile: bytes = b''  # ICC


def without_metadata(file: BinaryIO) -> Bare | None:
    """The same pixels in a file of their own; None where that can't be.

    PNG, JPEG, TIFF and AVIF can be helped.
    """
    head = file.read(12)
    strip = next((strip for start, strip in _STRIPPERS.items() if re.match(start, head)), None)
    if strip is None:
        return None
    data = head + file.read(MAX_FILE)
    try:
        return strip(data) if len(data) < MAX_FILE else None
    except (struct.error, LookupError):  # damage among what tells of the pixels
        return None


def _bare_png(data: bytes) -> Bare | None:
    chunks: list[bytes] = []
    exif, profile, colours = b'', b'', 0
    for name, content, is_sound in _png_chunks(data):
        if name == b'IHDR':
            colours = content[9]
        if name == b'IHDR' or (name == b'PLTE' and colours == 3):
            if not is_sound:
                return None
        elif name in (b'IDAT', b'IEND'):  # damage in there, the decoder notices
            pass
        elif not is_sound:  # viewers pass over it, too
            continue
        elif name == b'eXIf':
            exif = content
        elif name == b'iCCP':
            profile = _inflated(content.partition(b'\0')[2][1:])
        if name in (b'IHDR', b'PLTE', b'IDAT', b'IEND') or _is_key(name, content, colours):
            chunks.append(struct.pack('>I', len(content)) + name + content)
            chunks.append(struct.pack('>I', zlib.crc32(name + content)))
    return Bare(PNG + b''.join(chunks), exif, profile)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """(name, content, whether the checksum is right) of each chunk; the last may be cut short."""
    place, lost = len(PNG), False
    while place + 8 <= len(data):
        size, name = struct.unpack_from('>I4s', data, place)
        content = data[place + 8 : place + 8 + size]
        end = place + 12 + size
        is_sound = data[end - 4 : end] == struct.pack('>I', zlib.crc32(name + content))
        yield name, content, is_sound
        if not is_sound and not data[end + 4 : end + 8].isalpha():  # its length is wrong as well
            if lost or name == b'IDAT':
                return
            end, lost = _next_chunk(data, place + 8), True
        place = end


def _next_chunk(data: bytes, place: int) -> int:
    """Where the next sound chunk that counts begins; the end of the data if there is none."""
    for found in itertools.islice(_CHUNK.finditer(data, place), 100):
        size = int.from_bytes(data[found.start() - 4 : found.start()], 'big')
        end = found.end() + size
        if data[end : end + 4] == struct.pack('>I', zlib.crc32(data[found.start() : end])):
            return found.start() - 4
    return len(data)


def _is_key(name: bytes, content: bytes, colours: int) -> bool:
    """Whether a chunk tells which colours are transparent, in a way that fits `colours`."""
    sizes = {0: (2,), 2: (6,), 3: range(1, 257)}.get(colours, ())
    return name == b'tRNS' and len(content) in sizes


def _inflated(data: bytes) -> bytes:
    """A profile's bytes; none where they are damaged or too many."""
    inflater = zlib.decompressobj()
    try:
        profile = inflater.decompress(data, MAX_PROFILE)
    except zlib.error:
        return b''
    return b'' if inflater.unconsumed_tail else profile


def _bare_jpeg(data: bytes) -> Bare:
    kept: list[bytes] = [data[:2]]
    exif, profile = b'', []
    for marker, start, end in _jpeg_segments(data):
        content = data[start + 4 : end]
        if marker == _SOS:
            kept.append(data[start:])
            break
        if len(content) < _SHORTEST.get(marker, 0):
            continue
        if marker not in _METADATA:
            kept.append(data[start:end])
        elif content.startswith(b'Exif\0\0'):
            exif = exif or content[6:]
        elif content.startswith(b'ICC_PROFILE\0') and len(content) > 14:
            profile.append(content[12:])  # its number, how many there are, and a part
    whole = bool(profile) and all(part[1] == len(profile) for part in profile)
    joined = b''.join(part[2:] for part in sorted(profile)) if whole else b''
    return Bare(b''.join(kept), exif, joined)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, start, end) of each segment up to the picture's end; a scan's data count to it."""
    place = 2
    while True:
        found = _MARKER.search(data, place)
        if found is None:
            return
        marker, start, place = found[1][0], found.end() - 2, found.end()
        if marker not in (0x01, 0xD8, _EOI):  # those have no content
            place += struct.unpack_from('>H', data, place)[0]
        if marker == _SOS:
            following = _MARKER.search(data, place)
            place = following.start() if following else len(data)
        yield marker, start, min(place, len(data))
        if marker == _EOI:
            return


def _bare_tiff(data: bytes) -> Bare:
    """TIFF whose directory lists nothing else than what the pixels, or their colours, need."""
    order = '<' if data.startswith(b'II') else '>'
    start = struct.unpack_from(f'{order}I', data, 4)[0]
    count = struct.unpack_from(f'{order}H', data, start)[0]
    end = start + 2 + 12 * count
    entries = (data[place : place + 12] for place in range(start + 2, end, 12))
    kept = [entry for entry in entries if struct.unpack(f'{order}H', entry[:2])[0] in _TIFF_TAGS]
    directory = struct.pack(f'{order}H', len(kept)) + b''.join(kept)
    return Bare(data[:start] + directory.ljust(end + 4 - start, b'\0') + data[end + 4 :])


def _bare_avif(data: bytes) -> Bare | None:
    """AVIF with its EXIF under a name that nobody reads; what turns the picture is elsewhere."""
    size = struct.unpack_from('>I', data)[0]
    meta_size, meta = struct.unpack_from('>I4s', data, size)
    if meta != b'meta':
        return None
    end = size + meta_size
    return Bare(_EXIF_ITEM.sub(rb'\1skip', data[:end]) + data[end:])


def with_missing_end(data: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray | None:
    """What `decode` makes of a JPEG of which nothing but the end marker is missing, else None.

    Bits behind a scan that is whole are passed over. So the picture is whole if it is the same
    whatever bits follow: none, which count as zeros; or each of the short codes that could come
    next, then random ones, with all the restart markers that lost parts could be waiting for.
    """
    data = data.rstrip(b'\xff')
    if not _has_all_scans(data):
        return None
    end = bytes([0xFF, _EOI])
    picture = decode(data + end)
    random = np.random.default_rng(0)
    passed = max(data.rfind(bytes([0xFF, restart])) for restart in _RESTARTS)
    following = data[passed + 1] + 1 if passed >= 0 else 0
    more = b''
    for number in range(8):
        more += random.integers(0, 255, 64, np.uint8).tobytes()
        more += bytes([0xFF, _RESTARTS[(following + number) % 8]])
    for code in range(0, 256, 16):
        if not np.array_equal(picture, decode(data + bytes([code]) + more + more[:64] + end)):
            return None
    return picture


def _has_all_scans(data: bytes) -> bool:
    """Whether all bits of all components are in a JPEG that lacks its end, if its last scan is
    whole."""
    missing: dict[int, list[int]] = {}  # of each component, for its 64 frequencies: bits to come
    is_progressive = False
    try:
        for marker, start, end in _jpeg_segments(data):
            content = data[start + 4 : end]
            if marker in _SOF:
                is_progressive = marker in _PROGRESSIVE
                missing = {content[6 + 3 * n]: [1] * 64 for n in range(content[5])}
            elif marker == _SOS:
                names = content[1 : 1 + 2 * content[0] : 2]
                first, last, bits = content[1 + 2 * content[0] :][:3]
                if not is_progressive:
                    first, last, bits = 0, 63, 0
                for name in names:
                    missing[name][first : last + 1] = [bits & 15] * (last + 1 - first)
            elif marker == _EOI:  # so something else is wrong
                return False
    except (struct.error, LookupError, ValueError):
        return False
    return bool(missing) and not any(map(any, missing.values()))


def orientation(exif: bytes) -> int | None:
    """EXIF's number for how a picture lies, whatever else is broken in there; None without one."""
    while exif.startswith(b'Exif\0\0'):
        exif = exif[6:]
    order = '<' if exif.startswith(b'II') else '>'
    try:
        start = struct.unpack_from(f'{order}I', exif, 4)[0]
        for entry in range(struct.unpack_from(f'{order}H', exif, start)[0]):
            tag, kind, _, value = struct.unpack_from(f'{order}HHIH', exif, start + 2 + 12 * entry)
            if (tag, kind) == (ORIENTATION, _SHORT):
                return int(value)
    except struct.error:  # cut short
        pass
    return None


_STRIPPERS: Mapping[bytes, Callable[[bytes], Bare | None]] = {
    re.escape(PNG): _bare_png,
    re.escape(JPEG): _bare_jpeg,
    rb'II\*\0|MM\0\*': _bare_tiff,
    rb'....ftyp(avif|avis|mif1)': _bare_avif,
}
