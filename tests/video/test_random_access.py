"""Frames read at random are those of an iteration."""

import numpy as np
import pytest

from modules.video import VideoReader, movies, read_frames
from tests.support.clips import drawn, encode

OPEN_GOP = 'open-gop=1:keyint=9:min-keyint=9:bframes=3:log-level=none'


@pytest.mark.parametrize(
    ('name', 'codec', 'options'),
    [
        ('a.mp4', 'libx264', {'g': 9, 'bf': 3}),
        ('a.mp4', 'libx264', {'x264-params': 'open-gop=1:keyint=9:min-keyint=9:bframes=3'}),
        ('a.mp4', 'libx265', {'x265-params': OPEN_GOP}),
        ('a.mp4', 'mpeg4', {'g': 9, 'bf': 2}),
        ('a.mkv', 'libx264', {'g': 9, 'bf': 3}),
        ('a.mkv', 'libx264', {'x264-params': 'open-gop=1:keyint=9:min-keyint=9:bframes=3'}),
        ('a.webm', 'libvpx-vp9', {'g': 9, 'lag-in-frames': 8, 'auto-alt-ref': 1}),
        ('a.webm', 'libvpx', {'g': 9, 'lag-in-frames': 8, 'auto-alt-ref': 1}),
        ('a.avi', 'mpeg4', {'g': 9, 'bf': 2}),
        ('a.ts', 'libx264', {'g': 9, 'bf': 3}),
        ('a.gif', 'gif', {}),
    ],
)
def test_random_access_gives_the_same_frames(tmp_path, name, codec, options):
    pix_fmt = 'rgb8' if codec == 'gif' else 'yuv420p'
    path = encode(tmp_path / name, drawn(40), codec, 25, pix_fmt, **options)
    with VideoReader(path) as reader:
        every = np.array(list(reader))
        assert len(every) == 40
        for i in range(40):
            np.testing.assert_array_equal(reader.read_frames([i])[0], every[i])
        some = np.random.default_rng(0).integers(0, 40, 12)
        np.testing.assert_array_equal(reader.read_frames(some), every[some])
    np.testing.assert_array_equal(read_frames(path, [39, 0, 39]), every[[39, 0, 39]])


def test_random_access_decodes_little(tmp_path, monkeypatch):
    path = encode(tmp_path / 'a.mp4', drawn(60), g=10, bf=2, sc_threshold=0)
    decoded = []

    def counted(*arguments):
        for step in decode(*arguments):
            decoded.append(step[0])
            yield step

    decode = movies.decode
    with VideoReader(path) as reader:
        monkeypatch.setattr(movies, 'decode', counted)
        reader.read_frames([52, 33])
        assert decoded == [*range(30, 35), *range(50, 54)]
        assert reader.read_frames([]).shape == (0, 48, 64, 3)
        for wrong in (-1, 60):
            with pytest.raises(IndexError):
                reader.read_frames([0, wrong])
