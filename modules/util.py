"""Building blocks of the networks.

Letters used throughout: B batch, K keypoints, C channels, (H, W) frame, (h, w) reduced frame.
Images are float in [0, 1], NCHW. Coordinates are (x, y) in [-1, 1]; -1 and 1 are the centres of the
border pixels.
"""

from typing import Callable, List, NamedTuple, Optional, Tuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules import distributed, onednn
from modules.memory import recomputed
from modules.ops.precision import full_precision
from modules.sampling import rearranges
from modules.test_mode import tap_op

# Pixels of a batch from which a doubled image is worth the sums of its convolution's kernel.
_SUM_KERNELS_FROM = 512


class Keypoints(NamedTuple):
    """Keypoints and the local affine maps around them (paper Sec. 3.1)."""

    value: Tensor  # (B, K, 2), coordinates in [-1, 1]
    jacobian: Optional[Tensor] = None  # (B, K, 2, 2), row-major; None in the zero-order model

    def detach(self) -> 'Keypoints':
        return Keypoints(*(None if part is None else part.detach() for part in self))


def make_coordinate_grid(size: Tuple[int, int], dtype: paddle.dtype) -> Tensor:
    """Coordinates (x, y) of every pixel of an image of `size` (h, w): (h, w, 2) in [-1, 1]."""
    h, w = size
    x = 2 * (paddle.arange(w).astype(dtype) / (w - 1)) - 1
    y = 2 * (paddle.arange(h).astype(dtype) / (h - 1)) - 1
    return paddle.stack([x.unsqueeze(0).expand([h, w]), y.unsqueeze(1).expand([h, w])], axis=-1)


def kp2gaussian(kp_value: Tensor, size: Tuple[int, int], kp_variance: float) -> Tensor:
    """Keypoints as heatmaps exp(-|z - kp|^2 / (2 variance)): (B, K, 2) -> (B, K, h, w)."""
    grid = make_coordinate_grid(size, kp_value.dtype)
    distance = grid - kp_value.unsqueeze([2, 3])  # (B, K, h, w, 2)
    return paddle.exp(-0.5 * (distance * distance).sum(-1) / kp_variance)


def _bilinear_matrix(source: int, target: int, dtype: paddle.dtype) -> Tensor:
    """(target, source) weights of the source pixels in each target pixel, half-pixel centres."""
    position = (paddle.arange(target).astype(dtype) + 0.5) * (source / target) - 0.5
    position = position.clip(0, source - 1).unsqueeze(1)
    return F.relu(1 - (position - paddle.arange(source).astype(dtype)).abs())


def resize_bilinear(x: Tensor, size: Tuple[int, int]) -> Tensor:
    """F.interpolate(mode='bilinear', align_corners=False): (B, C, h, w) -> (B, C, *size).

    As two matrix products, since Paddle's kernel computes its weights in float32 for any dtype.
    """
    h, w = x.shape[2:]
    rows = _bilinear_matrix(h, size[0], x.dtype)
    columns = _bilinear_matrix(w, size[1], x.dtype)
    return tap_op('interpolate', rows @ x @ columns.T)


def upsample_nearest_x2(x: Tensor) -> Tensor:
    """F.interpolate(scale_factor=2), whose CPU kernel runs on one thread: (B, C, 2h, 2w)."""
    _, c, h, w = x.shape
    y = x.reshape([-1, c, h, 1, w, 1]).expand([-1, c, h, 2, w, 2])
    return tap_op('interpolate', y.reshape([-1, c, 2 * h, 2 * w]))


def add_bias(x: Tensor, bias: Tensor) -> Tensor:
    """x + bias per channel: (B, C, h, w), (C,) -> (B, C, h, w)."""
    if not rearranges(x):
        return x + bias.reshape([1, -1, 1, 1])
    # A batch norm that changes nothing else: Paddle's CPU kernel for sums of unlike shapes takes
    # four times as long.
    zeros, ones = paddle.zeros_like(bias), paddle.ones_like(bias)
    ones.stop_gradient = bias.stop_gradient  # the kernel gives gradients to both or to none
    return F.batch_norm(x, zeros, ones, ones, bias, epsilon=0.0)


