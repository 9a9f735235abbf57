"""PyTorch's checkpoint files without PyTorch: both formats read, the newer one written."""

import io
import math
import struct
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from modules.checkpoints.npz_file import Archive, Unpacked
from modules.checkpoints.numpy_pickle import check_shape, numpy_table
from modules.checkpoints.safe_pickle import (
    Budget,
    Function,
    Machine,
    Reader,
    RefusedError,
    Unread,
    shorten,
)
from modules.runtime.files import PathLike

# The pickled magic number that starts a file written by PyTorch < 1.6.
LEGACY_MAGIC = b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.'

BFLOAT16 = 'BFloat16Storage'
STORAGE_TYPES = {
    'HalfStorage': '<f2',
    'FloatStorage': '<f4',
    'DoubleStorage': '<f8',
    'CharStorage': '<i1',
    'ShortStorage': '<i2',
    'IntStorage': '<i4',
    'LongStorage': '<i8',
    'ByteStorage': '<u1',
    'BoolStorage': '|b1',
    BFLOAT16: '<u2',  # NumPy lacks bfloat16: the upper half of a float32
}


class StorageType(NamedTuple):
    name: str

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the numbers as they lie in the file."""
        return np.dtype(STORAGE_TYPES[self.name])


class Storage:
    """A run of numbers in the file, read when first asked for."""

    def __init__(self, kind: StorageType, length: int):
        self.kind = kind
        self.length = length
        self.fetch: Callable[[], bytes] | None = None  # None until its place is known
        self._numbers: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self.length * self.kind.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of a number as it is given: bfloat16 becomes float32."""
        return 4 if self.kind.name == BFLOAT16 else self.kind.dtype.itemsize

    def numbers(self) -> np.ndarray:
        """All of it, 1-d."""
        if self._numbers is None:
            raw = self.fetch() if self.fetch else b''
            if len(raw) != self.size:
                raise RefusedError(f'a storage has {len(raw)} bytes instead of {self.size}')
            numbers = np.frombuffer(raw, self.kind.dtype)
            if self.kind.name == BFLOAT16:
                numbers = (numbers.astype('<u4') << 16).view('<f4')
            self._numbers = numbers
        return self._numbers


class TensorStandIn:
    """A tensor of the file: a strided view of a storage, checked to lie within it."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: Any):
        self._storage, self._offset, self._shape, self._strides = storage, offset, shape, strides
        self.nbytes = math.prod(shape) * storage.itemsize

    def array(self) -> np.ndarray:
        """Its numbers in C order; reads them, so the file must still be open."""
        numbers = self._storage.numbers()[self._offset :]
        # Along an axis of one number no step is ever taken, however far the file says it is.
        steps = tuple(
            stride * numbers.itemsize if length > 1 else 0
            for stride, length in zip(self._strides, self._shape)
        )
        view = np.lib.stride_tricks.as_strided(numbers, self._shape, steps, writeable=False)
        return np.asarray(view, order='C')


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> TensorStandIn:
    if isinstance(storage, Unread):
        raise RefusedError(storage.reason)
    if not isinstance(storage, Storage) or type(strides) is not tuple:
        raise RefusedError('it has a damaged tensor')
    if len(check_shape(shape)) != len(strides) or not all(
        type(place) is int and place >= 0 for place in (offset, *strides)
    ):
        raise RefusedError('it has a tensor with an impossible stride or offset')
    last = offset + sum((length - 1) * stride for length, stride in zip(shape, strides))
    # A stride of 0 would let a small storage fill any amount of memory.
    if last >= storage.length or math.prod(shape) > storage.length:
        raise RefusedError(
            f'it has a tensor of shape {shape}, strides {strides} and offset {offset}, beyond its'
            f' storage of {storage.length} numbers'
        )
    return TensorStandIn(storage, offset, shape, strides)


def _rebuild_parameter(tensor: Any, requires_grad: Any, hooks: Any) -> TensorStandIn:
    if isinstance(tensor, Unread):
        raise RefusedError(tensor.reason)
    if not isinstance(tensor, TensorStandIn):
        raise RefusedError('it has a damaged parameter')
    return tensor


_TABLE = {
    'torch._utils _rebuild_tensor_v2': Function(_rebuild_tensor),
    'torch._utils _rebuild_parameter': Function(_rebuild_parameter),
    **{f'torch {name}': StorageType(name) for name in STORAGE_TYPES},
}


class _Storages:
    """The storages that a pickle names, by key."""

    def __init__(self) -> None:
        self.by_key: dict[str, Storage] = {}

    def add(self, name: Any) -> Storage | Unread:
        """`name` is ('storage', type, key, device, length), and None at the end in old files.

        Of numbers of an unknown type nothing is read.
        """
        if type(name) is not tuple or len(name) not in (5, 6) or name[0] != 'storage':
            raise RefusedError('its pickle refers to something that is no storage')
        kind, key, length = name[1], name[2], name[4]
        if len(name) == 6 and name[5] is not None:
            raise RefusedError('it has storages within storages; save it with a newer PyTorch')
        if isinstance(kind, Unread):
            return kind
        if not isinstance(kind, StorageType) or type(length) is not int or length < 0:
            raise RefusedError('it has a damaged storage')
        if type(key) is not str or len(key) > 40 or not (key.isascii() and key.isdigit()):
            raise RefusedError(f'it has a storage called {shorten(key)}')
        storage = self.by_key.setdefault(key, Storage(kind, length))
        if (storage.kind, storage.length) != (kind, length):
            raise RefusedError(f'its storage {shorten(key)} has two sizes')
        return storage


def read_torch_zip(archive: Archive | Unpacked, budget: Budget) -> Any:
    """The object in a file of PyTorch >= 1.6; its tensors are TensorStandIn.

    NumPy's arrays are ArrayStandIn, other objects than containers, numbers and texts Unread.

    Raises:
        RefusedError: it isn't such a file.
    """
    roots = [name[: -len('data.pkl')] for name in archive.sizes if name.endswith('/data.pkl')]
    if len(roots) != 1:
        raise RefusedError('the archive has no data.pkl, or several')
    root = roots[0]
    order = f'{root}byteorder'
    if order in archive.sizes and archive.read(order).strip() != b'little':
        raise RefusedError('it was written on a big-endian machine')
    storages = _Storages()

    def place(name: Any) -> Storage | Unread:
        storage = storages.add(name)
        if isinstance(storage, Unread):
            return storage
        member = f'{root}data/{name[2]}'
        size = archive.sizes.get(member, 0)
        if size != storage.size:
            raise RefusedError(f'{shorten(member)} should have {storage.size} bytes and has {size}')
        storage.fetch = lambda: archive.read(member)
        return storage

    data = archive.read(f'{root}data.pkl')
    table = {**numpy_table(budget), **_TABLE}
    return Machine(table, place).load(Reader(io.BytesIO(data), len(data)))


def read_torch_legacy(file: BinaryIO, size: int, budget: Budget) -> Any:
    """The object in a file of PyTorch < 1.6, `size` bytes; see read_torch_zip.

    Layout: pickled magic number, protocol version and system facts; the pickled object; the pickled
    list of its storages' keys; for each of them its length (8 bytes) and its numbers.
    """
    file.seek(len(LEGACY_MAGIC))
    reader = Reader(file, size)
    version, facts = Machine({}).load(reader), Machine({}).load(reader)
    if version != 1001 or type(facts) is not dict or facts.get('little_endian') is not True:
        raise RefusedError(
            'it is not of the version 1001, little-endian, that PyTorch < 1.6 writes'
        )
    storages = _Storages()
    value = Machine({**numpy_table(budget), **_TABLE}, storages.add).load(reader)
    if isinstance(value, Unread):
        raise RefusedError(value.reason)
    keys = Machine({}).load(reader)
    if type(keys) is not list:
        raise RefusedError('it has no list of storages')
    _place_legacy(file, size, storages.by_key, keys)
    return value


def _place_legacy(
    file: BinaryIO, size: int, storages: Mapping[str, Storage], keys: Iterable[Any]
) -> None:
    """Finds the storages that lie one after the other from the file's position on."""
    place = file.tell()
    for key in keys:
        storage = storages.get(key) if type(key) is str else None
        file.seek(place)
        head = file.read(8)
        if storage is None or len(head) < 8:
            raise RefusedError('it is cut off, or damaged where its storages start')
        length, start = struct.unpack('<q', head)[0], place + 8
        place = start + storage.size
        if length != storage.length or place > size:
            raise RefusedError(
                f'its storage {shorten(key)} should have {storage.length} numbers, says {length},'
                f' and the file has {size - start} bytes for them: damaged or cut off'
            )
        storage.fetch = _fetcher(file, start, storage.size)


