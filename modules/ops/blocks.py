"""Chains of operations that the blocks of the networks are made of."""

import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.ops import device
from modules.ops.batch_norm import Then, batch_norm
from modules.ops.convolution import conv2d, upsampled_conv2d


def conv_norm(
    x: Tensor,
    conv: nn.Conv2D,
    norm: nn.BatchNorm2D,
    upsample: bool = False,
    then: Then = None,
) -> Tensor:
    """The norm of a convolution, of the doubled image if it is to be upsampled.

    On the CPU the convolution's bias is not added on its own, see `batch_norm`.

    Args:
        then: applied to the norm, and cheap, as in `batch_norm`.
    """
    omits = device.rearranges(x)
    bias = None if omits else conv.bias
    if upsample:
        y = upsampled_conv2d(x, conv.weight, bias)
    else:
        y = conv2d(x, conv.weight, bias, conv._updated_padding[0])
    if omits:
        return batch_norm(y, norm, conv.bias, then)
    y = batch_norm(y, norm)
    return y if then is None else then(y)


def conv_norm_relu(
    x: Tensor,
    conv: nn.Conv2D,
    norm: nn.BatchNorm2D,
    upsample: bool = False,
    pool: bool = False,
) -> Tensor:
    """Upsample (nearest, x2), convolve, normalise, ReLU, pool (2x2 average).

    Args:
        x: (B, in, h, w).
        conv: keeps the size of the image; with `upsample` a 3x3 one, padded by 1.

    Returns:
        (B, out, h, w); with `upsample` (B, out, 2h, 2w), with `pool` (B, out, h/2, w/2).
    """
    then = (lambda y: F.avg_pool2d(F.relu(y), 2)) if pool else F.relu
    return conv_norm(x, conv, norm, upsample, then)


def norm_relu(x: Tensor, norm: nn.BatchNorm2D) -> Tensor:
    """Keeps the shape (B, C, h, w)."""
    if device.rearranges(x):
        return batch_norm(x, norm, then=F.relu)
    return F.relu(norm(x))
