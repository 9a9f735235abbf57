"""3x3 convolutions by Winograd's F(4x4, 3x3): a quarter of the multiplications, as matrix products.

Of each tile of 4 x 4 pixels the 6 x 6 window around it is transformed, multiplied by the kernel's
transform, 36 products over all channels, and transformed back (Lavin and Gray, arXiv 1509.09308).
Here are the transforms, and convolutions for training with eager Paddle on the CPU; for compiled
programs there are layers in modules/inference/winograd.py.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor
from paddle.autograd import PyLayer, PyLayerContext

from modules.ops import onednn
from modules.ops.rows import take_rows

# Four outputs of a 3-tap filter from six inputs and six products: y = A^T ((G g) * (B^T d)).
# A product is of the values of polynomials at a point: 0, 1, -1, 1/2, -2 and infinity. Of the usual
# points, and some unusual ones, these round least: half as much as 0, 1, -1, 2, -2 and infinity.
TILE = 4  # outputs of a tile; its inputs begin one pixel before and end one after
TRANSFORM_INPUT = np.array([
    [1, -1.5, -2, 1.5, 1, 0],
    [0, -1, 0.5, 2.5, 1, 0],
    [0, 1, -2.5, 0.5, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 0.5, -1, -0.5, 1, 0],
    [0, 1, -1.5, -2, 1.5, 1],
])  # fmt: skip
TRANSFORM_KERNEL = np.array([
    [1, 0, 0],
    [1 / 3, 1 / 3, 1 / 3],
    [-1 / 3, 1 / 3, -1 / 3],
    [-16 / 15, -8 / 15, -4 / 15],
    [1 / 15, -2 / 15, 4 / 15],
    [0, 0, 1],
])  # fmt: skip
TRANSFORM_OUTPUT = np.array([
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 0.5, -2, 0],
    [0, 1, 1, 0.25, 4, 0],
    [0, 1, -1, 0.125, -8, 1],
])  # fmt: skip
PRODUCTS = (TILE + 2) ** 2
CONSTANT = TILE + 2 + 1  # the one product whose share in all outputs is 1

# The gradient of the image is the convolution of dy by the kernels turned by half a circle. If g is
# a kernel as a polynomial, then of the turned one, with every other weight negated, p^2 g(-1/p) is
# the value at p; and p -> -1/p leads from each of the points to another. So the kernels' transforms
# serve for gradients, too, where those of dy and of the result are made for it: with every other
# pixel negated, and the points in the order of their partners.
_PARTNERS = [5, 2, 1, 4, 3, 0]
# p^2 times what a kernel's transform is divided by at -1/p, over that at p
_SCALES = [1, -1, -1, -4, -1 / 4, 1]


def _for_gradients() -> tuple[np.ndarray, np.ndarray]:
    """The transforms of dy, 6 x 6, and of the result, 4 x 6."""
    signs = (-1.0) ** np.arange(TILE + 2)
    into, out_of = np.empty((TILE + 2, TILE + 2)), np.empty((TILE, TILE + 2))
    for point, partner in enumerate(_PARTNERS):
        into[partner] = _SCALES[point] * TRANSFORM_INPUT[point] * signs
        out_of[:, partner] = TRANSFORM_OUTPUT[:, point] * signs[:TILE]
    return into, out_of


# From where products outweigh the transforms:
_NARROW, _WIDE = 64, 128  # channels of either side
_PIXELS = 1024  # of a batch
_VALUES = 2**23  # of an image, at most: more would take much memory for little time
_AT_ONCE = 2**17  # tiles times channels that are computed at once: windows take 36 floats for each


def suits(x: Tensor, weight: Tensor, padding: int) -> bool:
    """Whether a convolution is faster so: (B, in, h, w), (out, in, n, n)."""
    batch, channels, h, w = x.shape
    out, _, size, _ = weight.shape
    narrow, wide = sorted((channels, out))
    return (
        size == 3 and padding == 1
        and h % TILE == 0 and w % TILE == 0 and batch * h * w >= _PIXELS
        and narrow >= _NARROW and wide >= _WIDE and batch * h * w * wide <= _VALUES
    )  # fmt: skip


def conv2d(x: Tensor, weight: Tensor) -> Tensor:
    """F.conv2d of padding 1, of what `suits`: (B, in, h, w), (out, in, 3, 3) -> (B, out, h, w).

    It can be differentiated once, not twice.
    """
    return _Convolution.apply(x, weight)


class _Convolution(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        # Noted now: weights that are frozen for this pass alone are trained again by backward's.
        ctx.x_trained, ctx.weight_trained = not x.stop_gradient, not weight.stop_gradient
        return _convolve(x, weight)

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensor()
        dx = dweight = None
        if ctx.x_trained:
            dx = _convolve(dy, weight, turned=True)
        if ctx.weight_trained:
            dweight = _kernel_gradient(x, dy)
        return dx, dweight


def frozen_conv2d_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(F.conv2d(x, weight, bias)) of the image's size; weight and bias get no gradient.

    For backward it keeps the result alone, not what led to it.

    Args:
        x: what `suits`, (B, in, h, w).
        weight: (out, in, 3, 3).
    """
    return _FrozenConvolutionRelu.apply(x, weight.detach(), bias.detach())


