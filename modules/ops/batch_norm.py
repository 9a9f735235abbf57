"""Batch norm whose running variance is PyTorch's, alone and over the joint batch of processes."""

from typing import Callable, Optional, Tuple

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer, PyLayerContext

from modules.ops.recomputing import recomputed
from modules.runtime import distributed

Then = Optional[Callable[[Tensor], Tensor]]


def batch_norm(
    x: Tensor, norm: nn.BatchNorm2D, omitted_bias: Optional[Tensor] = None, then: Then = None
) -> Tensor:
    """Normalises (B, C, h, w) as `norm` says, and in training moves its running statistics.

    Args:
        omitted_bias: of the convolution that led to `x`, (C,), where it was not added. In training
            the norm takes the batch's mean away and the bias with it, whose gradient is exactly 0:
            only the running mean has to know it. With fixed statistics it joins the norm's.
        then: applied to the norm, and cheap: backward computes both anew. Together with
            `omitted_bias` on the CPU and in one process only.
    """
    if not norm.training:
        mean, variance, bias = norm._mean, norm._variance, norm.bias
        if omitted_bias is not None:
            bias = bias + omitted_bias * norm.weight * (variance + norm._epsilon).rsqrt()
        if then is not None:  # backward is to meet these values
            mean, variance = mean.clone(), variance.clone()
        return _normalise(x, norm, bias, mean, variance, then)
    count = x.size // x.shape[1]
    if count == 1:
        raise ValueError('batch norm needs more than one value per channel to train')
    if distributed.world_size() > 1:
        return joint_batch_norm(norm, x)
    if not x.place.is_cpu_place():
        return nn.BatchNorm2D.forward(norm, x)  # cuDNN's running variance is the unbiased one
    mean, variance = paddle.zeros_like(norm._mean), paddle.zeros_like(norm._variance)
    bias = norm.bias
    if omitted_bias is not None:
        bias = bias + 0 * omitted_bias  # gives it the gradient 0, not none
    y = _normalise(x, norm, bias, mean, variance, then)
    if omitted_bias is not None:
        mean = mean + omitted_bias.detach()
    update_statistics(norm, mean, variance, count)
    return y


def _normalise(
    x: Tensor, norm: nn.BatchNorm2D, bias: Tensor, mean: Tensor, variance: Tensor, then: Then
) -> Tensor:
    """By `mean` and `variance` (C,), into which training first writes the batch's (biased)."""
    training = norm.training  # as it is now, not in backward

    def normalise(
        x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor
    ) -> Tensor:
        y = F.batch_norm(
            x,
            mean,
            variance,
            weight,
            bias,
            training=training,
            momentum=0.0,
            epsilon=norm._epsilon,
            data_format=norm._data_format,
        )
        return y if then is None else then(y)

    weight, bias = _both_trained(norm.weight, bias)
    if then is None:
        return normalise(x, weight, bias, mean, variance)
    return recomputed(normalise, x, weight, bias, mean, variance)


def _both_trained(weight: Tensor, bias: Tensor) -> Tuple[Tensor, Tensor]:
    """Of batch norm, to whose weight and bias Paddle's kernel gives gradients together or not."""
    if weight.stop_gradient == bias.stop_gradient:
        return weight, bias
    tensors = [t.detach() if t.stop_gradient else t for t in (weight, bias)]
    for tensor in tensors:
        tensor.stop_gradient = False
    return tuple(tensors)


@paddle.no_grad()
def update_statistics(norm: nn.BatchNorm2D, mean: Tensor, variance: Tensor, count: int) -> None:
    """Moves the running statistics towards a batch's, whose variance (C,) is the biased one."""
    new = 1 - norm._momentum
    norm._mean.scale_(norm._momentum).add_(mean * new)
    norm._variance.scale_(norm._momentum).add_(variance * (new * count / (count - 1)))


def joint_batch_norm(norm: nn.BatchNorm2D, x: Tensor) -> Tensor:
    """Training-mode batch norm of (B, C, h, w) over the joint batch of all processes.

    Written in plain operations, since Paddle's own kernel exists on GPUs only and keeps the biased
    variance. A message in forward and one in backward, of two numbers a channel each. Every process
    must hold a batch of the same size.
    """
    mean, variance = _joint_moments(x.astype(norm.weight.dtype))
    count = x.size // x.shape[1] * distributed.world_size()
    epsilon = float(np.float32(norm._epsilon))  # as Paddle's own kernels hold it
    y = _JointBatchNorm.apply(
        x, norm.weight, norm.bias, mean, paddle.rsqrt(variance + epsilon), count
    )
    update_statistics(norm, mean, variance, count)
    return y


@paddle.no_grad()
def _joint_moments(x: Tensor) -> Tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of (B, C, h, w) over the joint batch.

    Put together from those of each process (Chan et al. 1983, for parts of one size): sums of
    squares would lose the digits that a mean far from 0 takes.
    """
    mean = x.mean([0, 2, 3])
    centred = x - _along_channels(mean)
    variance = (centred * centred).mean([0, 2, 3])
    means, variances = distributed.gather(paddle.stack([mean, variance])).unbind(1)  # (P, C)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


class _JointBatchNorm(PyLayer):
    """Normalises by moments of the joint batch; its gradient knows that they are x's own."""

    @staticmethod
    def forward(
        ctx: PyLayerContext,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        inverse_deviation: Tensor,
        count: int,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, inverse_deviation)
        ctx.count = count
        ctx.trained = [not tensor.stop_gradient for tensor in (x, weight, bias)]
        normalised = _normalised(x, mean, inverse_deviation, weight.dtype)
        return (normalised * _along_channels(weight) + _along_channels(bias)).astype(x.dtype)

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> Tuple[Optional[Tensor], ...]:
        x, weight, mean, inverse_deviation = ctx.saved_tensor()
        x_trained, weight_trained, bias_trained = ctx.trained
        dy = dy.astype(weight.dtype)
        normalised = _normalised(x, mean, inverse_deviation, weight.dtype)
        dbias, dweight = dy.sum([0, 2, 3]), (dy * normalised).sum([0, 2, 3])
        dx = None
        if x_trained:
            sums = distributed.total(paddle.stack([dbias, dweight])) / ctx.count
            of_mean, of_deviation = map(_along_channels, sums.unbind(0))
            dx = dy - of_mean - normalised * of_deviation
            dx = (dx * _along_channels(weight * inverse_deviation)).astype(x.dtype)
        return dx, dweight if weight_trained else None, dbias if bias_trained else None, None, None


def _normalised(x: Tensor, mean: Tensor, inverse_deviation: Tensor, dtype: paddle.dtype) -> Tensor:
    return (x.astype(dtype) - _along_channels(mean)) * _along_channels(inverse_deviation)


def _along_channels(values: Tensor) -> Tensor:
    """(C,) -> (1, C, 1, 1)."""
    return values.reshape([1, -1, 1, 1])
