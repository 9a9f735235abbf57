"""Changes of zip archives, of their directory and of what is in them."""

import io
import re
import struct
import zipfile
import zlib
from random import Random

from tests.fuzz.mutating import pickles, plain
from tests.fuzz.mutating.plain import NUMBERS
from tests.support.crafted import raw_zip

Member = tuple[str, int, bytes]  # name, method, content
_NAMES = (
    '../x', '/x', 'c:x', '..\\x', '', 'a' * 300, 'é', 'a\0b', '\x1b[31m', 'arr_0.npy',
    'a/data.pkl', 'data.pkl',
    'a/data/0', 'a/data/', 'a/byteorder', 'a/version', 'x.npy', '.npy', 'a/code/__torch__.py',
)  # fmt: skip
_METHODS = (0, 0, 8, 8, 9, 12, 14, 93, 97, 99, 65535)


def mutate(rng: Random, data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [
                (i.filename, i.compress_type, archive.read(i)) for i in archive.infolist()[:50]
            ]
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, zlib.error) as error:
        raise ValueError from error
    if not members or rng.random() < 0.15:
        return _lying_end(rng, data)
    at, way = rng.randrange(len(members)), rng.randrange(9)
    name, method, content = members[at]
    if way < 4:
        members[at] = (name, method, _content(rng, name, content))
    elif way == 4:
        members[at] = (rng.choice((*_NAMES, name.upper(), name + 'x')), method, content)
    elif way == 5:
        members.insert(at, (rng.choice((name, *_NAMES)), method, content))
    elif way == 6:
        del members[at]
    elif way == 7:
        rng.shuffle(members)
    else:
        return _lying(rng, members)
    return _written(members, rng.choice((None, None, 0, 8)))


def _written(members: list[Member], method: int | None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, own, content in members:
            chosen = own if method is None else method
            info = zipfile.ZipInfo(name)
            archive.writestr(info, content, chosen if chosen in (0, 8) else 0)
    return buffer.getvalue()


def _content(rng: Random, name: str, content: bytes) -> bytes:
    if not content:
        return rng.randbytes(20)
    if name.endswith('.pkl'):
        return pickles.mutate(rng, content)
    if name.endswith('.npy') and rng.random() < 0.8:
        return mutate_npy(rng, content)
    return plain.mutate(rng, content, content)


def mutate_npy(rng: Random, data: bytes) -> bytes:
    """Another header, or another pickle behind it."""
    if data[:6] != b'\x93NUMPY':
        raise ValueError
    size = int.from_bytes(data[8:10], 'little')
    header, body = data[10 : 10 + size].decode('latin1'), data[10 + size :]
    way = rng.randrange(6)
    if way < 2 and "'|O'" in header:
        return data[: 10 + size] + pickles.mutate(rng, body)
    if way == 0:
        code = rng.choice(
            (
                '<f4',
                '>f8',
                '|O',
                '<U4',
                '|V8',
                '<c8',
                '<f2',
                '<u8',
                'f4',
                '<i1',
                '|b1',
                '',
                '<M8[s]',
            )
        )
        header = re.sub(r"'descr': '[^']*'", f"'descr': '{code}'", header)
    elif way == 1:
        shape = ', '.join(str(rng.choice(NUMBERS)) for _ in range(rng.choice((0, 1, 2, 3, 17, 40))))
        header = re.sub(r'\([^)]*\)', f'({shape})', header)
    elif way == 2:
        header = header.replace('False', rng.choice(('True', '0', '', 'None', '[]' * 9000)))
    elif way == 3:
        at = rng.randrange(len(header))
        header = (
            header[:at]
            + rng.choice(('(', "'", '\\x', '9' * 9, 'é', ',', ' ' * 30_000))
            + header[at:]
        )
    elif way == 4:
        return data[:6] + rng.choice((b'\1\0', b'\2\0', b'\3\0', b'\xff\0')) + data[8:]
    else:
        return data[:8] + struct.pack('<H', rng.choice(NUMBERS) % 2**16) + data[10:]
    packed = header.encode('latin1', 'replace')[:65000]
    return data[:8] + struct.pack('<H', len(packed)) + packed + body


def _lying(rng: Random, members: list[Member]) -> bytes:
    """Headers whose sizes and methods aren't those of the data."""
    told = []
    for name, _, content in members:
        size = rng.choice((len(content), len(content), rng.choice(NUMBERS) % 2**32))
        method = rng.choice(_METHODS)
        if method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            content = packer.compress(content) + packer.flush()
        told.append((name.encode('ascii', 'replace').decode(), method, size, content))
    return raw_zip(told)


def _lying_end(rng: Random, data: bytes) -> bytes:
    """A change in the record that ends an archive, or in an entry of its directory."""
    marks = [b'PK\x05\x06', b'PK\x01\x02', b'PK\x03\x04']
    start = data.rfind(rng.choice(marks))
    if start < 0:
        raise ValueError
    at = start + rng.randrange(4, 46)
    packed = struct.pack(rng.choice(('<H', '<I', '<B')), 0)
    value = rng.choice(NUMBERS) % 2 ** (8 * len(packed))
    return data[:at] + value.to_bytes(len(packed), 'little') + data[at + len(packed) :]
