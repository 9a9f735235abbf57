"""Tracks of what moves about one place: where they begin and end, and their squares."""

import numpy as np
import pytest

from modules.animation.boxes import Box
from modules.animation.tracks import Look, Rules, fault, link_looks, look_through
from tests.support.discs import find_discs, long_clip, scene

RULES = Rules(every=1, min_frames=1, max_frames=1000, min_size=1, increase=0.1)


def tracks_of(frames, **rules):
    rules = RULES._replace(**rules)
    return link_looks(look_through(frames, lambda _, frame: find_discs(frame), rules.every), rules)


@pytest.mark.parametrize('every', [1, 4, 7])
def test_two_discs_a_cut_and_a_loss(every):
    red, blue, second, third = tracks_of(long_clip(), every=every)
    assert (red.start, red.end) == (0, 40)  # to the shot's last frame, however few are looked at
    assert blue.start == 0 and 25 - every < blue.end <= 25
    assert second.start == 40 and 70 - every < second.end <= 70
    assert third.end == 100 and 80 <= third.start < 80 + every
    # 40 pixels and what it moves, with a margin of a tenth on each side.
    assert red.box.w == red.box.h == pytest.approx(1.2 * (40 + 0.2 * 39), abs=1.5)
    assert red.box.centre == pytest.approx((40 + 0.1 * 39, 48), abs=0.8)


def test_few_frames_are_looked_at():
    numbers = []

    def find(number, frame):
        numbers.append(number)
        return find_discs(frame)

    looks = list(look_through(long_clip(), find, every=10))
    assert [look.number for look in looks if look.begins_shot] == [0, 40, 80]
    assert numbers == [0, 10, 20, 30, 39, 40, 50, 60, 70, 80, 90, 99]


def test_repeated_frames_are_looked_at_once():
    frames = [scene([('red', 40, 48, 20)])] * 5
    calls = []
    looks = list(look_through(frames, lambda number, _: calls.append(number) or [], every=1))
    assert len(looks) == 5 and calls == [0]


def test_what_moves_away_from_its_first_place_begins_anew():
    frames = [scene([('red', 30 + 2 * i, 48, 20)]) for i in range(48)]
    first, *others = tracks_of(frames)
    # Of 40 pixels, 24 moved along leave an overlap of 0.25.
    assert first.start == 0 and 9 <= first.end <= 13
    assert [track.start for track in others] == [track.end for track in [first, *others[:-1]]]


def test_a_miss_of_the_detector_is_bridged_and_a_loss_is_not():
    box, other = Box(10, 10, 30, 30), Box(11, 10, 30, 30)

    def looks(missed):
        seen = [Look(i, (box,), i == 0) for i in range(5)]
        return [*seen, *(Look(5 + i, ()) for i in range(missed)), Look(5 + missed, (other,))]

    assert [(t.start, t.end) for t in link_looks(looks(2), RULES)] == [(0, 8)]
    assert [(t.start, t.end) for t in link_looks(looks(6), RULES)] == [(0, 5), (11, 12)]


def test_a_box_goes_on_with_the_track_that_it_overlaps_most():
    left, right = Box(10, 10, 40, 40), Box(30, 10, 40, 40)
    looks = [Look(i, (left, right) if i % 2 else (right, left), i == 0) for i in range(6)]
    tracks = link_looks(looks, RULES)
    assert [(t.start, t.end, t.box.w) for t in tracks] == [(0, 6, 48), (0, 6, 48)]
    assert [t.box.centre for t in tracks] == [left.centre, right.centre]


def test_long_tracks_are_cut():
    frames = [scene([('red', 40 + 0.05 * i, 48, 20)]) for i in range(25)]
    tracks = tracks_of(frames, max_frames=10)
    assert [(t.start, t.end) for t in tracks] == [(0, 10), (10, 20), (20, 25)]
    tracks = tracks_of(frames, max_frames=10, every=4)
    assert all(track.frame_count <= 10 for track in tracks)


def test_what_is_wrong_with_a_track():
    (track,) = tracks_of([scene([('red', 40, 48, 20)])] * 12)
    assert fault(track, RULES) is None
    assert fault(track, RULES._replace(min_frames=13)) == 'short'
    assert fault(track, RULES._replace(min_size=49)) == 'small'


def test_a_moving_camera_is_no_cut_and_another_view_of_the_same_room_is_one():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (14, 60, 3), dtype=np.uint8)
    room = coarse.repeat(8, 0).repeat(8, 1)
    pan = [room[:96, 5 * i : 5 * i + 160] for i in range(30)]
    views = [room[:96, left : left + 160] for left in [0] * 5 + [200] * 5]
    for frames, wanted in ((pan, [0]), (views, [0, 5])):
        looks = look_through(frames, lambda *_: [], every=3)
        assert [look.number for look in looks if look.begins_shot] == wanted


def test_an_empty_clip():
    assert list(look_through([], lambda *_: [])) == []
    assert link_looks([], RULES) == []
