"""What is whole is read, what is cut short refused: files whose headers or ends tell otherwise."""

import struct

import av
import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import VideoReader
from tests.support.clips import drawn, encode, far, one_line


def animation(path, count=12, **options):
    pictures = [Image.fromarray(frame) for frame in drawn(count)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=40, **options)
    return path.read_bytes()


def assert_refused(path):
    with pytest.raises(UserError) as error:
        list(VideoReader(path))
    assert one_line(error).startswith(f'{path}: ')


# ---- GIF ----


@pytest.mark.parametrize(
    'end',
    [b'', b';', b';;', b'\0', b'\r\n', b'; and more', b';' + bytes(200), b';GIF89a'],
)
def test_a_gif_may_lack_its_last_byte(tmp_path, end):
    path = tmp_path / 'a.gif'
    data = animation(path)
    whole = list(VideoReader(path))
    assert data.endswith(b';') and len(whole) == 12
    path.write_bytes(data[:-1] + end)
    np.testing.assert_array_equal(list(VideoReader(path)), whole)


def test_a_gif_cut_within_a_frame_is_refused(tmp_path):
    path = tmp_path / 'a.gif'
    data = animation(path)
    with av.open(str(path)) as c:
        packets = [packet for packet in c.demux(video=0) if packet.size]
    starts = [packet.pos for packet in packets]
    for start, size in [(p.pos, p.size) for p in packets[3:]]:
        for cut in (start + 12, start + size // 2, start + size - 3):
            path.write_bytes(data[:cut])
            assert_refused(path)
    middle = starts[6] + 1500  # in its pixels, behind its palette
    path.write_bytes(data[:middle] + bytes(300) + data[middle + 300 :])
    assert_refused(path)
    # Between two frames nobody can tell.
    path.write_bytes(data[: starts[7]])
    assert len(list(VideoReader(path))) == 7


# ---- AVI ----


def avi(path, count=20, announced=20, empty=0):
    """An MJPEG AVI that ends with `empty` dropped frames and says that it holds `announced`."""
    encode(path, drawn(count), 'mjpeg', pix_fmt='yuvj420p')
    data = bytearray(path.read_bytes())
    index = data.index(b'idx1')
    movi = data.index(b'movi') - 8
    entries = struct.unpack('<I', data[index + 4 : index + 8])[0]
    data[index + 8 + entries : index + 8 + entries] = (
        b'00dc' + struct.pack('<III', 0, index - movi - 8, 0)
    ) * empty
    data[index + 4 : index + 8] = struct.pack('<I', entries + 16 * empty)
    data[index:index] = (b'00dc' + bytes(4)) * empty
    for place, more in ((4, 24 * empty), (movi + 4, 8 * empty)):
        size = struct.unpack('<I', data[place : place + 4])[0]
        data[place : place + 4] = struct.pack('<I', size + more)
    data[data.index(b'avih') + 24 :][:4] = b''
    for place in (data.index(b'avih') + 8 + 16, data.index(b'strh') + 8 + 32):
        data[place : place + 4] = struct.pack('<I', announced)
    path.write_bytes(data)
    return path


def test_an_avi_that_announces_too_many(tmp_path):
    path = avi(tmp_path / 'a.avi', announced=25)
    with VideoReader(path) as reader:
        assert (reader.fps, reader.frame_count, len(list(reader))) == (25, 20, 20)
        assert reader.notes == [f'{path}: holds 20 frames, not 25 as its header says']
        assert max(far(*pair) for pair in zip(reader, drawn(20))) < 12


@pytest.mark.parametrize('announced', [24, 30])
def test_an_avi_that_ends_in_dropped_frames(tmp_path, announced):
    """They show the one before again."""
    path = avi(tmp_path / 'a.avi', announced=announced, empty=4)
    with VideoReader(path) as reader:
        ours = list(reader)
        assert len(ours) == reader.frame_count == 24
        assert reader.repeats == {20, 21, 22, 23} and bool(reader.notes) == (announced == 30)
        np.testing.assert_array_equal(reader.read_frames([22])[0], ours[19])


@pytest.mark.parametrize('announced', [20, 25])
def test_an_avi_cut_short_is_refused(tmp_path, announced):
    path = avi(tmp_path / 'a.avi', announced=announced)
    data = path.read_bytes()
    for cut in (0.3, 0.5, 0.75, 0.9):
        path.write_bytes(data[: int(cut * data.index(b'idx1'))])
        assert_refused(path)
    path.write_bytes(data + b'appended')
    assert len(list(VideoReader(path))) == 20


# ---- animated pictures ----


@pytest.mark.parametrize('name', ['a.png', 'a.webp', 'a.avif'])
def test_animations_cut_short_are_refused(tmp_path, name):
    path = tmp_path / name
    data = animation(path, lossless=True) if name != 'a.avif' else animation(path)
    assert len(list(VideoReader(path))) == 12
    for cut in (1, 8, 16, 20, 21, 30, *range(len(data) // 3, len(data), len(data) // 13)):
        path.write_bytes(data[:cut])
        assert_refused(path)
    path.write_bytes(data + bytes(100))
    assert len(list(VideoReader(path))) == 12


@pytest.mark.parametrize('name', ['a.png', 'a.webp', 'a.avif', 'a.jpg', 'a.bmp', 'a.tif'])
def test_still_pictures_are_no_clips(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(drawn(1)[0]).save(path)
    with pytest.raises(UserError, match='not a video'):
        VideoReader(path)
