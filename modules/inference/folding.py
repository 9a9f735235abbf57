"""Weights of equal but cheaper convolutions: arithmetic on kernels, in float64 NumPy.

Kernels are (out, in, rows, columns), as nn.Conv2D's. All identities are exact but for rounding.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from modules.ops.winograd import CONSTANT, PRODUCTS, TRANSFORM_KERNEL
from modules.util import BatchNorm2D, Conv2D, ResBlock2d


class Kernel(NamedTuple):
    """A convolution's weights."""

    weight: np.ndarray  # (out, in, rows, columns)
    bias: np.ndarray  # (out,)


class Affine(NamedTuple):
    """A value per channel to multiply with and one to add."""

    scale: np.ndarray  # (channels,)
    shift: np.ndarray  # (channels,)


def affine_of(norm: BatchNorm2D) -> Affine:
    """What a batch norm with fixed statistics does."""
    mean, variance, weight, bias = (
        tensor.numpy().astype(np.float64)
        for tensor in (norm._mean, norm._variance, norm.weight, norm.bias)
    )
    scale = weight / np.sqrt(variance + norm._epsilon)
    return Affine(scale, bias - mean * scale)


def kernel_of(conv: Conv2D, norm: BatchNorm2D | None = None) -> Kernel:
    """A convolution, with the batch norm after it folded in."""
    weight, bias = (tensor.numpy().astype(np.float64) for tensor in (conv.weight, conv.bias))
    if norm is None:
        return Kernel(weight, bias)
    scale, shift = affine_of(norm)
    return Kernel(weight * scale[:, None, None, None], bias * scale + shift)


class Residuals(NamedTuple):
    """ResBlock2d after ResBlock2d, with as little as possible between their convolutions.

    A block begins with relu(scale x + shift) = scale relu(x + shift / scale). The scale joins the
    convolution after it; x + shift / scale is what is handed from block to block, where the
    convolutions' biases turn one block's offset into the next one's. So a block begins with a mere
    ReLU, but where that is not possible: there it is relu(scale x + shift).
    """

    offset: np.ndarray  # (C,), to add to what goes into the first block
    affines: list[Affine | None]  # of each block; None where its ReLU alone is left
    kernels: list[tuple[Kernel, Kernel]]


def residuals_of(blocks: Iterable[ResBlock2d]) -> Residuals:
    blocks = list(blocks)
    affines = [affine_of(block.norm1) for block in blocks]
    simple = [_is_simple(affine) for affine in affines]
    offsets = [
        affine.shift / affine.scale if can else np.zeros_like(affine.shift)
        for affine, can in zip(affines, simple)
    ]
    offsets.append(np.zeros_like(offsets[0]))  # after the last block
    kernels = []
    for block, affine, can, here, after in zip(blocks, affines, simple, offsets, offsets[1:]):
        first, second = kernel_of(block.conv1, block.norm2), kernel_of(block.conv2)
        if can:
            first = first._replace(weight=first.weight * affine.scale[:, None, None])
        kernels.append((first, second._replace(bias=second.bias + after - here)))
    left = [None if can else affine for affine, can in zip(affines, simple)]
    return Residuals(offsets[0], left, kernels)


