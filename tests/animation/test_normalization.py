"""Keypoints carried over to the source: areas, scales, and the official code's numbers."""

import numpy as np
import paddle
import pytest
from scipy.spatial import ConvexHull

from modules.animation.normalization import (
    ABSOLUTE,
    Normalization,
    hull_area,
    movement_scale,
    normalize_kp,
)
from modules.runtime.errors import UserError
from modules.util import Keypoints
from tests.support.places import ROOT

UNITS = ROOT / 'tests' / 'support' / 'data' / 'golden' / 'unit.align_corners_True.npz'
SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], 'float32')


def keypoints(value, jacobian=None):
    jacobian = np.eye(2) if jacobian is None else jacobian
    tensors = np.broadcast_to(jacobian, (1, len(value), 2, 2)).astype('float32')
    return Keypoints(paddle.to_tensor(value[None].astype('float32')), paddle.to_tensor(tensors))


@pytest.mark.parametrize('adapt', [0, 1])
@pytest.mark.parametrize('relative', [0, 1])
@pytest.mark.parametrize('jacobian', [0, 1])
def test_numbers_are_the_official_ones(adapt, relative, jacobian):
    with np.load(UNITS) as units:
        official = {name: paddle.to_tensor(units[name]) for name in units if name[:5] == 'norm.'}
    source, driving, initial = (
        Keypoints(official[f'norm.kp_{name}.value'], official[f'norm.kp_{name}.jacobian'])
        for name in ('source', 'driving', 'initial')
    )
    scale = movement_scale(source, initial) if adapt else 1.0
    wanted = Normalization(bool(relative), bool(jacobian), bool(adapt))
    ours = normalize_kp(source, driving, initial, wanted, scale)
    case = f'norm.adapt{adapt}_rel{relative}_jac{jacobian}'
    np.testing.assert_allclose(ours.value, official[f'{case}.value'], atol=1e-6)
    np.testing.assert_allclose(ours.jacobian, official[f'{case}.jacobian'], atol=1e-5)


def test_areas_and_scale():
    assert hull_area(SQUARE) == pytest.approx(4)
    assert movement_scale(keypoints(SQUARE), keypoints(SQUARE / 2)) == pytest.approx(2)
    with pytest.raises(UserError, match='no area'):
        hull_area(SQUARE[[0, 2, 0, 2]])
    with pytest.raises(UserError, match='no area'):
        hull_area(SQUARE[:2])
    with pytest.raises(UserError, match='no area'):
        hull_area(np.array([[0, 0], [1, 0], [0, np.nan]], 'float32'))


@pytest.mark.parametrize('count', [4, 10, 30])
@pytest.mark.parametrize('grid', [0, 0.5])  # on a grid, points coincide or lie on an edge
def test_areas_are_scipys(count, grid):
    random = np.random.default_rng(count)
    for _ in range(50):
        points = random.standard_normal((count, 2)).astype('float32')
        if grid:
            points[:-3] = np.round(points[:-3] / grid) * grid  # never all of them on a line
        assert hull_area(points) == pytest.approx(ConvexHull(points).volume, rel=1e-9)


def test_relative_movement_starts_at_the_source():
    source, initial = keypoints(SQUARE), keypoints(SQUARE / 2 + 0.1)
    relative = Normalization(True, True)
    still = normalize_kp(source, initial, initial, relative)
    np.testing.assert_allclose(still.value, source.value, atol=1e-6)
    np.testing.assert_allclose(still.jacobian, source.jacobian, atol=1e-6)
    moved = keypoints(SQUARE / 2 + 0.2, jacobian=[[0, -2], [2, 0]])
    carried = normalize_kp(source, moved, initial, relative, scale=3)
    np.testing.assert_allclose(carried.value, source.value + 0.3, atol=1e-6)
    np.testing.assert_allclose(carried.jacobian[0, 0], [[0, -2], [2, 0]], atol=1e-6)
    values_only = normalize_kp(source, moved, initial, Normalization(True, False))
    np.testing.assert_allclose(values_only.jacobian, moved.jacobian)
    assert normalize_kp(source, moved, initial, ABSOLUTE) is moved


def test_the_movement_is_scaled():
    """Of any point near a keypoint, by the factor; 1 to the bit, and 0 is the source."""
    random = np.random.RandomState(0)
    source, initial, driving = (
        keypoints(random.uniform(-1, 1, (4, 2)), np.eye(2) + random.normal(0, 0.3, (4, 2, 2)))
        for _ in range(3)
    )
    relative = Normalization(True, True)

    def carried(factor):
        return normalize_kp(source, driving, initial, relative._replace(motion_scale=factor), 1.3)

    plain = normalize_kp(source, driving, initial, relative, 1.3)
    for found, wanted in ((carried(1.0), plain), (carried(0.0), source)):
        for part, other in zip(found, wanted):
            np.testing.assert_array_equal(part, other)

    def moved(kp):
        """How far a point beside each of the source's keypoints goes."""
        beside = paddle.full([4, 2, 1], 0.1)
        before = source.value[0] + (source.jacobian[0] @ beside)[..., 0]
        return kp.value[0] + (kp.jacobian[0] @ beside)[..., 0] - before

    for factor in (0.5, 2.0):
        np.testing.assert_allclose(moved(carried(factor)), moved(plain) * factor, atol=1e-5)


def test_zero_order_keypoints_have_no_jacobian_to_carry():
    kp = Keypoints(paddle.zeros([1, 3, 2]))
    assert normalize_kp(kp, kp, kp, Normalization(True, True)).jacobian is None


def test_a_clip_of_keypoints_is_no_set_of_keypoints():
    with pytest.raises(ValueError, match=r'shape \(1, 4, 2\), not \(K, 2\)'):
        hull_area(SQUARE[None])
