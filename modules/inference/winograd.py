"""3x3 convolutions by Winograd's F(4x4, 3x3), see modules/ops/winograd.py, as layers of programs.

Between these layers images stay in tiles of 4 x 4 pixels: (17, B I J, C), where
[4 r + s, (I b + i) J + j] is pixel (4 i + r, 4 j + s) of image b, and [16] is zero: what surrounds
the images. So cutting out the overlapping 6 x 6 windows is one gathering of rows, what comes out of
the products is in tiles again, and a batch is nothing but more tiles.
"""

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.inference.folding import Affine, Kernel, Residuals, to_winograd
from modules.ops.rows import take_rows
from modules.ops.winograd import (
    PRODUCTS,
    TILE,
    TRANSFORM_INPUT,
    TRANSFORM_OUTPUT,
    window_places,
)
from modules.runtime.process import has_instructions

PARTS = TILE * TILE + 1  # of an image in tiles: a tile's pixels, and the zeros around the image


def constant(array: np.ndarray) -> Tensor:
    """A value that is compiled into the program, in float32."""
    return paddle.to_tensor(np.ascontiguousarray(array, np.float32))


class FixedAffine(nn.Layer):
    """Every channel times a value, plus a value; plus zero where there is none.

    Args:
        shape: of the values, the channels' length being -1.
    """

    def __init__(self, affine: Affine | None, shape: Sequence[int]):
        super().__init__()
        scale, shift = (None, np.zeros(1)) if affine is None else affine
        self.register_buffer('shift', constant(shift.reshape(shape)))
        self.register_buffer('scale', scale if scale is None else constant(scale.reshape(shape)))

    def forward(self, x: Tensor) -> Tensor:
        return (x if self.scale is None else x * self.scale) + self.shift


