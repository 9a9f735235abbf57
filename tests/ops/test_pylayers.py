"""Every hand-written PyLayer against Paddle's own operations, whatever is frozen, and when."""

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from modules.model import frozen
from modules.ops import batch_norm, onednn
from modules.ops import recomputing as memory
from modules.ops.batch_norm import update_statistics
from modules.ops.blocks import conv_norm_relu
from modules.util import BatchNorm2D, Conv2D, DownBlock2d
from tests.support.marks import needs_onednn


class Case(NamedTuple):
    """An operation on tensors, ours and Paddle's."""

    ours: Callable[..., paddle.Tensor]
    plain: Callable[..., paddle.Tensor]
    shapes: tuple[tuple[int, ...], ...]
    dtype: str = 'float64'
    tolerance: float = 1e-12  # of the largest value


def difference(fake, real):
    return ((fake * fake).exp() - real).abs().mean()


def scale_and_pool(x, weight, bias):
    y = (x - x.mean()) * weight.reshape([1, 3, 1, 1]) + bias.reshape([1, 3, 1, 1])
    return F.avg_pool2d(F.relu(y), 2)


KERNEL = ((2, 4, 7, 6), (5, 4, 3, 3))


def joint_norm(x, weight, bias):
    with mock.patch('modules.runtime.distributed.world_size', lambda: 2):
        statistics = batch_norm.joint_statistics(x)
        return batch_norm._JointBatchNorm.apply(x, weight, bias, *statistics, 1e-5)


def lone_norm(x, weight, bias):
    """The same, for both processes hold the same."""
    centred = x - x.mean([0, 2, 3], keepdim=True)
    variance = centred.square().mean([0, 2, 3], keepdim=True)
    shape = [1, -1, 1, 1]
    y = centred * paddle.rsqrt(variance + float(np.float32(1e-5)))
    return y * weight.reshape(shape) + bias.reshape(shape)


CASES = {
    'convolution': Case(
        lambda x, weight: onednn.conv2d(x, weight, 1),
        lambda x, weight: F.conv2d(x, weight, padding=1),
        KERNEL,
        'float32',
        2e-5,
    ),
    'frozen convolution': Case(
        onednn.frozen_conv2d_relu,
        lambda x, w, b: F.relu(F.conv2d(x, w.detach(), b.detach(), padding=1)),
        (*KERNEL, (5,)),
        'float32',
        2e-5,
    ),
    'mean over samples': Case(
        lambda fake, real: memory.mean_over_samples(difference, fake, real),
        lambda fake, real: difference(fake, real.detach()),
        ((3, 2, 4, 4), (3, 2, 4, 4)),
    ),
    'recomputed': Case(
        lambda *tensors: memory.recomputed(scale_and_pool, *tensors),
        scale_and_pool,
        ((2, 3, 4, 6), (3,), (3,)),
    ),
    'joint batch norm': Case(joint_norm, lone_norm, ((2, 3, 4, 6), (3,), (3,))),
}


@pytest.fixture(autouse=True)
def two_equal_processes(monkeypatch):
    """Two processes that hold the same: adding up over both is doubling."""
    monkeypatch.setattr('paddle.distributed.all_reduce', lambda tensor: tensor.scale_(2.0))
    monkeypatch.setattr('paddle.distributed.all_gather', lambda parts, t: parts.extend([t, t]))


@pytest.fixture(params=[pytest.param(c, marks=needs_onednn) for c in CASES])
def case(request):
    return CASES[request.param]


def subsets(case):
    """Every choice of the tensors that are trained, but that of none."""
    flags = itertools.product([True, False], repeat=len(case.shapes))
    return [trained for trained in flags if any(trained)]


def tensors_of(case, trained, seed=0):
    rng = np.random.default_rng(seed)
    tensors = [paddle.to_tensor(rng.normal(size=shape), case.dtype) for shape in case.shapes]
    set_flags(tensors, trained)
    return tensors


def set_flags(tensors, trained):
    for tensor, flag in zip(tensors, trained):
        tensor.stop_gradient = not flag


def loss_of(y):
    """A scalar to which each value counts differently."""
    weights = paddle.cos(paddle.arange(y.size).astype(y.dtype)).reshape(y.shape)
    return (weights * y * y).sum()


def backward(y):
    if not y.stop_gradient:
        loss_of(y).backward()


def gradients(tensors):
    return [None if t.grad is None else t.grad.numpy().copy() for t in tensors]


def assert_same(case, found, wanted):
    assert [g is None for g in found] == [g is None for g in wanted]
    for a, b in zip(found, wanted):
        if b is not None:
            np.testing.assert_allclose(a, b, rtol=0, atol=case.tolerance * np.abs(b).max())


def check(case, run):
    """Compares the gradients that `run(operation, tensors, trained)` leaves, for every subset."""
    for trained in subsets(case):
        results = []
        for operation in (case.ours, case.plain):
            tensors = tensors_of(case, trained)
            run(operation, tensors, trained)
            results.append(gradients(tensors))
        assert_same(case, *results)


def test_the_frozen_get_no_gradient_and_the_others_theirs(case):
    def run(operation, tensors, trained):
        backward(operation(*tensors))
        assert all(t.grad is None for t, flag in zip(tensors, trained) if not flag)

    check(case, run)


def test_only_the_flags_of_forward_count(case):
    """The discriminator is frozen for the generator's pass alone: before backward it no more is."""

    def run(operation, tensors, trained):
        for later in itertools.product([True, False], repeat=len(trained)):
            set_flags(tensors, trained)
            y = operation(*tensors)
            set_flags(tensors, later)
            backward(y)

    check(case, run)


