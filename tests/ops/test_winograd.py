"""Convolutions of training by Winograd's transforms: those of Paddle, but for rounding."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from modules import test_mode
from modules.ops import convolution, onednn, winograd

pytestmark = pytest.mark.quick


def tensor(*shape, seed=0, trained=False):
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    made = paddle.to_tensor(values)
    made.stop_gradient = not trained
    return made


def test_transforms_are_a_convolution_and_its_gradient():
    random = np.random.default_rng(0)
    window, kernel, dy = (random.standard_normal(n) for n in (6, 3, 6))
    products = (winograd.TRANSFORM_KERNEL @ kernel) * (winograd.TRANSFORM_INPUT @ window)
    y = winograd.TRANSFORM_OUTPUT @ products
    np.testing.assert_allclose(y, np.correlate(window, kernel), rtol=0, atol=1e-12)
    into, out_of = winograd._for_gradients()
    dx = out_of @ ((winograd.TRANSFORM_KERNEL @ kernel) * (into @ dy))
    np.testing.assert_allclose(dx, np.correlate(dy, kernel[::-1]), rtol=0, atol=1e-12)


def assert_close(found, wanted):
    """To a few roundings of the largest value."""
    found, wanted = found.numpy(), wanted.numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    'shape, out',
    [((2, 64, 8, 12), 128), ((1, 128, 4, 4), 64), ((3, 128, 36, 20), 128)],
    ids=['oblong', 'a single tile', 'in several portions'],
)
def test_values_and_gradients(monkeypatch, shape, out):
    monkeypatch.setattr(winograd, '_AT_ONCE', 2**13)
    results = []
    for convolve in (winograd.conv2d, lambda x, weight: F.conv2d(x, weight, padding=1)):
        x, weight = tensor(*shape, trained=True), tensor(out, shape[1], 3, 3, seed=1, trained=True)
        y = convolve(x, weight)
        y.backward(tensor(*y.shape, seed=2))
        results.append((y, x.grad, weight.grad))
    for found, wanted in zip(*results):
        assert found.shape == wanted.shape
        assert_close(found, wanted)


def test_frozen_with_bias_and_relu():
    weight, bias = tensor(128, 64, 3, 3, seed=1), tensor(128, seed=2)
    results = []
    for convolve in (winograd.frozen_conv2d_relu, onednn.frozen_conv2d_relu):
        x = tensor(2, 64, 8, 8, trained=True)
        y = convolve(x, weight, bias)
        y.backward(tensor(*y.shape, seed=3))
        results.append((y, x.grad))
    (y, dx), (wanted, wanted_dx) = results
    assert_close(y, wanted)
    # A value so near 0 that rounding decides about its ReLU has a gradient or none.
    assert np.mean(np.abs((dx - wanted_dx).numpy()) > 1e-4 * np.abs(wanted_dx.numpy()).max()) < 1e-2
    assert weight.grad is None and bias.grad is None


@pytest.mark.parametrize('x_trained', [True, False])
def test_what_is_frozen_gets_no_gradient(x_trained):
    x = tensor(1, 64, 4, 4, trained=x_trained)
    weight = tensor(128, 64, 3, 3, trained=not x_trained)
    winograd.conv2d(x, weight).sum().backward()
    assert (x.grad is None) is not x_trained and (weight.grad is None) is x_trained


@pytest.mark.parametrize(
    'shape, out, size, padding, suits',
    [
        ((1, 128, 32, 32), 128, 3, 1, True),
        ((4, 64, 16, 16), 128, 3, 1, True),
        ((1, 64, 64, 64), 64, 3, 1, False),
        ((1, 3, 64, 64), 128, 3, 1, False),
        ((1, 128, 16, 16), 128, 3, 1, False),
        ((1, 128, 34, 32), 128, 3, 1, False),
        ((1, 128, 32, 32), 128, 3, 0, False),
        ((1, 128, 32, 32), 128, 7, 3, False),
    ],
)
def test_what_suits(shape, out, size, padding, suits):
    assert winograd.suits(tensor(*shape), tensor(out, shape[1], size, size), padding) is suits


def test_training_takes_it_and_animating_does_not(monkeypatch):
    """The eager engine stays what the others are compared with, and so do recorded values."""
    taken = []
    monkeypatch.setattr(
        winograd, 'conv2d', lambda x, weight: taken.append(1) or F.conv2d(x, weight, padding=1)
    )
    x, weight = tensor(1, 64, 32, 32), tensor(128, 64, 3, 3, trained=True)
    convolution.conv2d(x, weight, padding=1)
    assert len(taken) == 1
    with paddle.no_grad():
        convolution.conv2d(x, weight, padding=1)
    with test_mode.record():
        convolution.conv2d(x, weight, padding=1)
    convolution.conv2d(x.astype('float64'), weight.astype('float64'), padding=1)
    assert len(taken) == 1