def _fetcher(file: BinaryIO, start: int, size: int) -> Callable[[], bytes]:
    def fetch() -> bytes:
        file.seek(start)
        return file.read(size)

    return fetch


def write_torch(
    path: PathLike, networks: Mapping[str, Mapping[str, np.ndarray]], epoch: int
) -> None:
    """Writes {network: OrderedDict of tensors, 'epoch': epoch} in the format of PyTorch >= 1.6.

    torch.load(weights_only=True) reads it; the arrays keep their dtypes, bit for bit.

    Raises:
        TypeError: an array's dtype has no counterpart in PyTorch.
    """
    kinds = {np.dtype(code): name for name, code in STORAGE_TYPES.items() if code != '<u2'}
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        pickled = [b'\x80\x02}(']
        key = 0
        for network, state in networks.items():
            pickled.append(_text(network) + b'ccollections\nOrderedDict\n)R(')
            for name, array in state.items():
                if array.dtype not in kinds:
                    raise TypeError(f'{name}: PyTorch has no counterpart of {array.dtype}')
                pickled.append(_text(name) + _tensor(key, kinds[array.dtype], array.shape))
                archive.writestr(_member(f'data/{key}'), array.tobytes())
                key += 1
            pickled.append(b'u')
        pickled.append(_text('epoch') + _integer(epoch) + b'u.')
        archive.writestr(_member('data.pkl'), b''.join(pickled))
        archive.writestr(_member('byteorder'), b'little')
        archive.writestr(_member('version'), b'3\n')


def _member(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f'archive/{name}')  # its fixed date makes the file reproducible


def _text(text: str) -> bytes:
    data = text.encode()
    return b'X' + struct.pack('<I', len(data)) + data


def _integer(value: int) -> bytes:
    return b'\x8a\x08' + struct.pack('<q', value)


def _integers(values: Iterable[int]) -> bytes:
    return b'(' + b''.join(map(_integer, values)) + b't'


def _tensor(key: int, kind: str, shape: tuple[int, ...]) -> bytes:
    """The call of _rebuild_tensor_v2 for a contiguous tensor that is a storage of its own."""
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    storage = b'(' + _text('storage') + f'ctorch\n{kind}\n'.encode() + _text(str(key))
    storage += _text('cpu') + _integer(math.prod(shape)) + b'tQ'
    arguments = storage + _integer(0) + _integers(shape) + _integers(strides)
    hooks = b'\x89ccollections\nOrderedDict\n)R'  # requires_grad is False, and there are none
    return b'ctorch._utils\n_rebuild_tensor_v2\n(' + arguments + hooks + b'tR'
