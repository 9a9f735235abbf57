"""The animation loop: normalisation of keypoints, streaming, the initial frame."""

import numpy as np
import paddle
import pytest

from modules.animation.animator import (
    Painter,
    animate,
    detected,
    explained_animation,
    paint,
    paint_moving,
)
from modules.animation.driving import find_best_frame
from modules.animation.normalization import (
    ABSOLUTE,
    Normalization,
    normalize_kp,
)
from modules.eager import as_engine
from modules.runtime.errors import UserError
from modules.util import Keypoints
from modules.video.levels import to_bytes
from tests.support.tiny import small_models

SQUARE = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], 'float32')


def keypoints(value, jacobian=None):
    jacobian = np.eye(2) if jacobian is None else jacobian
    tensors = np.broadcast_to(jacobian, (1, len(value), 2, 2)).astype('float32')
    return Keypoints(paddle.to_tensor(value[None].astype('float32')), paddle.to_tensor(tensors))


@pytest.fixture(scope='module')
def models():
    return small_models()


@pytest.fixture(scope='module')
def clip():
    return np.random.RandomState(0).rand(5, 32, 48, 3).astype('float32')


def test_frames_stream_one_by_one(models, clip):
    """A frame is animated before the next one is asked for."""
    asked = []

    def driving():
        for i, frame in enumerate(clip):
            asked.append(i)
            yield frame

    results = animate(models, clip[0], driving())
    assert asked == []
    next(results)
    assert asked == [0]
    assert len(list(results)) == 4


def test_result_is_that_of_the_whole_generator(models, clip):
    frames = list(animate(models, clip[0], clip, Normalization(True, True, True)))
    assert all(frame.shape == (32, 48, 3) and frame.dtype == np.float32 for frame in frames)
    models.eval()
    batch = paddle.to_tensor(clip.transpose(0, 3, 1, 2))
    with paddle.no_grad():
        kp = models.kp_detector(batch)
        first = Keypoints(*(part[:1] for part in kp))
        third = Keypoints(*(part[3:4] for part in kp))
        kp_norm = normalize_kp(first, third, first, Normalization(True, True), 1.0)
        expected = models.generator(batch[:1], kp_driving=kp_norm, kp_source=first).prediction
    np.testing.assert_allclose(frames[3], expected[0].transpose([1, 2, 0]), atol=1e-5)


def test_initial_frame_is_where_nothing_moves(models, clip):
    relative = Normalization(True, True)
    still = next(animate(models, clip[1], clip[1:2], ABSOLUTE))
    frames = list(animate(models, clip[1], clip, relative, initial=clip[3]))
    np.testing.assert_allclose(frames[3], still, atol=1e-5)
    assert np.abs(frames[0] - still).max() > 1e-5


def test_several_sources_are_painted_in_poses_found_once(models, clip, monkeypatch):
    engine, relative = as_engine(models), Normalization(True, True)
    alone = [list(animate(engine, source, clip, relative)) for source in clip[:3]]
    painters = [Painter(engine, source, relative) for source in clip[:3]]
    counts, detect = [], engine.detect
    monkeypatch.setattr(engine, 'detect', lambda x: counts.append(len(x)) or detect(x))
    found = list(paint(painters, detected(engine, clip)))
    assert len(found) == sum(counts) == 5 and {len(frames) for frames in found} == {3}
    for frames, *expected in zip(found, *alone):
        for frame, wanted in zip(frames, expected):
            np.testing.assert_array_equal(frame, wanted)


def test_sources_that_stay_are_encoded_once(models, clip, monkeypatch):
    engine = as_engine(models)
    counts, encode = [], engine.encode
    monkeypatch.setattr(engine, 'encode', lambda *x: counts.append(1) or encode(*x))
    first, second = clip[:2]
    sources = [first, second, second, second]
    poses = list(detected(engine, clip[:3]))
    poses.append(poses[-1])
    found = list(paint_moving(engine, sources, iter(poses)))
    assert len(counts) == 2 and len(found) == 4 and found[3] is found[2]
    for frame, source, driving in zip(found[:3], sources, clip):
        np.testing.assert_array_equal(frame, next(animate(models, source, [driving])))


def test_plain_frames_cost_one_warp_each(models, clip, monkeypatch):
    """The deformed source, which is not asked for, would be another."""
    warps, deform = [], models.generator.deform
    monkeypatch.setattr(
        models.generator, 'deform', lambda *inputs: warps.append(1) or deform(*inputs)
    )
    assert len(list(animate(models, clip[0], clip))) == len(warps) == 5
    steps = explained_animation(models, clip[0], clip[:1], with_deformed=False)
    assert len(list(steps)) == 1 and len(warps) == 6


def test_what_explains_a_frame(models, clip):
    normalization = Normalization(True, True)
    frames = list(animate(models, clip[0], clip, normalization))
    for with_deformed in (False, True):
        steps = explained_animation(
            models, clip[0], clip, normalization, with_deformed=with_deformed
        )
        for step, frame, driving in zip(steps, frames, clip):
            np.testing.assert_array_equal(step.frame, frame)
            np.testing.assert_array_equal(step.driving[0], driving.transpose(2, 0, 1))
            np.testing.assert_array_equal(step.source[0], clip[0].transpose(2, 0, 1))
            assert (step.generated.deformed is not None) == with_deformed
    detected = models.kp_detector(step.driving)
    np.testing.assert_array_equal(step.kp_driving.value, detected.value)
    carried = normalize_kp(step.kp_source, detected, models.kp_detector(step.source), normalization)
    np.testing.assert_allclose(step.kp_norm.value, carried.value, atol=1e-6)


def test_best_frame_is_the_source_itself(models, clip):
    poses = list(detected(as_engine(models), clip))
    number, pose = find_best_frame(Painter(models, clip[2]).kp_source, iter(poses))
    assert number == 2 and pose is poses[2]


def test_poses_of_no_size_are_passed_over():
    flat, other = keypoints(SQUARE[[0, 2, 0, 2]]), keypoints(SQUARE * [1, 3])
    square, small = keypoints(SQUARE), keypoints(SQUARE / 2)
    number, best = find_best_frame(square, [flat, other, other, small, flat])
    assert number == 3 and best is small
    with pytest.raises(UserError, match='in any driving frame'):
        find_best_frame(square, [flat, flat])
    with pytest.raises(UserError, match='no area'):
        find_best_frame(flat, [other])


def test_bytes_are_rounded():
    levels = to_bytes(np.array([0, 0.5 / 255 + 1e-4, 1.0], 'float32'))
    np.testing.assert_array_equal(levels, [0, 1, 255])
