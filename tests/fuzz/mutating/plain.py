"""Changes that know nothing of a format: flips, cuts, splices, repeats, numbers."""

import struct
from collections.abc import Callable
from random import Random

NUMBERS = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 65, 100, 127, 128, 255, 256, 1000, 4096),
    *(32767, 32768, 65535, 65536, 99999, 2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53),
    *(2**62, 2**63 - 1, 2**63, 2**64 - 1),
)
_END = 512  # where headers and directories are


def place(rng: Random, data: bytes) -> int:
    """A place in some bytes: near the beginning, the end, or anywhere."""
    size, where = len(data), rng.random()
    if where < 0.4:
        return rng.randrange(min(size, _END))
    if where < 0.6:
        return size - 1 - rng.randrange(min(size, _END))
    return rng.randrange(size)


def mutate(rng: Random, data: bytes, other: bytes) -> bytes:
    """One change; `other` is a file to splice with."""
    if not data:
        return other[: rng.randrange(len(other) + 1)]
    if rng.random() < 0.1:
        return _splice(rng, data, other)
    return rng.choice(_WAYS)(rng, data)


def _splice(rng: Random, data: bytes, other: bytes) -> bytes:
    here, there = rng.randrange(len(data)), rng.randrange(len(other) or 1)
    if rng.random() < 0.5:
        return data[:here] + other[there:]
    return data[:here] + other[there : there + rng.randint(1, 400)] + data[here:]


def _put(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


def _flip(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _byte(rng: Random, data: bytes) -> bytes:
    return _put(
        data, place(rng, data), bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))])
    )


def _number(rng: Random, data: bytes) -> bytes:
    code = rng.choice('BHIQ')
    size = struct.calcsize(code)
    value = rng.choice((*NUMBERS, rng.getrandbits(64))) % 2 ** (8 * size)
    return _put(data, place(rng, data), struct.pack(rng.choice('<>') + code, value))


def _step(rng: Random, data: bytes) -> bytes:
    """A number a little larger or smaller."""
    code, order = rng.choice('BHIQ'), rng.choice('<>')
    size = struct.calcsize(code)
    at = place(rng, data)
    value = int.from_bytes(data[at : at + size], 'little' if order == '<' else 'big')
    value = (value + rng.randint(-16, 16)) % 2 ** (8 * size)
    return _put(data, at, struct.pack(order + code, value))


def _delete(rng: Random, data: bytes) -> bytes:
    at = place(rng, data)
    return data[:at] + data[at + rng.choice((1, 2, 4, 16, 100, 1000)) :]


def _insert(rng: Random, data: bytes) -> bytes:
    at = place(rng, data)
    return data[:at] + rng.randbytes(rng.choice((1, 2, 4, 16, 100))) + data[at:]


def _repeat(rng: Random, data: bytes) -> bytes:
    at, length = place(rng, data), rng.choice((1, 4, 16, 100, 1000))
    return data[:at] + data[at : at + length] * rng.choice((2, 3, 20, 300)) + data[at + length :]


def _fill(rng: Random, data: bytes) -> bytes:
    at = place(rng, data)
    length = min(rng.choice((4, 16, 200, 2000)), len(data) - at)
    return _put(data, at, rng.choice((b'\0', b'\xff', b' ', b'0')) * length)


def _cut(rng: Random, data: bytes) -> bytes:
    return data[: rng.choice((place(rng, data), len(data) - rng.randint(1, min(9, len(data)))))]


def _swap(rng: Random, data: bytes) -> bytes:
    first, second = sorted((place(rng, data), place(rng, data)))
    length = min(rng.choice((1, 4, 16, 100)), second - first, len(data) - second)
    changed = bytearray(data)
    changed[first : first + length], changed[second : second + length] = (
        data[second : second + length],
        data[first : first + length],
    )
    return bytes(changed)


_WAYS: tuple[Callable[[Random, bytes], bytes], ...] = (
    *(_flip, _flip, _byte, _byte, _number, _number, _number, _step, _step),
    *(_delete, _insert, _repeat, _fill, _cut, _swap),
)
