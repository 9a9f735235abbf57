"""The arrays of a pickle, rebuilt by functions that check what NumPy's own would believe."""

import math
import re
from typing import Any

import numpy as np

from modules.checkpoints.safe_pickle import (
    Budget,
    Function,
    RefusedError,
    StandIn,
    Unread,
    dict_maker,
    shorten,
)

MAX_AXES = 16
_DTYPE = re.compile('[<>|=]?(f[248]|i[1248]|u[12]|b1)', re.ASCII)


def check_shape(shape: Any) -> tuple[int, ...]:
    """`shape`. Raises RefusedError unless it is a tuple of axis lengths that an array may have."""
    if type(shape) is not tuple or len(shape) > MAX_AXES:
        raise RefusedError('it has an array whose shape is no short tuple')
    if not all(type(length) is int and 0 < length < 2**31 for length in shape):
        raise RefusedError('it has an array with an empty or impossible axis')
    return shape


def check_dtype(name: Any) -> np.dtype:
    """The dtype of a NumPy code such as 'f4' or '<f4', of plain numbers; RefusedError otherwise."""
    # Of a long text, nothing is worth a look, and a pickle may show it again and again.
    if type(name) is not str or len(name) > 3 or _DTYPE.fullmatch(name) is None:
        raise RefusedError(
            f'it has an array of dtype {shorten(name)}, which holds no plain numbers'
        )
    return np.dtype(name)


class DtypeStandIn(StandIn):
    """Stands for the numpy.dtype that a pickle builds; `dtype` is None for Python objects."""

    def __init__(self, name: Any, align: Any = False, copy: Any = True):
        self.dtype = None if name in ('O8', 'O4', 'O') else check_dtype(name)

    def build(self, state: Any) -> None:
        """`state` is (version, byte order, subarray, names, fields, ...)."""
        if type(state) is not tuple or len(state) < 5 or any(x is not None for x in state[2:5]):
            raise RefusedError('it has an array of records')
        if self.dtype is not None and state[1] == '>':
            self.dtype = self.dtype.newbyteorder('>')


class ArrayStandIn(StandIn):
    """Stands for the numpy.ndarray that a pickle builds.

    `boxed` is the object in a 0-d object array, which is how NumPy saves a dict; None otherwise.
    """

    def __init__(self) -> None:
        self._array: np.ndarray | None = None
        self.boxed: Any = None

    @property
    def nbytes(self) -> int:
        """What array() takes at most."""
        return 0 if self._array is None else 2 * self._array.nbytes

    def build(self, state: Any) -> None:
        """`state` is (version, shape, dtype, Fortran order, bytes or list of objects)."""
        if type(state) is tuple and len(state) == 5 and isinstance(state[2], Unread):
            raise RefusedError(state[2].reason)
        if type(state) is not tuple or len(state) != 5 or not isinstance(state[2], DtypeStandIn):
            raise RefusedError('it has a damaged array')
        _, shape, stand_in, fortran, raw = state
        if stand_in.dtype is None:
            if shape != () or type(raw) is not list or len(raw) != 1:
                raise RefusedError('it has an array of Python objects')
            self.boxed = raw[0]
            return
        size = math.prod(check_shape(shape)) * stand_in.dtype.itemsize
        if type(raw) is not bytes or len(raw) != size:
            raise RefusedError(f'it has an array of shape {shape} without the {size} bytes for it')
        array = np.frombuffer(raw, stand_in.dtype)
        self._array = array.reshape(shape, order='F' if fortran is True else 'C')

    def array(self) -> np.ndarray:
        """The numbers, in this machine's byte order; uint16 is how Paddle keeps bfloat16."""
        if self._array is None:
            raise RefusedError('it has an array without numbers')
        if self._array.dtype == np.uint16:
            return (self._array.astype('<u4') << 16).view('<f4')
        return self._array.astype(self._array.dtype.newbyteorder('='), copy=False)


def numpy_table(budget: Budget) -> dict[str, Any]:
    """What a pickle with NumPy arrays, or paddle.save's, may name."""

    def encode(text: Any, encoding: Any) -> bytes:
        # Python 3 writes bytes so in protocol 2.
        if type(text) is not str or encoding != 'latin1':
            raise RefusedError('its pickle encodes a text in an unusual way')
        budget.spend(len(text))
        return text.encode('latin1')

    def as_tuple(items: Any) -> tuple[Any, ...]:
        if type(items) is not tuple:
            raise RefusedError('its pickle makes a tuple of something else')
        return items

    def scalar(stand_in: Any, raw: Any) -> Any:
        dtype = stand_in.dtype if isinstance(stand_in, DtypeStandIn) else None
        if dtype is None or type(raw) is not bytes or len(raw) != dtype.itemsize:
            raise RefusedError('it has a damaged number')
        return np.frombuffer(raw, dtype)[0].item()

    table = {
        'collections OrderedDict': dict_maker(budget),
        '_codecs encode': Function(encode),
        'builtins tuple': Function(as_tuple),
        '__builtin__ tuple': Function(as_tuple),
        'numpy ndarray': 'numpy.ndarray',
        'numpy dtype': Function(DtypeStandIn),
    }
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        table[f'{module} _reconstruct'] = Function(lambda kind, shape, code: ArrayStandIn())
        table[f'{module} scalar'] = Function(scalar)
    return table
