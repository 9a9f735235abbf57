"""Identities that compiled programs rest on, and Paddle's passes that break them."""

import numpy as np
import paddle

from modules.inference import folding
from modules.inference.folding import Kernel
from modules.ops import predictors
from modules.ops.predictors import Program, compile_program


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


def test_paddles_passes_that_are_left_out_are_wrong(tmp_path, monkeypatch):
    """If this fails, Paddle has mended them; then leave them in, which is faster."""

    class Net(paddle.nn.Layer):
        def forward(self, x):
            x = x.transpose([2, 0, 1]).unsqueeze(0)
            weight = paddle.full([4, 4, 3, 3], 0.1)
            bias = paddle.full([4], 0.1)
            conv = paddle.nn.functional.conv2d
            return x + conv(paddle.nn.functional.relu(x * 0.5 + 0.1), weight, bias, padding=1)

    x = np.random.RandomState(0).randn(8, 8, 4).astype('float32')
    compile_program(Net(), [x.shape], tmp_path)
    errors = []
    for passes in (predictors._UNWANTED_PASSES, predictors._UNWANTED_PASSES[:1]):
        monkeypatch.setattr(predictors, '_UNWANTED_PASSES', passes)
        program = Program(tmp_path)
        program.set(0, x)
        errors.append(np.abs(program.run()[0] - Net()(paddle.to_tensor(x)).numpy()).max())
    assert errors[0] < 1e-5 < errors[1]
