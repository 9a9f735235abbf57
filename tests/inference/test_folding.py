"""Identities that compiled programs rest on."""

import numpy as np
import paddle

from modules.inference import folding
from modules.inference.folding import Kernel


def convolve(x, kernel, padding, stride=1):
    weight, bias = (paddle.to_tensor(array) for array in kernel)
    tensor = paddle.to_tensor(x)
    return paddle.nn.functional.conv2d(tensor, weight, bias, stride, padding).numpy()


def a_kernel(out, channels, size, seed=0):
    random = np.random.RandomState(seed)
    return Kernel(random.randn(out, channels, size, size), random.randn(out))


def test_doubled_and_final_convolutions_at_the_small_size():
    """In float64, so that only the identity is at question, borders included."""
    x = np.random.RandomState(1).randn(1, 2, 5, 4)
    first, final = a_kernel(3, 2, 3), a_kernel(2, 3, 7, 1)
    doubled = np.maximum(convolve(x.repeat(2, 2).repeat(2, 3), first, 1), 0)
    expected = convolve(doubled, final, 3)
    marked = np.concatenate([x, folding.border_marks(5, 4)], axis=1)
    split = folding.silence_borders(folding.split_doubled(first, taps=2))
    places = np.maximum(convolve(marked, split, 1), 0)
    assert places.shape == (1, 12, 6, 5)
    y = convolve(places, folding.after_split(final), 1).reshape(2, 2, 2, 5, 4)
    y = y.transpose(0, 3, 1, 4, 2).reshape(1, 2, 10, 8)
    np.testing.assert_allclose(y, expected, atol=1e-9)
    strided = convolve(doubled, folding.two_by_two(final), 3, 2).reshape(2, 2, 2, 5, 4)
    np.testing.assert_allclose(
        strided.transpose(0, 3, 1, 4, 2).reshape(expected.shape), expected, atol=1e-9
    )
