"""Building blocks of the networks.

Letters used throughout: B batch, K keypoints, C channels, (H, W) frame, (h, w) reduced frame.
Images are float in [0, 1], NCHW. Coordinates are (x, y) in [-1, 1]; -1 and 1 are the centres of the
border pixels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.ops.batch_norm import batch_norm
from modules.ops.blocks import conv_norm_relu, norm_relu
from modules.ops.convolution import conv2d
from modules.ops.precision import full_precision


class Keypoints(NamedTuple):
    """Keypoints and the local affine maps around them (paper Sec. 3.1)."""

    value: Tensor  # (B, K, 2), coordinates in [-1, 1]
    jacobian: Tensor | None = None  # (B, K, 2, 2), row-major; None in the zero-order model

    def detach(self) -> Keypoints:
        return Keypoints(*(None if part is None else part.detach() for part in self))


def make_coordinate_grid(size: tuple[int, int], dtype: paddle.dtype) -> Tensor:
    """Coordinates (x, y) of every pixel of an image of `size` (h, w): (h, w, 2) in [-1, 1]."""
    h, w = size
    x = 2 * (paddle.arange(w).astype(dtype) / (w - 1)) - 1
    y = 2 * (paddle.arange(h).astype(dtype) / (h - 1)) - 1
    return paddle.stack([x.unsqueeze(0).expand([h, w]), y.unsqueeze(1).expand([h, w])], axis=-1)


def kp2gaussian(kp_value: Tensor, size: tuple[int, int], kp_variance: float) -> Tensor:
    """Keypoints as heatmaps exp(-|z - kp|^2 / (2 variance)): (B, K, 2) -> (B, K, h, w)."""
    grid = make_coordinate_grid(size, kp_value.dtype)
    distance = grid - kp_value.unsqueeze([2, 3])  # (B, K, h, w, 2)
    return paddle.exp(-0.5 * (distance * distance).sum(-1) / kp_variance)


class Conv2D(nn.Conv2D):
    """Convolution that starts as PyTorch's: weight and bias uniform in +-1/sqrt(fan_in)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0):
        bound = (in_channels * kernel_size**2) ** -0.5
        attr = paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound))
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            padding=padding,
            weight_attr=attr,
            bias_attr=attr,
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) -> (B, out, h', w')."""
        return conv2d(x, self.weight, self.bias, self._updated_padding[0])


class BatchNorm2D(nn.BatchNorm2D):
    """Batch norm (momentum 0.9, epsilon 1e-5) that keeps PyTorch's, the unbiased, variance.

    With several processes the statistics are those of the joint batch.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape (B, C, h, w)."""
        return batch_norm(x, self)


class ResBlock2d(nn.Layer):
    """Pre-activation residual block; keeps the shape (B, features, h, w)."""

    def __init__(self, in_features: int, kernel_size: int = 3, padding: int = 1):
        super().__init__()
        self.conv1 = Conv2D(in_features, in_features, kernel_size, padding)
        self.conv2 = Conv2D(in_features, in_features, kernel_size, padding)
        self.norm1 = BatchNorm2D(in_features)
        self.norm2 = BatchNorm2D(in_features)

    def forward(self, x: Tensor) -> Tensor:
        out = norm_relu(x, self.norm1)
        out = conv_norm_relu(out, self.conv1, self.norm2)
        out = self.conv2(out)
        return out + x


class SameBlock2d(nn.Layer):
    """Convolution, norm, ReLU: (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, in_features: int, out_features: int, kernel_size: int = 3, padding: int = 1):
        super().__init__()
        self.conv = Conv2D(in_features, out_features, kernel_size, padding)
        self.norm = BatchNorm2D(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return conv_norm_relu(x, self.conv, self.norm)


class DownBlock2d(SameBlock2d):
    """Same block, then a 2x2 average: (B, in, h, w) -> (B, out, h/2, w/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return conv_norm_relu(x, self.conv, self.norm, pool=True)


class UpBlock2d(SameBlock2d):
    """Same block on the doubled image: (B, in, h, w) -> (B, out, 2h, 2w)."""

    def forward(self, x: Tensor) -> Tensor:
        return conv_norm_relu(x, self.conv, self.norm, upsample=True)


class Encoder(nn.Layer):
    """Down half of the hourglass. Widths min(max_features, block_expansion * 2^(i+1))."""

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        widths = [min(max_features, block_expansion * 2 ** (i + 1)) for i in range(num_blocks)]
        self.down_blocks = nn.LayerList(
            [DownBlock2d(a, b) for a, b in zip([in_features, *widths], widths)]
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, in, h, w) -> the input and every block's output, num_blocks + 1 tensors."""
        outs = [x]
        for block in self.down_blocks:
            outs.append(block(outs[-1]))
        return outs


class Decoder(nn.Layer):
    """Up half of the hourglass; up_blocks count from the deepest."""

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        up_blocks = []
        for i in reversed(range(num_blocks)):
            width = min(max_features, block_expansion * 2 ** (i + 1))
            with_skip = width if i == num_blocks - 1 else 2 * width
            up_blocks.append(UpBlock2d(with_skip, min(max_features, block_expansion * 2**i)))
        self.up_blocks = nn.LayerList(up_blocks)
        self.out_filters = block_expansion + in_features

    def forward(self, skips: list[Tensor]) -> Tensor:
        """The encoder's outputs -> (B, block_expansion + in_features, h, w)."""
        out = skips[-1]
        for block, skip in zip(self.up_blocks, reversed(skips[:-1])):
            out = paddle.concat([block(out), skip], axis=1)
        return out


class Hourglass(nn.Layer):
    """U-shaped network (B, in_features, h, w) -> (B, out_filters, h, w)."""

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        self.encoder = Encoder(block_expansion, in_features, num_blocks, max_features)
        self.decoder = Decoder(block_expansion, in_features, num_blocks, max_features)
        self.out_filters = self.decoder.out_filters

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


def gaussian_kernel(scale: float) -> np.ndarray:
    """The blur before down-scaling by `scale`: (2r + 1, 2r + 1) float32 of sum 1, r = 4 sigma.

    Each step is rounded as PyTorch rounds it, so that the values are those of the official code to
    the last bit; in a long training a difference of one bit grows to a thousandth.
    """
    sigma = (1 / scale - 1) / 2
    radius = round(sigma * 4)
    if radius == 0:
        return np.ones((1, 1), 'float32')
    position = np.arange(-radius, radius + 1, dtype='float32')
    exponent = -(position**2) / np.float32(2 * sigma**2)
    line = np.exp(exponent.astype('float64')).astype('float32')
    kernel = line[:, np.newaxis] * line
    return kernel / np.float32(kernel.sum(dtype='float64'))


class AntiAliasInterpolation2d(nn.Layer):
    """Gaussian blur and strided slicing: (B, C, H, W) -> (B, C, H * scale, W * scale).

    Blur and slicing are one strided depthwise convolution, which computes only the pixels kept.
    """

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.scale = scale
        self.stride = int(1 / scale)
        kernel = gaussian_kernel(scale)
        self.radius = kernel.shape[0] // 2
        kernel = paddle.to_tensor(kernel, 'float32').expand([channels, 1, *kernel.shape])
        self.register_buffer('weight', kernel.clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.scale == 1:
            return x
        with full_precision():
            return F.conv2d(
                x, self.weight, stride=self.stride, padding=self.radius, groups=self.weight.shape[0]
            )
