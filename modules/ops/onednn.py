"""Convolutions by oneDNN, which eager Paddle does not use on the CPU.

Paddle reaches oneDNN from compiled programs only. So the convolutions of each shape, and their
gradients, are compiled as small programs, which eager code calls like any other operation. The
values are those of Paddle's own kernels but for rounding, in a tenth to two thirds of the time.
"""

import functools
import itertools
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer, PyLayerContext
from paddle.static import InputSpec

from modules.ops.predictors import Program, compile_program
from modules.runtime.heap import bound_freed_memory
from modules.runtime.messages import note

Shape = tuple[int, ...]

_FLAG = 'FLAGS_use_mkldnn'
_COPIES_KEPT = 16 * 2**20  # bytes


def serves(x: Tensor) -> bool:
    """Whether `conv2d` takes `x`: a float32 tensor on a CPU, and Paddle has oneDNN for that CPU."""
    if not paddle.in_dynamic_mode() or x.dtype != paddle.float32:
        return False
    return x.place.is_cpu_place() and _works()


def conv2d(x: Tensor, weight: Tensor, padding: int = 0) -> Tensor:
    """F.conv2d of what `serves`, without a bias: (B, in, h, w) -> (B, out, h', w').

    It can be differentiated once, not twice.
    """
    if paddle.is_grad_enabled() and not (x.stop_gradient and weight.stop_gradient):
        return _Convolution.apply(x, weight, padding)
    return _convolution(x, weight, padding)


