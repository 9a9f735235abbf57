"""3x3 convolutions by Winograd's F(4x4, 3x3): a quarter of the multiplications, as matrix products.

Between these layers an image stays in tiles of 4 x 4 pixels: (4, 4, I, J, C), where [r, s, i, j] is
pixel (4 i + r, 4 j + s). Cutting out the overlapping 6 x 6 windows is then copying long pieces of
memory, and what comes out is in tiles again.
"""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.folding import (
    TILE,
    TRANSFORM_INPUT,
    TRANSFORM_OUTPUT,
    Kernel,
    affine_of,
    kernel_of,
    to_winograd,
)
from modules.util import ResBlock2d


def constant(array: np.ndarray) -> Tensor:
    """A value that is compiled into the program, in float32."""
    return paddle.to_tensor(np.ascontiguousarray(array, np.float32))


def suits_winograd(channels: int, h: int, w: int) -> bool:
    """Whether the products outweigh the transforms, and the image is whole tiles."""
    return channels >= 64 and h % TILE == 0 and w % TILE == 0


def tile_order(x: Tensor) -> Tensor:
    """Small (h, w, C) -> (4, 4, h/4, w/4, C)."""
    h, w, channels = x.shape
    x = x.reshape([h // TILE, TILE, w // TILE, TILE, channels])
    return x.transpose([1, 3, 0, 2, 4])


def windows(tiles: Tensor) -> Tensor:
    """The surroundings of every tile, zero outside: (4, 4, I, J, C) -> (6, 6, I, J, C)."""
    _, _, i, j, channels = tiles.shape
    zeros = paddle.zeros([1, TILE, 1, j, channels])
    before = paddle.concat([zeros, tiles[3:, :, :-1]], axis=2)
    after = paddle.concat([tiles[:1, :, 1:], zeros], axis=2)
    rows = paddle.concat([before, tiles, after], axis=0)  # (6, 4, I, J, C)
    zeros = paddle.zeros([6, 1, i, 1, channels])
    before = paddle.concat([zeros, rows[:, 3:, :, :-1]], axis=3)
    after = paddle.concat([rows[:, :1, :, 1:], zeros], axis=3)
    return paddle.concat([before, rows, after], axis=1)


class WinogradConv(nn.Layer):
    """A 3x3 convolution of padding 1: (4, 4, I, J, in) -> (4, 4, I, J, out)."""

    def __init__(self, kernel: Kernel):
        super().__init__()
        products, bias = to_winograd(kernel)
        self.register_buffer('weight', constant(products))
        self.register_buffer('bias', constant(bias))
        self.apart = False
        self.register_buffer('into', constant(np.kron(TRANSFORM_INPUT, TRANSFORM_INPUT)))
        self.register_buffer('out_of', constant(np.kron(TRANSFORM_OUTPUT, TRANSFORM_OUTPUT)))

    def products(self, tiles: Tensor) -> Tensor:
        """(4, 4, I, J, in) -> (36, I J out)."""
        _, _, i, j, channels = tiles.shape
        x = windows(tiles).reshape([36, i * j * channels])
        x = (self.into @ x).reshape([36, i * j, channels])
        x = paddle.assign(x) if self.apart else x
        return (x @ self.weight + self.bias).reshape([36, -1])

    def forward(self, tiles: Tensor) -> Tensor:
        """With a ReLU."""
        _, _, i, j, _ = tiles.shape
        return F.relu(self.out_of @ self.products(tiles)).reshape([TILE, TILE, i, j, -1])

    def forward_onto(self, tiles: Tensor, residual: Tensor) -> Tensor:
        """With `residual` (4, 4, I, J, out) added instead."""
        y = self.out_of @ self.products(tiles) + residual.reshape([TILE * TILE, -1])
        return y.reshape(residual.shape)


class WinogradResBlock(nn.Layer):
    """ResBlock2d in tiles."""

    def __init__(self, block: ResBlock2d):
        super().__init__()
        scale, shift = affine_of(block.norm1)
        self.register_buffer('scale', constant(scale))
        self.register_buffer('shift', constant(shift))
        self.conv1 = WinogradConv(kernel_of(block.conv1, block.norm2))
        self.conv2 = WinogradConv(kernel_of(block.conv2))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2.forward_onto(self.conv1(F.relu(x * self.scale + self.shift)), x)


def undo_tiles(tiles: Tensor) -> Tensor:
    """(4, 4, I, J, C) -> (1, C, 4 I, 4 J)."""
    _, _, i, j, channels = tiles.shape
    return tiles.transpose([4, 2, 0, 3, 1]).reshape([1, channels, TILE * i, TILE * j])
