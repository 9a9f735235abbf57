"""Convolutions by oneDNN, which eager Paddle does not use on the CPU.

Paddle reaches oneDNN from compiled programs only. So the convolutions of each padding are compiled
as a program of its own, which eager code calls, and differentiates, like any other operation. The
values are those of Paddle's own kernels but for rounding, in a tenth to two thirds of the time.
"""

import functools
import sys
from typing import Callable

import paddle
import paddle.nn.functional as F
from paddle import Tensor

Convolution = Callable[[Tensor, Tensor], Tensor]


def serves(x: Tensor) -> bool:
    """Whether `conv2d` takes `x`: a float32 tensor on a CPU, and Paddle has oneDNN for that CPU."""
    if not paddle.in_dynamic_mode() or x.dtype != paddle.float32:
        return False
    return x.place.is_cpu_place() and _works()


def conv2d(x: Tensor, weight: Tensor, padding: int = 0) -> Tensor:
    """F.conv2d of what `serves`, without a bias: (B, in, h, w) -> (B, out, h', w').

    It can be differentiated once, not twice.
    """
    return _program(padding)(x, weight)


@functools.cache
def _program(padding: int) -> Convolution:
    def convolve(x, weight):
        # What leaves a program must not come from a convolution: it would have oneDNN's own
        # layout, which eager operations can't read.
        return F.conv2d(x, weight, padding=padding).clone()

    return paddle.jit.to_static(convolve, full_graph=True)


@functools.cache
def _works() -> bool:
    """Tries a convolution and its gradients once, beside Paddle's own."""
    if not paddle.base.core.is_compiled_with_onednn():
        return False
    # A program and that of its gradients are laid out when they first meet a shape, by the flag as
    # it is at that time. Nothing else heeds it: eager operations never use oneDNN.
    paddle.set_flags({'FLAGS_use_onednn': True})
    try:
        return _agrees()
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        print(f'note: convolutions without oneDNN, so slower: {reason[-1]}', file=sys.stderr)
        return False


@paddle.enable_grad()
def _agrees() -> bool:
    x = paddle.arange(2 * 8 * 6 * 6, dtype='float32').reshape([2, 8, 6, 6]).sin()
    weight = paddle.arange(8 * 8 * 9, dtype='float32').reshape([8, 8, 3, 3]).cos()
    results = []
    for convolve in (conv2d, F.conv2d):
        x.stop_gradient = weight.stop_gradient = False
        y = convolve(x, weight, padding=1)
        results.append([y, *paddle.grad(y.square().sum(), [x, weight])])
    return all(paddle.allclose(a, b, rtol=1e-3, atol=1e-2).item() for a, b in zip(*results))
