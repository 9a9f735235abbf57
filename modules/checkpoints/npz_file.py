"""Zip archives and the NumPy arrays in them, checked before anything is allocated."""

import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from modules.checkpoints.numpy_pickle import ArrayStandIn, check_dtype, check_shape, numpy_table
from modules.checkpoints.safe_pickle import Budget, Machine, Reader, RefusedError, Unread, shorten
from modules.runtime.files import PathLike

# zipfile's own, for an encrypted member or an unknown compression (RuntimeError), and struct's.
ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, OSError,
)  # fmt: skip
MAX_RATIO = 20  # weights hardly compress; a bomb does, a thousandfold
NPY_HEADER = re.compile(
    r"\{'descr': '([^']*)', 'fortran_order': (True|False), 'shape': \(([0-9, ]*)\),? *\}\s*"
)


class Archive:
    """A zip archive whose members have distinct plain names and add up to a sane size.

    Args:
        file: the archive, `size` bytes; it must stay open.

    Raises:
        RefusedError: it is no such archive.
    """

    def __init__(self, file: BinaryIO, size: int):
        try:
            self._archive = zipfile.ZipFile(file)
        except ZIP_ERRORS as error:
            raise RefusedError(
                f'the zip archive is damaged or cut off ({shorten(error)})'
            ) from error
        members = self._archive.infolist()
        for member in members:
            name = member.filename
            # Other compressions are inflated by zipfile without bound.
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise RefusedError(f'{shorten(name)} is compressed in an unusual way')
            if name.startswith(('/', '\\')) or ':' in name or '..' in re.split(r'[/\\]', name):
                raise RefusedError(f'the archive has a member outside of it, {shorten(name)}')
        self.sizes = {member.filename: member.file_size for member in members}
        if len(self.sizes) < len(members):
            raise RefusedError('the archive has two members of the same name')
        self.total = sum(self.sizes.values())
        if self.total > MAX_RATIO * size + 2**20:
            raise RefusedError('the archive would grow far beyond the size of the file')

    def read(self, name: str) -> bytes:
        """All of a member. Raises RefusedError where it is damaged."""
        size = self.sizes[name]
        try:
            with self._archive.open(name) as member:
                data = member.read(size)  # without the size, a false one would not bound it
        except ZIP_ERRORS as error:
            raise RefusedError(
                f'{shorten(name)} is damaged or cut off ({shorten(error)})'
            ) from error
        if len(data) != size:
            raise RefusedError(f'{shorten(name)} is cut off')
        return data


class Unpacked:
    """A folder into which an archive has been unpacked, read like the Archive; links are ignored.

    Args:
        folder: its name stands before those of its files, as in the archive.
    """

    def __init__(self, folder: Path):
        self._files: dict[str, Path] = {}
        self.sizes: dict[str, int] = {}
        for part, place in (('', folder), ('data/', folder / 'data')):
            if not place.is_dir():
                continue
            with os.scandir(place) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        name = f'{folder.name}/{part}{entry.name}'
                        self._files[name] = Path(entry.path)
                        self.sizes[name] = entry.stat(follow_symlinks=False).st_size
        self.total = sum(self.sizes.values())

    def read(self, name: str) -> bytes:
        """All of a file. Raises RefusedError where that has changed meanwhile."""
        data = self._files[name].read_bytes()
        if len(data) != self.sizes[name]:
            raise RefusedError(f'{shorten(name)} is cut off')
        return data


def read_npz(archive: Archive) -> dict[str, Any]:
    """An .npz archive as name -> array, or the dict that numpy.savez pickled into its only array.

    The values of a pickled dict are whatever it holds; arrays are ArrayStandIn there.

    Raises:
        RefusedError: it holds anything but plain numbers.
    """
    names = list(archive.sizes)
    if names == ['arr_0.npy']:
        return _read_pickled_dict(archive.read('arr_0.npy'))
    return {name[: -len('.npy')]: _read_npy(name, archive.read(name)) for name in names}


def write_npz(path: PathLike, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays by name as numpy.savez does, whatever the names; equal ones, equal bytes."""
    with zipfile.ZipFile(path, 'w') as archive:
        for name, array in arrays.items():
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _read_header(data: bytes) -> re.Match[str]:
    """Matches the header of an .npy file; `data` without it starts at _header_size(data)."""
    if data[:6] != b'\x93NUMPY' or len(data) < 12:
        raise RefusedError('it has a member that is no .npy file')
    start = 10 if data[6] == 1 else 12
    header = data[start : _header_size(data)].decode('latin1')
    match = NPY_HEADER.fullmatch(header)
    if match is None:
        raise RefusedError(f'it has an .npy file with the header {shorten(header.strip())}')
    return match


def _header_size(data: bytes) -> int:
    if data[6] == 1:
        return 10 + int.from_bytes(data[8:10], 'little')
    return 12 + int.from_bytes(data[8:12], 'little')


def _read_npy(name: str, data: bytes) -> np.ndarray:
    descr, fortran, lengths = _read_header(data).groups()
    dtype = check_dtype(descr)
    digits = [length for length in lengths.replace(' ', '').split(',') if length]
    shape = check_shape(tuple(int(length[:20]) for length in digits))
    raw = memoryview(data)[_header_size(data) :]
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise RefusedError(
            f'{shorten(name)} has {len(raw)} bytes, which do not make its shape {shape}'
        )
    array = np.frombuffer(raw, dtype).reshape(shape, order='F' if fortran == 'True' else 'C')
    return array.astype(dtype.newbyteorder('='), copy=False)


def _read_pickled_dict(data: bytes) -> dict[str, Any]:
    descr, _, lengths = _read_header(data).groups()
    if descr != '|O' or lengths:
        raise RefusedError('its arrays have no names')
    file = io.BytesIO(data)
    file.seek(_header_size(data))
    value = Machine(numpy_table(Budget(len(data)))).load(Reader(file, len(data)))
    if isinstance(value, Unread):
        raise RefusedError(value.reason)
    if not isinstance(value, ArrayStandIn) or type(value.boxed) is not dict:
        raise RefusedError('the object pickled in it is no dict')
    return value.boxed
