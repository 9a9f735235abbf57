"""A box over a clip, or one that follows."""

import numpy as np
import pytest

from modules.animation.boxes import Box, overlap
from modules.animation.following import LOOKS, MOST_LOOKS, Way, find_way, look_step

FPS = 20


def clip(count, scene=lambda number: 0):
    """Frames whose first pixels are their number; the others the level of their scene."""
    for number in range(count):
        frame = np.full((48, 64, 3), scene(number), np.uint8)
        frame[0, 0] = number % 251
        yield frame


def way_of(boxes, scene=lambda number: 0):
    def locate(frame, last):
        return boxes[int(frame[0, 0, 0])]

    return find_way(clip(len(boxes), scene), locate, FPS, len(boxes))


def test_what_stays_has_one_box():
    boxes = [Box(100 + 8 * np.sin(number), 50, 80, 80) for number in range(100)]
    way = way_of(boxes)
    assert way.stands_still
    assert way.box(0) == way.box(57)
    assert all(overlap(way.box(0), box) > 0.6 for box in boxes)
    assert way.box(0).centre[0] == pytest.approx(140, abs=2)
    assert way.box(0).w == way.box(0).h


def test_what_wanders_is_followed_smoothly():
    noise = np.random.default_rng(0).normal(0, 2, 200)
    boxes = [Box(3 * n + noise[n], 50, 80, 80) for n in range(200)]
    way = way_of(boxes)
    assert not way.stands_still
    found = np.array([way.box(number) for number in range(200)])
    assert np.abs(found[:, 0] - 3 * np.arange(200)).max() < 4  # at the ends, too
    assert np.abs(np.diff(found[:, 0]) - 3).max() < 1
    np.testing.assert_allclose(found[:, 2], found[:, 3])


def test_a_cut_is_found_to_the_frame():
    boxes = [Box(0, 0, 40, 40)] * 58 + [Box(300, 100, 40, 40)] * 42
    way = way_of(boxes, scene=lambda number: 200 if number >= 58 else 10)
    assert [way.box(number) for number in range(100)] == boxes


def test_a_single_mistake_is_none():
    boxes = [Box(0, 0, 40, 40)] * 100
    boxes[50] = Box(300, 100, 40, 40)
    assert way_of(boxes).stands_still and way_of(boxes).box(50) == boxes[0]
    larger = [Box(0, 0, 40, 40)] * 100
    larger[50] = Box(0, 0, 90, 90)
    assert way_of(larger).box(50) == boxes[0]


def test_frames_without_a_box_are_bridged():
    boxes = [Box(2 * n, 0, 60, 60) for n in range(120)]
    gaps = [None if 40 < n < 60 or n < 5 else box for n, box in enumerate(boxes)]
    way = way_of(gaps)
    assert abs(way.box(50).x - 100) < 4
    assert way.box(0).x == pytest.approx(0, abs=4)  # goes on as from the first one found
    assert way_of([None] * 30) is None


def test_only_some_frames_are_looked_at():
    looked_at = []

    def locate(frame, last):
        looked_at.append(int(frame[0, 0, 0]))
        return Box(0, 0, 10, 10)

    find_way(clip(100), locate, FPS, 100)
    assert looked_at == list(range(0, 100, FPS // LOOKS))
    assert look_step(25, 10 * MOST_LOOKS * 25) == 250
    assert look_step(2, None) == 1


def test_a_way_that_stands_still():
    box = Box(1.5, 2, 3, 4)
    assert Way.still(box).stands_still
    assert Way.still(box).box(1000) == box
