"""3x3 convolutions by Winograd's F(4x4, 3x3): a quarter of the multiplications, as matrix products.

Between these layers an image stays in tiles of 4 x 4 pixels: (4, 4, I, J, C), where [r, s, i, j] is
pixel (4 i + r, 4 j + s). Cutting out the overlapping 6 x 6 windows is then copying long pieces of
memory, and what comes out is in tiles again.
"""

from typing import Iterable

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.folding import (
    TILE,
    TRANSFORM_INPUT,
    TRANSFORM_OUTPUT,
    Affine,
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
    zeros = paddle.zeros([1, TILE, 1, j, channels], tiles.dtype)
    before = paddle.concat([zeros, tiles[3:, :, :-1]], axis=2)
    after = paddle.concat([tiles[:1, :, 1:], zeros], axis=2)
    rows = paddle.concat([before, tiles, after], axis=0)  # (6, 4, I, J, C)
    zeros = paddle.zeros([6, 1, i, 1, channels], tiles.dtype)
    before = paddle.concat([zeros, rows[:, 3:, :, :-1]], axis=3)
    after = paddle.concat([rows[:, :1, :, 1:], zeros], axis=3)
    return paddle.concat([before, rows, after], axis=1)


class WinogradConv(nn.Layer):
    """A 3x3 convolution of padding 1: (4, 4, I, J, in) -> (4, 4, I, J, out).

    Args:
        bf16: hold and give everything in bfloat16. Sums are in float32 all the same.
    """

    def __init__(self, kernel: Kernel, bf16: bool = False):
        super().__init__()
        self.dtype = 'bfloat16' if bf16 else 'float32'
        products, bias = to_winograd(kernel)
        arrays = {
            'weight': products,
            'bias': bias,
            'into': np.kron(TRANSFORM_INPUT, TRANSFORM_INPUT),
            'out_of': np.kron(TRANSFORM_OUTPUT, TRANSFORM_OUTPUT),
            'zero': np.zeros(1),
        }
        for name, array in arrays.items():
            self.register_buffer(name, constant(array).astype(self.dtype))

    def products(self, tiles: Tensor) -> Tensor:
        """(4, 4, I, J, in) -> (36, I J out)."""
        _, _, i, j, channels = tiles.shape
        x = windows(tiles.astype(self.dtype)).reshape([36, i * j * channels])
        # Only a product with a sum or a ReLU after it is one that Paddle gives to oneDNN.
        x = (self.into @ x + self.zero).reshape([36, i * j, channels])
        return (x @ self.weight + self.bias).reshape([36, -1])

    def forward(self, tiles: Tensor) -> Tensor:
        """With a ReLU."""
        _, _, i, j, _ = tiles.shape
        return F.relu(self.out_of @ self.products(tiles)).reshape([TILE, TILE, i, j, -1])


class WinogradTrunk(nn.Layer):
    """ResBlock2d after ResBlock2d, in tiles: (4, 4, I, J, C) -> (4, 4, I, J, C).

    A block begins with relu(scale x + shift) = scale relu(x + shift / scale). The scale joins the
    convolution after it; x + shift / scale is what is handed from block to block, where the
    convolutions' biases turn one block's offset into the next one's. So the sum with a block's
    result and the next block's ReLU are by-products of matrix products.
    """

    def __init__(self, blocks: Iterable[ResBlock2d], bf16: bool = False):
        super().__init__()
        blocks = list(blocks)
        affines = [affine_of(block.norm1) for block in blocks]
        self.simple = [_is_simple(affine) for affine in affines]
        offsets = [
            affine.shift / affine.scale if simple else np.zeros_like(affine.shift)
            for affine, simple in zip(affines, self.simple)
        ]
        offsets.append(np.zeros_like(offsets[0]))  # after the last block
        convs = []
        for block, affine, simple, here, after in zip(
            blocks, affines, self.simple, offsets, offsets[1:]
        ):
            first, second = kernel_of(block.conv1, block.norm2), kernel_of(block.conv2)
            if simple:
                scaled = first.weight * affine.scale[:, None, None]
                first = first._replace(weight=scaled)
            second = second._replace(bias=second.bias + after - here)
            convs += [WinogradConv(first, bf16), WinogradConv(second, bf16)]
        self.convs = nn.LayerList(convs)
        self.register_buffer('offset', constant(offsets[0]))
        self.register_buffer('scales', constant(np.stack([affine.scale for affine in affines])))
        self.register_buffer('shifts', constant(np.stack([affine.shift for affine in affines])))

    def begin(self, number: int, x: Tensor) -> Tensor:
        """The input of a block's first convolution."""
        if self.simple[number]:
            return F.relu(x)
        dtype = x.dtype
        return F.relu(x.astype('float32') * self.scales[number] + self.shifts[number]).astype(dtype)

    def forward(self, x: Tensor) -> Tensor:
        shape, rows = x.shape, [TILE * TILE, -1]
        x = (x + self.offset).astype(self.convs[0].dtype)
        started = self.begin(0, x)
        x = x.reshape(rows)
        for number in range(len(self.simple)):
            first, second = self.convs[2 * number], self.convs[2 * number + 1]
            products = second.products(first(started))
            result = second.out_of @ products + x
            if number + 1 < len(self.simple):
                if self.simple[number + 1] and second.dtype == 'bfloat16':
                    # Paddle's own ReLU is slower in bfloat16 than the product with a fused one.
                    started = F.relu(second.out_of @ products + x).reshape(shape)
                else:
                    started = self.begin(number + 1, result.reshape(shape))
            x = result
        return x.reshape(shape)


def _is_simple(affine: Affine) -> bool:
    """Whether dividing by the scale is possible and costs no precision."""
    with np.errstate(divide='ignore', invalid='ignore'):
        return bool((affine.scale > 0).all() and (np.abs(affine.shift / affine.scale) < 16).all())


def undo_tiles(tiles: Tensor) -> Tensor:
    """(4, 4, I, J, C) -> (1, C, 4 I, 4 J)."""
    _, _, i, j, channels = tiles.shape
    return tiles.transpose([4, 2, 0, 3, 1]).reshape([1, channels, TILE * i, TILE * j])
