"""Gradients with less memory: what led to a value is not kept until backward."""

from typing import Callable

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer


class _AtOnce(PyLayer):
    @staticmethod
    def forward(ctx, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with paddle.enable_grad():
            x = x.detach()
            x.stop_gradient = False
            value = function(x)
            value.backward()  # paddle.grad would never free a result that a PyLayer has saved
        ctx.save_for_backward(x.grad)
        return value.detach()

    @staticmethod
    def backward(ctx, dvalue: Tensor) -> Tensor:
        (gradient,) = ctx.saved_tensor()
        return gradient * dvalue


def mean_over_samples(
    function: Callable[[Tensor, Tensor], Tensor], fake: Tensor, real: Tensor
) -> Tensor:
    """A scalar `function` of both batches, a mean over samples, with the memory of a single one.

    It can be differentiated once, with respect to `fake`: the gradient is taken with the value.
    """
    total = 0
    for one_fake, one_real in zip(fake.split(fake.shape[0]), real.split(real.shape[0])):
        if one_fake.stop_gradient:
            total += function(one_fake, one_real)
        else:
            total += _AtOnce.apply(one_fake, lambda image, real=one_real: function(image, real))
    return total / fake.shape[0]


class _Recomputed(PyLayer):
    @staticmethod
    def forward(ctx, x: Tensor, function: Callable[..., Tensor]) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x)
        return function(x, again=False)

    @staticmethod
    def backward(ctx, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensor()
        with paddle.enable_grad():
            x = x.detach()
            x.stop_gradient = False
            ctx.function(x, again=True).backward(dy)  # gives the weights their gradients, too
        return x.grad


def recomputed(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    """function(x, again), of which only `x` is kept: backward computes it a second time.

    Args:
        function: `again` tells it that this is the second time, so that it has no effect but its
            result. It can be differentiated once, and by backward() alone: paddle.grad does not
            know its weights.
    """
    if x.stop_gradient or not paddle.is_grad_enabled():
        return function(x, again=False)
    return _Recomputed.apply(x, function)
