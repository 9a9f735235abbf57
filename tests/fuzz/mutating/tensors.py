"""Changes of safetensors files."""

import json
import struct
import zlib
from random import Random
from typing import Any

from tests.fuzz.mutating import trees
from tests.fuzz.mutating.plain import NUMBERS

_SIZES = {'BOOL': 1, 'U8': 1, 'I8': 1, 'F8_E4M3': 1, 'F8_E5M2': 1, 'F8_E8M0': 1, 'I16': 2,
    'U16': 2, 'F16': 2,
          'BF16': 2, 'I32': 4, 'U32': 4, 'F32': 4, 'F64': 8, 'I64': 8, 'U64': 8,
          'C64': 8}  # fmt: skip
_JSON = ('config', 'meta', 'crc32')  # values of our own metadata that are JSON


def mutate(rng: Random, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], 'little')
    header, body = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
    if not isinstance(header, dict):
        raise ValueError
    entries = [entry for key, entry in header.items() if key != '__metadata__']
    told = header.get('__metadata__', {})
    way = rng.randrange(8)
    text = None
    if way < 2:
        text = trees.to_json(rng, trees.mutate(rng, header))
    elif way == 2:
        _change_entry(rng, rng.choice(entries))
    elif way == 3:
        _retype(rng, rng.choice(entries))
    elif way == 4:
        _change_metadata(rng, told)
    elif way == 5:
        _change_numbers(rng, body)
    elif way == 6:
        return _lying_length(rng, data, size)
    else:
        keys = list(header)
        first, second = rng.choice(keys), rng.choice(keys)
        header[first], header[second] = header[second], header[first]
    if told and rng.random() < 0.7:
        _sum_again(header, bytes(body))
    text = trees.to_json(rng, header) if text is None else text
    text += b' ' * (-len(text) % 8)
    return struct.pack('<Q', len(text)) + text + bytes(body)


def mutate_metadata(rng: Random, data: bytes) -> bytes:
    size = int.from_bytes(data[:8], 'little')
    header = json.loads(data[8 : 8 + size])
    _change_metadata(rng, header['__metadata__'])
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data[8 + size :]


def _change_entry(rng: Random, entry: dict[str, Any]) -> None:
    shape, (start, end) = entry['shape'], entry['data_offsets']
    way = rng.randrange(6)
    if way == 0:
        entry['dtype'] = rng.choice([*_SIZES, *trees.TEXTS])
    elif way == 1:
        shape.insert(rng.randrange(len(shape) + 1), rng.choice(NUMBERS))
    elif way == 2:
        shape[rng.randrange(len(shape))] = rng.choice(NUMBERS)
    elif way == 3:
        entry['shape'] = [1] * rng.choice((15, 16, 17, 31, 32, 33, 64, 65, 2000)) + shape
    elif way == 4:
        entry['data_offsets'] = [rng.choice((start, 0, *NUMBERS)), rng.choice((end, *NUMBERS))]
    else:
        entry[rng.choice(('junk', '', 'strides'))] = trees.odd(rng)


def _retype(rng: Random, entry: dict[str, Any]) -> None:
    """Another type and shape that the same bytes make."""
    start, end = entry['data_offsets']
    kind = rng.choice(list(_SIZES))
    count = (end - start) // _SIZES[kind]
    entry['dtype'] = kind
    entry['shape'] = rng.choice(([count], [1, count], [count, 1, 1], [2, count // 2], [0, count]))


def _change_metadata(rng: Random, told: dict[str, Any]) -> None:
    key = rng.choice(list(told))
    if key in _JSON and rng.random() < 0.8:
        tree = trees.mutate(rng, json.loads(told[key]))
        told[key] = trees.to_json(rng, tree).decode('utf-8', 'replace')
    elif rng.random() < 0.3:
        del told[key]
    else:
        told[key] = rng.choice((*trees.TEXTS, *map(str, NUMBERS), '1/1', '1x1', '-1/2', '30/0'))


def _change_numbers(rng: Random, body: bytearray) -> None:
    size = rng.choice((4, 8))
    at = rng.randrange(len(body) // size) * size
    number = rng.choice((*trees.FLOATS, -1.0, 2.0, 1e7, 3e38, float(rng.getrandbits(40))))
    integer = rng.choice(NUMBERS) % 2 ** (8 * size)
    kind = 'f' if size == 4 else 'd'
    packed = struct.pack('<' + kind, number if size == 8 or abs(number) < 3.3e38 else 0.0)
    body[at : at + size] = packed if rng.random() < 0.6 else integer.to_bytes(size, 'little')


def _lying_length(rng: Random, data: bytes, size: int) -> bytes:
    told = rng.choice((*NUMBERS, size - 1, size + 1, size + 8, len(data), len(data) - 8))
    return struct.pack('<Q', told % 2**64) + data[8:]


def _sum_again(header: dict[str, Any], body: bytes) -> None:
    """Checksums of what is there now, so that what they guard is read."""
    sums = {}
    for key, entry in header.items():
        if key != '__metadata__' and isinstance(entry, dict):
            start, end = entry['data_offsets']
            if type(start) is int and type(end) is int:
                sums[key] = zlib.crc32(body[start:end])
    if 'crc32' in header['__metadata__']:
        header['__metadata__']['crc32'] = json.dumps(sums)
