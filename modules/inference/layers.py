"""Building blocks of the networks for inference: equal to those of modules/util.py, but cheaper.

Batch norms are folded into convolutions, nearest upsampling into their kernels. They compute with
fixed weights: changing a network later does not change what was made of it. What else is the same
in each run is a buffer, too: see modules/ops/predictors.py.
"""

import functools

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.inference.folding import (
    Affine,
    Kernel,
    Residuals,
    after_split,
    border_marks,
    kernel_of,
    silence_borders,
    split_doubled,
    two_by_two,
)
from modules.inference.winograd import FixedAffine, as_shape, constant
from modules.ops.convolution import conv2d, upsample_nearest_x2
from modules.ops.rows import take_rows
from modules.ops.sampling import bilinear_matrix
from modules.util import (
    Conv2D,
    DownBlock2d,
    Hourglass,
    SameBlock2d,
    UpBlock2d,
)

_WIDE = 1024  # channels
_FEW = 64  # pixels
_MANY = 2**21  # weights

Images = tuple[int, int, int]  # (B, h, w)


class FixedConv(nn.Layer):
    """A convolution with given weights: (B, in, h, w) -> (B, out, h', w').

    Args:
        apart: it is to be in bfloat16 and stands between operations that are not. Paddle's passes
            would leave it in float32, but for a copy before it, which they don't look at.
    """

    def __init__(
        self, kernel: Kernel, padding: int, stride: int = 1, groups: int = 1, apart: bool = False
    ):
        super().__init__()
        self.register_buffer('weight', constant(kernel.weight))
        self.register_buffer('bias', constant(kernel.bias.reshape(1, -1, 1, 1)))
        self.padding, self.stride, self.groups = padding, stride, groups
        self.apart = apart

    def forward(self, x: Tensor) -> Tensor:
        x = paddle.assign(x) if self.apart else x
        if paddle.in_dynamic_mode() and self.stride == 1 and self.groups == 1:
            # When a new program is checked; Paddle's own kernel takes up to 256 MB for vox-256.
            return conv2d(x, self.weight, self.bias.flatten(), self.padding)
        y = F.conv2d(x, self.weight, None, self.stride, self.padding, groups=self.groups)
        return y + self.bias


class MeanOfFour(FixedConv):
    """avg_pool2d(x, 2) as a convolution, which oneDNN takes as it is laid out after another."""

    def __init__(self, channels: int):
        weight = np.full([channels, 1, 2, 2], 0.25)
        super().__init__(Kernel(weight, np.zeros(channels)), 0, stride=2, groups=channels)


class LeanConvRelu(nn.Layer):
    """A convolution of padding 1 and a ReLU, as one matrix product.

    (B, in, h, w) -> (B, out, h', w').

    Of a convolution's weights oneDNN keeps a copy in an order of its own; of a factor of a product
    it keeps none, if that has three dimensions. Where weights are many and pixels few, this saves
    much memory and some time. The weights are the first factor, which oneDNN reads as it lies; the
    second it would put in order anew in every run.

    Args:
        images: (B, h, w).
    """

    def __init__(self, kernel: Kernel, images: Images):
        super().__init__()
        out, _, *taps = kernel.weight.shape
        weight = kernel.weight.transpose(0, 2, 3, 1)
        self.register_buffer('weight', constant(weight.reshape(1, out, -1)))  # (1, out, n n in)
        self.register_buffer('bias', constant(kernel.bias.reshape(1, out, 1)))
        pixels = int(np.prod(images))
        image = np.arange(pixels).reshape(images)
        image = np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=pixels)
        places = np.lib.stride_tricks.sliding_window_view(image, tuple(taps), (1, 2))
        self.register_buffer('places', paddle.to_tensor(places.flatten().astype('int32')))
        self.images = places.shape[:3]  # (B, h', w')

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        rows = x.transpose([0, 2, 3, 1]).reshape([-1, channels])
        rows = paddle.concat([rows, paddle.zeros([1, channels], rows.dtype)])  # beyond the border
        rows = take_rows(rows, self.places)
        batch, h, w = self.images
        rows = as_shape(rows, [1, batch * h * w, self.weight.shape[2]])
        y = F.relu(paddle.matmul(self.weight, rows, transpose_y=True) + self.bias)
        if batch == 1:
            return as_shape(y, [1, -1, h, w])
        return y.reshape([-1, batch, h, w]).transpose([1, 0, 2, 3])


