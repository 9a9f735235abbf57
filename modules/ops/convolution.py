"""Convolutions, each by the fastest way there is for the device."""

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from modules.ops import device, onednn, precision, winograd
from modules.ops.recomputing import kept_as_recipe
from modules.runtime.process import has_instructions
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
    low = _is_low(weight)
    trains = paddle.is_grad_enabled() and not (x.stop_gradient and weight.stop_gradient)
    if trains and _by_winograd(x, weight, padding, low):
        return winograd.conv2d(x, weight)
    return onednn.conv2d(x, weight, padding, low)


def _is_low(weight: Tensor) -> bool:
    """Whether a convolution that oneDNN `serves` takes bfloat16."""
    return precision.convolutions_are_low() and onednn.serves_low(weight)


def _by_winograd(x: Tensor, weight: Tensor, padding: int, low: bool) -> bool:
    """Whether one that oneDNN `serves` is faster so, in float32.

    It has a quarter of the multiplications. In bfloat16 matrix units (AMX) do 16 times as many in a
    time, other processors twice.
    """
    if low and has_instructions('amx_bf16'):
        return False
    return device.rearranges(x) and winograd.suits(x, weight, padding)


def frozen_conv2d_relu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """relu(F.conv2d(x, weight, bias)) of the image's size, for weights that are not trained.

    Args:
        weight: (out, in, n, n), n odd.
    """
    padding = weight.shape[-1] // 2
    if not onednn.serves(x):
        return F.relu(conv2d(x, weight, bias, padding))
    low = _is_low(weight)
    if _by_winograd(x, weight, padding, low):
        return winograd.frozen_conv2d_relu(x, weight, bias)
    return onednn.frozen_conv2d_relu(x, weight, bias, low)


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
        if not onednn.serves(x):
            return F.conv2d_transpose(x, kernel, bias, stride=2, padding=1)
        y = onednn.transposed_conv2d(x, kernel, _is_low(kernel))
    return y if bias is None else add_bias(y, bias)
