"""The random transforms of the equivariance losses, against the official code's numbers."""

import numpy as np
import paddle
import pytest

from modules.transform import Transform
from tests.support.places import ROOT

UNITS = ROOT / 'tests' / 'support' / 'data' / 'golden' / 'unit.align_corners_True.npz'


@pytest.fixture(scope='module')
def units():
    with np.load(UNITS) as arrays:
        return {name: arrays[name] for name in arrays if arrays[name].ndim}


@pytest.fixture(scope='module')
def frames():
    return paddle.to_tensor(np.random.RandomState(0).rand(3, 3, 32, 48).astype('float32'))


def transform_of(units, points=True):
    control = paddle.to_tensor(units['tps_control_params']) if points else None
    return Transform(paddle.to_tensor(units['tps_affine_noise']), control)


def test_numbers_are_the_official_ones(units):
    transform, points = transform_of(units), paddle.to_tensor(units['kp'])
    np.testing.assert_allclose(
        transform.warp_coordinates(points), units['warp_coordinates'], atol=1e-5
    )
    np.testing.assert_allclose(transform.jacobian(points), units['tps_jacobian'], atol=1e-4)
    frame = paddle.to_tensor(units['image']).astype('float32') / 255
    seen = transform.transform_frame(frame, align_corners=True)
    np.testing.assert_allclose(seen, units['transform_frame'], atol=1e-4)


def test_affine_numbers_are_the_official_ones(units):
    transform, points = transform_of(units, points=False), paddle.to_tensor(units['kp'])
    warped = transform.warp_coordinates(points)
    np.testing.assert_allclose(warped, units['warp_coordinates_affine_only'], atol=1e-6)
    jacobian = transform.jacobian(points)
    assert jacobian.shape == [2, 5, 2, 2]
    slopes = units['tps_affine_noise'][:, :, :2] + np.eye(2, dtype='float32')
    np.testing.assert_allclose(jacobian, np.broadcast_to(slopes[:, None], (2, 5, 2, 2)), atol=1e-6)


@pytest.mark.parametrize('points', [True, False])
def test_samples_keep_their_transforms(units, points):
    """A part of the batch is transformed as in the whole."""
    transform, z = transform_of(units, points), paddle.to_tensor(units['kp'])
    whole = transform.warp_coordinates(z)
    for samples in (slice(0, 1), slice(1, 2)):
        part = transform[samples].warp_coordinates(z[samples])
        np.testing.assert_allclose(part, whole[samples], atol=1e-6)


@pytest.mark.parametrize('points', [None, 5])
def test_transform_jacobian_is_the_derivative(points):
    rng = np.random.RandomState(0)
    control = None if points is None else paddle.to_tensor(rng.randn(2, 1, points**2) * 0.05)
    transform = Transform(paddle.to_tensor(rng.randn(2, 2, 3) * 0.1), control)
    z = paddle.to_tensor(rng.uniform(-0.9, 0.9, (2, 4, 2)))
    jacobian = transform.jacobian(z).numpy()
    step = 1e-6
    for axis in (0, 1):
        shift = np.zeros(2)
        shift[axis] = step
        ahead, behind = (transform.warp_coordinates(z + sign * shift) for sign in (1, -1))
        slope = (ahead - behind).numpy() / (2 * step)
        np.testing.assert_allclose(jacobian[..., axis], slope, atol=1e-6)


def test_transform_of_no_noise_is_the_identity(frames):
    transform = Transform(paddle.zeros([3, 2, 3]), paddle.zeros([3, 1, 25]))
    np.testing.assert_allclose(transform.transform_frame(frames, True), frames, atol=1e-5)


def test_random_transforms_have_the_widths_asked_for():
    transform = Transform.random(np.random.default_rng(0), 400, 0.05, sigma_tps=0.2, points_tps=5)
    assert transform.affine_noise.shape == [400, 2, 3]
    assert transform.control_params.shape == [400, 1, 25]
    assert transform.affine_noise.dtype == transform.control_params.dtype == paddle.float32
    assert transform.affine_noise.numpy().std() == pytest.approx(0.05, rel=0.05)
    assert transform.control_params.numpy().std() == pytest.approx(0.2, rel=0.05)
    for sigma, points in ((None, 5), (0.2, None), (None, None)):
        affine = Transform.random(np.random.default_rng(0), 1, 0.05, sigma, points)
        assert affine.control_params is None
    still = Transform.random(np.random.default_rng(0), 1, 0.0, sigma_tps=0.0, points_tps=5)
    points = paddle.to_tensor([[[0.3, -0.6]]])
    np.testing.assert_allclose(still.warp_coordinates(points), points, atol=1e-7)