class _FrozenConvolutionRelu(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = _convolve(x, weight, bias, relu=True)
        # Its own result would hold the layer and be held by it: memory that only backward() frees.
        ctx.save_for_backward(y.detach(), weight)
        return y

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, ...]:
        y, weight = ctx.saved_tensor()
        dy = paddle._C_ops.relu_grad(y, dy)
        return _convolve(dy, weight, turned=True), None, None


@paddle.no_grad()
def _kernels(weight: Tensor) -> Tensor:
    """(out, in, 3, 3) -> (36, out, in)."""
    taps = weight.reshape([-1, 9])
    return paddle.matmul(_transforms(weight.dtype).kernel, taps, transpose_y=True).reshape(
        [PRODUCTS, *weight.shape[:2]]
    )


class _Pair(NamedTuple):
    into: Tensor  # windows, (36, 36)
    out_of: Tensor  # products, (16, 36)


class _Transforms(NamedTuple):
    """For both axes of an image."""

    forward: _Pair
    backward: _Pair  # see _for_gradients
    kernel: Tensor  # (36, 9)


@functools.cache
def _transforms(dtype: Any) -> _Transforms:
    def both_axes(matrix: np.ndarray) -> Tensor:
        return paddle.to_tensor(np.kron(matrix, matrix)).astype(dtype)

    forward = _Pair(*map(both_axes, (TRANSFORM_INPUT, TRANSFORM_OUTPUT)))
    backward = _Pair(*map(both_axes, _for_gradients()))
    return _Transforms(forward, backward, both_axes(TRANSFORM_KERNEL))


def window_places(pixels: np.ndarray, outside: int) -> np.ndarray:
    """Which row of an image, or of tiles, each pixel of the 6 x 6 windows is: (36 B I J,), in the
    order (6, 6, B, I, J).

    Args:
        pixels: (B, 4 I, 4 J), the row of each pixel.
        outside: a row of zeros.
    """
    pixels = np.pad(pixels, ((0, 0), (1, 1), (1, 1)), constant_values=outside)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (TILE + 2, TILE + 2), (1, 2))
    return windows[:, ::TILE, ::TILE].transpose(3, 4, 0, 1, 2).flatten()


