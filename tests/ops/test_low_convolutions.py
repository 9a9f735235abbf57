"""Convolutions in bfloat16 on the CPU, which oneDNN emulates where there are no instructions."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from modules.build import build_models
from modules.model import TrainingLosses
from modules.ops import convolution, onednn, precision, winograd
from modules.ops.convolution import conv2d, frozen_conv2d_relu, upsampled_conv2d
from modules.training.setup import check_amp
from modules.training.trainer import Trainer
from modules.vgg import Vgg19
from tests.support.marks import needs_bfloat16
from tests.support.tiny import tiny_config

UNIT = 2.0**-9  # the relative error of a value that is rounded to bfloat16, at most


@pytest.fixture(params=['AMX', 'AVX-512'])
def bf16(request, monkeypatch):
    """A CPU that has bfloat16, with matrix units for it or without."""
    monkeypatch.setattr(precision, 'has_bf16', lambda: True)
    monkeypatch.setattr(convolution, 'has_instructions', lambda *names: request.param == 'AMX')
    return request.param


@pytest.fixture
def computed(monkeypatch):
    """What computed each convolution: 'low', 'float32' or 'winograd'."""
    kinds = []
    onednn._works(), onednn._works_low()  # which try some once

    def note(module, name, kind_of):
        function = getattr(module, name)

        def noted(*args, **kwargs):
            kinds.append(kind_of(*args, **kwargs))
            return function(*args, **kwargs)

        monkeypatch.setattr(module, name, noted)

    note(onednn, 'conv2d', lambda x, weight, padding, low: 'low' if low else 'float32')
    note(onednn, 'frozen_conv2d_relu', lambda *args: 'low' if args[3] else 'float32')
    note(onednn, 'transposed_conv2d', lambda x, kernel, low: 'low' if low else 'float32')
    for name in ('conv2d', 'frozen_conv2d_relu'):
        note(winograd, name, lambda *args: 'winograd')
    return kinds


def tensors(*shapes):
    rng = np.random.default_rng(0)
    return [
        paddle.to_tensor(rng.normal(size=shape).astype('float32'), stop_gradient=False)
        for shape in shapes
    ]


def outputs_and_gradients(function, *inputs):
    y = function(*inputs)
    weights = paddle.cos(paddle.arange(y.size, dtype='float32')).reshape(y.shape)
    return [y, *paddle.grad((weights * y).sum(), list(inputs))]


def assert_rounded(found, wanted):
    """As close as rounded factors and results make it, and no closer."""
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == paddle.float32 and a.shape == b.shape
        error = (a - b).square().mean().sqrt().item() / b.square().mean().sqrt().item()
        assert UNIT / 10 < error < 2 * UNIT


@needs_bfloat16
@pytest.mark.parametrize(
    ('in_channels', 'out_channels', 'size', 'padding'),
    [(16, 32, 3, 1), (40, 24, 4, 0), (16, 16, 7, 3), (20, 30, 1, 0)],
)
def test_a_low_convolution_and_its_gradients(in_channels, out_channels, size, padding):
    x, weight = tensors((2, in_channels, 9, 11), (out_channels, in_channels, size, size))
    assert onednn.serves_low(weight)
    found = outputs_and_gradients(lambda x, w: onednn.conv2d(x, w, padding, low=True), x, weight)
    wanted = outputs_and_gradients(lambda x, w: F.conv2d(x, w, padding=padding), x, weight)
    assert_rounded(found, wanted)


@needs_bfloat16
@pytest.mark.parametrize('frozen', ['image', 'weight'])
def test_only_what_is_trained_gets_a_low_gradient(frozen):
    x, weight = tensors((2, 16, 9, 8), (32, 16, 4, 4))
    still, trained = (x, weight) if frozen == 'image' else (weight, x)
    still.stop_gradient = True
    outputs = []
    for convolve in (
        lambda: onednn.conv2d(x, weight, 1, low=True),
        lambda: F.conv2d(x, weight, padding=1),
    ):
        y = convolve()
        y.sum().backward()
        outputs.append(trained.grad.clone())
        trained.clear_gradient()
    assert still.grad is None
    assert_rounded(outputs[:1], outputs[1:])


@needs_bfloat16
def test_a_low_transposed_convolution_and_its_gradients():
    x, kernel = tensors((2, 32, 6, 5), (32, 16, 4, 4))
    found = outputs_and_gradients(lambda x, k: onednn.transposed_conv2d(x, k, low=True), x, kernel)
    wanted = outputs_and_gradients(
        lambda x, k: F.conv2d_transpose(x, k, stride=2, padding=1), x, kernel
    )
    np.testing.assert_allclose(found[1].numpy(), wanted[1].numpy(), atol=2e-4)  # in float32
    assert_rounded([found[0], found[2]], [wanted[0], wanted[2]])


@needs_bfloat16
def test_what_autocast_lowers(bf16, computed):
    """Of 64 channels and more, without matrix units, Winograd's transforms are as fast."""
    image, few = tensors((1, 128, 32, 32), (1, 3, 32, 32))
    wide, narrow, first, bias = tensors((128, 128, 3, 3), (32, 128, 3, 3), (32, 3, 3, 3), (128,))

    def compute():
        conv2d(image, wide, padding=1)
        conv2d(image, narrow, padding=1)
        conv2d(few, first, padding=1)
        upsampled_conv2d(image, narrow)
        frozen_conv2d_relu(image, wide, bias)
        kinds = computed.copy()
        computed.clear()
        return kinds

    full = ['winograd', 'float32', 'float32', 'float32', 'winograd']
    low = ['low', 'low', 'float32', 'low', 'low']
    if bf16 == 'AVX-512':
        low[0] = low[-1] = 'winograd'
    assert compute() == full
    with precision.autocast('bfloat16'):
        assert compute() == low
        with precision.full_precision():
            assert compute() == full
        assert compute() == low
    with precision.autocast('float32'), precision.autocast(None), precision.autocast('float16'):
        assert compute() == full


