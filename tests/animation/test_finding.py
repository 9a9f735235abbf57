"""Objects found by keypoints: of coloured patches, and of the bundled networks."""

import numpy as np
import pytest

from modules.animation.boxes import Box, overlap, whole
from modules.animation.cropping import SURE
from modules.animation.finding import Finder, crops_to_try
from tests.support.patches import PLACES, SIZE, detect_patches, patches

WANTED = PLACES * 2 - 1


@pytest.mark.parametrize(
    'shape, box',
    [
        ((240, 320), (30, 60, 120, 120)),
        ((240, 320), (150, 20, 150, 150)),
        ((320, 180), (20, 150, 150, 150)),
        ((200, 200), (110, -30, 120, 120)),  # reaches beyond the border, as do mirrored patches
        ((200, 200), (0, 0, 200, 200)),
        ((1500, 2000), (900, 700, 500, 500)),  # is looked at in a smaller size
    ],
)
def test_an_object_is_found(shape, box):
    finder = Finder(detect_patches, SIZE)
    found = finder.find(patches(*shape, Box(*box)), WANTED)
    assert overlap(found.box, Box(*box)) > 0.85
    assert found.quality > 0.6


def test_what_is_not_there_is_not_found():
    finder = Finder(detect_patches, SIZE)
    empty = np.full((200, 300, 3), 128, np.uint8)
    found = finder.find(empty, WANTED)
    assert found is None or found.quality < 0.3
    assert finder.fills(empty, WANTED) == 0
    assert finder.find(empty, np.zeros((4, 2))) is None  # keypoints in one place have no size
    assert finder.pose(empty) is None


def test_keypoints_that_lie_alike_in_all_crops_find_nothing():
    """As those of networks without training may: every crop says that it is the right one."""
    finder = Finder(lambda frames: np.stack([WANTED] * len(frames)), SIZE)
    found = finder.find(np.full((200, 300, 3), 128, np.uint8), WANTED)
    assert found.unlikeness < 0.01 and found.quality < 0.1
    assert finder.fills(np.zeros((99, 99, 3), np.uint8), WANTED) == pytest.approx(1)


def test_how_much_an_object_fills():
    finder = Finder(detect_patches, SIZE)
    for side, least, most in ((200, 0.95, 1), (150, 0.5, 0.6), (80, 0.1, 0.2)):
        filled = finder.fills(patches(200, 200, Box(0, 0, side, side)), WANTED)
        assert least <= filled <= most


def test_a_frame_that_is_no_square():
    """Twice as wide as high: the crop is as well, and nothing is squeezed."""
    finder = Finder(detect_patches, (64, 128))
    picture = patches(240, 320, Box(40, 50, 200, 100))
    found = finder.find(picture, WANTED)
    assert found.box.w == pytest.approx(2 * found.box.h)
    assert overlap(found.box, Box(40, 50, 200, 100)) > 0.9


def test_a_pose_without_anything_to_compare():
    """It is the object's, in the middle of its frame."""
    finder = Finder(detect_patches, SIZE)
    box = Box(120, 60, 130, 130)
    picture = patches(240, 320, box)
    pose = finder.pose(picture)
    low, high = pose.min(0), pose.max(0)
    np.testing.assert_allclose(low + high, 0, atol=1e-9)
    found = finder.find(picture, pose)
    points = np.array([[box.x, box.y]]) + PLACES * box.w
    middle = (points.min(0) + points.max(0)) / 2
    assert found.box.centre == pytest.approx(tuple(middle), abs=4)
    assert found.box.w > np.ptp(points, axis=0).max() * 1.3


def test_crops_cover_the_picture():
    crops = crops_to_try((300, 500))
    assert all(crop.w == crop.h for crop in crops)
    assert len(crops) < 400
    assert crops[0] == Box(0, -100, 500, 500)  # all of it
    for x, y, side in ((0, 0, 100), (400, 200, 100), (210, 90, 160), (100, 0, 300)):
        assert max(overlap(Box(x, y, side, side), crop) for crop in crops) > 0.45


def test_the_bundled_networks_find_creatures():
    from modules.animation.clip import keypoint_detection
    from modules.animation.inputs import BUNDLED_CHECKPOINT, BUNDLED_CONFIG
    from modules.checkpoints.models import StoredModels
    from modules.config import load_config
    from modules.eager import EagerEngine
    from tools.creature_drawing.placements import placements

    models = StoredModels(load_config(BUNDLED_CONFIG), str(BUNDLED_CHECKPOINT)).load()
    finder = Finder(keypoint_detection(EagerEngine(models, batch=16)), (128, 128))
    for case in placements(3, 128, seed=1):
        found = finder.find(case.picture, finder.points(case.driving, whole(case.driving)))
        assert overlap(found.box, case.box) >= 0.75
        assert found.quality > SURE
