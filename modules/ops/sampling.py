"""Bilinear samples of an image, and bilinear resizing."""

from collections.abc import Iterator
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import Tensor

from modules.ops import device
from modules.ops.rows import take_rows
from modules.test_mode import tap_op

# With fewer channels than this Paddle's kernel is faster than whole pixels put together.
_ROWS_FROM = 16


def grid_sample(
    image: Tensor, grid: Tensor, align_corners: bool, padding_mode: str = 'zeros'
) -> Tensor:
    """Bilinear samples of `image` (B or 1, C, H, W) at `grid` (B, h, w, 2): (B, C, h, w).

    A single image serves all grids. Samples are computed in the grid's precision, and given in the
    image's.
    """
    if image.dtype != grid.dtype:
        samples = grid_sample(image.astype(grid.dtype), grid, align_corners, padding_mode)
        return samples.astype(image.dtype)
    if padding_mode == 'zeros' and image.shape[1] >= _ROWS_FROM and device.rearranges(image):
        return _sample_pixels(image, grid, align_corners)
    if image.shape[0] != grid.shape[0]:
        image = image.expand([grid.shape[0], *image.shape[1:]])
    if image.stop_gradient and not grid.stop_gradient:
        # Paddle's CPU kernel writes the image's gradient even where none is wanted, and crashes.
        image = image.detach()
        image.stop_gradient = False
    return tap_op(
        'grid_sample',
        F.grid_sample(image, grid, padding_mode=padding_mode, align_corners=align_corners),
    )


def _sample_pixels(image: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """`grid_sample` with zeros outside, the four neighbours taken as whole pixels (all channels).

    Forward and backward take a quarter of the time of Paddle's kernel on one core.
    """
    images, channels, height, width = image.shape
    batch, h, w = grid.shape[:3]
    pixels = image.transpose([0, 2, 3, 1]).reshape([images * height * width, channels])
    x = to_pixels(grid[..., 0], width, align_corners)
    y = to_pixels(grid[..., 1], height, align_corners)
    first = (paddle.arange(images, dtype='int32') * (height * width)).reshape([images, 1, 1])
    samples: Any = 0
    for row, row_weight, row_inside in _neighbours(y, height):
        for column, column_weight, column_inside in _neighbours(x, width):
            weight = row_weight * column_weight * (row_inside & column_inside).astype(x.dtype)
            index = (first + row * width + column).flatten()
            samples = samples + take_rows(pixels, index) * weight.reshape([-1, 1])
    return samples.reshape([batch, h, w, channels]).transpose([0, 3, 1, 2])


def to_pixels(coordinate: Tensor, size: int, align_corners: bool) -> Tensor:
    """[-1, 1] -> the number of the pixel, not whole."""
    if align_corners:
        return (coordinate + 1) * ((size - 1) / 2)
    return ((coordinate + 1) * size - 1) / 2


def _neighbours(position: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Of both whole neighbours: the number, clipped to the image; the weight; whether inside."""
    below = position.detach().floor()
    upper_weight = position - below
    for neighbour, weight in ((below, 1 - upper_weight), (below + 1, upper_weight)):
        inside = (neighbour >= 0) & (neighbour < size)
        yield neighbour.clip(0, size - 1).astype('int32'), weight, inside


def bilinear_matrix(source: int, target: int, dtype: paddle.dtype | str) -> Tensor:
    """(target, source) weights of the source pixels in each target pixel, half-pixel centres."""
    position = (paddle.arange(target).astype(dtype) + 0.5) * (source / target) - 0.5
    position = position.clip(0, source - 1).unsqueeze(1)
    return F.relu(1 - (position - paddle.arange(source).astype(dtype)).abs())


def resize_bilinear(x: Tensor, size: tuple[int, int]) -> Tensor:
    """F.interpolate(mode='bilinear', align_corners=False): (B, C, h, w) -> (B, C, *size).

    As two matrix products, since Paddle's kernel computes its weights in float32 for any dtype.
    """
    h, w = x.shape[2:]
    rows = bilinear_matrix(h, size[0], x.dtype)
    columns = bilinear_matrix(w, size[1], x.dtype)
    return tap_op('interpolate', rows @ x @ columns.T)
