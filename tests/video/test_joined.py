"""Clips joined byte by byte are read to their end; what can't be is said."""

import av
import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import VideoReader
from tests.support.clips import drawn, encode, far
from tests.support.places import ROOT

DATA = ROOT / 'tests' / 'support' / 'data'
PACKET = 188  # bytes of a transport stream's


def bright(frames):
    return [(frame // 2 + 120).astype(np.uint8) for frame in frames]


def joined(path, codec, counts=(50, 50), size=(64, 64), **options):
    """Clips of drawn frames, the later ones brighter, one behind the other -> their frames."""
    frames, data = [], b''
    for number, count in enumerate(counts):
        part = drawn(count, *size)
        frames += part if number % 2 == 0 else bright(part)
        start = len(frames) - count
        encode(path, frames[start:], codec, crf=4, **options)
        data += path.read_bytes()
    path.write_bytes(data)
    return frames


@pytest.mark.parametrize(
    ('name', 'codec', 'options'),
    [
        ('a.webm', 'libvpx', {'b': '2M'}),
        ('a.webm', 'libvpx-vp9', {}),
        ('a.mkv', 'libx264', {'bf': 3}),
        ('a.mkv', 'libx264', {'x264-params': 'open-gop=1:keyint=9:min-keyint=9:bframes=3'}),
        ('a.ts', 'libx264', {'bf': 0}),
        ('a.ts', 'libx264', {'bf': 3, 'g': 12}),
        ('a.ts', 'mpeg2video', {'bf': 2, 'b': '4M'}),
        ('a.mpg', 'mpeg2video', {'bf': 2, 'b': '4M'}),
        ('a.avi', 'mpeg4', {'b': '4M'}),
    ],
)
@pytest.mark.parametrize('counts', [(50, 50), (10, 25, 40)])
def test_joined_clips(tmp_path, name, codec, options, counts):
    if name in ('a.mkv', 'a.webm'):
        counts = counts[:2]
    path = tmp_path / name
    frames = joined(path, codec, counts, **options)
    with VideoReader(path) as reader:
        assert (reader.fps, reader.frame_count, reader.repeats) == (25, sum(counts), frozenset())
        ours = list(reader)
        assert len(ours) == sum(counts)
        assert max(far(*pair) for pair in zip(ours, frames)) < 8
        wanted = [0, counts[0] - 1, counts[0], sum(counts) - 1]
        np.testing.assert_array_equal(reader.read_frames(wanted), np.array(ours)[wanted])


def test_joined_ogg(tmp_path):
    """Whose headers come once more in between; made by ffmpeg, for PyAV writes no Theora."""
    single = DATA / 'clips' / 'theora.ogv'
    (tmp_path / 'a.ogv').write_bytes(2 * single.read_bytes())
    frames = list(VideoReader(single))
    assert len(frames) == 10
    np.testing.assert_array_equal(list(VideoReader(tmp_path / 'a.ogv')), [*frames, *frames])


@pytest.mark.parametrize('size', [PACKET, PACKET + 4])
def test_counters_may_go_on(tmp_path, size):
    """As when one program wrote both parts, or a camera, with a time before each packet."""
    path = tmp_path / 'a.ts'
    joined(path, 'libx264', bf=0)
    data = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, PACKET).copy()
    track = (data[:, 1].astype(int) & 0x1F) << 8 | data[:, 2]
    for number in np.unique(track):
        mine = np.flatnonzero((track == number) & ((data[:, 3] & 0x10) > 0))
        data[mine, 3] = data[mine, 3] & 0xF0 | np.arange(len(mine)) % 16
    if size > PACKET:
        path = tmp_path / 'a.m2ts'
        data = np.hstack([np.zeros((len(data), 4), np.uint8), data])
    path.write_bytes(data.tobytes())
    assert VideoReader(path).frame_count == len(list(VideoReader(path))) == 100


def test_sizes_may_differ(tmp_path):
    data = b''
    for size in ((48, 64), (64, 96)):
        data += encode(tmp_path / 'a.ts', drawn(25, *size), bf=0).read_bytes()
    (tmp_path / 'a.ts').write_bytes(data)
    with VideoReader(tmp_path / 'a.ts') as reader:
        assert (reader.frame_count, reader.size) == (50, (48, 64))
        assert {frame.shape for frame in reader} == {(48, 64, 3)}


@pytest.mark.parametrize('place', [0.2, 0.45, 0.8])
def test_lost_packets_of_a_stream_are_damage(tmp_path, place):
    """Whether it has been joined or not."""
    for counts in ((50,), (50, 50)):
        path = tmp_path / 'a.ts'
        joined(path, 'libx264', counts, bf=2, g=12)
        data = path.read_bytes()
        lost = PACKET * int(place * len(data) / PACKET)
        while data[lost + 1] & 0x40 or data[lost + 2] != data[PACKET * 3 + 2]:  # within a frame
            lost += PACKET
        path.write_bytes(data[:lost] + data[lost + PACKET :])
        with pytest.raises(UserError, match='damaged after frame'):
            VideoReader(path)


def test_a_stream_that_jumps_ahead(tmp_path):
    """Parts recorded at other times; the clock of a stream need not stand for the hours between."""
    first = encode(tmp_path / 'a.ts', drawn(25)).read_bytes()
    later = encode(tmp_path / 'a.ts', drawn(25), times=[90000 + i for i in range(25)]).read_bytes()
    (tmp_path / 'a.ts').write_bytes(first + later)
    assert VideoReader(tmp_path / 'a.ts').frame_count == len(list(VideoReader(tmp_path / 'a.ts')))
    assert VideoReader(tmp_path / 'a.ts').frame_count == 50


@pytest.mark.parametrize(
    ('name', 'codec', 'parts', 'read'),
    [
        ('a.mp4', 'libx264', 2, 10),
        ('a.flv', 'flv', 2, 10),
        ('a.wmv', 'wmv2', 2, 10),
        ('a.mkv', 'mpeg4', 3, 20),
    ],
)
def test_what_players_leave_out_is_said(tmp_path, name, codec, parts, read):
    path = tmp_path / name
    encode(path, drawn(10), codec)
    assert VideoReader(path).notes == []
    joined(path, codec, [10] * parts, bf=0)
    with VideoReader(path) as reader:
        assert len(list(reader)) == reader.frame_count == read
        assert reader.notes == [f'{path}: another clip is joined to it, which is left out']


@pytest.mark.parametrize('name', ['a.png', 'a.webp'])
def test_so_it_is_of_animations(tmp_path, name):
    path, pictures = tmp_path / name, [Image.fromarray(frame) for frame in drawn(5)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40)
    assert VideoReader(path).notes == []
    path.write_bytes(2 * path.read_bytes())
    with VideoReader(path) as reader:
        assert len(list(reader)) == 5
        assert reader.notes == [f'{path}: another clip is joined to it, which is left out']


def test_fragments_are_all_read(tmp_path):
    """Of mp4, each with its header again, as players get them piece by piece."""
    path = tmp_path / 'a.mp4'
    encode(tmp_path / 'a.mkv', drawn(20), bf=0, g=5)
    options = {'movflags': 'frag_keyframe+empty_moov'}
    with av.open(str(tmp_path / 'a.mkv')) as old, av.open(str(path), 'w', options=options) as new:
        track = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = track
                new.mux(packet)
    path.write_bytes(2 * path.read_bytes())
    with VideoReader(path) as reader:
        assert len(list(reader)) == 40
        lost = len(reader.repeats)
        told = f'{path}: {lost} frames of a clip that is joined to it are left out'
        assert lost < 5 and reader.notes == ([told] if lost else [])
