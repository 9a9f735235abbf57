"""Convolutions by oneDNN, which eager Paddle does not use on the CPU.

Paddle reaches oneDNN from compiled programs only. So the convolutions of each shape, and their
gradients, are compiled as small programs, which eager code calls like any other operation. The
values are those of Paddle's own kernels but for rounding, in a tenth to two thirds of the time.

`low` convolutions cast what they take to bfloat16, and what they give to float32; sums are in
float32. Of oneDNN's convolutions Paddle's programs for training have those for gradients alone in
bfloat16 (findings/bf16-convolves-in-float32.sh): so each is computed as the gradient that it is of
another one.
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
from paddle.autograd import PyLayer, PyLayerContext, ir_backward
from paddle.static import InputSpec

from modules.ops.predictors import Program, compile_program
from modules.runtime.heap import bound_freed_memory
from modules.runtime.messages import note

Shape = tuple[int, ...]

_FLAG = 'FLAGS_use_mkldnn'
_COPIES_KEPT = 16 * 2**20  # bytes
_LOW_CHANNELS = 16  # oneDNN pads fewer to so many in bfloat16
# Results of a convolution from which its image's gradient is not slower than another convolution.
_GRADIENTS_FROM = 16


def serves(x: Tensor) -> bool:
    """Whether `conv2d` takes `x`: a float32 tensor on a CPU, and Paddle has oneDNN for that CPU."""
    if not paddle.in_dynamic_mode() or x.dtype != paddle.float32:
        return False
    return x.place.is_cpu_place() and _works()


def serves_low(weight: Tensor) -> bool:
    """Whether `low` convolutions by these kernels, (out, in, n, n), are sensible, and work here."""
    return min(weight.shape[:2]) >= _LOW_CHANNELS and _works_low()


def conv2d(x: Tensor, weight: Tensor, padding: int = 0, low: bool = False) -> Tensor:
    """F.conv2d of what `serves`, without a bias: (B, in, h, w) -> (B, out, h', w').

    It can be differentiated once, not twice.

    Args:
        low: in bfloat16, of what `serves_low`; its gradients, too.
    """
    if paddle.is_grad_enabled() and not (x.stop_gradient and weight.stop_gradient):
        return _Convolution.apply(x, weight, padding, low)
    return _convolution(x, weight, padding, low)


class _Convolution(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, weight: Tensor, padding: int, low: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.padding, ctx.low = padding, low
        # Noted now: weights that are frozen for this pass alone are trained again by backward's.
        ctx.x_trained, ctx.weight_trained = not x.stop_gradient, not weight.stop_gradient
        return _convolution(x, weight, padding, low)

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensor()
        dx = dweight = None
        if ctx.x_trained:
            dx = _image_gradient(dy, weight, ctx.padding, ctx.low)
        if ctx.weight_trained:
            dweight = _weight_gradient(weight.shape, x, dy, ctx.padding, low=ctx.low)
        return dx, dweight


class _TransposedConvolution(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, kernel: Tensor, low: bool) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.low = low
        ctx.x_trained, ctx.kernel_trained = not x.stop_gradient, not kernel.stop_gradient
        batch, _, h, w = x.shape
        size = (batch, kernel.shape[1], 2 * h, 2 * w)
        return _gradient_of_image(size, kernel, x, padding=1, stride=2, low=low)

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, kernel = ctx.saved_tensor()
        dx = dkernel = None
        if ctx.x_trained:
            dx = _strided_program(*(tuple(tensor.shape) for tensor in (dy, kernel)))(dy, kernel)
        if ctx.kernel_trained:
            dkernel = _weight_gradient(kernel.shape, dy, x, padding=1, stride=2, low=ctx.low)
        return dx, dkernel


def transposed_conv2d(x: Tensor, kernel: Tensor, low: bool = False) -> Tensor:
    """F.conv2d_transpose in steps of two, of padding 1: (B, in, h, w) -> (B, out, 2h, 2w).

    It can be differentiated once.

    Args:
        x: what `serves`.
        kernel: (in, out, 4, 4).
        low: in bfloat16, of what `serves_low`, except the gradient of `x`.
    """
    return _TransposedConvolution.apply(x, kernel, low)


def frozen_conv2d_relu(x: Tensor, weight: Tensor, bias: Tensor, low: bool = False) -> Tensor:
    """relu(F.conv2d(x, weight, bias)) of the image's size; weight and bias get no gradient.

    For backward it keeps the result alone, not what led to it.

    Args:
        x: what `serves`, (B, in, h, w).
        weight: (out, in, n, n), n odd.
        low: as of `conv2d`.
    """
    return _FrozenConvolutionRelu.apply(x, weight.detach(), bias.detach(), low)


class _FrozenConvolutionRelu(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, weight: Tensor, bias: Tensor, low: bool) -> Tensor:
        padding = weight.shape[-1] // 2
        kernels = _turned(weight) if low else weight
        shapes = (tuple(tensor.shape) for tensor in (x, kernels))
        y = (_low_relu_program if low else _relu_program)(padding, *shapes)(x, kernels, bias)
        # Its own result would hold the layer and be held by it: memory that only backward() frees.
        ctx.save_for_backward(y.detach(), weight)
        ctx.low = low
        return y

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, ...]:
        y, weight = ctx.saved_tensor()
        dy = paddle._C_ops.relu_grad(y, dy)
        return _image_gradient(dy, weight, weight.shape[-1] // 2, ctx.low), None, None


def _turned(weight: Tensor) -> Tensor:
    """(out, in, n, n) -> (in, out, n, n), turned by half a circle.

    The gradient of a convolution's image is the convolution of dy by such kernels, and the other
    way round.
    """
    out_channels, in_channels, size, _ = weight.shape
    # Paddle's flip of all kernels takes far longer.
    backwards = paddle.eye(size * size, dtype=weight.dtype).flip([0])
    turned = weight.detach().reshape([out_channels, in_channels, size * size]) @ backwards
    return turned.transpose([1, 0, 2]).reshape([in_channels, out_channels, size, size])


def _image_gradient(dy: Tensor, weight: Tensor, padding: int, low: bool) -> Tensor:
    """(B, out, h', w'), (out, in, n, n) -> (B, in, h, w)."""
    margin = weight.shape[-1] - 1 - padding
    if not low and weight.shape[0] < _GRADIENTS_FROM:
        return _convolution(dy, _turned(weight), margin, low)
    batch, _, h, w = dy.shape
    change = 2 * margin - weight.shape[-1] + 1
    size = (batch, weight.shape[1], h + change, w + change)
    return _gradient_of_image(size, weight, dy, padding, low=low)


def _gradient_of_image(
    size: Shape, weight: Tensor, dy: Tensor, padding: int, stride: int = 1, low: bool = False
) -> Tensor:
    """(out, in, n, n), (B, out, h', w') -> (B, in, h, w), which is `size`."""
    shapes = (tuple(tensor.shape) for tensor in (weight, dy))
    return _image_gradient_program(padding, stride, low, size, *shapes)(weight, dy)


def _convolution(x: Tensor, weight: Tensor, padding: int, low: bool) -> Tensor:
    if low:
        return _image_gradient(x, _turned(weight), weight.shape[-1] - 1 - padding, low)
    return _convolution_program(padding, tuple(x.shape), tuple(weight.shape))(x, weight)


def _weight_gradient(
    size: Sequence[int], x: Tensor, dy: Tensor, padding: int, stride: int = 1, low: bool = False
) -> Tensor:
    """(B, in, h, w), (B, out, h', w') -> (out, in, n, n), which is `size`."""
    shapes = (tuple(tensor.shape) for tensor in (x, dy))
    return _weight_gradient_program(padding, stride, low, tuple(size), *shapes)(x, dy)


# What leaves a program must not come from a convolution: it would have oneDNN's own layout, which
# eager operations can't read. Hence the clones.


def _lowered(x: Tensor) -> Tensor:
    return x.astype('bfloat16')


def _raised(y: Tensor) -> Tensor:
    """float32 of a convolution's result: a cast neither reads its layout nor gives a plain one."""
    return y.clone().astype('float32').clone()


