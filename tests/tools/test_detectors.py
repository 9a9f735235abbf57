"""Keypoints found in truth and result."""

import sys
from types import ModuleType
from types import SimpleNamespace as Thing

import numpy as np
import pytest

from modules.evaluation.metrics import (
    KeypointMeasure,
)
from modules.runtime.errors import UserError
from tests.support.frame_pairs import Fixed, noise, pair_of
from tools.evaluation import detectors
from tools.evaluation.detectors import (
    build_detector,
)


def keypoints(truth_points, result_points):
    """AKD and MKR of a truth and a result with these keypoints."""
    truth, result = noise(0), noise(1)
    detect = Fixed((truth, truth_points), (result, result_points))
    measure = KeypointMeasure(detectors.EachFrame('fixed', detect))
    return measure(pair_of(truth, result))


def test_akd_is_the_distance_not_its_square_nor_its_parts():
    points = np.array([[1.0, 2.0], [5.0, 6.0]])
    assert keypoints(points, points)['akd'].mean == 0
    figures = keypoints(points, points + np.array([3, -4]))
    assert figures == {'akd': (10, 2), 'mkr': (0, 2), 'no_keypoints': (0, 1)}


def test_missed_keypoints_count_for_mkr_alone():
    points = np.arange(8.0).reshape(4, 2)
    result = points + np.array([0, 2])
    result[1] = np.nan
    points[3, 0] = np.nan  # found in the result only: neither missed nor compared
    assert keypoints(points, result) == {'akd': (4, 2), 'mkr': (1, 3), 'no_keypoints': (0, 1)}


def test_frames_without_keypoints_are_told():
    points = np.zeros((5, 2))
    assert keypoints(points, None) == {'akd': (0, 0), 'mkr': (5, 5), 'no_keypoints': (0, 1)}
    assert keypoints(None, points) == {'akd': (0, 0), 'mkr': (0, 0), 'no_keypoints': (1, 1)}
    assert keypoints(None, None)['no_keypoints'] == (1, 1)


@pytest.mark.parametrize('result', [np.zeros((4, 2)), np.zeros((3, 3)), 7.0])
def test_keypoints_of_another_shape(result):
    with pytest.raises(UserError, match='--detector fixed: '):
        keypoints(np.zeros((3, 2)), result)


def fake_mediapipe(monkeypatch, landmarks):
    """A stand-in for the package whose models always find these."""

    class Model:
        def __init__(self, static_image_mode, **_):
            assert static_image_mode  # else a frame's result depends on the frames before

        def process(self, frame):
            assert frame.dtype == np.uint8
            faces = [Thing(landmark=landmarks)] if landmarks else None
            return Thing(multi_face_landmarks=faces, pose_landmarks=faces and faces[0])

    package = ModuleType('mediapipe')
    package.solutions = Thing(face_mesh=Thing(FaceMesh=Model), pose=Thing(Pose=Model))
    monkeypatch.setitem(sys.modules, 'mediapipe', package)
    return package


@pytest.mark.parametrize('name', ['mediapipe-face', 'mediapipe-body'])
def test_mediapipe_landmarks_in_pixels(monkeypatch, name):
    seen = [Thing(x=0.25, y=0.5, visibility=0.9), Thing(x=0.5, y=1.0, visibility=0.1)]
    fake_mediapipe(monkeypatch, seen)
    frame = np.zeros((10, 40, 3), 'uint8')
    points, _ = build_detector(name)(pair_of(frame, frame))
    assert points[0].tolist() == [10, 5]
    if name == 'mediapipe-face':  # faces have no visibility
        assert points[1].tolist() == [20, 10]
    else:
        assert np.isnan(points[1]).all()
    fake_mediapipe(monkeypatch, [])
    assert build_detector(name)(pair_of(frame, frame))[0].size == 0


def test_mediapipe_without_weights_is_told(monkeypatch):
    package = fake_mediapipe(monkeypatch, [])
    del package.solutions
    package.__version__ = '1.2.3'
    with pytest.raises(UserError, match=r'MediaPipe 1\.2\.3 comes without its weights'):
        build_detector('mediapipe-face')
    monkeypatch.setitem(sys.modules, 'mediapipe', None)
    with pytest.raises(UserError, match=r'ModuleNotFoundError.*requirements-mediapipe\.txt'):
        build_detector('mediapipe-face')
