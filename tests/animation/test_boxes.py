"""Boxes in pictures, and what is cut out by them."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from modules.animation.boxes import Box, around, brought_inside, cut, overlap, square, whole
from modules.video import resize_frame

SIZE = (64, 64)


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('shape', [(64, 64), (90, 120), (33, 700), (1, 5)])
def test_all_of_a_picture_is_what_resizing_gives(shape):
    picture = noise(*shape)
    np.testing.assert_array_equal(cut(picture, whole(picture), SIZE), resize_frame(picture, SIZE))


@pytest.mark.parametrize('box', [(10, 20, 64, 64), (7, 3, 100, 80), (50, 40, 20, 30)])
def test_a_box_of_whole_pixels_is_its_slice(box):
    picture = noise(90, 120)
    x, y, w, h = box
    sliced = np.ascontiguousarray(picture[y : y + h, x : x + w])
    np.testing.assert_allclose(cut(picture, Box(*box), SIZE), resize_frame(sliced, SIZE), atol=1e-6)


@pytest.mark.parametrize('box', [(-20, -30, 100, 100), (60, 50, 90, 90), (-400, -300, 900, 900)])
def test_beyond_the_border_the_picture_is_mirrored(box):
    """Even several times over, where the box reaches beyond by more than the picture's size."""
    picture = noise(90, 120)
    padded = np.pad(picture, ((900, 900), (900, 900), (0, 0)), mode='reflect')
    x, y, w, h = box
    sliced = np.ascontiguousarray(padded[900 + y : 900 + y + h, 900 + x : 900 + x + w])
    np.testing.assert_allclose(cut(picture, Box(*box), SIZE), resize_frame(sliced, SIZE), atol=1e-6)


def test_a_box_between_pixels_moves_what_it_shows_evenly():
    ramp = np.arange(100, dtype=np.uint8)[None, :, None].repeat(100, 0).repeat(3, 2)
    start, half = (cut(ramp, Box(x, 20, 50, 50), (50, 50)) * 255 for x in (20, 20.5))
    np.testing.assert_allclose((half - start)[:, 1:-1], 0.5, atol=1e-4)


def test_a_circle_stays_one():
    """In the picture's middle and at its border, from boxes larger and smaller than the model's."""
    image = Image.new('RGB', (300, 200), 'white')
    ImageDraw.Draw(image).ellipse((20, 60, 100, 140), fill='black')  # touches no border
    for box in (Box(10, 50, 100, 100), square(Box(20, 60, 81, 81), 2.5), Box(-60, -10, 200, 200)):
        rows, columns = np.nonzero(cut(np.asarray(image), box, (128, 128))[:, :, 0] < 0.5)
        near = np.abs(columns - columns.mean()) < 81 / box.w * 64 + 8  # not its mirror image
        spans = [np.ptp(rows[near]) + 1, np.ptp(columns[near]) + 1]
        assert spans[0] == pytest.approx(81 / box.h * 128, abs=1.5)
        if box.x >= 0 or box.w < 200:
            assert spans[1] == pytest.approx(spans[0], abs=1)


def test_squares():
    assert square(Box(10, 10, 20, 40)) == Box(0, 10, 40, 40)
    assert square(Box(10, 10, 40, 20), 2) == Box(-10, -20, 80, 80)
    assert square(Box(0, 0, 10, 20), shift=(0.5, -0.25)) == Box(0, -5, 20, 20)
    wide = square(Box(0, 0, 10, 20), ratio=2)
    assert (wide.w, wide.h) == (40, 20) and wide.centre == (5, 10)
    assert square(Box(0, 0, 90, 20), ratio=2).h == 45


def test_overlap():
    box = Box(0, 0, 10, 10)
    assert overlap(box, box) == 1
    assert overlap(box, Box(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert overlap(box, Box(10, 0, 10, 10)) == overlap(box, Box(30, 30, 1, 1)) == 0


def test_a_box_is_brought_inside_as_far_as_it_may():
    picture = Box(0, 0, 100, 100)
    inside = Box(10, 10, 50, 50)
    assert brought_inside(inside, picture, 0.8, 0.1) == inside
    assert brought_inside(Box(-3, 55, 50, 50), picture, 0.8, 0.1) == Box(0, 50, 50, 50)
    assert brought_inside(Box(-30, 10, 50, 50), picture, 0.8, 0.1) == Box(-25, 10, 50, 50)
    assert brought_inside(around((50, 50), 110), picture, 0.8, 0.1) == pytest.approx(picture)
    assert brought_inside(around((50, 50), 200), picture, 0.8, 0.1).w == pytest.approx(160)