def _image_gradient_within(
    size: Shape, weight: Tensor, dy: Tensor, padding: int, stride: int, low: bool
) -> Tensor:
    """Within a program: the gradient of a convolution's image, alone, as oneDNN gives it."""
    if low:
        weight, dy = _lowered(weight), _lowered(dy)
    image = paddle.empty(size, weight.dtype)
    image.stop_gradient = False
    y = F.conv2d(image, weight, padding=padding, stride=stride)
    return _gradient_alone(y, image, dy)


def _gradient_alone(y: Tensor, tensor: Tensor, dy: Tensor) -> Tensor:
    """Within a program: the gradient of a convolution's image or weights, as oneDNN gives it."""
    (gradient,) = ir_backward.grad([y], [tensor], [dy])
    convolution = y.get_defining_op()
    convolution.get_parent_block().remove_op(convolution)  # it would be computed, for nobody
    return gradient


@functools.cache
def _image_gradient_program(
    padding: int, stride: int, low: bool, size: Shape, *shapes: Shape
) -> Callable[[Tensor, Tensor], Tensor]:
    """Of the weights and dy.

    Args:
        size: of the image.
    """

    def gradient(weight: Tensor, dy: Tensor) -> Tensor:
        dx = _image_gradient_within(size, weight, dy, padding, stride, low)
        return _raised(dx) if low else dx.clone()

    return compiled(gradient, shapes)