@needs_bfloat16
def test_a_frozen_convolution(bf16):
    x, weight, bias = tensors((1, 32, 8, 8), (64, 32, 3, 3), (64,))
    weight.stop_gradient = bias.stop_gradient = True
    wanted = outputs_and_gradients(lambda x: F.relu(F.conv2d(x, weight, bias, padding=1)), x)
    with precision.autocast('bfloat16'):
        found = outputs_and_gradients(lambda x: frozen_conv2d_relu(x, weight, bias), x)
    signs = (found[0] > 0).astype('float32') == (wanted[0] > 0).astype('float32')
    assert signs.astype('float32').mean() > 0.99
    assert_rounded(found[:1], wanted[:1])


def test_without_bfloat16_autocast_changes_nothing(monkeypatch):
    monkeypatch.setattr(precision, 'has_bf16', lambda: False)
    with precision.autocast('bfloat16'):
        assert not precision.convolutions_are_low()


@needs_bfloat16
def test_a_kernel_that_is_wrong_is_told_and_not_used(monkeypatch, capsys):
    (weight,) = tensors((16, 16, 3, 3))
    monkeypatch.setattr(onednn, '_turned', lambda weight: weight.transpose([1, 0, 2, 3]))
    onednn._works_low.cache_clear()
    try:
        assert not onednn.serves_low(weight)
        assert not onednn.serves_low(weight)
    finally:
        onednn._works_low.cache_clear()
    line = 'note: convolutions in float32, so slower: its values are not those of Paddle\n'
    assert capsys.readouterr().err == line


def test_a_line_tells_where_amp_has_no_effect(monkeypatch, capsys):
    monkeypatch.setattr(precision, 'has_bf16', lambda: True)
    check_amp('bf16')
    assert capsys.readouterr().err == ''
    check_amp('fp16')
    assert capsys.readouterr().err == 'note: amp: fp16 has no effect on this CPU\n'
    monkeypatch.setattr(precision, 'has_bf16', lambda: False)
    check_amp('bf16')
    line = 'note: amp: bf16 has no effect on this CPU: it has no instructions for it\n'
    assert capsys.readouterr().err == line


def one_step(amp):
    """The losses of a step, and the gradients that the weights got."""
    paddle.seed(0)
    config = tiny_config({'perceptual': [1, 1, 1, 1, 1]}, amp=amp)
    models, vgg = build_models(config), Vgg19()
    vgg.seed()
    trainer = Trainer(config, models, TrainingLosses(config, vgg))
    rng = np.random.default_rng(0)
    frames = [paddle.to_tensor(rng.random((2, 3, 32, 32), np.float32)) for _ in range(2)]
    gradients, update = {}, trainer._update

    def noting_update():
        for name, network in models._asdict().items():
            for key, parameter in network.named_parameters():
                if parameter.grad is not None:
                    gradients[f'{name}.{key}'] = parameter.grad.clone()
        return update()

    trainer._update = noting_update
    step = trainer.step(*frames)
    assert {p.dtype for network in models for p in network.parameters()} == {paddle.float32}
    assert step.last.generated.prediction.dtype == paddle.float32
    return {name: loss.item() for name, loss in step.losses.items()}, gradients


@needs_bfloat16
def test_a_training_step_in_bfloat16(bf16, computed):
    """It differs from one in float32 by rounding alone."""
    losses, gradients = one_step(None)
    assert 'low' not in computed
    low_losses, low_gradients = one_step('bf16')
    assert 'low' in computed
    assert low_losses == pytest.approx(losses, rel=0.02) and low_losses != losses
    assert low_gradients.keys() == gradients.keys()
    assert {gradient.dtype for gradient in low_gradients.values()} == {paddle.float32}
    for network in ('generator', 'kp_detector', 'discriminator'):
        found, wanted = (
            paddle.concat([g.flatten() for name, g in all_.items() if name.startswith(network)])
            for all_ in (low_gradients, gradients)
        )
        assert F.cosine_similarity(found, wanted, axis=0).item() > 0.99