def conv2d(x: Tensor, weight: Tensor, bias: Optional[Tensor] = None, padding: int = 0) -> Tensor:
    """F.conv2d, the fastest way: (B, in, h, w) -> (B, out, h', w')."""
    if onednn.serves(x):
        y = onednn.conv2d(x, weight, padding)
        return y if bias is None else add_bias(y, bias)
    y = F.conv2d(x, weight, padding=padding)
    # A float32 bias would make a result in low precision, and all that follows, float32 again.
    return y if bias is None else y + bias.astype(y.dtype).reshape([1, -1, 1, 1])


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

    def forward(self, x: Tensor, with_bias: bool = True) -> Tensor:
        """(B, in, h, w) -> (B, out, h', w'); the bias may be left to the caller."""
        bias = self.bias if with_bias else None
        return conv2d(x, self.weight, bias, self._updated_padding[0])

    def forward_doubled(self, x: Tensor, with_bias: bool = True) -> Tensor:
        """This 3x3 convolution of the doubled image: (B, in, h, w) -> (B, out, 2h, 2w).

        Each pixel meets the kernel four times side by side. The sum of those four is a 4x4 kernel,
        of a transposed convolution that goes in steps of two: 16 multiplications instead of 36.
        """
        pixels = x.shape[0] * x.shape[2] * x.shape[3]
        if not rearranges(x) or pixels < _SUM_KERNELS_FROM:
            return self(upsample_nearest_x2(x), with_bias)
        kernel = self.weight.transpose([1, 0, 2, 3])
        for axis in (2, 3):
            first, middle, last = kernel.unbind(axis)
            kernel = paddle.stack([last, middle + last, first + middle, first], axis)
        bias = self.bias if with_bias else None
        return F.conv2d_transpose(x, kernel, bias, stride=2, padding=1)


def _both_trained(weight: Tensor, bias: Tensor) -> Tuple[Tensor, Tensor]:
    """Of batch norm, to whose weight and bias Paddle's kernel gives gradients together or not."""
    if weight.stop_gradient == bias.stop_gradient:
        return weight, bias
    tensors = [t.detach() if t.stop_gradient else t for t in (weight, bias)]
    for tensor in tensors:
        tensor.stop_gradient = False
    return tuple(tensors)


class BatchNorm2D(nn.BatchNorm2D):
    """Batch norm (momentum 0.9, epsilon 1e-5) that keeps PyTorch's, the unbiased, variance.

    Paddle's CPU kernel stores the biased variance; its cuDNN path stores the unbiased one already.
    With several processes the statistics are those of the joint batch.
    """

    def after(
        self,
        conv: Conv2D,
        x: Tensor,
        doubled: bool = False,
        then: Optional[Callable[[Tensor], Tensor]] = None,
    ) -> Tensor:
        """The norm of the convolution (of the doubled image), whose bias is not added on its own.

        In training the norm takes the batch's mean away and the bias with it, whose gradient is
        exactly 0: only the running mean has to know it. With fixed statistics it joins the norm's.

        Args:
            then: applied to the norm, and cheap: backward computes both anew.
        """
        convolve = conv.forward_doubled if doubled else conv
        if not rearranges(x) or distributed.world_size() > 1:
            y = self(convolve(x))
            return y if then is None else then(y)
        return self(convolve(x, with_bias=False), conv.bias, then)

    def forward(
        self,
        x: Tensor,
        omitted_bias: Optional[Tensor] = None,
        then: Optional[Callable[[Tensor], Tensor]] = None,
    ) -> Tensor:
        """
        Args:
            x: (B, C, h, w).
            omitted_bias: of the convolution that led to `x`, (C,), where it was not added.
            then: see `after`.
        """
        if not self.training:
            mean, variance, bias = self._mean, self._variance, self.bias
            if omitted_bias is not None:
                bias = bias + omitted_bias * self.weight * (variance + self._epsilon).rsqrt()
            if then is not None:  # backward is to meet these values
                mean, variance = mean.clone(), variance.clone()
            return self._norm(x, bias, mean, variance, then)
        count = x.size // x.shape[1]
        if count == 1:
            raise ValueError('batch norm needs more than one value per channel to train')
        if distributed.world_size() > 1:
            return distributed.joint_batch_norm(self, x)
        if not x.place.is_cpu_place():
            return super().forward(x)
        mean, variance = paddle.zeros_like(self._mean), paddle.zeros_like(self._variance)
        bias = self.bias
        if omitted_bias is not None:
            bias = bias + 0 * omitted_bias  # gives it the gradient 0, not none
        y = self._norm(x, bias, mean, variance, then)
        if omitted_bias is not None:
            mean = mean + omitted_bias.detach()
        self.update_statistics(mean, variance, count)
        return y

    def _norm(self, x: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, then) -> Tensor:
        """By `mean` and `variance` (C,), into which training first writes the batch's (biased)."""
        training = self.training  # as it is now, not in backward

        def norm(x, weight, bias, mean, variance):
            y = F.batch_norm(
                x,
                mean,
                variance,
                weight,
                bias,
                training=training,
                momentum=0.0,
                epsilon=self._epsilon,
                data_format=self._data_format,
            )
            return y if then is None else then(y)

        weight, bias = _both_trained(self.weight, bias)
        if then is None:
            return norm(x, weight, bias, mean, variance)
        return recomputed(norm, x, weight, bias, mean, variance)

    @paddle.no_grad()
    def update_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        """Moves the running statistics towards a batch's, whose variance (C,) is the biased one."""
        new = 1 - self._momentum
        self._mean.scale_(self._momentum).add_(mean * new)
        self._variance.scale_(self._momentum).add_(variance * (new * count / (count - 1)))


