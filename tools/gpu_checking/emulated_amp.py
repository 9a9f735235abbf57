"""Mixed precision as on a GPU, computed by the CPU, where Paddle's autocast has no effect.

Paddle's own Python code runs as if it saw a GPU: its lists of operations, levels and nesting. What
its C++ code then does for each operation on a GPU is done here around it: inputs are cast as the
lists say, and the result has the low precision. As most CPU kernels lack it, they compute in
float32 between rounded inputs and a rounded result; on a GPU sums within an operation are float32,
too. Tensors and gradients have the dtypes that they have there.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import paddle
from paddle import Tensor
from paddle.base import core, framework

from modules import test_mode
from modules.ops import onednn, precision

_LOW = (paddle.float16, paddle.bfloat16)
_FLOATS = (paddle.float32, *_LOW)

# Autocast's names of functions of paddle._C_ops, where they differ and a list knows them.
AMP_NAMES = {
    'grid_sample': 'grid_sampler',
    'matmul': 'matmul_v2',
    'mean': 'reduce_mean',
    'mean_all': 'mean',
    'sum': 'reduce_sum',
}
# Methods of tensors that are operations of their own, by the same names.
_METHODS = {
    '__add__': 'elementwise_add',
    '__radd__': 'elementwise_add',
    '__sub__': 'elementwise_sub',
    '__rsub__': 'elementwise_sub',
    '__mul__': 'elementwise_mul',
    '__rmul__': 'elementwise_mul',
    '__truediv__': 'elementwise_div',
    '__rtruediv__': 'elementwise_div',
    '__pow__': 'pow',
    '__matmul__': 'matmul_v2',
}
# Of these autocast looks at the first input alone, and casts no other.
_FIRST_ONLY = ('batch_norm', 'layer_norm', 'sync_batch_norm')
_UNTOUCHED = ('cast',)


Counts = dict[str, dict[str, int]]


@contextlib.contextmanager
def emulated_amp() -> Iterator[Counts]:
    """Within the block `precision.autocast` has the effect it has on a GPU.

    The networks run operation by operation, in the order of a GPU. A test's or a check's means:
    it is slow, and replaces functions of Paddle's for the whole process.

    Yields:
        How often each operation ran under autocast or on low inputs in 'bfloat16', 'float16' and
        'float32', by its name in the lists of autocast where it is in one.
    """
    amp = sys.modules['paddle.amp.auto_cast']
    counts: Counts = {}
    with contextlib.ExitStack() as stack:
        for owner, name, value in (
            (precision, 'has_effect', lambda: True),
            (precision, 'gpu_capability', lambda: (8, 0)),
            (onednn, 'serves', lambda x: False),
            (amp, '_dygraph_tracer', lambda: _TracerOfGpu(framework._dygraph_tracer())),
            (amp, '_is_gpu_float16_supported', lambda: True),
            (amp, '_is_gpu_bfloat16_supported', lambda: True),
            *_emulations(counts),
        ):
            stack.enter_context(mock.patch.object(owner, name, value))
        stack.enter_context(test_mode.record())  # nothing is computed in another order
        yield counts


class _TracerOfGpu:
    """Paddle's tracer, which says that tensors are on a GPU."""

    class _Place:
        is_gpu_place = staticmethod(lambda: True)
        is_xpu_place = is_custom_place = staticmethod(lambda: False)

    def __init__(self, tracer: Any):
        self.__dict__['tracer'] = tracer

    def __getattr__(self, name: str) -> Any:
        return self._Place if name == '_expected_place' else getattr(self.tracer, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.tracer, name, value)


def _emulations(counts: Counts) -> Iterator[Any]:
    """Owner, name and stand-in of every operation."""
    for name, operation in vars(paddle._C_ops).items():
        if callable(operation) and not name.endswith('_') and name not in _UNTOUCHED:
            yield paddle._C_ops, name, _emulated(operation, AMP_NAMES.get(name, name), counts)
    for method, name in _METHODS.items():
        yield Tensor, method, _emulated(getattr(Tensor, method), name, counts)


def _emulated(operation: Callable[..., Any], name: str, counts: Counts) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        inputs = [t for arg in (*args, *kwargs.values()) for t in _tensors(arg)]
        if name in _FIRST_ONLY:
            inputs = inputs[:1]
        dtype = _result_dtype(name, [t.dtype for t in inputs if t.dtype in _FLOATS])
        if dtype is None:
            return operation(*args, **kwargs)
        calls = counts.setdefault(name, {'bfloat16': 0, 'float16': 0, 'float32': 0})
        calls[dtype.name.lower()] += 1
        cast = {id(t): _rounded(t, dtype).astype('float32') for t in inputs if t.dtype in _FLOATS}
        args = tuple(_replaced(arg, cast) for arg in args)
        kwargs = {key: _replaced(arg, cast) for key, arg in kwargs.items()}
        results = operation(*args, **kwargs)
        if not isinstance(results, (tuple, list)):
            return _rounded(results, dtype)
        kept = results[1:] if name in _FIRST_ONLY else []  # statistics, which stay float32
        results = results[: len(results) - len(kept)]
        return type(results)([*(_rounded(result, dtype) for result in results), *kept])

    return run


def _result_dtype(name: str, dtypes: list[paddle.dtype]) -> paddle.dtype | None:
    """The dtype that inputs of these are cast to and the result has.

    None: there is nothing to cast, for no input is of a low precision and autocast is off, or no
    input is of any that it casts.
    """
    tracer = framework._dygraph_tracer()
    autocast = tracer._amp_level == core.AmpLevel.O1
    if not dtypes or not (autocast or set(dtypes) & set(_LOW)):
        return None
    white, black = tracer._get_amp_op_list() if autocast else ((), ())
    if name in white:
        return getattr(paddle, tracer._amp_dtype)
    if name in black:
        return paddle.float32
    return paddle.float32 if paddle.float32 in dtypes else dtypes[0]  # the widest


def _tensors(arg: Any) -> list[Tensor]:
    parts = arg if isinstance(arg, (list, tuple)) else [arg]
    return [part for part in parts if isinstance(part, Tensor)]


def _replaced(arg: Any, tensors: dict[int, Tensor]) -> Any:
    if isinstance(arg, (list, tuple)):
        return type(arg)(tensors.get(id(part), part) for part in arg)
    return tensors.get(id(arg), arg)


def _rounded(value: Any, dtype: paddle.dtype) -> Any:
    is_float = isinstance(value, Tensor) and value.dtype in _FLOATS
    return value.astype(dtype) if is_float else value