def test_gradients_accumulate(case):
    def run(operation, tensors, trained):
        for factor in (1, 2):
            backward(operation(*(factor * t for t in tensors)))

    check(case, run)


def test_twice_in_one_graph(case):
    """As a real and a fake image pass one network: other inputs, the same weights."""

    def run(operation, tensors, trained):
        first, *weights = tensors
        second = (1 - first).cos()
        backward(operation(first, *weights) + 3 * operation(second, *weights))

    check(case, run)


def test_twice_in_one_graph_frozen_in_one_pass(case):
    def run(operation, tensors, trained):
        first, *weights = tensors
        set_flags(weights, [False] * len(weights))
        y = operation(first, *weights)
        set_flags(weights, trained[1:])
        backward(y + operation((1 - first).cos(), *weights))

    check(case, run)


def test_gradients_without_backward(case):
    """paddle.grad gives those asked for, and leaves nothing in the others."""
    for trained in subsets(case):
        results = []
        for operation in (case.ours, case.plain):
            tensors = tensors_of(case, trained)
            y = operation(*tensors)
            asked = [t for t in tensors if not t.stop_gradient]
            found = [None]
            if not y.stop_gradient:
                found = paddle.grad(loss_of(y), asked, allow_unused=True)
            assert all(t.grad is None for t in tensors)
            results.append([None if g is None else g.numpy() for g in found])
        assert_same(case, *results)


@pytest.mark.parametrize('ended', [lambda y: None, lambda y: paddle.grad(y.sum(), y)])
def test_a_graph_that_is_not_used_leaves_no_memory(case, ended):
    tensors = tensors_of(case, [True] * len(case.shapes))
    case.ours(*tensors)  # the first run may bring more
    before = allocated()
    for _ in range(20):
        ended(case.ours(*tensors))
    end = time.monotonic() + 2  # programs may free what they took a little later
    while allocated() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert allocated() <= before


def allocated():
    return paddle.base.core.host_memory_stat_current_value('Allocated', 0)


def test_a_trained_tensor_that_does_not_count_gets_zeros():
    """Anything but None, on which Paddle crashes where the tensor is a result itself."""
    x, unused = paddle.ones([2]), paddle.ones([3])
    x.stop_gradient = unused.stop_gradient = False
    memory.recomputed(lambda x, _: x * x, x, 2 * unused).sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2])
    np.testing.assert_array_equal(unused.grad, [0, 0, 0])


# --- layers that are made of them -----------------------------------------------------------------


def norm_gradients(monkeypatch, plain, trained, between, training=True):
    """Of a convolution, its norm and their image; `between` comes before backward."""
    with monkeypatch.context() as patch:
        if plain:
            patch.setattr('modules.ops.device.rearranges', lambda x: False)
        paddle.seed(0)
        conv, norm = Conv2D(3, 4, 3, 1).to(dtype='float64'), BatchNorm2D(4).to(dtype='float64')
        norm.train() if training else norm.eval()
        x = tensors_of(CASES['recomputed'], [True])[0].detach()
        tensors = [x, conv.weight, conv.bias, norm.weight, norm.bias]
        norm.bias.set_value(paddle.cos(paddle.arange(4).astype('float64')))
        set_flags(tensors, trained)
        y = conv_norm_relu(x, conv, norm, pool=True)
        between(tensors, norm)
        backward(y)
        return gradients(tensors)


def is_same(found, wanted):
    assert [g is None for g in found] == [g is None for g in wanted]
    for a, b in zip(found, wanted):
        if b is not None:
            np.testing.assert_allclose(a, b, atol=1e-11)


@pytest.mark.parametrize('training', [True, False])
def test_norms_with_some_weights_frozen_or_flags_changed(monkeypatch, training):
    for trained in itertools.product([True, False], repeat=5):
        for change in (lambda tensors, norm: None, invert_flags):
            found, wanted = (
                norm_gradients(monkeypatch, plain, trained, change, training)
                for plain in (False, True)
            )
            is_same(found, wanted)
            assert [gradient is not None for gradient in wanted] == list(trained)


def invert_flags(tensors, norm):
    set_flags(tensors, [tensor.stop_gradient for tensor in tensors])


def change_mode(tensors, norm):
    norm.eval() if norm.training else norm.train()


def move_statistics(tensors, norm):
    update_statistics(norm, paddle.ones([4], 'float64'), paddle.ones([4], 'float64'), 2)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('change', [change_mode, move_statistics])
def test_norms_whose_state_changes_before_backward(monkeypatch, training, change):
    trained = [True] * 5
    found = norm_gradients(monkeypatch, False, trained, change, training)
    is_same(found, norm_gradients(monkeypatch, True, trained, lambda *_: None, training))


def test_a_network_frozen_for_one_pass(monkeypatch):
    """Gradients reach what came before it; its weights get only those of the other pass."""
    results = []
    for plain in (False, True):
        paddle.seed(0)
        block, convolution = DownBlock2d(3, 4), Conv2D(4, 2, 3)
        network = paddle.nn.Sequential(block, convolution)
        image = paddle.rand([2, 3, 16, 16])
        image.stop_gradient = False
        with monkeypatch.context() as patch:
            if plain:
                patch.setattr('modules.ops.device.rearranges', lambda x: False)
                patch.setattr(onednn, 'serves', lambda x: False)
            with frozen(network):
                y = network(image)
            backward(y)
            assert image.grad is not None
            assert all(p.grad is None for p in network.parameters())
            backward(network(image.detach()))
        results.append(gradients([image, *network.parameters()]))
    for found, wanted in zip(*results):
        if wanted is not None and found is not None:
            np.testing.assert_allclose(found, wanted, atol=2e-5 * max(1, np.abs(wanted).max()))
