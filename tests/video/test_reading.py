import struct
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import VideoReader, read_frames, read_image
from tests.support.clips import NTSC, drawn, encode, far, one_line, open_files
from tests.support.places import foreign_folder

# ---- pictures ----


# ---- reading clips ----


@pytest.mark.parametrize(
    ('name', 'codec', 'pix_fmt'),
    [
        ('a.mkv', 'ffv1', 'bgr0'),
        ('a.mkv', 'ffv1', 'gbrp10le'),
        ('a.avi', 'rawvideo', 'bgr24'),
        ('a.mov', 'png', 'rgb24'),
        ('a.mov', 'qtrle', 'rgb24'),
    ],
)
@pytest.mark.parametrize('shape', [(48, 64), (47, 63)])
def test_lossless_clips_come_back(tmp_path, name, codec, pix_fmt, shape):
    frames = drawn(12, *shape)
    encode(tmp_path / name, frames, codec, pix_fmt=pix_fmt)
    with VideoReader(tmp_path / name) as reader:
        assert (reader.frame_count, reader.size, reader.fps) == (12, shape, 25)
        assert not reader.has_audio
        ours = list(reader)
        assert {frame.dtype for frame in ours} == {np.dtype(np.uint8)}
        np.testing.assert_array_equal(ours, frames)
        np.testing.assert_array_equal(next(iter(reader)), frames[0])  # a second pass
        np.testing.assert_array_equal(reader.read_frames([11, 3, 3]), np.array(frames)[[11, 3, 3]])


@pytest.mark.parametrize(
    ('name', 'codec', 'pix_fmt', 'bound'),
    [
        ('a.mp4', 'libx264', 'yuv420p', 6),
        ('a.mp4', 'libx264', 'yuv420p10le', 6),
        ('a.mp4', 'libx264', 'yuv444p', 4),
        ('a.webm', 'libvpx-vp9', 'yuv420p', 8),
        ('a.avi', 'mjpeg', 'yuvj420p', 8),
    ],
)
def test_lossy_clips_come_back(tmp_path, name, codec, pix_fmt, bound):
    frames = drawn(8)
    encode(tmp_path / name, frames, codec, pix_fmt=pix_fmt, crf=4, qmax=4)
    assert far(list(VideoReader(tmp_path / name)), frames) < bound


def test_gray_clip(tmp_path):
    frames = [np.repeat(frame[..., :1], 3, axis=2) for frame in drawn(5)]
    encode(tmp_path / 'a.mkv', frames, 'ffv1', pix_fmt='gray')
    assert far(list(VideoReader(tmp_path / 'a.mkv')), frames) < 1.5


@pytest.mark.parametrize('full_range', [False, True])
@pytest.mark.parametrize('matrix', [1, 6])
def test_tagged_colours_are_honoured(tmp_path, matrix, full_range):
    red, green, blue = 200, 60, 30
    weight_red, weight_blue = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}[matrix]
    luma = weight_red * red + weight_blue * blue + (1 - weight_red - weight_blue) * green
    chroma = [(blue - luma) / (1 - weight_blue) / 2, (red - luma) / (1 - weight_red) / 2]
    if full_range:
        planes = [luma, 128 + chroma[0], 128 + chroma[1]]
    else:
        planes = [16 + luma * 219 / 255, *(128 + part * 224 / 255 for part in chroma)]
    with av.open(str(tmp_path / 'a.mkv'), 'w') as c:
        stream = c.add_stream('libvpx-vp9', rate=25, options={'lossless': '1'})
        stream.height, stream.width, stream.pix_fmt = 16, 16, 'yuv420p'
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full_range else 1
        sizes = (16 * 16, 8 * 8, 8 * 8)
        data = np.concatenate([np.full(n, round(p)) for n, p in zip(sizes, planes)])
        picture = av.VideoFrame.from_ndarray(data.astype(np.uint8).reshape(24, 16), 'yuv420p')
        picture.colorspace, picture.color_range = matrix, 2 if full_range else 1
        c.mux(stream.encode(picture))
        c.mux(stream.encode(None))
    (frame,) = VideoReader(tmp_path / 'a.mkv')
    np.testing.assert_allclose(frame[8, 8], [red, green, blue], atol=3)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mov', 'a.mkv', 'a.avi', 'a.ts'])
