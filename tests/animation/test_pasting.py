"""Animated squares come back into their picture unseen."""

import numpy as np
import pytest

from modules.animation.boxes import Box, cut
from modules.animation.pasting import FEATHER, Pasting
from modules.video.levels import to_bytes

SIZE = (64, 64)


def photo(height=200, width=300, seed=0):
    """Smooth colours with some grain."""
    y, x = np.mgrid[:height, :width]
    smooth = np.stack([x * 180 / width, y * 180 / height, 90 + 40 * np.sin(x / 30)], axis=2)
    grain = np.random.RandomState(seed).randint(0, 20, (height, width, 3))
    return (smooth + 20 + grain).astype(np.uint8)


def far(one, other):
    return np.abs(np.asarray(one, int) - np.asarray(other, int))


@pytest.mark.parametrize('box', [Box(40, 50, 100, 100), Box(39.3, 50.7, 101.9, 101.9)])
def test_outside_the_box_all_bytes_stay(box):
    picture = photo()
    noise = np.random.RandomState(1).rand(*SIZE, 3).astype('float32')
    result = Pasting(picture, [box], SIZE).paste(noise)
    changed = (result != picture).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.min() >= box.y and rows.max() + 1 <= box.y + box.h
    assert columns.min() >= box.x and columns.max() + 1 <= box.x + box.w
    middle = changed[70:130, 60:120]
    assert middle.mean() > 0.98


@pytest.mark.parametrize('shift', [(10, -10, 10), (-10, -10, -10)])
@pytest.mark.parametrize('background', [70, 128, 235])
def test_no_seam_on_a_flat_background(shift, background):
    """The colours of the square are off by 10 levels; of what is inside it, too."""
    picture = np.full((240, 320, 3), background, np.uint8)
    picture[90:150, 130:190] = (200, 120, 60)
    box = Box(80.5, 40.25, 160, 160)
    square = cut(picture, box, SIZE) + np.array(shift, 'float32') / 255
    result = Pasting(picture, [box], SIZE).paste(np.clip(square, 0, 1))
    flat = far(result, picture)
    flat[84:156, 124:196] = 0  # what is in front of it: its edge is blurred in the small square
    assert flat.max() <= 2
    assert far(result, picture)[100:140, 140:180].max() <= 2


def test_a_slope_of_colours_is_taken_back():
    """What is off at the left, and not at the right."""
    picture = np.full((240, 320, 3), 128, np.uint8)
    box = Box(80, 40, 160, 160)
    slope = np.linspace(10, -10, SIZE[1], dtype='float32')[:, None] / 255
    result = Pasting(picture, [box], SIZE).paste(cut(picture, box, SIZE) + slope)
    assert far(result, picture)[44:196, 80:96].max() <= 3


def test_what_moves_across_the_seam_lends_no_colour():
    """A dark thing at a side of the square: the rest keeps its colours."""
    picture = np.full((240, 320, 3), 180, np.uint8)
    box = Box(80, 40, 160, 160)
    square = cut(picture, box, SIZE)
    square[40:, 20:40] = 0.1
    result = Pasting(picture, [box], SIZE).paste(square)
    assert far(result, picture)[40:120].max() <= 2
    assert far(result, picture)[160:180, 140:170].min() > 100


def test_the_same_square_gives_the_picture():
    picture = photo()
    box = Box(40, 30, 64, 64)
    result = Pasting(picture, [box], SIZE).paste(cut(picture, box, SIZE))
    np.testing.assert_array_equal(result, picture)


def test_the_square_lies_where_it_was_cut():
    """A cross scaled up and down comes back to its place, to a fraction of a pixel."""
    for side, sigma in ((40.6, 3), (150.4, 9)):
        picture = np.zeros((200, 300, 3), np.uint8)
        y, x = np.mgrid[:200, :300] + 0.5
        spot = np.exp(-((x - 121.3) ** 2 + (y - 97.8) ** 2) / (2 * sigma**2))
        picture[:] = to_bytes(spot)[..., None]
        box = Box(121.3 - side * 0.53, 97.8 - side * 0.46, side, side)
        result = Pasting(np.zeros_like(picture), [box], SIZE).paste(cut(picture, box, SIZE))
        weight = result[..., 0].astype(float)
        assert abs((weight * x).sum() / weight.sum() - 121.3) < 0.1
        assert abs((weight * y).sum() / weight.sum() - 97.8) < 0.1


def test_beyond_the_border():
    """Nothing fades at the border: there the square is all that is seen."""
    picture = photo()
    box = Box(-30, -20, 140, 140)
    square = np.full((*SIZE, 3), 0.5, 'float32')
    result = Pasting(picture, [box], SIZE).paste(square)
    grain = np.abs(np.diff(result[:60, :60].astype(int), axis=1))
    assert grain.max() <= 2 and far(photo()[:60, :59], photo()[:60, 1:60]).max() > 10
    np.testing.assert_array_equal(result[121:], picture[121:])
    whole = Pasting(picture, [Box(0, 0, 300, 200)], SIZE).paste(square)
    assert (whole == 128).all()
    with pytest.raises(ValueError, match='no pixel'):
        Pasting(picture, [Box(400, 0, 20, 20)], SIZE)


def test_several_squares():
    """Each shows itself in its own middle; where they meet nothing of the picture shows through."""
    picture = np.zeros((200, 400, 3), np.uint8)
    boxes = [Box(40, 40, 120, 120), Box(130, 50, 100, 100), Box(300, 50, 80, 80)]
    white, grey = (np.full((*SIZE, 3), level, 'float32') for level in (1, 0.6))
    result = Pasting(picture, boxes, SIZE).paste(white, white, grey)
    assert result[95, 60:215].min() >= 250  # a line through the middles of the first two
    assert far(result[90, 340], 153).max() <= 1
    alone = Pasting(picture, boxes[:1], SIZE).paste(white)
    np.testing.assert_array_equal(result[:, :120], alone[:, :120])
    apart = Pasting(picture, boxes, SIZE).paste(white, grey, grey)
    assert apart[95, 100].min() >= 250 and far(apart[95, 180], 153).max() <= 1


def test_an_earlier_result_is_written_over():
    picture = photo()
    boxes = [Box(40, 50, 100, 100), Box(110, 60, 80, 80)]
    pasting = Pasting(picture, boxes, SIZE)
    rng = np.random.RandomState(3)
    first, second = (rng.rand(2, *SIZE, 3).astype('float32') for _ in range(2))
    wanted = pasting.paste(*second)
    kept = pasting.paste(*first)
    again = pasting.paste(*second, out=kept)
    assert again is kept
    np.testing.assert_array_equal(again, wanted)
    np.testing.assert_array_equal(picture, photo())


def test_onto_another_picture():
    pasting = Pasting(photo(), [Box(40, 50, 100, 100)], SIZE)
    square = np.random.RandomState(1).rand(*SIZE, 3).astype('float32')
    other = photo(seed=5)
    np.testing.assert_array_equal(
        pasting.onto(other).paste(square),
        Pasting(other, [Box(40, 50, 100, 100)], SIZE).paste(square),
    )


def test_the_mask_fades_over_a_tenth():
    picture = np.zeros((200, 300, 3), np.uint8)
    result = Pasting(picture, [Box(50, 50, 100, 100)], SIZE).paste(np.ones((*SIZE, 3), 'float32'))
    row = result[100, 50:150, 0].astype(int)
    assert (np.diff(row[:50]) >= 0).all() and (np.diff(row[50:]) <= 0).all()
    assert row[0] < 10 and row[round(100 * FEATHER)] >= 250
