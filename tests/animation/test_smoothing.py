"""The one-euro filter over keypoints, and the figure for how much they tremble."""

from fractions import Fraction

import numpy as np
import paddle
import pytest

from modules.animation.driving import Smoother
from modules.animation.smoothing import Jitter, OneEuroFilter
from modules.util import Keypoints


def smoothed(points, fps=25, **settings):
    one_euro = OneEuroFilter(**settings)
    return np.stack([one_euro(point, 1 / fps) for point in points])


def jitter(points, scale=(1, 1)):
    figure = Jitter(scale)
    for point in points:
        figure.add(point)
    return figure.value


def test_jitter_is_the_distance_from_the_middle_of_the_neighbours():
    steady = np.arange(10.0)[:, None, None] * [3, -2]
    assert jitter(steady) == pytest.approx(0, abs=1e-12)
    zigzag = np.zeros((9, 1, 2))
    zigzag[::2, :, 0] = 1
    assert jitter(zigzag) == pytest.approx(1)
    assert jitter(zigzag, (64, 5)) == pytest.approx(64)
    assert jitter(zigzag[:2]) is None


def test_what_stands_stays_and_the_first_is_as_it_is():
    points = np.full((5, 3, 2), 0.25, 'float32')
    np.testing.assert_array_equal(smoothed(points), points)


def test_trembling_goes_and_movement_stays():
    random = np.random.default_rng(0)
    noise = random.normal(0, 0.005, (200, 4, 2))
    assert jitter(smoothed(noise)) < jitter(noise) / 3
    fast = np.linspace(-1, 1, 50)[:, None, None] * np.ones((1, 4, 2))  # a frame in two seconds
    lag = np.abs(smoothed(fast) - fast).max()
    assert lag < 0.02
    assert np.abs(smoothed(fast, beta=0) - fast).max() > 3 * lag  # but for the speed


@pytest.mark.parametrize('fps', [50, 100])
def test_it_goes_by_time(fps):
    """The same movement at another rate is smoothed alike."""

    def movement(rate):
        time = np.arange(2 * rate) / rate
        return 0.3 * np.sin(2 * np.pi * time)[:, None, None] * np.ones((1, 1, 2))

    def delay(rate, told):
        return np.abs(smoothed(movement(rate), told) - movement(rate)).max()

    assert 0.75 < delay(fps, fps) / delay(25, 25) < 1.1
    assert delay(fps, 25) < 0.6 * delay(25, 25)  # had it gone by frames


def test_a_turned_frame_turns_the_result():
    points = np.cumsum(np.random.default_rng(0).normal(0, 0.02, (30, 4, 2)), axis=0)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    np.testing.assert_allclose(smoothed(points @ turn), smoothed(points) @ turn, atol=1e-12)
    maps = np.eye(2) + np.random.default_rng(0).normal(0, 0.1, (30, 4, 2, 2))
    turned = smoothed(turn @ maps, num_axes=2)
    np.testing.assert_allclose(turned, turn @ smoothed(maps, num_axes=2), atol=1e-12)


def poses(values, jacobian=True):
    made = []
    for value in values.astype('float32'):
        maps = paddle.eye(2).expand([1, len(value), 2, 2]) if jacobian else None
        made.append(Keypoints(paddle.to_tensor(value[None]), maps))
    return made


def test_a_repeated_pose_is_one_sample_of_its_time():
    """Two samples a second: whether nothing stands between them or they are repeated."""
    values = np.random.default_rng(0).uniform(-1, 1, (4, 3, 2))
    few = poses(values)
    many = [pose for pose in few for _ in range(5)]
    once = list(Smoother(Fraction(2), (64, 64)).smooth(few))
    often = list(Smoother(Fraction(10), (64, 64)).smooth(many))
    for number, pose in enumerate(often):
        assert pose is often[number // 5 * 5]
        np.testing.assert_allclose(pose.value, once[number // 5].value, atol=1e-6)


@pytest.mark.parametrize('jacobian', [True, False])
def test_the_report(jacobian):
    values = np.zeros((9, 1, 2))
    values[::2, :, 0] = 2 / 63  # a pixel of 64
    smoother = Smoother(Fraction(25), (32, 64))
    made = list(smoother.smooth(poses(values, jacobian)))
    assert all((pose.jacobian is None) != jacobian for pose in made)
    assert smoother.report().startswith('jitter of the keypoints: 1.000 pixels, smoothed 0.')
    assert ('of the Jacobians: 0.0000, smoothed 0.0000' in smoother.report()) == jacobian
    short = Smoother(Fraction(25), (32, 64))
    assert len(list(short.smooth(poses(values[:2])))) == 2
    assert 'none' in short.report()