@pytest.mark.parametrize('fps', [25, NTSC, Fraction(24000, 1001)])
def test_frame_rate_is_exact(tmp_path, name, fps):
    codec = 'mpeg4' if name == 'a.avi' else 'libx264'
    encode(tmp_path / name, drawn(40), codec, fps)
    with VideoReader(tmp_path / name) as reader:
        assert isinstance(reader.fps, Fraction) and reader.fps == fps
        assert reader.frame_count == len(list(reader)) == 40


def test_frame_rate_of_gifs_follows_from_their_delays(tmp_path):
    def written(delays):
        frames = [Image.fromarray(frame) for frame in drawn(len(delays))]
        frames[0].save(tmp_path / 'a.gif', save_all=True, append_images=frames[1:], duration=delays)
        return VideoReader(tmp_path / 'a.gif')

    reader = written([80] * 10)
    assert (reader.fps, reader.frame_count) == (Fraction(25, 2), 10)
    assert abs(written([30, 30, 40] * 20).fps - 30) < 0.2
    # The fourth picture stands still for 0.5 s.
    reader = written([100, 100, 100, 500, 100, 100])
    assert (reader.fps, reader.frame_count) == (10, 10)
    frames = list(reader)
    assert all((frame == frames[3]).all() for frame in frames[3:8])
    assert len({frame.tobytes() for frame in frames}) == 6


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_variable_rate_stays_in_step(tmp_path, name):
    """A pause of a quarter of a second, and a burst of three frames in the time of one."""
    times = [*range(0, 30, 3), *range(54, 84, 3), 84, 85, 86, *range(87, 117, 3)]
    frames = drawn(len(times), 16, 16)
    encode(tmp_path / name, frames, 'libx264rgb', 90, 'rgb24', times, crf=0)
    with VideoReader(tmp_path / name) as reader:
        ours = list(reader)
        assert len(ours) == reader.frame_count and reader.fps <= 70
        np.testing.assert_array_equal(reader.read_frames(range(len(ours))), ours)
        shown = [number for number in range(len(ours)) if number not in reader.repeats]
    assert len(shown) == len(times)
    for number, time, frame in zip(shown, times, frames):
        assert abs(number / reader.fps - time / 90) <= 0.011
        np.testing.assert_array_equal(ours[number], frame)


def test_avi_with_reordered_frames(tmp_path):
    frames = drawn(20)
    encode(tmp_path / 'a.avi', frames, 'libx264', bf=3, g=7, crf=4)
    with VideoReader(tmp_path / 'a.avi') as reader:
        assert (reader.fps, reader.frame_count) == (25, 20)
        assert max(far(*pair) for pair in zip(reader, frames)) < 6


# The display matrix (a, b, c, d) of a file, and what it asks of a viewer.
TURNS = {
    (1, 0, 0, 1): lambda f: f,
    (0, 1, -1, 0): lambda f: np.rot90(f, -1),
    (-1, 0, 0, -1): lambda f: np.rot90(f, 2),
    (0, -1, 1, 0): np.rot90,
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): lambda f: f.transpose(1, 0, 2),
    (0, -1, -1, 0): lambda f: np.rot90(f.transpose(1, 0, 2), 2),
    (0.5, 0.5, -0.5, 0.5): lambda f: f,
}


