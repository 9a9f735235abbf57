"""Frames of an uneven pace become a clip of a constant rate."""

import numpy as np
import pytest

from modules.animation.recording import FPS, Recording
from modules.runtime.errors import UserError
from modules.video import VideoReader


def frame(level):
    return np.full((16, 16, 3), level, 'uint8')


def levels(path):
    """Of the frames of a clip, to the nearest ten."""
    return [int(np.rint(shown.mean() / 10)) * 10 for shown in VideoReader(path)]


def test_every_frame_is_seen_for_as_long_as_it_was(tmp_path):
    path = tmp_path / 'clip.mp4'
    recording = Recording(path)
    for level, when in ((50, 7.0), (100, 7.1), (150, 7.101), (200, 7.3)):
        recording.add(frame(level), when)
    recording.finish(7.5)
    assert levels(path) == [50] * 3 + [150] * 6 + [200] * 6
    assert VideoReader(path).fps == FPS


def test_one_frame_is_a_clip(tmp_path):
    path = tmp_path / 'clip.mp4'
    recording = Recording(path)
    recording.add(frame(50), 3)
    recording.finish(3)
    assert levels(path) == [50]


def test_there_is_a_longest_one(tmp_path):
    path = tmp_path / 'clip.mp4'
    recording = Recording(path, most_seconds=0.2)
    recording.add(frame(50), 0)
    assert not recording.full
    recording.add(frame(100), 0.15)
    recording.add(frame(150), 60)
    assert recording.full
    recording.add(frame(200), 61)
    recording.finish(90)
    assert levels(path) == [50] * 4 + [100] * 2


def test_what_is_discarded_leaves_nothing(tmp_path):
    recording = Recording(tmp_path / 'clip.mp4')
    recording.add(frame(50), 0)
    recording.add(frame(50), 1)
    recording.discard()
    assert not list(tmp_path.iterdir())


def test_what_fails_leaves_nothing(tmp_path, monkeypatch):
    recording = Recording(tmp_path / 'clip.mp4')
    recording.add(frame(50), 0)
    recording.add(frame(50), 1)

    def fail(frame):
        raise UserError('no space')

    monkeypatch.setattr(recording._writer, 'write', fail)
    with pytest.raises(UserError, match='no space'):
        recording.add(frame(50), 2)
    assert not list(tmp_path.iterdir())
    recording.discard()


def test_a_place_that_is_none(tmp_path):
    with pytest.raises(UserError, match='no such folder'):
        Recording(tmp_path / 'nowhere' / 'clip.mp4')
