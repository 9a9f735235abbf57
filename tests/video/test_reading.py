import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.transform import resize

from modules.runtime.errors import UserError
from modules.video import VideoReader, movies, read_frames, read_image, resize_frame
from tests.support.clips import NTSC, drawn, encode, far, one_line, open_files
from tests.support.places import foreign_folder

# ---- pictures ----

GRAY = np.array([[0, 1, 100], [128, 254, 255]], np.uint8)
THREE = np.repeat(GRAY[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ('name', 'image', 'expected'),
    [
        ('gray.png', Image.fromarray(GRAY), THREE),
        ('gray.bmp', Image.fromarray(GRAY), THREE),
        ('one_bit.png', Image.fromarray(GRAY > 99), np.where(THREE > 99, 255, 0)),
        ('palette.png', Image.fromarray(THREE).quantize(8), THREE),
        ('gray16.png', Image.fromarray(GRAY.astype(np.uint16) * 257), THREE),
        ('gray16.tif', Image.fromarray(GRAY.astype(np.uint16) * 257), THREE),
        ('float.tif', Image.fromarray(GRAY.astype(np.float32) / 255), THREE),
        ('cmyk.tif', Image.fromarray(THREE).convert('CMYK'), THREE),
    ],
)
def test_read_image_modes(tmp_path, name, image, expected):
    image.save(tmp_path / name)
    frame = read_image(tmp_path / name)
    assert frame.dtype == np.uint8 and frame.shape == (2, 3, 3)
    assert frame.flags.c_contiguous and frame.flags.writeable
    np.testing.assert_array_equal(frame, expected)


def test_read_image_16_bit_colour(tmp_path):
    colours = np.arange(24, dtype=np.uint16).reshape(2, 4, 3) * 2800
    tifffile.imwrite(tmp_path / 'a.tif', colours, photometric='rgb')
    with av.open(str(tmp_path / 'a.png'), 'w', format='image2', options={'update': '1'}) as c:
        stream = c.add_stream('png', rate=1)
        stream.height, stream.width, stream.pix_fmt = 2, 4, 'rgb48be'
        c.mux(stream.encode(av.VideoFrame.from_ndarray(colours, 'rgb48be')))
        c.mux(stream.encode(None))
    for name in ('a.tif', 'a.png'):
        np.testing.assert_allclose(read_image(tmp_path / name), colours / 257, atol=1)


def test_read_image_transparency_is_laid_over_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255
    rgba[0, :, 0] = 200
    expected = [[[255, 255, 255], [227, 127, 127], [200, 0, 0]]]
    Image.fromarray(rgba).save(tmp_path / 'rgba.png')
    Image.fromarray(rgba).save(tmp_path / 'rgba.webp', lossless=True, exact=True)
    for name in ('rgba.png', 'rgba.webp'):
        np.testing.assert_array_equal(read_image(tmp_path / name), expected)
    Image.fromarray(rgba[..., [0, 3]]).save(tmp_path / 'la.png')
    np.testing.assert_array_equal(read_image(tmp_path / 'la.png')[0, :, 1], [255, 227, 200])
    palette = Image.fromarray(rgba[..., :3]).quantize(2)
    palette.save(tmp_path / 'p.png', transparency=0)
    assert (read_image(tmp_path / 'p.png') == 255).all()
    palette.save(tmp_path / 'p.gif', transparency=0)
    assert (read_image(tmp_path / 'p.gif') == 255).all()


# Tag 274 and what it asks of a viewer.
ORIENTATIONS = {
    1: lambda f: f,
    2: np.fliplr,
    3: lambda f: np.rot90(f, 2),
    4: np.flipud,
    5: lambda f: f.transpose(1, 0, 2),
    6: lambda f: np.rot90(f, -1),
    7: lambda f: np.rot90(f.transpose(1, 0, 2), 2),
    8: np.rot90,
}


@pytest.mark.parametrize('orientation', ORIENTATIONS)
def test_read_image_orientation(tmp_path, orientation):
    (frame,) = drawn(1)
    exif = Image.Exif()
    exif[274] = orientation
    for name in ('a.png', 'a.tif'):
        Image.fromarray(frame).save(tmp_path / name, exif=exif)
        np.testing.assert_array_equal(read_image(tmp_path / name), ORIENTATIONS[orientation](frame))


def test_read_image_takes_the_first_frame(tmp_path):
    frames = [Image.new('RGB', (8, 6), colour) for colour in ('red', 'lime', 'blue')]
    for name in ('a.gif', 'a.webp'):
        frames[0].save(
            tmp_path / name, save_all=True, append_images=frames[1:], lossless=True, duration=40
        )
        np.testing.assert_array_equal(read_image(tmp_path / name), np.array(frames[0]))


def test_read_image_refuses(tmp_path, monkeypatch):
    whole = tmp_path / 'whole.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(whole)
    (tmp_path / 'cut.png').write_bytes(whole.read_bytes()[:2000])
    Image.open(whole).save(tmp_path / 'whole.jpg')
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'whole.jpg').read_bytes()[:1000])
    (tmp_path / 'text.png').write_text('not a picture')
    (tmp_path / 'empty.png').touch()
    tifffile.imwrite(tmp_path / 'range.tif', np.full((4, 4), 7.5, np.float32))
    tifffile.imwrite(tmp_path / 'int.tif', np.full((4, 4), 70000, np.int32))
    cases = {
        'missing.png': 'no such file',
        '': 'is a directory',
        'cut.png': 'damaged',
        'cut.jpg': 'damaged',
        'text.png': 'not a picture',
        'empty.png': 'not a picture',
        'range.tif': 'outside [0, 1]',
        'int.tif': '32-bit',
    }
    for name, reason in cases.items():
        with pytest.raises(UserError) as error:
            read_image(tmp_path / name)
        assert one_line(error).startswith(f'{tmp_path / name}: ') and reason in str(error.value)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 700)
    with pytest.raises(UserError, match='too many pixels'):
        read_image(whole)


def test_read_image_is_quiet_about_large_pictures(tmp_path, monkeypatch, recwarn):
    Image.new('RGB', (40, 40)).save(tmp_path / 'a.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    assert read_image(tmp_path / 'a.png').shape == (40, 40, 3)
    assert not list(recwarn)


@pytest.mark.parametrize(
    'shapes',
    [
        (480, 480, 256, 256),
        (270, 480, 256, 256),
        (100, 130, 256, 256),
        (300, 100, 128, 256),
        (257, 255, 256, 256),
        (7, 1, 3, 5),
        (2, 3, 5, 1),
    ],
)
def test_resize_frame_is_scikit_image_s(shapes):
    height, width, *size = shapes
    frame = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    ours = resize_frame(frame, size)
    assert ours.dtype == np.float32 and ours.flags.c_contiguous
    np.testing.assert_allclose(ours, resize(frame, size), rtol=0, atol=1e-6)


def test_resize_frame_leaves_the_right_size_alone():
    frame = np.arange(768, dtype=np.uint8).reshape(16, 16, 3)
    np.testing.assert_array_equal(resize_frame(frame, (16, 16)), (frame / 255).astype(np.float32))


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