class ResBlock2d(nn.Layer):
    """Pre-activation residual block; keeps the shape (B, features, h, w)."""

    def __init__(self, in_features: int, kernel_size: int = 3, padding: int = 1):
        super().__init__()
        self.conv1 = Conv2D(in_features, in_features, kernel_size, padding)
        self.conv2 = Conv2D(in_features, in_features, kernel_size, padding)
        self.norm1 = BatchNorm2D(in_features)
        self.norm2 = BatchNorm2D(in_features)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm2.after(self.conv1, F.relu(self.norm1(x)))
        out = self.conv2(F.relu(out))
        return out + x


class SameBlock2d(nn.Layer):
    """Convolution, norm, ReLU: (B, in, h, w) -> (B, out, h, w)."""

    def __init__(self, in_features: int, out_features: int, kernel_size: int = 3, padding: int = 1):
        super().__init__()
        self.conv = Conv2D(in_features, out_features, kernel_size, padding)
        self.norm = BatchNorm2D(out_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm.after(self.conv, x))


class DownBlock2d(SameBlock2d):
    """Same block, then a 2x2 average: (B, in, h, w) -> (B, out, h/2, w/2)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.norm.after(self.conv, x, then=lambda y: F.avg_pool2d(F.relu(y), 2))


class UpBlock2d(SameBlock2d):
    """Same block on the doubled image: (B, in, h, w) -> (B, out, 2h, 2w)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm.after(self.conv, x, doubled=True))


class Encoder(nn.Layer):
    """Down half of the hourglass. Widths min(max_features, block_expansion * 2^(i+1))."""

    def __init__(self, block_expansion: int, in_features: int, num_blocks: int, max_features: int):
        super().__init__()
        widths = [min(max_features, block_expansion * 2 ** (i + 1)) for i in range(num_blocks)]
        self.down_blocks = nn.LayerList(
            [DownBlock2d(a, b) for a, b in zip([in_features, *widths], widths)]
        )

    def forward(self, x: Tensor) -> List[Tensor]:
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

    def forward(self, skips: List[Tensor]) -> Tensor:
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


class AntiAliasInterpolation2d(nn.Layer):
    """Gaussian blur and strided slicing: (B, C, H, W) -> (B, C, H * scale, W * scale).

    Blur and slicing are one strided depthwise convolution, which computes only the pixels kept.
    """

    def __init__(self, channels: int, scale: float):
        super().__init__()
        self.scale = scale
        self.stride = int(1 / scale)
        sigma = (1 / scale - 1) / 2
        self.radius = round(sigma * 4)
        position = paddle.arange(-self.radius, self.radius + 1, dtype='float32')
        line = paddle.exp(-(position**2) / (2 * sigma**2)) if sigma else paddle.ones([1])
        kernel = line.unsqueeze(0) * line.unsqueeze(1)
        kernel = (kernel / kernel.sum()).expand([channels, 1, *kernel.shape])
        self.register_buffer('weight', kernel.clone())

    def forward(self, x: Tensor) -> Tensor:
        if self.scale == 1:
            return x
        with full_precision():
            return F.conv2d(
                x, self.weight, stride=self.stride, padding=self.radius, groups=self.weight.shape[0]
            )