def as_shape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Reshapes without a copy a tensor that nobody else reads: to them its shape would change, too.

    Tensor.reshape copies in a compiled program, and so does Tensor.reshape_: these copies, on a
    single thread, would take up to a quarter of a frame's time.
    """
    return paddle._C_ops.reshape_(x, list(shape))


def suits_winograd(channels: int, h: int, w: int) -> bool:
    """Whether the products outweigh the transforms, and the image is whole tiles."""
    return channels >= 64 and h % TILE == 0 and w % TILE == 0


def tile_order(x: Tensor) -> Tensor:
    """Small (B, h, w, C) -> (16, B h w / 16, C), the pixels of tiles."""
    batch, h, w, channels = x.shape
    x = x.reshape([batch, h // TILE, TILE, w // TILE, TILE, channels])
    return x.transpose([2, 4, 0, 1, 3, 5]).reshape([TILE * TILE, -1, channels])


def surrounded(pixels: Tensor) -> Tensor:
    """Pixels of tiles, (16, B I J, C) -> tiles."""
    return paddle.concat([pixels, paddle.zeros([1, *pixels.shape[1:]], pixels.dtype)])


def windows_of_tiles(size: tuple[int, int], batch: int) -> np.ndarray:
    """Which row of tiles, seen as (17 B I J, C), each pixel of the 6 x 6 windows is; outside the
    image, one of zeros. (36 B I J,), in the order (6, 6, B, I, J).
    """
    h, w = size
    count = batch * h * w
    place = np.arange(count).reshape(TILE, TILE, batch, h // TILE, w // TILE)  # of r, s, b, i, j
    pixels = place.transpose(2, 3, 0, 4, 1).reshape(batch, h, w)
    return window_places(pixels, outside=count)


class WinogradConv(nn.Layer):
    """A 3x3 convolution of padding 1, of tiles: (17, B I J, in) -> (17, B I J, out).

    Args:
        size: (4 I, 4 J), of the images.
        batch: B.
        bf16: hold and give everything in bfloat16. Sums are in float32 all the same.

    Attributes:
        fused: windows are transformed by oneDNN, whose products are the faster ones in bfloat16 and
            on CPUs with AVX-512; elsewhere Paddle's own take half the time.
    """

    def __init__(self, kernel: Kernel, size: tuple[int, int], batch: int, bf16: bool = False):
        super().__init__()
        self.dtype = 'bfloat16' if bf16 else 'float32'
        self.fused = bf16 or has_instructions('avx512f')
        products, bias = to_winograd(kernel)
        out_of = np.kron(TRANSFORM_OUTPUT, TRANSFORM_OUTPUT)
        arrays = {
            'weight': products,
            'bias': bias,
            'into': np.kron(TRANSFORM_INPUT, TRANSFORM_INPUT),
            'out_of': np.pad(out_of, ((0, 1), (0, 0))),  # with the zeros of the surroundings
        }
        if self.fused:
            arrays['zero'] = np.zeros(1)
        self.out = kernel.weight.shape[0]
        for name, array in arrays.items():
            self.register_buffer(name, constant(array).astype(self.dtype))
        places = windows_of_tiles(size, batch).astype('int32')
        self.register_buffer('places', paddle.to_tensor(places))

    def transformed(self, tiles: Tensor) -> Tensor:
        """(17, B I J, in) -> (36, B I J, in). Nobody else may read the tiles."""
        _, count, channels = tiles.shape
        rows = as_shape(tiles, [PARTS * count, channels])
        x = as_shape(take_rows(rows, self.places), [PRODUCTS, count * channels])
        x = self.into @ x
        if self.fused:
            # Only a product with a sum or a ReLU after it is one that Paddle gives to oneDNN.
            x = x + self.zero
        return as_shape(x, [PRODUCTS, count, channels])

    def products(self, transformed: Tensor) -> Tensor:
        """(36, B I J, in) -> (36, B I J out)."""
        x = transformed @ self.weight + self.bias
        return as_shape(x, [PRODUCTS, transformed.shape[1] * self.out])

    def activated(self, transformed: Tensor) -> Tensor:
        """(36, B I J, in) -> tiles (17, B I J, out), after a ReLU."""
        x = F.relu(self.out_of @ self.products(transformed))
        return as_shape(x, [PARTS, transformed.shape[1], self.out])

    def forward(self, tiles: Tensor) -> Tensor:
        """With a ReLU. Nobody else may read the tiles."""
        return self.activated(self.transformed(tiles))


class WinogradTrunk(nn.Layer):
    """ResBlock2d after ResBlock2d, from pixels of tiles (16, B I J, C) to tiles
    (17, B I J, C). The sum with a block's result and the next block's ReLU are by-products of
    matrix products: see Residuals.
    """

    def __init__(
        self,
        residuals: Residuals,
        size: tuple[int, int],
        batch: int,
        bf16: bool = False,
    ):
        super().__init__()
        kernels = [kernel for pair in residuals.kernels for kernel in pair]
        self.convs = nn.LayerList([WinogradConv(kernel, size, batch, bf16) for kernel in kernels])
        self.starts = nn.LayerList()  # of the blocks, before their first ReLU
        for affine in residuals.affines:
            self.starts.append(nn.Identity() if affine is None else FixedAffine(affine, [-1]))
        self.register_buffer('offset', constant(residuals.offset))

    def is_plain(self, number: int) -> bool:
        """Whether a block begins with a mere ReLU."""
        return isinstance(self.starts[number], nn.Identity)

    def begin(self, number: int, x: Tensor) -> Tensor:
        """(17, B I J C) -> the input of a block's first convolution, in tiles."""
        channels = self.offset.shape[0]
        shape = [PARTS, x.shape[1] // channels, channels]
        if self.is_plain(number):
            return as_shape(F.relu(x), shape)
        pixels = x.reshape(shape)[:-1].astype('float32')
        pixels = F.relu(self.starts[number](pixels))
        return surrounded(pixels.astype(x.dtype))

    def forward(self, pixels: Tensor) -> Tensor:
        x = surrounded((pixels + self.offset).astype(self.convs[0].dtype))
        shape = x.shape
        x = as_shape(x, [PARTS, shape[1] * shape[2]])
        started = self.begin(0, x)
        for number in range(len(self.starts)):
            first, second = self.convs[2 * number], self.convs[2 * number + 1]
            products = second.products(second.transformed(first(started)))
            result = second.out_of @ products + x
            if number + 1 < len(self.starts):
                if self.is_plain(number + 1) and second.dtype == 'bfloat16':
                    # Paddle's own ReLU is slower in bfloat16 than the product with a fused one.
                    started = as_shape(F.relu(second.out_of @ products + x), shape)
                else:
                    started = self.begin(number + 1, result)
            x = result
        return as_shape(x, shape)


def undo_tiles(tiles: Tensor, size: tuple[int, int]) -> Tensor:
    """(17, B I J, C) -> (B, C, 4 I, 4 J), which is (B, C, *size)."""
    h, w = size
    channels = tiles.shape[2]
    pixels = tiles[:-1].reshape([TILE, TILE, -1, h // TILE, w // TILE, channels])
    return pixels.transpose([2, 5, 3, 0, 4, 1]).reshape([-1, channels, h, w])