@pytest.mark.parametrize('turn', TURNS)
def test_rotation_is_applied(tmp_path, turn):
    path = encode(tmp_path / 'a.mp4', drawn(5))
    straight = list(VideoReader(path))
    data = bytearray(path.read_bytes())
    start = data.index(b'tkhd') + 44  # the header's matrix: 16.16 numbers, rows of three
    a, b, c, d = (round(65536 * part) for part in turn)
    data[start : start + 36] = struct.pack('>9i', a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    with VideoReader(path) as reader:
        ours = list(reader)
        assert reader.size == ours[0].shape[:2]
        np.testing.assert_array_equal(ours, [TURNS[turn](frame) for frame in straight])
        np.testing.assert_array_equal(reader.read_frames([4])[0], ours[4])


def test_transparent_clips_are_laid_over_white(tmp_path):
    frames = [np.dstack([frame, np.full(frame.shape[:2], 255)]) for frame in drawn(4)]
    for frame in frames:
        frame[:24, :, 3], frame[24:, :, 3] = 0, 128
    frames = np.array(frames, np.uint8)
    white = frames[..., :3] * (frames[..., 3:] / 255) + 255 - frames[..., 3:].astype(float)
    encode(tmp_path / 'a.mov', frames, 'qtrle', pix_fmt='argb')
    assert np.abs(np.array(list(VideoReader(tmp_path / 'a.mov'))) - white).max() <= 1
    for codec in ('libvpx', 'libvpx-vp9'):
        options = {'auto-alt-ref': 0, 'b': '2M', 'crf': 4}
        path = encode(tmp_path / 'a.webm', frames, codec, pix_fmt='yuva420p', **options)
        assert far(list(VideoReader(path)), white) < 6
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(tmp_path / 'a.gif', save_all=True, append_images=pictures[1:], disposal=2)
    assert (np.array(list(VideoReader(tmp_path / 'a.gif')))[:, :24] == 255).all()


def test_reader_stops_and_starts(tmp_path):
    encode(tmp_path / 'a.mp4', drawn(30))
    before = open_files()
    with VideoReader(tmp_path / 'a.mp4') as reader:
        first, second = iter(reader), iter(reader)
        assert next(first, None) is None  # the later one ended it
        assert next(second) is not None
    assert next(second, None) is None
    assert open_files() == before


def test_what_is_no_clip_is_refused(tmp_path):
    (tmp_path / 'text.mp4').write_text('no video\n' * 100)
    (tmp_path / 'notes.txt').write_text('no video\n' * 100)
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'none').mkdir()
    (tmp_path / 'none' / 'notes.txt').touch()
    Image.new('RGB', (8, 8)).save(tmp_path / 'still.png')
    with av.open(str(tmp_path / 'sound.wav'), 'w') as c:
        sound = c.add_stream('pcm_s16le', rate=8000, layout='mono')
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), 's16', 'mono')
        silence.sample_rate = 8000
        c.mux(sound.encode(silence))
    reasons = {
        'missing.mp4': 'no such file',
        'text.mp4': 'not a video',
        'notes.txt': 'not a video',
        'empty.mp4': 'not a video',
        'still.png': 'not a video',
        'sound.wav': 'no video in it',
        'none': 'no pictures',
    }
    for name, reason in reasons.items():
        with pytest.raises(UserError, match=reason) as error:
            VideoReader(tmp_path / name)
        assert one_line(error).startswith(f'{tmp_path / name}: ')


def test_unreadable_inputs():
    """What may not be read is called so, not a place without room for an output."""
    with foreign_folder() as folder:
        for name in ('a.png', 'closed/a.png'):
            with pytest.raises(UserError, match='permission denied; give the path of a') as error:
                read_image(folder / name)
            assert one_line(error).startswith(f'{folder / name}: ')
        for name, reason in (('a.mp4', 'no permission'), ('closed/a.mp4', 'permission denied')):
            with pytest.raises(UserError, match=reason) as error:
                VideoReader(folder / name)
            assert one_line(error).startswith(f'{folder / name}: ')
        with pytest.raises(UserError, match='no permission to read it'):
            VideoReader(folder / 'closed')


def test_metadata_in_another_encoding(tmp_path):
    path = tmp_path / 'a.mkv'
    with av.open(str(path), 'w') as c:
        c.metadata['title'] = 'caf\u00e9'
        stream = c.add_stream('mpeg4', rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, 'yuv420p'
        picture = av.VideoFrame.from_ndarray(drawn(1)[0], 'rgb24').reformat(format='yuv420p')
        c.mux(stream.encode(picture))
        c.mux(stream.encode(None))
    assert 'caf\u00e9'.encode() in path.read_bytes()
    path.write_bytes(path.read_bytes().replace('caf\u00e9'.encode(), b'cafe\xe9'))
    assert len(list(VideoReader(path))) == 1


def test_folder_of_pictures(tmp_path):
    frames = drawn(12)
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / (f'f{i}.png' if i % 2 else f'f{i}.BMP'))
    (tmp_path / 'notes.txt').write_text('ignored')
    (tmp_path / '._f3.png').write_bytes(b'left by another system')
    with VideoReader(tmp_path) as reader:
        assert (reader.fps, reader.frame_count, reader.size) == (25, 12, (48, 64))
        np.testing.assert_array_equal(list(reader), frames)
    assert VideoReader(tmp_path, folder_fps=29.97002997).fps == NTSC
    np.testing.assert_array_equal(
        read_frames(tmp_path, [10, 0, 10]), [frames[i] for i in (10, 0, 10)]
    )
    Image.fromarray(frames[0][:40]).save(tmp_path / 'f7.png')
    with pytest.raises(UserError, match=r'f7\.png: 64x40 pixels, but the first frame has 64x48'):
        next(iter(VideoReader(tmp_path)))
    with pytest.raises(UserError, match=r'f7\.png'):
        read_frames(tmp_path, [0, 7])


# ---- random access ----
