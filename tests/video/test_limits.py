"""Files of a few bytes that tell of huge frames, that name other files, or that are none."""

import os
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import VideoReader, first_frame, is_animated, read_image, write_video
from modules.video.decoding import paced
from modules.video.limits import VARIABLE
from modules.video.pictures import over_white, stored_size

LIMIT = 0.01  # megapixels
FITS, BEYOND = (100, 100), (102, 100)  # (width, height)


@pytest.fixture(autouse=True)
def limited(monkeypatch):
    monkeypatch.setenv(VARIABLE, str(LIMIT))


def animation(path, size):
    frames = [Image.new('RGB', size, colour) for colour in ('red', 'blue')]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)


def movie(path, size):
    write_video(path, [np.zeros((*size[::-1], 3), np.uint8)] * 2, 10)


@pytest.mark.parametrize(
    ('name', 'write'),
    [('a.gif', animation), ('a.webp', animation), ('a.apng', animation), ('a.mp4', movie)],
)
def test_clips_of_too_many_pixels_are_refused(tmp_path, monkeypatch, name, write):
    path = tmp_path / name
    write(path, FITS)
    assert len(list(VideoReader(path))) == 2
    write(path, BEYOND)
    with pytest.raises(UserError) as error:
        VideoReader(path)
    assert str(error.value) == (
        f'{path}: 102x100 pixels, more than 0.01 megapixels; scale it down, or set '
        'FOMM_MAX_MEGAPIXELS to as many'
    )
    for more in ('0.0102', ''):  # '': the default
        monkeypatch.setenv(VARIABLE, more)
        assert len(list(VideoReader(path))) == 2


def test_frames_may_not_grow_beyond(tmp_path):
    path = tmp_path / 'a.mkv'
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('mjpeg', 10)
        stream.width, stream.height, stream.pix_fmt = *FITS, 'yuvj420p'
        for number, size in enumerate((FITS, FITS, BEYOND, FITS)):
            codec = av.CodecContext.create('mjpeg', 'w')
            codec.width, codec.height = size
            codec.pix_fmt, codec.time_base = 'yuvj420p', Fraction(1, 10)
            frame = av.VideoFrame(*size, 'yuvj420p')
            frame.pts = number
            for packet in (*codec.encode(frame), *codec.encode(None)):
                packet.stream, packet.pts, packet.dts = stream, number, number
                packet.time_base = Fraction(1, 10)
                file.mux(packet)
    with VideoReader(path) as reader, pytest.raises(UserError, match='102x100 pixels'):
        list(reader)


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif', '.ppm', '.tga', '.webp'])
def test_pictures_of_too_many_pixels_are_refused(tmp_path, suffix):
    path = tmp_path / f'a{suffix}'
    Image.new('RGB', FITS).save(path)
    assert read_image(path).shape == (100, 100, 3)
    Image.new('RGB', BEYOND).save(path)
    for read in (read_image, stored_size):
        with pytest.raises(UserError, match=r'102x100 pixels, more than 0\.01 megapixels; scale'):
            read(path)


def test_only_progressive_photographs_have_that_limit(tmp_path):
    """Others are decoded at a part of their size."""
    Image.new('RGB', BEYOND).save(tmp_path / 'a.jpg')
    assert read_image(tmp_path / 'a.jpg').shape == (100, 102, 3)
    Image.new('RGB', BEYOND).save(tmp_path / 'a.jpg', progressive=True)
    with pytest.raises(UserError, match='102x100 pixels'):
        read_image(tmp_path / 'a.jpg')


@pytest.mark.parametrize('value', ['many', 'nan', '1e999'])
def test_a_limit_that_is_none(tmp_path, monkeypatch, value):
    Image.new('RGB', FITS).save(tmp_path / 'a.png')
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UserError, match=f'^{VARIABLE} is {value}; set it to a number'):
        read_image(tmp_path / 'a.png')


@pytest.mark.parametrize('mode', ['RGBA', 'LA', 'I;16', 'F', 'RGB'])
def test_pictures_take_little_memory_beside_their_own(tmp_path, monkeypatch, mode):
    """Of arrays, that is; those of Pillow are not counted."""
    monkeypatch.delenv(VARIABLE)
    path = tmp_path / ('a.tif' if mode == 'F' else 'a.png')
    Image.new(mode, (2000, 2000)).save(path)
    tracemalloc.start()
    try:
        size = read_image(path).nbytes
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * size


def test_transparency_by_rows_is_exact():
    rng = np.random.default_rng(0)
    rgba = rng.integers(0, 256, (1100, 3, 4), np.uint8)
    colours, alpha = rgba[..., :3].astype(int), rgba[..., 3:].astype(int)
    exact = (colours * alpha + 255 * (255 - alpha)) / 255
    assert np.abs(over_white(rgba[..., :3], rgba[..., 3]) - exact).max() <= 0.5


@pytest.mark.parametrize('name', ['a.png', 'a.webp', 'a.avif', 'a.mp4', 'a.csv'])
def test_pipes_are_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert not is_animated(tmp_path / name)
    for read in (read_image, stored_size, first_frame, VideoReader):
        with pytest.raises(UserError, match=r'is no file; give the path of a (picture|video)'):
            read(tmp_path / name)


def test_formats_that_start_programs_are_no_pictures(tmp_path):
    lines = ['%!PS-Adobe-3.0 EPSF-3.0', '%%BoundingBox: 0 0 4 4', '%%EndComments', 'showpage', '']
    (tmp_path / 'a.png').write_text('\n'.join(lines))
    with pytest.raises(UserError, match='not a picture that can be read'):
        read_image(tmp_path / 'a.png')


@pytest.mark.parametrize(
    'text',
    [
        'ffconcat version 1.0\nfile secret.gif\n',
        '#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nsecret.gif\n#EXT-X-ENDLIST\n',
        'v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 31\n',
    ],
)
@pytest.mark.parametrize('suffix', ['.mp4', '.m3u8', '.ffconcat', '.sdp'])
def test_lists_of_files_are_no_clips(tmp_path, text, suffix):
    animation(tmp_path / 'secret.gif', FITS)
    path = tmp_path / f'a{suffix}'
    path.write_text(text)
    with pytest.raises(UserError, match='not a video'):
        VideoReader(path)


def test_no_clip_gives_more_frames_than_it_counts():
    """Whatever its decoder makes of it, as some do of an AVI."""

    def steps(numbers):
        yield from ((number, f'frame {number}') for number in numbers)

    for numbers in ([0, 1, 2, 3], [0, 2, 5], [0, 1, 2, 2], [0]):
        assert [number for number, _ in paced(steps(numbers), 3)] == [0, 1, 2]
    assert list(paced(steps([0, 5]), 3))[-1] == (2, 'frame 0')
    assert [number for number, _ in paced(steps([0, 2]), None)] == [0, 1, 2]