def conv_relu(kernel: Kernel, padding: int, lean: Images | None, apart: bool = False) -> nn.Layer:
    """A convolution and a ReLU.

    Args:
        lean: save memory, by oneDNN in float32, where there are many weights: for such images.
        apart: as for FixedConv.
    """
    if lean is not None and padding == 1 and kernel.weight.size >= _MANY:
        return LeanConvRelu(kernel, lean)
    return nn.Sequential(FixedConv(kernel, padding, apart=apart), nn.ReLU())


class FixedBlock(nn.Layer):
    """SameBlock2d or DownBlock2d.

    Args:
        lean: see `conv_relu`.
        onednn: take means by a convolution, unless the one before is a LeanConvRelu.
    """

    def __init__(self, block: SameBlock2d, lean: Images | None = None, onednn: bool = False):
        super().__init__()
        kernel = kernel_of(block.conv, block.norm)
        self.conv = conv_relu(kernel, block.conv._updated_padding[0], lean)
        self.pool = nn.Identity()
        if isinstance(block, DownBlock2d):
            by_conv = onednn and not isinstance(self.conv, LeanConvRelu)
            self.pool = MeanOfFour(len(kernel.bias)) if by_conv else nn.AvgPool2D(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.conv(x))


class FixedUpBlock(nn.Layer):
    """UpBlock2d: (B, in, h, w) -> (B, out, 2h, 2w).

    Args:
        images: (B, h, w).
        lean, apart: see `conv_relu`.
    """

    def __init__(self, block: UpBlock2d, images: Images, lean: bool = False, apart: bool = False):
        super().__init__()
        kernel = kernel_of(block.conv, block.norm)
        batch, h, w = images
        # Wide blocks are deep ones: images of a few pixels, whose time goes into reading weights,
        # of which the four convolutions have 16/9 as many.
        self.split = block.conv._in_channels < _WIDE or h * w >= _FEW
        if self.split:
            kernel = split_doubled(kernel, taps=2)
        else:
            images = batch, 2 * h, 2 * w
        self.conv = conv_relu(kernel, 1, images if lean else None, apart)

    def forward(self, x: Tensor) -> Tensor:
        if not self.split:
            return self.conv(upsample_nearest_x2(x))
        batch, _, h, w = x.shape
        y, shape = self.conv(x), [batch, 4, -1, h + 1, w + 1]
        # What a LeanConvRelu gives is seen in another shape already, and is small.
        y = y.reshape(shape) if isinstance(self.conv, LeanConvRelu) else as_shape(y, shape)
        parts = [y[:, 2 * a + b, :, a : a + h, b : b + w] for a in (0, 1) for b in (0, 1)]
        y = paddle.stack(parts, axis=2)  # (B, out, 4, h, w)
        return F.pixel_shuffle(as_shape(y, [batch, -1, h, w]), 2)


class FixedTrunk(nn.Layer):
    """ResBlock2d after ResBlock2d: (B, C, h, w) -> (B, C, h, w).

    A ReLU of its own is Paddle's, between two changes of layout, and takes ten times as long as a
    sum with a fused one, which is oneDNN's: so zero is added before it.
    """

    def __init__(self, residuals: Residuals):
        super().__init__()
        self.register_buffer('offset', constant(residuals.offset.reshape(1, -1, 1, 1)))
        starts = [FixedAffine(affine, [1, -1, 1, 1]) for affine in residuals.affines]
        self.starts = nn.LayerList(starts)
        kernels = [kernel for pair in residuals.kernels for kernel in pair]
        self.convs = nn.LayerList([FixedConv(kernel, padding=1) for kernel in kernels])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.offset
        for number, start in enumerate(self.starts):  # which ends with a sum, see above
            first, second = self.convs[2 * number], self.convs[2 * number + 1]
            x = x + second(F.relu(first(F.relu(start(x)))))
        return x


