"""The networks and their blocks, against independent computations."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest

from modules.build import build_models
from modules.model import frozen
from modules.ops import convolution, device
from modules.ops.convolution import upsample_nearest_x2
from modules.ops.sampling import grid_sample, resize_bilinear
from modules.util import (
    AntiAliasInterpolation2d,
    BatchNorm2D,
    Conv2D,
    DownBlock2d,
    Keypoints,
    ResBlock2d,
    UpBlock2d,
    make_coordinate_grid,
)
from tests.support.tiny import small_config, small_models


@pytest.fixture(scope='module')
def models():
    return small_models().eval()


@pytest.fixture(scope='module')
def frames():
    return paddle.to_tensor(np.random.RandomState(0).rand(3, 3, 32, 48).astype('float32'))


def keypoints(batch, num_kp, dtype='float64'):
    rng = np.random.RandomState(1)
    value = rng.uniform(-0.8, 0.8, (batch, num_kp, 2))
    jacobian = np.eye(2) + rng.uniform(-0.3, 0.3, (batch, num_kp, 2, 2))
    return Keypoints(paddle.to_tensor(value, dtype), paddle.to_tensor(jacobian, dtype))


def test_batch_equals_single_frames(models, frames):
    kp = models.kp_detector(frames)
    out = models.generator(frames, kp_driving=Keypoints(*(p.flip(0) for p in kp)), kp_source=kp)
    single_kp = [models.kp_detector(frames[i : i + 1]) for i in range(3)]
    for i in range(3):
        np.testing.assert_allclose(kp.value[i], single_kp[i].value[0], atol=1e-6)
        np.testing.assert_allclose(kp.jacobian[i], single_kp[i].jacobian[0], atol=1e-6)
        single = models.generator(
            frames[i : i + 1], kp_driving=single_kp[2 - i], kp_source=single_kp[i]
        )
        for part in ('prediction', 'deformed', 'mask', 'occlusion_map'):
            np.testing.assert_allclose(getattr(out, part)[i], getattr(single, part)[0], atol=1e-5)


def test_shapes_and_ranges(models, frames):
    kp = models.kp_detector(frames)
    assert kp.value.shape == [3, 4, 2] and kp.jacobian.shape == [3, 4, 2, 2]
    assert np.abs(kp.value.numpy()).max() <= 1
    out = models.generator(frames, kp_driving=kp, kp_source=kp)
    assert out.prediction.shape == [3, 3, 32, 48]
    assert out.mask.shape == [3, 5, 16, 24]
    assert out.sparse_deformed.shape == [3, 5, 3, 16, 24]
    assert out.occlusion_map.shape == [3, 1, 16, 24]
    np.testing.assert_allclose(out.mask.sum(1), 1, atol=1e-5)
    assert float(out.prediction.min()) >= 0 and float(out.prediction.max()) <= 1


def test_same_pose_leaves_the_source_undeformed(models, frames):
    """With kp_driving = kp_source every motion is the identity, so nothing moves."""
    kp = models.kp_detector(frames)
    out = models.generator(frames, kp_driving=kp, kp_source=kp)
    reduced = models.generator.dense_motion_network.reduce(frames)
    for motion in range(5):
        np.testing.assert_allclose(out.sparse_deformed[:, motion], reduced, atol=1e-4)


def test_a_keypoint_motion_moves_the_image_the_right_way(models):
    """Driving keypoints to the right of the source's: the content is found further left."""
    kp_source = Keypoints(paddle.zeros([1, 4, 2]), paddle.eye(2).expand([1, 4, 2, 2]))
    kp_driving = kp_source._replace(value=kp_source.value + paddle.to_tensor([0.5, 0.0]))
    motions = models.generator.dense_motion_network.sparse_motions((8, 8), kp_driving, kp_source)
    identity = make_coordinate_grid((8, 8), motions.dtype)
    np.testing.assert_allclose(motions[0, 0], identity, atol=1e-6)
    np.testing.assert_allclose(motions[0, 1], identity - paddle.to_tensor([0.5, 0.0]), atol=1e-6)


def test_untrained_jacobians_are_the_identity(models, frames):
    jacobian = models.kp_detector(frames).jacobian
    np.testing.assert_allclose(jacobian, paddle.eye(2).expand(jacobian.shape), atol=1e-5)


def test_zero_order_model_and_options(frames):
    config = small_config(
        common_params={'estimate_jacobian': False},
        generator_params={'estimate_occlusion_map': False},
        discriminator_params={'scales': [1, 0.5], 'use_kp': True, 'sn': False},
    )
    models = build_models(config).eval()
    kp = models.kp_detector(frames)
    assert kp.jacobian is None
    assert models.generator(frames, kp_driving=kp, kp_source=kp).occlusion_map is None
    half = AntiAliasInterpolation2d(3, 0.5)(frames)
    judged = models.discriminator({1: frames, 0.5: half}, kp)
    assert set(judged) == {1, 0.5} and len(judged[1].feature_maps) == 2
    assert judged[0.5].prediction_map.shape == [3, 1, 3, 7]