@functools.cache
def _low_relu_program(
    padding: int, x_shape: Shape, turned_shape: Shape
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def convolve(x: Tensor, turned: Tensor, bias: Tensor) -> Tensor:
        batch, _, *image = x_shape
        size = (batch, turned_shape[1], *image)
        y = _image_gradient_within(size, turned, x, padding, 1, low=True).clone()
        y = y.astype('float32')
        return F.relu(y + bias.reshape([1, -1, 1, 1])).clone()

    return compiled(convolve, (x_shape, turned_shape, turned_shape[1:2]))


@functools.cache
def _strided_program(*shapes: Shape) -> Callable[[Tensor, Tensor], Tensor]:
    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, stride=2, padding=1).clone()

    return compiled(convolve, shapes)


@functools.cache
def _convolution_program(padding: int, *shapes: Shape) -> Callable[[Tensor, Tensor], Tensor]:
    def convolve(x: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(x, weight, padding=padding).clone()

    return compiled(convolve, shapes)


@functools.cache
def _relu_program(padding: int, *shapes: Shape) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.relu(F.conv2d(x, weight, bias, padding=padding)).clone()

    return compiled(convolve, (*shapes, shapes[1][:1]))


@functools.cache
def _weight_gradient_program(
    padding: int, stride: int, low: bool, size: Shape, *shapes: Shape
) -> Callable[[Tensor, Tensor], Tensor]:
    """Of the image and dy.

    Args:
        size: of the weights.
    """

    def gradient(x: Tensor, dy: Tensor) -> Tensor:
        if low:
            x, dy = _lowered(x), _lowered(dy)
        weight = paddle.empty(size, x.dtype)
        weight.stop_gradient = False
        y = F.conv2d(x, weight, padding=padding, stride=stride)
        dweight = _gradient_alone(y, weight, dy)
        return _raised(dweight) if low else dweight.clone()

    return compiled(gradient, shapes)


def compiled(
    function: Callable[..., Any], shapes: Sequence[Shape], copies: bool = True
) -> Callable[..., Any]:
    """A program for float32 tensors of these shapes; one for any would confuse oneDNN's layouts.

    Args:
        function: of tensors, whose source Paddle reads: no lambda.
        copies: whether it has convolutions, of which `_Copies` tells.
    """
    program = paddle.jit.to_static(
        function, full_graph=True, input_spec=[InputSpec(shape, 'float32') for shape in shapes]
    )
    scopes: list[Any] = []

    def run(*tensors: Tensor) -> Any:
        # A program is laid out at its first run, by the flag as it is then. Others, as those of an
        # animation, would break under it.
        paddle.set_flags({_FLAG: True})
        try:
            # The first run writes the program down, which may have gradients of its own within.
            with paddle.no_grad() if scopes else paddle.enable_grad():
                results = program(*(tensor.detach() for tensor in tensors))
        finally:
            paddle.set_flags({_FLAG: False})
        if not scopes:
            scopes.extend(_scopes_of(program))
        for tensor in scopes:  # else they would hold on to all tensors until their next run
            tensor._clear()
        if copies:
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
    problem = _problem(conv2d, tolerance=1e-5)
    if problem is not None:
        note(f'convolutions without oneDNN, so slower: {problem}')
    return problem is None


@functools.cache
def _works_low() -> bool:
    """The same in bfloat16."""
    problem = _problem(functools.partial(conv2d, low=True), tolerance=0.03)
    if problem is not None:
        note(f'convolutions in float32, so slower: {problem}')
    return problem is None


def _problem(convolve: Callable[..., Tensor], tolerance: float) -> str | None:
    """Why a convolution is of no use; None if it and its gradients agree with Paddle's own.

    Args:
        tolerance: of the largest value.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Paddle's, about compiling
            agrees = _agrees(convolve, tolerance)
            _copies.drop()
    except Exception as error:
        return (str(error).strip().splitlines() or [type(error).__name__])[-1]
    return None if agrees else 'its values are not those of Paddle'


@paddle.enable_grad()
def _agrees(convolve: Callable[..., Tensor], tolerance: float) -> bool:
    x = paddle.arange(2 * 16 * 6 * 6, dtype='float32').reshape([2, 16, 6, 6]).sin()
    weight = paddle.arange(16 * 16 * 9, dtype='float32').reshape([16, 16, 3, 3]).cos()
    x.stop_gradient = weight.stop_gradient = False
    results = []
    for function in (convolve, F.conv2d):
        y = function(x, weight, padding=1)
        results.append([y, *paddle.grad(y.square().sum(), [x, weight])])
    return all(
        (a - b).abs().max().item() <= tolerance * b.abs().max().item() for a, b in zip(*results)
    )
