"""Convolutions by oneDNN and warps by whole pixels, against Paddle's own operations."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from modules.ops import onednn
from modules.ops.convolution import add_bias, conv2d
from modules.ops.sampling import grid_sample
from modules.vgg import Vgg19
from tests.support.marks import needs_onednn


def tensors(*shapes, trained=True):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape).astype('float32') for shape in shapes]
    return [paddle.to_tensor(array, stop_gradient=not trained) for array in arrays]


def outputs_and_gradients(function, *inputs):
    """The result, and the gradients of all inputs that are trained, for a loss of many values."""
    for tensor in inputs:
        tensor.clear_gradient()
    y = function(*inputs)
    weights = paddle.cos(paddle.arange(y.size, dtype='float32')).reshape(y.shape)
    (weights * y * y).sum().backward()
    gradients = [tensor.grad.numpy().copy() for tensor in inputs if not tensor.stop_gradient]
    return [y.numpy(), *gradients]


def assert_same(found, wanted, tolerance=2e-5):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())


@needs_onednn
@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize(
    ('in_channels', 'out_channels', 'size', 'padding'),
    [(5, 3, 7, 3), (16, 16, 3, 1), (6, 32, 4, 0), (35, 40, 7, 0), (35, 10, 7, 0), (8, 2, 1, 0)],
)
def test_convolution(batch, in_channels, out_channels, size, padding):
    x, weight = tensors((batch, in_channels, 9, 11), (out_channels, in_channels, size, size))
    assert onednn.serves(x)
    found = outputs_and_gradients(lambda x, w: onednn.conv2d(x, w, padding), x, weight)
    wanted = outputs_and_gradients(lambda x, w: F.conv2d(x, w, padding=padding), x, weight)
    assert_same(found, wanted)


@needs_onednn
@pytest.mark.parametrize(('batch', 'in_channels', 'out_channels'), [(1, 6, 5), (3, 32, 16)])
def test_transposed_convolution(batch, in_channels, out_channels):
    x, kernel = tensors((batch, in_channels, 7, 9), (in_channels, out_channels, 4, 4))
    found = outputs_and_gradients(onednn.transposed_conv2d, x, kernel)
    wanted = outputs_and_gradients(
        lambda x, k: F.conv2d_transpose(x, k, stride=2, padding=1), x, kernel
    )
    assert_same(found, wanted)


@needs_onednn
@pytest.mark.parametrize('frozen', ['image', 'weight'])
def test_only_what_is_trained_gets_a_gradient(frozen):
    x, weight = tensors((2, 4, 9, 8), (6, 4, 4, 4))
    {'image': x, 'weight': weight}[frozen].stop_gradient = True
    found = outputs_and_gradients(lambda x, w: onednn.conv2d(x, w, 1), x, weight)
    wanted = outputs_and_gradients(lambda x, w: F.conv2d(x, w, padding=1), x, weight)
    assert_same(found, wanted)
    assert {'image': x, 'weight': weight}[frozen].grad is None


@needs_onednn
def test_a_second_run_changes_no_result_of_the_first():
    first, second, weight = tensors((1, 4, 6, 6), (1, 4, 6, 6), (4, 4, 3, 3), trained=False)
    result = onednn.conv2d(first, weight, 1)
    before = result.numpy().copy()
    onednn.conv2d(second, weight, 1)
    np.testing.assert_array_equal(result.numpy(), before)
    np.testing.assert_array_equal(onednn.conv2d(first, weight, 1).numpy(), before)


def test_other_precisions_and_programs_are_left_to_paddle():
    assert not onednn.serves(paddle.zeros([1, 1, 2, 2], 'float64'))
    paddle.enable_static()
    try:
        assert not onednn.serves(paddle.static.data('x', [1, 1, 2, 2], 'float32'))
    finally:
        paddle.disable_static()


def test_without_onednn_one_note_and_paddles_own(monkeypatch, capsys):
    def broken(*args):
        raise RuntimeError('first line\nno such kernel')

    onednn._works.cache_clear()
    monkeypatch.setattr(onednn, '_convolution', broken)
    monkeypatch.setattr(paddle.base.core, 'is_compiled_with_mkldnn', lambda: True)
    try:
        x, weight = tensors((1, 2, 5, 5), (3, 2, 3, 3))
        found = [conv2d(x, weight, padding=1).numpy() for _ in range(2)][1]
    finally:
        onednn._works.cache_clear()
    np.testing.assert_array_equal(found, F.conv2d(x, weight, padding=1).numpy())
    note = 'note: convolutions without oneDNN, so slower: no such kernel\n'
    assert capsys.readouterr().err == note


@pytest.mark.parametrize('trained', [True, False])
def test_bias(trained):
    x, bias = tensors((2, 3, 4, 5), (3,))
    bias.stop_gradient = not trained
    found = outputs_and_gradients(add_bias, x, bias)
    wanted = outputs_and_gradients(lambda x, b: x + b.reshape([1, -1, 1, 1]), x, bias)
    np.testing.assert_array_equal(found[0], wanted[0])
    assert_same(found, wanted, 1e-6)


@needs_onednn
def test_vgg_is_the_same_with_and_without(monkeypatch):
    vgg = Vgg19()
    vgg.seed()
    image = paddle.rand([1, 3, 32, 32])
    image.stop_gradient = False

    def features(x):
        return paddle.concat([level.flatten() for level in vgg(x)])

    found = outputs_and_gradients(features, image)
    monkeypatch.setattr(onednn, '_works', lambda: False)
    wanted = outputs_and_gradients(features, image)
    assert_same(found, wanted, 1e-4)


@needs_onednn
def test_vgg_heeds_new_weights():
    vgg = Vgg19()
    image = paddle.rand([1, 3, 16, 16])
    image.stop_gradient = False
    vgg(image)[0].sum().backward()
    vgg.seed()
    image.clear_gradient()
    found = outputs_and_gradients(lambda x: vgg(x, 1)[0], image)
    fresh = Vgg19()
    fresh.seed()
    assert_same(found, outputs_and_gradients(lambda x: fresh(x, 1)[0], image), 1e-6)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('spread', [0.9, 1.5])
def test_warp_of_many_channels(align_corners, spread):
    image, grid = tensors((2, 17, 6, 9), (2, 7, 5, 2))
    grid = (grid.detach() * spread).detach()
    grid[0, 0, 0] = -1.0
    grid[0, 0, 1] = 1.0
    image, grid = image.astype('float64').detach(), grid.astype('float64').detach()
    image.stop_gradient = grid.stop_gradient = False
    found = outputs_and_gradients(
        lambda x, g: grid_sample(x, g, align_corners).astype('float32'), image, grid
    )
    wanted = outputs_and_gradients(
        lambda x, g: F.grid_sample(x, g, align_corners=align_corners).astype('float32'), image, grid
    )
    assert_same(found, wanted, 1e-6)