@functools.cache
def _places(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Of images of a shape (B, 4 I, 4 J): the windows' pixels (36, B I J), those of the tiles
    (16, B I J), and where in these each pixel is.
    """
    batch, h, w = shape
    count = batch * h * w
    pixels = np.arange(count)
    tiles = pixels.reshape(batch, h // TILE, TILE, w // TILE, TILE).transpose(2, 4, 0, 1, 3)
    arrays = (
        window_places(pixels.reshape(shape), count).reshape(PRODUCTS, -1),
        tiles.reshape(TILE * TILE, -1),
        np.argsort(tiles.flatten()),
    )
    windows, into, back = (paddle.to_tensor(array.astype(np.int32)) for array in arrays)
    return windows, into, back


def _portions(shape: tuple[int, int, int], channels: int) -> list[tuple[Tensor, Tensor]]:
    """Windows and tiles of `_places`, so many at once as memory should hold."""
    windows, tiles, _ = _places(shape)
    count = max(1, _AT_ONCE // channels)
    starts = range(0, tiles.shape[1], count)
    return [(windows[:, n : n + count], tiles[:, n : n + count]) for n in starts]


def _rows(x: Tensor, zeros: bool = False) -> Tensor:
    """(B, C, h, w) -> (B h w, C), and a row of zeros."""
    channels = x.shape[1]
    rows = x.transpose([0, 2, 3, 1]).reshape([-1, channels])
    return paddle.concat([rows, paddle.zeros([1, channels], x.dtype)]) if zeros else rows


def _gathered(rows: Tensor, places: Tensor, matrix: Tensor, turned: bool = False) -> Tensor:
    """Pixels of windows or tiles, transformed: (n, C), (m, T) -> (36, T, C).

    Args:
        matrix: (36, m), or turned (m, 36).
    """
    channels = rows.shape[1]
    pixels = take_rows(rows, places.flatten()).reshape([places.shape[0], -1])
    transformed = paddle.matmul(matrix, pixels, transpose_x=turned)
    return transformed.reshape([PRODUCTS, -1, channels])


@paddle.no_grad()
def _convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    relu: bool = False,
    turned: bool = False,
) -> Tensor:
    """(B, in, h, w) -> (B, out, h, w).

    Args:
        weight: (out, in, 3, 3).
        turned: the gradient of the image instead, (B, out, h, w) -> (B, in, h, w).
    """
    batch, channels, h, w = x.shape
    transforms, kernels = _transforms(x.dtype), _kernels(weight)
    into, out_of = transforms.backward if turned else transforms.forward
    out = weight.shape[1 if turned else 0]
    rows, results = _rows(x, zeros=True), []
    for windows, _ in _portions((batch, h, w), max(channels, out)):
        transformed = _gathered(rows, windows, into)
        products = paddle.matmul(transformed, kernels, transpose_y=not turned)
        if bias is not None:
            products[CONSTANT] = products[CONSTANT] + bias  # to all takes over 36 times as long
        pixels = out_of @ products.reshape([PRODUCTS, -1])
        results.append(pixels.reshape([TILE * TILE, -1, out]))
    tiles = results[0] if len(results) == 1 else paddle.concat(results, axis=1)
    # In two steps, as Paddle transposes many axes at once many times slower.
    rows = take_rows(tiles.reshape([-1, out]), _places((batch, h, w))[2])
    return _image_program((batch, h, w, out), relu)(rows.reshape([batch, h, w, out]))


@functools.cache
def _image_program(shape: tuple[int, ...], relu: bool) -> Callable[[Tensor], Tensor]:
    """(B, h, w, C) -> (B, C, h, w) by oneDNN, in half the time of Paddle's own transposition."""

    def image(pixels: Tensor) -> Tensor:
        y = pixels.transpose([0, 3, 1, 2])
        return F.relu(y).clone() if relu else y.clone()

    return onednn.compiled(image, [shape], copies=False)


@paddle.no_grad()
def _kernel_gradient(x: Tensor, dy: Tensor) -> Tensor:
    """(B, in, h, w), (B, out, h, w) -> (out, in, 3, 3)."""
    (batch, channels, h, w), out = x.shape, dy.shape[1]
    transforms = _transforms(x.dtype)
    rows, drows = _rows(x, zeros=True), _rows(dy)
    total: Tensor | None = None
    for windows, tiles in _portions((batch, h, w), max(channels, out)):
        transformed = _gathered(rows, windows, transforms.forward.into)
        dproducts = _gathered(drows, tiles, transforms.forward.out_of, turned=True)
        part = paddle.matmul(dproducts, transformed, transpose_x=True)
        total = part if total is None else total.add_(part)
    assert total is not None, 'an image has tiles'
    taps = paddle.matmul(total.reshape([PRODUCTS, -1]), transforms.kernel, transpose_x=True)
    return taps.reshape([out, channels, 3, 3])
