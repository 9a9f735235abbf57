"""Frames chosen by number, one after another, are those of an iteration."""

import numpy as np
import pytest
from PIL import Image

from modules.video import VideoReader, movies, write_picture
from tests.support.clips import drawn, encode

OPEN_GOP = 'open-gop=1:keyint=9:min-keyint=9:bframes=3'
CHOICES = ([0], [39], range(5, 40), [3, 3, 4, 11, 11, 11, 30], range(0, 40, 7), [38, 39, 40, 41])


def check(path, count=40):
    with VideoReader(path) as reader:
        every = np.array(list(reader))
        assert len(every) == count
        for numbers in CHOICES:
            numbers = list(numbers)
            frames = list(reader.frames_at(numbers))
            known = [number for number in numbers if number < count]
            np.testing.assert_array_equal(np.array(frames), every[known])
            for i, number in enumerate(known[1:], 1):
                assert (frames[i] is frames[i - 1]) or number != known[i - 1]
        assert list(reader.frames_at([])) == [] and list(reader.frames_at([count])) == []


@pytest.mark.parametrize(
    ('name', 'codec', 'options'),
    [
        ('a.mp4', 'libx264', {'g': 9, 'bf': 3}),
        ('a.mp4', 'libx264', {'x264-params': OPEN_GOP}),
        ('a.mp4', 'libx265', {'x265-params': OPEN_GOP + ':log-level=none'}),
        ('a.mkv', 'libx264', {'x264-params': OPEN_GOP}),
        ('a.webm', 'libvpx-vp9', {'g': 9, 'lag-in-frames': 8, 'auto-alt-ref': 1}),
        ('a.avi', 'mpeg4', {'g': 9, 'bf': 2}),
        ('a.ts', 'libx264', {'g': 9, 'bf': 3}),
        ('a.gif', 'gif', {}),
        ('a.h264', 'libx264', {'g': 9}),
    ],
)
def test_clips(tmp_path, name, codec, options):
    pix_fmt = 'rgb8' if codec == 'gif' else 'yuv420p'
    check(encode(tmp_path / name, drawn(40), codec, 25, pix_fmt, **options))


def test_a_clip_of_variable_rate(tmp_path):
    """Frame 3 is shown for longer: its repeats are the same array."""
    times = [0, 1, 2, 3, 8, 9, 10]
    path = encode(tmp_path / 'a.mp4', drawn(7), times=times, g=3, bf=0)
    with VideoReader(path) as reader:
        every = list(reader)
        frames = list(reader.frames_at([2, 3, 5, 7, 8]))
    assert frames[1] is frames[2] is frames[3] and len(every) == 11
    np.testing.assert_array_equal(frames[4], every[8])


def test_folders_and_animated_pictures(tmp_path):
    frames = drawn(40)
    (tmp_path / 'folder').mkdir()
    for i, frame in enumerate(frames):
        write_picture(tmp_path / 'folder' / f'{i}.png', frame)
    check(tmp_path / 'folder')
    first, *others = map(Image.fromarray, frames)
    settings = {'save_all': True, 'append_images': others, 'duration': 40, 'lossless': True}
    first.save(tmp_path / 'a.webp', **settings)
    check(tmp_path / 'a.webp')


def test_a_start_far_in_is_reached_by_its_keyframe(tmp_path, monkeypatch):
    """And what comes after the last one is not decoded."""
    path = encode(tmp_path / 'a.mp4', drawn(60), g=10, bf=2, sc_threshold=0)
    decoded, converted = [], []

    def counted(*arguments):
        for step in decode(*arguments):
            decoded.append(step[0])
            yield step

    def counted_to_rgb(*arguments):
        converted.append(1)
        return to_rgb(*arguments)

    decode, to_rgb = movies.decode, movies.to_rgb
    with VideoReader(path) as reader:
        monkeypatch.setattr(movies, 'decode', counted)
        monkeypatch.setattr(movies, 'to_rgb', counted_to_rgb)
        assert len(list(reader.frames_at([33, 36, 36]))) == 3
    assert decoded[0] == 30 and decoded[-1] <= 37 and len(converted) == 2