class _Convolution(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, weight: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding = padding
        # Noted now: weights that are frozen for this pass alone are trained again by backward's.
        ctx.x_trained, ctx.weight_trained = not x.stop_gradient, not weight.stop_gradient
        return _convolution(x, weight, padding)

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensor()
        if not ctx.weight_trained:  # its gradient would cost as much as that of x
            return _image_gradient(dy, weight, ctx.padding), None
        dx, dweight = _gradients(x, weight, dy, ctx.padding)
        return dx if ctx.x_trained else None, dweight


def frozen_conv2d_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(F.conv2d(x, weight, bias)) of the image's size; weight and bias get no gradient.

    For backward it keeps the result alone, not what led to it.

    Args:
        x: what `serves`, (B, in, h, w).
        weight: (out, in, n, n), n odd.
    """
    return _FrozenConvolutionRelu.apply(x, weight.detach(), bias.detach())


class _FrozenConvolutionRelu(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        program = _relu_program(weight.shape[-1] // 2, *(tuple(t.shape) for t in (x, weight)))
        y = program(x, weight, bias)
        # Its own result would hold the layer and be held by it: memory that only backward() frees.
        ctx.save_for_backward(y.detach(), weight)
        return y

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, ...]:
        y, weight = ctx.saved_tensor()
        dy = paddle._C_ops.relu_grad(y, dy)
        return _image_gradient(dy, weight, weight.shape[-1] // 2), None, None


def _image_gradient(dy: Tensor, weight: Tensor, padding: int) -> Tensor:
    """The gradient of the image is the convolution of dy by the kernels turned by half a circle."""
    out_channels, in_channels, size, _ = weight.shape
    # Paddle's flip of all kernels takes far longer.
    backwards = paddle.eye(size * size, dtype=weight.dtype).flip([0])
    turned = weight.reshape([out_channels, in_channels, size * size]) @ backwards
    turned = turned.transpose([1, 0, 2]).reshape([in_channels, out_channels, size, size])
    return _convolution(dy, turned, size - 1 - padding)


# What leaves a program must not come from a convolution: it would have oneDNN's own layout, which
# eager operations can't read. Hence the clones.


def _convolution(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    return _convolution_program(padding, tuple(x.shape), tuple(weight.shape))(x, weight)


def _gradients(x: Tensor, weight: Tensor, dy: Tensor, padding: int) -> tuple[Tensor, Tensor]:
    shapes = (tuple(tensor.shape) for tensor in (x, weight, dy))
    return _gradient_program(padding, *shapes)(x, weight, dy)


@functools.cache
def _convolution_program(padding: int, *shapes: Shape) -> Callable[[Tensor, Tensor], Tensor]:
    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=padding).clone()

    return _compiled(convolve, shapes)


@functools.cache
def _relu_program(padding: int, *shapes: Shape) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, weight, bias, padding=padding)).clone()

    return _compiled(convolve, (*shapes, shapes[1][:1]))


@functools.cache
def _gradient_program(padding: int, *shapes: Shape) -> Callable[..., tuple[Tensor, Tensor]]:
    def gradients(x: Tensor, weight: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
        # Of the operations for this that programs have, the one that takes any number of groups.
        dx, dweight = paddle._pir_ops.depthwise_conv2d_grad(
            x, weight, dy, [1, 1], [padding] * 2, 'EXPLICIT', 1, [1, 1], 'NCHW'
        )
        return dx.clone(), dweight.clone()

    return _compiled(gradients, shapes)


def _compiled(function: Callable[..., Any], shapes: Sequence[Shape]) -> Callable[..., Any]:
    """A program for tensors of these shapes; one for any would confuse oneDNN's layouts."""
    program = paddle.jit.to_static(
        function, full_graph=True, input_spec=[InputSpec(shape, 'float32') for shape in shapes]
    )
    scopes: list[Any] = []

    def run(*tensors: Tensor) -> Any:
        # A program is laid out at its first run, by the flag as it is then. Others, as those of an
        # animation, would break under it.
        paddle.set_flags({_FLAG: True})
        try:
            with paddle.no_grad():
                results = program(*tensors)
        finally:
            paddle.set_flags({_FLAG: False})
        if not scopes:
            scopes.extend(_scopes_of(program))
        for tensor in scopes:  # else they would hold on to all tensors until their next run
            tensor._clear()
        _copies.count(*tensors)
        return results

    return run


def _scopes_of(program: Any) -> list[Any]:
    """The tensors that a compiled program, having run, keeps."""
    return [
        scope.find_var(name).get_tensor()
        for _, layer in program.program_cache._caches.values()
        for scopes in layer._scope_cache.values()
        for scope in scopes
        for name in scope.local_var_names()
    ]


class _Copies:
    """Bounds the memory of oneDNN's copies.

    Paddle keeps, for each program and for ever, the copies of tensors and weights that a
    convolution had made in a layout of its own. A predictor, though, may keep those of its last
    shapes alone, and what other programs had copied since its last run counts as of its shape. So
    one that does next to nothing, run on a new shape, drops them all; it takes 0.2 ms.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._lengths = itertools.cycle(range(1, 1000))

    def count(self, *tensors: Tensor) -> None:
        """Drops the copies once those of as many tensors have come together as may be kept."""
        self._bytes += sum(tensor.size * tensor.element_size() for tensor in tensors)
        if self._bytes >= _COPIES_KEPT:
            self.drop()

    def drop(self) -> None:
        self._program.set(0, np.zeros(next(self._lengths)))
        self._program.run()
        self._bytes = 0
        bound_freed_memory()

    @functools.cached_property
    def _program(self) -> Program:
        with tempfile.TemporaryDirectory() as folder:
            compile_program(_Affine(), [[-1]], Path(folder))
            return Program(Path(folder), shapes_kept=1)


class _Affine(nn.Layer):
    """Next to nothing; of a single operation Paddle makes no predictor that runs."""

    def forward(self, x: Tensor) -> Tensor:
        return 3 * (2 * x + 1)


_copies = _Copies()


@functools.cache
def _works() -> bool:
    """Tries a convolution and its gradients once, beside Paddle's own."""
    if not paddle.base.core.is_compiled_with_mkldnn():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Paddle's, about compiling
            agrees = _agrees()
            _copies.drop()
        reason = 'its values are not those of Paddle'
    except Exception as error:
        agrees, reason = False, (str(error).strip().splitlines() or [type(error).__name__])[-1]
    if not agrees:
        note(f'convolutions without oneDNN, so slower: {reason}')
    return agrees


@paddle.enable_grad()
def _agrees() -> bool:
    x = paddle.arange(2 * 8 * 6 * 6, dtype='float32').reshape([2, 8, 6, 6]).sin()
    weight = paddle.arange(8 * 8 * 9, dtype='float32').reshape([8, 8, 3, 3]).cos()
    x.stop_gradient = weight.stop_gradient = False
    results = []
    for convolve in (conv2d, F.conv2d):
        y = convolve(x, weight, padding=1)
        results.append([y, *paddle.grad(y.square().sum(), [x, weight])])
    return all(paddle.allclose(a, b, rtol=1e-3, atol=1e-2).item() for a, b in zip(*results))
