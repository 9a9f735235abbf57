"""safetensors files: written, and read, with bfloat16 and float8, which NumPy lacks, as float32."""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from modules.checkpoints.numpy_pickle import MAX_AXES
from modules.checkpoints.safe_pickle import RefusedError, shorten
from modules.runtime.files import PathLike, atomic_output
from modules.runtime.json_text import parse_json


class TensorFile:
    """An open file: `metadata` and `keys`, and an array for each key.

    Used in a `with` statement.

    Raises (from every method):
        RefusedError: it is damaged, or holds numbers of a type that is not read.
    """

    def __init__(self, path: PathLike):
        with _telling_damage():
            # It checks all of the header.
            self._tensors = cast(Any, safe_open(str(path), framework='np'))
            self.metadata: Mapping[str, str] = self._tensors.metadata() or {}
            self.keys: list[str] = list(self._tensors.keys())
        self._file: BinaryIO = open(path, 'rb')  # noqa: SIM115 (until __exit__)
        size = struct.unpack('<Q', self._file.read(8))[0]
        with _telling_damage():  # of what the package passes over
            self._header: dict[str, Any] = parse_json(self._file.read(size))
        self._start = 8 + size

    def __enter__(self) -> TensorFile:
        self._tensors.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()
        self._tensors.__exit__(*exception)

    def read(self, key: str) -> np.ndarray:
        """The tensor of this name."""
        entry = self._header[key]
        kind, shape = entry['dtype'], entry['shape']
        if len(shape) > MAX_AXES or any(length >= 2**31 for length in shape):
            raise RefusedError(f'its {shorten(key)} has too many axes, or too long ones')
        if kind in _PLAIN:
            with _telling_damage():
                return np.asarray(self._tensors.get_tensor(key))
        if kind not in _WIDENED:
            raise RefusedError(
                f'its {shorten(key)} holds numbers of the type {shorten(kind)}; save it as float32'
            )
        start, end = entry['data_offsets']
        self._file.seek(self._start + start)
        with _telling_damage():
            return np.asarray(_WIDENED[kind](self._file.read(end - start)).reshape(shape))


def write_tensors(
    path: PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]
) -> None:
    """Writes a file: whole, or not at all. The same contents give the same bytes."""
    data = memoryview(save(dict(tensors), dict(metadata)))  # save_file hides the disk's errors
    begin = 8 + int.from_bytes(data[:8], 'little')
    # The package leaves the order of metadata to chance.
    ordered = {**json.loads(bytes(data[8:begin])), '__metadata__': dict(metadata)}
    header = json.dumps(ordered, separators=(',', ':')).encode()
    header += b' ' * (-len(header) % 8)
    with atomic_output(path) as target, open(target, 'wb') as file:
        file.write(len(header).to_bytes(8, 'little') + header)
        file.write(data[begin:])


def checksums(tensors: Mapping[str, np.ndarray]) -> str:
    """The CRC-32 of each tensor, for the metadata."""
    return json.dumps({key: zlib.crc32(tensors[key].data) for key in sorted(tensors)})


@contextlib.contextmanager
def _telling_damage() -> Iterator[None]:
    try:
        yield
    except (SafetensorError, TypeError, ValueError) as error:
        raise RefusedError(
            f'the safetensors file is damaged or cut off ({shorten(error)})'
        ) from error


def _bfloat16(data: bytes) -> np.ndarray:
    """The upper half of a float32."""
    halves = np.zeros((len(data) // 2, 2), '<u2')
    halves[:, 1] = np.frombuffer(data, '<u2')
    return halves.view('<f4')


def _float8_e5m2(data: bytes) -> np.ndarray:
    """The upper half of a float16."""
    halves = np.zeros((len(data), 2), 'u1')
    halves[:, 1] = np.frombuffer(data, 'u1')
    return halves.view('<f2').astype('<f4')


def _float8_e4m3(data: bytes) -> np.ndarray:
    """A sign, 4 bits of exponent, whose bias is 7, and 3 of mantissa; nothing is infinite."""
    codes = np.arange(128)
    exponent, mantissa = codes >> 3, codes & 7
    values = np.where(exponent > 0, (8 + mantissa) * 2.0 ** (exponent - 10), mantissa * 2.0**-9)
    values[127] = np.nan
    both = np.concatenate([values, -values]).astype('<f4')
    return np.asarray(both[np.frombuffer(data, 'u1')])


_PLAIN = ('F64', 'F32', 'F16', 'I64', 'I32', 'I16', 'I8', 'U64', 'U32', 'U16', 'U8', 'BOOL')
_WIDENED: Mapping[str, Callable[[bytes], np.ndarray]] = {
    'BF16': _bfloat16,
    'F8_E4M3': _float8_e4m3,
    'F8_E5M2': _float8_e5m2,
}
