"""Convolutions, each by the fastest way there is for the device."""

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from modules.ops import device, onednn, winograd
from modules.ops.recomputing import kept_as_recipe
from modules.test_mode import tap_op

# Pixels of a batch from which a doubled image is worth the sums of its convolution's kernel.
_SUM_KERNELS_FROM = 512


def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    """x + bias per channel: (B, C, h, w), (C,) -> (B, C, h, w)."""
    if not device.rearranges(x):
        return x + bias.reshape([1, -1, 1, 1])
    # A batch norm that changes nothing else: Paddle's CPU kernel for sums of unlike shapes takes
    # four times as long.
    zeros, ones = paddle.zeros_like(bias), paddle.ones_like(bias)
    ones.stop_gradient = bias.stop_gradient  # the kernel gives gradients to both or to none
    return F.batch_norm(x, zeros, ones, ones, bias, epsilon=0.0)


def conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None, padding: int = 0) -> Tensor:
    """F.conv2d: (B, in, h, w), (out, in, n, n) -> (B, out, h', w')."""
    with kept_as_recipe(x):
        y = _convolved(x, weight, padding)
    if bias is None:
        return y
    if onednn.serves(x):
        return add_bias(y, bias)
    # A float32 bias would make a result in low precision, and all that follows, float32 again.
    return y + bias.astype(y.dtype).reshape([1, -1, 1, 1])


def _convolved(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    if not onednn.serves(x):
        return F.conv2d(x, weight, padding=padding)
    trains = paddle.is_grad_enabled() and not (x.stop_gradient and weight.stop_gradient)
    if trains and device.rearranges(x) and winograd.suits(x, weight, padding):
        return winograd.conv2d(x, weight)
    return onednn.conv2d(x, weight, padding)


def frozen_conv2d_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(F.conv2d(x, weight, bias)) of the image's size, for weights that are not trained.

    Args:
        weight: (out, in, n, n), n odd.
    """
    padding = weight.shape[-1] // 2
    if device.rearranges(x) and onednn.serves(x) and winograd.suits(x, weight, padding):
        return winograd.frozen_conv2d_relu(x, weight, bias)
    if onednn.serves(x):
        return onednn.frozen_conv2d_relu(x, weight, bias)
    return F.relu(conv2d(x, weight, bias, padding))


def upsample_nearest_x2(x: Tensor) -> Tensor:
    """F.interpolate(scale_factor=2), whose CPU kernel runs on one thread: (B, C, 2h, 2w)."""
    _, c, h, w = x.shape
    y = x.reshape([-1, c, h, 1, w, 1]).expand([-1, c, h, 2, w, 2])
    return tap_op('interpolate', y.reshape([-1, c, 2 * h, 2 * w]))


def upsampled_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A 3x3 convolution, padded by 1, of the doubled image: (B, in, h, w) -> (B, out, 2h, 2w).

    Each pixel meets the kernel four times side by side. The sum of those four is a 4x4 kernel, of a
    transposed convolution that goes in steps of two: 16 multiplications instead of 36.
    """
    pixels = x.shape[0] * x.shape[2] * x.shape[3]
    if not device.rearranges(x) or pixels < _SUM_KERNELS_FROM:
        return conv2d(upsample_nearest_x2(x), weight, bias, padding=1)
    kernel = weight.transpose([1, 0, 2, 3])
    for axis in (2, 3):
        first, middle, last = kernel.unbind(axis)
        kernel = paddle.stack([last, middle + last, first + middle, first], axis)
    with kept_as_recipe(x):
        return F.conv2d_transpose(x, kernel, bias, stride=2, padding=1)
