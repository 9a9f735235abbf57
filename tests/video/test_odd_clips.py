"""Clips as phones, browsers and editors leave them: turned, resized, with several tracks."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageOps

from modules.runtime.errors import UserError
from modules.video import CLIP_SUFFIXES, VideoReader, opening
from modules.video.sound import find_sound
from tests.support.clips import drawn, encode, far, one_line

MARKED = np.full((48, 64, 3), 255, np.uint8)
MARKED[:16, :16] = (220, 0, 0)


def jpeg(picture, orientation):
    exif = Image.Exif()
    exif[271], exif[274], exif[282] = 'Canon', orientation, 72.0
    data = io.BytesIO()
    Image.fromarray(picture).save(data, 'JPEG', exif=exif, quality=95, subsampling='4:2:0')
    return data.getvalue()


def mux(path, codec, packets, size=(48, 64), pix_fmt='yuv420p'):
    """Packets as they are, one frame of 25 a second each."""
    with av.open(str(path), 'w') as c:
        stream = c.add_stream(codec, rate=25)
        (stream.height, stream.width), stream.pix_fmt = size, pix_fmt
        for number, data in enumerate(packets):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.duration, packet.time_base, packet.stream = 1, Fraction(1, 25), stream
            packet.is_keyframe = True
            c.mux(packet)
    return path


# ---- side data ----


@pytest.mark.parametrize('name', ['a.mov', 'a.avi', 'a.mkv'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_time_lapses_of_jpegs_with_exif(tmp_path, name, orientation):
    """A kind of side data that PyAV has no name for until its version 19."""
    data = jpeg(MARKED, orientation)
    path = mux(tmp_path / name, 'mjpeg', [data] * 5, pix_fmt='yuvj420p')
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    with VideoReader(path) as reader:
        assert (reader.fps, reader.frame_count) == (25, 5)
        assert reader.size == (expected.height, expected.width)
        ours = list(reader)
    assert len(ours) == 5 and max(far(frame, expected) for frame in ours) < 4
    if orientation == 1:
        np.testing.assert_allclose(ours[0][2, 2], [220, 0, 0], atol=3)


# ---- sizes ----


def webm_packets(count, size, turn=False):
    frames = [np.rot90(frame) for frame in drawn(count, *size)] if turn else drawn(count, *size)
    data = io.BytesIO()
    with av.open(data, 'w', format='webm') as c:
        stream = c.add_stream('libvpx', rate=25, options={'b': '4M', 'lag-in-frames': '0'})
        (stream.height, stream.width), stream.pix_fmt = frames[0].shape[:2], 'yuv420p'
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), 'rgb24')
            c.mux(stream.encode(picture.reformat(format='yuv420p')))
        c.mux(stream.encode(None))
    data.seek(0)
    with av.open(data) as c:
        return [bytes(packet) for packet in c.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    ('first', 'second'),
    [((48, 64), (64, 96)), ((64, 96), (48, 64)), ((48, 64), (64, 48))],
    ids=['grows', 'shrinks', 'turns'],
)
@pytest.mark.parametrize('name', ['a.webm', 'a.mkv'])
def test_frames_that_change_their_size(tmp_path, name, first, second):
    packets = [*webm_packets(30, first), *webm_packets(20, second)]
    path = mux(tmp_path / name, 'libvpx', packets, first)
    with VideoReader(path) as reader:
        ours = list(reader)
        assert (reader.fps, reader.frame_count, len(ours)) == (25, 50, 50)
        assert {frame.shape for frame in ours} == {(*first, 3)}
        (note,) = reader.notes
        assert note == (
            f'{path}: changes its frame size; 20 frames are scaled to {first[1]}x{first[0]}'
        )
        for frame, original in zip(ours[30:], drawn(20, *second)):
            scaled = Image.fromarray(original).resize(first[::-1], Image.Resampling.BICUBIC)
            assert far(frame, scaled) < 14
        np.testing.assert_array_equal(reader.read_frames([45])[0], ours[45])


def test_frames_that_change_their_size_in_a_turned_clip(tmp_path):
    packets = [jpeg(MARKED, 6)] * 3 + [jpeg(MARKED.repeat(2, axis=0).repeat(2, axis=1), 6)] * 2
    path = mux(tmp_path / 'a.mov', 'mjpeg', packets, pix_fmt='yuvj420p')
    with VideoReader(path) as reader:
        ours = list(reader)
        assert reader.size == (64, 48) and {frame.shape for frame in ours} == {(64, 48, 3)}
        assert far(ours[0], ours[4]) < 6 and '2 frames are scaled to 48x64' in reader.notes[0]


# ---- tracks ----


def two_tracks(path, kind, marked):
    """A clip with two tracks of the kind, of which number `marked` is the default; None: neither.

    Pictures are 8x8 dark or 16x16 bright; sounds are PCM of 8 or 16 kHz.
    """
    default = av.stream.Disposition.default
    with av.open(str(path), 'w') as c:
        pictures, sounds = [], []
        for number in range(2 if kind == 'video' else 1):
            stream = c.add_stream('ffv1', rate=25)
            stream.height = stream.width = 8 * (number + 1)
            stream.pix_fmt = 'bgr0'
            pictures.append(stream)
        for number in range(2 if kind == 'audio' else 0):
            sounds.append(c.add_stream('pcm_s16le', rate=8000 * (number + 1), layout='mono'))
        for number, stream in enumerate(pictures if kind == 'video' else sounds):
            stream.disposition = default if number == marked else 0
        for number, stream in enumerate(pictures):
            gray = np.full((stream.height, stream.width, 3), 100 * number + 50, np.uint8)
            for time in range(5):
                frame = av.VideoFrame.from_ndarray(gray, 'rgb24').reformat(format='bgr0')
                frame.pts, frame.time_base = time, Fraction(1, 25)
                c.mux(stream.encode(frame))
            c.mux(stream.encode(None))
        for stream in sounds:
            frame = av.AudioFrame.from_ndarray(np.zeros((1, stream.rate // 5), np.int16), 's16')
            frame.sample_rate = stream.rate
            c.mux(stream.encode(frame))
    return path


@pytest.mark.parametrize(('marked', 'size'), [(None, 8), (0, 8), (1, 16)])
def test_the_default_track_of_pictures(tmp_path, marked, size):
    path = two_tracks(tmp_path / 'a.mkv', 'video', marked)
    with VideoReader(path) as reader:
        assert (reader.size, reader.frame_count) == ((size, size), 5)
        assert {int(frame.mean()) for frame in reader} == {50 if size == 8 else 150}
        assert reader.notes == [f'{path}: 2 tracks of pictures, of which the default one is used']


@pytest.mark.parametrize(('marked', 'track'), [(None, 0), (0, 0), (1, 1)])
def test_the_default_sound_track(tmp_path, marked, track):
    path = two_tracks(tmp_path / 'a.mkv', 'audio', marked)
    with av.open(str(path)) as c:
        assert opening.sound_track(c).rate == 8000 * (track + 1)
    assert find_sound(path).track == track


# ---- animated pictures ----


@pytest.mark.parametrize('name', ['a.webp', 'a.png', 'a.avif', 'a.gif'])
def test_transparent_animations_are_laid_over_white(tmp_path, name):
    frames = [np.dstack([frame, np.full(frame.shape[:2], 255)]) for frame in drawn(6)]
    for frame in frames:
        frame[:24, :, 3] = 0
    pictures = [Image.fromarray(frame.astype(np.uint8)) for frame in frames]
    options = {'quality': 95} if name == 'a.avif' else {'lossless': True, 'disposal': 2}
    pictures[0].save(
        tmp_path / name, save_all=True, append_images=pictures[1:], duration=40, **options
    )
    ours = list(VideoReader(tmp_path / name))
    assert len(ours) == 6
    for one, frame in zip(ours, frames):
        assert far(one[:20], 255) < 3 and far(one[26:], frame[26:, :, :3]) < 12


def test_animations_that_are_hidden_as_a_whole_are_shown(tmp_path):
    frames = [np.dstack([frame, np.zeros(frame.shape[:2])]).astype(np.uint8) for frame in drawn(6)]
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
        tmp_path / 'a.png', save_all=True, append_images=pictures[1:], duration=40, disposal=1
    )
    assert far(list(VideoReader(tmp_path / 'a.png')), np.array(frames)[..., :3]) < 1


# ---- the border ----


@pytest.mark.parametrize(
    'error', [ValueError('no\nenum'), TypeError(), OverflowError('big'), MemoryError(), KeyError(7)]
)
@pytest.mark.parametrize(
    'place', ['movies.display_matrix', 'movies.to_rgb', 'survey.read_packets', 'decoding._decoder']
)
def test_whatever_is_raised_becomes_a_line(tmp_path, monkeypatch, error, place):
    def fail(*args, **options):
        raise error

    path = encode(tmp_path / 'a.mp4', drawn(5))
    monkeypatch.setattr(f'modules.video.{place}', fail)
    with pytest.raises(UserError) as caught:
        list(VideoReader(path))
    assert one_line(caught).startswith(f'{path}: can not be decoded (')


def test_names_that_no_file_can_have():
    with pytest.raises(UserError, match='no file can have this name'):
        VideoReader('a\0.mp4')


def test_one_list_of_suffixes():
    suffixes = '.ts .mts .m2ts .3gp .3g2 .flv .f4v .ogv .vob .asf .qt .mp4 .webm .gif'
    assert set(suffixes.split()) <= set(CLIP_SUFFIXES)