class FixedTrunkOfConvs(nn.Layer):
    """FixedTrunk for bfloat16, of nothing but convolutions.

    Paddle's passes have oneDNN compute convolutions in bfloat16, but no sum: one between them, and
    what stands beside it, would be in float32, with a change of type and of layout before and after
    it. So each block begins with a convolution of every channel by a single number.
    """

    def __init__(self, residuals: Residuals):
        super().__init__()
        self.convs = nn.LayerList()
        shift = residuals.offset  # of the first block; its result gets it by the last convolution
        for affine, (first, second) in zip(residuals.affines, residuals.kernels):
            affine = affine or Affine(np.ones_like(shift), shift)
            start = Kernel(affine.scale[:, None, None, None], affine.shift)
            second = second._replace(bias=second.bias + shift)
            self.convs.append(FixedConv(start, padding=0, groups=len(shift)))
            self.convs.extend([FixedConv(kernel, padding=1) for kernel in (first, second)])
            shift = np.zeros_like(shift)

    def forward(self, x: Tensor) -> Tensor:
        for number in range(0, len(self.convs), 3):
            start, first, second = self.convs[number : number + 3]
            x = x + second(F.relu(first(F.relu(start(x)))))
        return x


class FixedHourglass(nn.Layer):
    """Hourglass: (B, in, h, w) -> (B, out_filters, h, w).

    Args:
        images: (B, h, w).
        lean: see `conv_relu`.
        bf16: prepare for a predictor that computes convolutions in bfloat16.
    """

    def __init__(self, hourglass: Hourglass, images: Images, lean: bool, bf16: bool = False):
        super().__init__()
        batch, h, w = images
        self.down, self.up = nn.LayerList(), nn.LayerList()
        for block in hourglass.encoder.down_blocks:
            images = batch, h, w
            self.down.append(FixedBlock(block, images if lean else None, lean or bf16))
            h, w = h // 2, w // 2
        for block in hourglass.decoder.up_blocks:
            apart = bf16 and len(self.up) > 0
            self.up.append(FixedUpBlock(block, (batch, h, w), lean, apart))
            h, w = 2 * h, 2 * w

    def forward(self, x: Tensor) -> Tensor:
        outs = [x]
        for block in self.down:
            outs.append(block(outs[-1]))
        x = outs[-1]
        for block, skip in zip(self.up, reversed(outs[:-1])):
            x = paddle.concat([block(x), skip], axis=1)
        return x


class FixedTail(nn.Layer):
    """The last UpBlock2d and the final convolution: (B, in, h, w) -> (B, C, 2h, 2w) in [0, 1].

    The doubled image never exists: both convolutions work at the smaller size, on the four pixels
    of a place as channels.

    Args:
        size: (h, w).
        batch: B.
    """

    def __init__(self, block: UpBlock2d, final: Conv2D, size: tuple[int, int], batch: int):
        super().__init__()
        kernel = split_doubled(kernel_of(block.conv, block.norm), taps=2)
        self.doubled = FixedConv(silence_borders(kernel), padding=1)
        self.final = FixedConv(after_split(kernel_of(final)), padding=1)
        self.register_buffer('marks', constant(border_marks(*size).repeat(batch, axis=0)))

    def forward(self, x: Tensor) -> Tensor:
        x = paddle.concat([x, self.marks], axis=1)
        x = F.relu(self.doubled(x))  # (B, 4 out, h + 1, w + 1)
        return F.sigmoid(F.pixel_shuffle(self.final(x), 2))


class FixedFinal(nn.Layer):
    """The final convolution alone, of an image of even size; `apart` as for FixedConv."""

    def __init__(self, final: Conv2D, size: tuple[int, int], apart: bool = False):
        super().__init__()
        self.even = size[0] % 2 == 0 and size[1] % 2 == 0
        kernel, stride = kernel_of(final), 1
        if self.even:
            kernel, stride = two_by_two(kernel), 2
        self.final = FixedConv(kernel, 3, stride, apart=apart)

    def forward(self, x: Tensor) -> Tensor:
        y = self.final(x)
        return F.sigmoid(F.pixel_shuffle(y, 2) if self.even else y)


class FixedResize(nn.Layer):
    """`resize_bilinear` from one size to another: (B, C, h, w) -> (B, C, h', w')."""

    def __init__(self, size: tuple[int, int], target: tuple[int, int]):
        super().__init__()
        rows, columns = map(functools.partial(bilinear_matrix, dtype='float32'), size, target)
        self.register_buffer('rows', rows)
        self.register_buffer('columns', columns.T)

    def forward(self, x: Tensor) -> Tensor:
        return self.rows @ x @ self.columns
