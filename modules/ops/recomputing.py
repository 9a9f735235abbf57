"""Gradients with less memory: what led to a value is not kept until backward."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import paddle
from paddle import Tensor
from paddle.autograd import PyLayer, PyLayerContext, saved_tensors_hooks

from modules.ops import device


class _AtOnce(PyLayer):
    @staticmethod
    def forward(ctx: PyLayerContext, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        with paddle.enable_grad():
            x = x.detach()
            x.stop_gradient = False
            value = function(x)
            value.backward()  # paddle.grad would never free a result that a PyLayer has saved
        ctx.save_for_backward(x.grad)
        return value.detach()

    @staticmethod
    def backward(ctx: PyLayerContext, dvalue: Tensor) -> Tensor:
        (gradient,) = ctx.saved_tensor()
        return gradient * dvalue


def mean_over_samples(
    function: Callable[[Tensor, Tensor], Tensor], fake: Tensor, real: Tensor
) -> Tensor:
    """A scalar `function` of both batches, a mean over samples; on the CPU one sample at a time.

    There it takes the memory of a single sample, and can be differentiated once, with respect to
    `fake`: the gradient is taken with the value.

    Args:
        function: with weights that are frozen, if any.
    """
    if not device.rearranges(fake):
        return function(fake, real)
    real = real.detach()
    total = 0
    for number in range(len(fake)):
        one_fake, one_real = fake[number : number + 1], real[number : number + 1]
        if one_fake.stop_gradient:
            total += function(one_fake, one_real)
        else:
            total += _AtOnce.apply(one_fake, lambda image, real=one_real: function(image, real))
    return total / fake.shape[0]


class _Recipe:
    """How to compute a value once more, and its gradients."""

    def __init__(self, function: Callable[..., Tensor], tensors: Sequence[Tensor]):
        self._function = function
        self._tensors = [tensor.detach() for tensor in tensors]
        for detached, tensor in zip(self._tensors, tensors):  # flags that may differ by backward
            detached.stop_gradient = tensor.stop_gradient
        self._made: Tensor | None = None  # from what is to be differentiated

    def follow(self) -> Tensor:
        """The value, which is kept for `gradients`."""
        return self._differentiable().detach()

    def gradients(self, dy: Tensor) -> tuple[Tensor | None, ...]:
        """Of all tensors; once, for what was kept is given up."""
        self._differentiable().backward(dy)
        gradients = tuple(map(_gradient, self._tensors))
        self._made, self._tensors = None, []
        return gradients

    def _differentiable(self) -> Tensor:
        if self._made is None:
            with paddle.enable_grad():
                self._made = self._function(*self._tensors)
        return self._made


class _Recomputed(PyLayer):
    @staticmethod
    def forward(
        ctx: PyLayerContext, recipe: _Recipe, function: Callable[..., Tensor], *tensors: Tensor
    ) -> Tensor:
        ctx.recipe = recipe
        return function(*tensors)

    @staticmethod
    def backward(ctx: PyLayerContext, dy: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.recipe.gradients(dy)


def _gradient(tensor: Tensor) -> Tensor | None:
    """What backward has to return for it: for a trained one never None, on which Paddle crashes."""
    if tensor.stop_gradient or tensor.grad is not None:
        return tensor.grad
    return paddle.zeros_like(tensor)


_RECIPE = '_recipe'  # attribute of the tensors that `recomputed` gives


def recomputed(function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """function(*tensors), of which only the tensors are kept: backward computes it a second time.

    It can be differentiated once.

    Args:
        function: of nothing that may change until backward, and without any effect beside its
            result but one that a second run repeats, such as writing to one of the tensors.
        tensors: all that get gradients, weights included.
    """
    recipe = _Recipe(function, tensors)
    result = _Recomputed.apply(recipe, function, *tensors)
    if not result.stop_gradient:
        setattr(result, _RECIPE, recipe)
    return result


@contextlib.contextmanager
def kept_as_recipe(value: Tensor) -> Iterator[None]:
    """Inside, an operation that keeps for its backward a value which is `recomputed` keeps instead
    how to compute it once more.
    """
    recipe = getattr(value, _RECIPE, None)
    if recipe is None:
        yield
        return
    address = value.data_ptr()

    def pack(tensor: Tensor) -> Any:
        # A result that came out of here as it is would hold the operation that holds it, for ever.
        return recipe if tensor.data_ptr() == address else tensor.detach()

    def unpack(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else kept.follow()

    with saved_tensors_hooks(pack, unpack):
        yield