def _is_simple(affine: Affine) -> bool:
    """Whether dividing by the scale is possible and costs no precision."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return bool((affine.scale > 0).all() and (np.abs(affine.shift / affine.scale) < 16).all())


def _halves(weight: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """A 3-tap kernel on doubled pixels as 2-tap kernels on the pixels: of even, of odd outputs."""
    first, middle, last = np.moveaxis(weight, axis, 0)
    even, odd = [first, middle + last], [first + middle, last]
    return np.stack(even, axis), np.stack(odd, axis)


def split_doubled(kernel: Kernel, taps: int) -> Kernel:
    """The 3x3 convolution of a doubled image as one of the image, whose channels are (a, b, out):
    pixel (i, j) of the image becomes (2 i + a, 2 j + b).

    Args:
        taps: 3: the kernels are (4 out, in, 3, 3), with a row and a column of zeros; padding 1
            gives all four channels of a pixel at its place. 2: they are (4 out, in, 2, 2); padding
            1 gives an image larger by one in which a channel of a = 1 (b = 1) stands one place
            later: place p holds the doubled rows 2 p (a = 0) and 2 p - 1 (a = 1).
    """
    parts = []
    for a, by_rows in enumerate(_halves(kernel.weight, 2)):
        for b, part in enumerate(_halves(by_rows, 3)):
            room = ((0, 0), (0, 0), (a, 1 - a), (b, 1 - b))
            parts.append(np.pad(part, room) if taps == 3 else part)
    return Kernel(np.concatenate(parts), np.tile(kernel.bias, 4))


def two_by_two(kernel: Kernel) -> Kernel:
    """A 7x7 convolution of padding 3 as an 8x8 one in steps of 2, whose channels (out, a, b) are
    the pixels (2 i + a, 2 j + b): vectors are filled by four times as many channels.
    """
    out = len(kernel.weight)
    weight = np.zeros((out, 2, 2, kernel.weight.shape[1], 8, 8))
    for a in (0, 1):
        for b in (0, 1):
            weight[:, a, b, :, a : a + 7, b : b + 7] = kernel.weight
    return Kernel(weight.reshape(4 * out, *weight.shape[3:]), np.repeat(kernel.bias, 4))


def after_split(kernel: Kernel) -> Kernel:
    """A 7x7 convolution of padding 3 after `split_doubled` with two taps: 4x4, padding 1.

    Its channels (out, a, b) are the pixels (2 i + a, 2 j + b) of the doubled image. For that pair
    of rows the convolution needs the doubled rows 2 i - 3 to 2 i + 4: places i - 1 to i + 2.
    """
    strided = two_by_two(kernel).weight  # (4 out, in, 8, 8): doubled rows from 2 i - 3
    out, channels = strided.shape[:2]
    parts = strided.reshape(out, channels, 4, 2, 4, 2)  # (place, which of its rows: 2 p - 1, 2 p)
    parts = parts[:, :, :, ::-1, :, ::-1]  # a = 0 is row 2 p, a = 1 row 2 p - 1
    weight = parts.transpose(0, 3, 5, 1, 2, 4).reshape(out, 4 * channels, 4, 4)
    return Kernel(weight, np.repeat(kernel.bias, 4))


def silence_borders(kernel: Kernel) -> Kernel:
    """`split_doubled` with two taps, whose larger image has places beyond the doubled one's edges:
    made so negative that a ReLU clears them.

    Four channels join the input, 1 in its first row, last row, first column, last column and 0
    elsewhere.
    """
    out = len(kernel.weight) // 4
    marks = np.zeros((2, 2, out, 4, 2, 2))  # (a, b, out, mark, row, column)
    marks[1, :, :, 0, 1, :] = -_SILENCE  # place 0 of a = 1 is row -1; the first row is its 2nd tap
    marks[0, :, :, 1, 0, :] = -_SILENCE  # the last place of a = 0; the last row is its 1st tap
    marks[:, 1, :, 2, :, 1] = -_SILENCE
    marks[:, 0, :, 3, :, 0] = -_SILENCE
    weight = np.concatenate([kernel.weight, marks.reshape(4 * out, 4, 2, 2)], axis=1)
    return Kernel(weight, kernel.bias)


_SILENCE = 1e9


def border_marks(h: int, w: int) -> np.ndarray:
    """The four channels that `silence_borders` wants: (1, 4, h, w)."""
    marks = np.zeros((1, 4, h, w))
    marks[0, 0, 0, :] = marks[0, 1, -1, :] = marks[0, 2, :, 0] = marks[0, 3, :, -1] = 1
    return marks


def to_winograd(kernel: Kernel) -> tuple[np.ndarray, np.ndarray]:
    """A 3x3 kernel for the 36 products of a tile: (36, in, out), and the bias: (36, 1, out)."""
    out, channels = kernel.weight.shape[:2]
    products = np.einsum(
        'ap,ocpq,bq->abco', TRANSFORM_KERNEL, kernel.weight, TRANSFORM_KERNEL, optimize=True
    )
    bias = np.zeros((PRODUCTS, 1, out))
    bias[CONSTANT, 0] = kernel.bias
    return products.reshape(PRODUCTS, channels, out), bias