def test_initial_values_are_pytorchs():
    """Uniform in +-1/sqrt(fan_in), for weight and bias alike; norms at 1 and 0."""
    paddle.seed(3)
    conv = Conv2D(16, 64, 5, 2)
    bound = (16 * 25) ** -0.5
    weight = conv.weight.numpy()
    assert np.abs(weight).max() <= bound and np.abs(weight).max() > 0.999 * bound
    assert abs(weight.std() - bound / np.sqrt(3)) < 0.01 * bound
    assert np.abs(conv.bias.numpy()).max() <= bound and conv.bias.numpy().std() > 0.4 * bound
    models = build_models(small_config())
    for name, value in models.generator.state_dict().items():
        if name.endswith('norm.weight') or name.endswith('_variance'):
            assert (value.numpy() == 1).all(), name
        elif name.endswith('norm.bias') or name.endswith('_mean'):
            assert (value.numpy() == 0).all(), name


@pytest.mark.parametrize('dtype, tolerance', [('float32', 1e-6), ('float64', 1e-14)])
def test_running_variance_is_unbiased(dtype, tolerance):
    x = np.random.RandomState(0).randn(2, 3, 4, 5).astype(dtype)
    norm = BatchNorm2D(3)
    norm.to(dtype=dtype)
    norm.train()
    norm(paddle.to_tensor(x))
    samples = x.transpose(1, 0, 2, 3).reshape(3, -1)
    np.testing.assert_allclose(norm._mean, 0.1 * samples.mean(1), atol=tolerance)
    variance = 0.9 + 0.1 * samples.var(1, ddof=1)
    np.testing.assert_allclose(norm._variance, variance, atol=tolerance)


def outputs_and_gradients(monkeypatch, rearranged, layer, *inputs):
    monkeypatch.setattr(device, 'rearranges', lambda x: rearranged)
    inputs = [paddle.to_tensor(x, stop_gradient=False) for x in inputs]
    layer.clear_gradients()
    y = layer(*inputs)
    weights = paddle.cos(paddle.arange(y.size, dtype='float64')).reshape(y.shape)
    (weights * y * y).sum().backward()
    trained = [p for p in layer.parameters() if not p.stop_gradient]
    return [tensor.numpy().copy() for tensor in (y, *(x.grad for x in (*inputs, *trained)))]


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('block', [UpBlock2d, DownBlock2d, ResBlock2d])
def test_rearranged_blocks(monkeypatch, block, training):
    """Values, gradients and running statistics are those of the operations in their order."""
    monkeypatch.setattr(convolution, '_SUM_KERNELS_FROM', 1)
    rng = np.random.default_rng(0)
    layer = (block(4) if block is ResBlock2d else block(4, 3)).to(dtype='float64')
    layer.train() if training else layer.eval()
    start = {name: rng.uniform(0.5, 1.5, t.shape) for name, t in layer.state_dict().items()}
    x = rng.normal(size=(2, 4, 8, 6))
    found = []
    for fast in (False, True):
        layer.set_state_dict(start)
        values = outputs_and_gradients(monkeypatch, fast, layer, x)
        state = {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}
        found.append([*values, *state.values()])
    assert training == any((state[name] != start[name]).any() for name in state)
    for plain, fast in zip(*found):
        np.testing.assert_allclose(fast, plain, rtol=1e-9, atol=1e-9)


def test_batch_norm_refuses_a_single_value():
    with pytest.raises(ValueError, match='more than one value'):
        BatchNorm2D(3).train()(paddle.ones([1, 3, 1, 1]))


@pytest.mark.parametrize('size', [(10, 14), (3, 4), (5, 21), (16, 7)])
def test_resize_bilinear(size):
    x = paddle.to_tensor(np.random.RandomState(0).rand(2, 3, 5, 7).astype('float32'))
    expected = F.interpolate(x, size=size, mode='bilinear', align_corners=False)
    np.testing.assert_allclose(resize_bilinear(x, size), expected, atol=2e-6)


def test_upsample_nearest():
    x = np.random.RandomState(0).rand(2, 3, 5, 7)
    expected = x.repeat(2, axis=2).repeat(2, axis=3)
    np.testing.assert_array_equal(upsample_nearest_x2(paddle.to_tensor(x)), expected)


def test_grid_sample_where_only_the_grid_is_trained():
    """Paddle's own kernel crashes here; the gradient must also be right."""
    image = paddle.to_tensor(np.random.RandomState(0).rand(1, 2, 6, 6))
    grid = paddle.to_tensor(np.random.RandomState(1).uniform(-0.9, 0.9, (1, 3, 3, 2)))
    grid.stop_gradient = False
    grid_sample(image, grid, True).sum().backward()
    gradient = grid.grad
    step = 1e-6
    for index in [(0, 0, 0, 0), (0, 1, 2, 1)]:
        moved = grid.detach().clone().numpy()
        moved[index] += step
        change = (
            grid_sample(image, paddle.to_tensor(moved), True).sum()
            - grid_sample(image, grid.detach(), True).sum()
        )
        assert abs(change.item() / step - gradient.numpy()[index]) < 1e-4


def test_frozen_network_passes_gradient_on_and_collects_none(models, frames):
    frames = frames.clone()
    frames.stop_gradient = False
    with frozen(models.discriminator):
        models.discriminator({1: frames})[1].prediction_map.sum().backward()
    assert float(frames.grad.abs().sum()) > 0
    assert all(p.grad is None for p in models.discriminator.parameters())
    assert not models.discriminator.parameters()[0].stop_gradient
