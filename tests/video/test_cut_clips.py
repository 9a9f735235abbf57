"""Clips cut short or damaged are refused, and the frame is named."""

import struct

import av
import numpy as np
import pytest

from modules.runtime.errors import UserError
from modules.video import VideoReader
from tests.support.clips import drawn, encode, one_line


@pytest.mark.parametrize(
    ('name', 'codec'),
    [
        ('a.mp4', 'libx264'),
        ('a.mkv', 'libx264'),
        ('a.webm', 'libvpx-vp9'),
        ('a.avi', 'mpeg4'),
        ('a.gif', 'gif'),
        ('a.flv', 'flv'),
    ],
)
def test_clips_cut_short_are_refused(tmp_path, name, codec, capfd):
    """When they are opened, wherever a download may have stopped; without a word from libav."""
    pix_fmt = 'rgb8' if codec == 'gif' else 'yuv420p'
    path = encode(tmp_path / name, drawn(30), codec, pix_fmt=pix_fmt)
    assert len(list(VideoReader(path))) == 30
    data = path.read_bytes()
    with av.open(str(path)) as c:
        packets = [packet for packet in c.demux(video=0) if packet.size][2::5]
        cuts = [packet.pos + packet.size // 2 for packet in packets]
        if name != 'a.flv':  # which says nowhere how many packets there are
            if name != 'a.gif':  # which may well end between two pictures
                cuts += [packet.pos for packet in packets]
            cuts += [len(data) * part // 12 for part in range(1, 12)]
    for cut in cuts:
        path.write_bytes(data[:cut])
        with pytest.raises(UserError) as error:
            VideoReader(path)
        assert one_line(error).startswith(f'{path}: ') and 'cut' in str(error.value)
    assert capfd.readouterr() == ('', '')


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_damage_names_the_frame(tmp_path, codec, capfd):
    path = encode(tmp_path / 'a.mp4', drawn(60), codec, g=10, bf=2)
    with av.open(str(path)) as c:
        packets = [packet for packet in c.demux(video=0) if packet.size]
        spot = packets[40].pos + packets[40].size // 2
    data = bytearray(path.read_bytes())
    data[spot : spot + 30] = np.random.default_rng(0).bytes(30)
    path.write_bytes(data)
    reader = VideoReader(path)
    frames = []
    with pytest.raises(UserError, match=r'damaged after frame (\d+) of 60; re-encode it') as error:
        frames.extend(reader)
    named = int(str(error.value).split('after frame ')[1].split()[0])
    assert 35 <= named <= 43 and named - 1 <= len(frames) <= named
    assert reader.read_frames([5]).shape == (1, 48, 64, 3)  # what lies before can be had
    with pytest.raises(UserError, match='damaged after frame'):
        reader.read_frames([named])
    assert capfd.readouterr() == ('', '')


def test_what_is_missing_after_a_hole_is_said(tmp_path):
    """libav looks for the next frame in vain."""
    path = encode(tmp_path / 'a.webm', drawn(50), 'libvpx')
    data = bytearray(path.read_bytes())
    assert VideoReader(path).notes == []
    middle = len(data) // 2
    data[middle : middle + 500] = bytes(500)
    path.write_bytes(data)
    with VideoReader(path) as reader:
        count = len(list(reader))
        assert 10 < count < 40
        missing = f'{(50 - count) / 25:.3g} s are missing, of 2 s that its header tells of'
        assert reader.notes == [f'{path}: its last {missing}']


def test_packets_lost_from_a_camera_s_stream(tmp_path):
    """Which libav passes over without a word."""
    path = encode(tmp_path / 'a.m2ts', drawn(50), bf=0)
    data = path.read_bytes()
    for lost in (188, 1000, 2000):
        path.write_bytes(data[: len(data) // 2] + data[len(data) // 2 + lost :])
        with pytest.raises(UserError, match='damaged after frame'):
            VideoReader(path)


def test_clip_without_a_keyframe(tmp_path):
    whole = encode(tmp_path / 'whole.mkv', drawn(20), bf=0)
    with av.open(str(whole)) as old, av.open(str(tmp_path / 'a.mkv'), 'w') as new:
        track = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size and not packet.is_keyframe:
                packet.stream = track
                new.mux(packet)
    with pytest.raises(UserError, match='damaged after frame 0 of'):
        VideoReader(tmp_path / 'a.mkv')


def test_unknown_codec(tmp_path):
    path = encode(tmp_path / 'a.avi', drawn(3), 'mpeg4')
    path.write_bytes(path.read_bytes().replace(b'FMP4', b'~~~~'))
    with pytest.raises(UserError, match='codec is unknown'):
        VideoReader(path)


def test_time_stamps_that_leap(tmp_path):
    encode(tmp_path / 'a.mp4', drawn(4), times=[0, 1, 2, 90000])
    with pytest.raises(UserError, match='time stamps leap'):
        VideoReader(tmp_path / 'a.mp4')


def test_trimmed_clips_are_whole(tmp_path):
    """An edit list hides frames without removing them, as phones do when they trim."""
    path = encode(tmp_path / 'a.mp4', drawn(50), g=10, bf=2)
    before = list(VideoReader(path))
    data = bytearray(path.read_bytes())
    timescale = struct.unpack('>I', data[data.index(b'mvhd') + 16 :][:4])[0]
    entry = data.index(b'elst') + 12
    start = struct.unpack('>i', data[entry + 4 : entry + 8])[0]
    with av.open(str(path)) as c:
        second = c.streams.video[0].time_base.denominator
    data[entry : entry + 8] = struct.pack('>Ii', timescale, start + second * 15 // 25)
    path.write_bytes(data)
    with VideoReader(path) as reader:
        ours = list(reader)
        assert reader.frame_count == len(ours) and 24 <= len(ours) <= 26
        np.testing.assert_array_equal(ours, before[15 : 15 + len(ours)])
        np.testing.assert_array_equal(reader.read_frames([9, 20]), np.array(ours)[[9, 20]])
