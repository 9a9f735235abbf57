"""Batch norm whose running variance is PyTorch's, alone and over the joint batch of processes."""

from collections.abc import Callable

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn
from paddle.autograd import PyLayer, PyLayerContext

from modules.ops.recomputing import recomputed
from modules.runtime import distributed

Then = Callable[[Tensor], Tensor] | None


def batch_norm(
    x: Tensor, norm: nn.BatchNorm2D, omitted_bias: Tensor | None = None, then: Then = None
) -> Tensor:
    """Normalises (B, C, h, w) as `norm` says, and in training moves its running statistics.

    Args:
        omitted_bias: of the convolution that led to `x`, (C,), where it was not added. In training
            the norm takes the batch's mean away and the bias with it, whose gradient is exactly 0:
            only the running mean has to know it. With fixed statistics it joins the norm's.
        then: applied to the norm, and cheap: in one process backward computes both anew. With
            either of the two on the CPU only.
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
        y = joint_batch_norm(norm, x, omitted_bias)
        return y if then is None else then(y)
    if not x.place.is_cpu_place():
        return nn.BatchNorm2D.forward(norm, x)  # cuDNN's running variance is the unbiased one
    mean, variance = paddle.zeros_like(norm._mean), paddle.zeros_like(norm._variance)
    bias = norm.bias if omitted_bias is None else _with_zero_gradient(norm.bias, omitted_bias)
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


def _with_zero_gradient(bias: Tensor, omitted: Tensor) -> Tensor:
    """`bias`, as it is, by which the omitted one gets the gradient 0 instead of none."""
    return bias + 0 * omitted


def _both_trained(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
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


def joint_batch_norm(norm: nn.BatchNorm2D, x: Tensor, omitted_bias: Tensor | None = None) -> Tensor:
    """Training-mode batch norm of (B, C, h, w) over the joint batch of all processes.

    Paddle's own exists on GPUs only and keeps the biased variance. Every process must hold a batch
    of the same size. It sends one message, and backward another.
    """
    values = x.astype(norm.weight.dtype)
    count = x.size // x.shape[1]  # of this process
    mean, variance = joint_statistics(values)
    bias = norm.bias if omitted_bias is None else _with_zero_gradient(norm.bias, omitted_bias)
    y = _JointBatchNorm.apply(values, norm.weight, bias, mean, variance, norm._epsilon)
    if omitted_bias is not None:
        mean = mean + omitted_bias.detach()
    update_statistics(norm, mean, variance, count * distributed.world_size())
    return y.astype(x.dtype)


@paddle.no_grad()
def joint_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) of (B, C, h, w) over the joint batch of all processes.

    From each process's mean and variance (Chan et al. 1979): sums of squares would lose digits.
    """
    mean = x.mean([0, 2, 3])
    zeros, ones = paddle.zeros_like(mean), paddle.ones_like(mean)
    variance = _by_statistics(x, mean, ones, ones, zeros, 0.0).square().mean([0, 2, 3])
    means, variances = distributed.gathered(paddle.stack([mean, variance])).unbind(1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def _by_statistics(
    x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor, epsilon: float
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, per channel: (B, C, h, w), (C,).

    Paddle's sums and products of unlike shapes would take four times as long on the CPU.
    """
    return F.batch_norm(x, mean, variance, weight, bias, training=False, epsilon=epsilon)


class _JointBatchNorm(PyLayer):
    """Normalises by joint statistics, whose own dependence on the batch backward accounts for."""

    @staticmethod
    def forward(
        ctx: PyLayerContext,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        epsilon: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.epsilon = epsilon
        ctx.trained = [not tensor.stop_gradient for tensor in (x, weight, bias)]
        ctx.count = x.size // x.shape[1] * distributed.world_size()
        return _by_statistics(x, mean, variance, weight, bias, epsilon)

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensor()
        inputs = [tensor.detach() for tensor in (x, weight, paddle.zeros_like(weight))]
        for tensor in inputs:
            tensor.stop_gradient = False
        with paddle.enable_grad():  # as if the statistics were given
            x_given, weight_given, bias_given = inputs
            y = _by_statistics(x_given, mean, variance, weight_given, bias_given, ctx.epsilon)
            y.backward(dy)
        # Of this process: gradients of weights are averaged later.
        dx, dweight, dbias = (tensor.grad for tensor in inputs)
        sums = distributed.summed(paddle.stack([dbias, dweight])) / ctx.count
        # Epsilon as Paddle's own kernels hold it.
        slope = weight * paddle.rsqrt(variance + float(np.float32(ctx.epsilon)))
        shift_by, turn_by = (sums * slope).unbind(0)
        dx = dx - _by_statistics(x, mean, variance, turn_by, shift_by, ctx.epsilon)
        gradients = [g if wanted else None for g, wanted in zip((dx, dweight, dbias), ctx.trained)]
        return (*gradients, None, None)
