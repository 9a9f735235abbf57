"""Colours as players show them: matrices, ranges, HDR, and what is not said."""

from fractions import Fraction

import av
import numpy as np
import pytest

from modules.video import VideoReader
from modules.video.hdr import HLG, PQ, hdr_to_sdr

RED = (198, 39, 38)
# What libav numbers: matrices with their weights of red and blue.
WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
REFUSED = (3, 8, 10, 11, 12, 13, 14)  # by swscale: no more than unspecified


def planes(colour, matrix, bits=8):
    """Y, Cb and Cr of a colour, 16-235 or with as many bits more."""
    weight_red, weight_blue = WEIGHTS[matrix]
    red, green, blue = (part / 255 for part in colour)
    luma = weight_red * red + weight_blue * blue + (1 - weight_red - weight_blue) * green
    chroma = [(blue - luma) / (1 - weight_blue) / 2, (red - luma) / (1 - weight_red) / 2]
    scale = 2 ** (bits - 8)
    return [scale * (16 + 219 * luma), *(scale * (128 + 224 * part) for part in chroma)]


def tagged(path, values, codec='libx264', size=(64, 64), count=3, bits=8, params='', **tags):
    """A clip of one colour, given in YCbCr, whose colours are tagged as said.

    Args:
        params: of x264 itself, for what is to be in the pictures alone.
    """
    pixel_format = 'yuv444p' if bits == 8 else 'yuv444p10le'
    options = {'lossless': '1'} if codec == 'libvpx-vp9' else {'crf': '4'}
    if codec == 'libx265':
        options['x265-params'] = 'log-level=none'
    options |= {'x264-params': params} if params else {}
    with av.open(str(path), 'w') as c:
        stream = c.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = 'yuv420p' if bits == 8 else 'yuv420p10le'
        for tag, number in tags.items():
            setattr(stream.codec_context, tag, number)
        for number in range(count):
            flat = [np.full(size, round(value), np.uint16) for value in values]
            if bits == 8:
                picture = av.VideoFrame.from_ndarray(np.array(flat, np.uint8), pixel_format)
            else:  # by way of 16 bits, which PyAV takes
                deep = np.stack(flat, axis=-1) << (16 - bits)
                picture = av.VideoFrame.from_ndarray(deep, 'yuv444p16le')
            picture = picture.reformat(format=stream.pix_fmt)
            for tag, value in tags.items():
                setattr(picture, tag, value)
            picture.pts, picture.time_base = number, Fraction(1, 25)
            c.mux(stream.encode(picture))
        c.mux(stream.encode(None))
    return path


def pixel(path):
    with VideoReader(path) as reader:
        frames = list(reader)
        assert len(frames) == reader.frame_count == 3
        np.testing.assert_array_equal(reader.read_frames([2])[0], frames[2])
    return frames[0][2, 2]


@pytest.mark.parametrize('matrix', REFUSED)
@pytest.mark.parametrize(('name', 'codec'), [('a.mp4', 'libx264'), ('a.webm', 'libvpx-vp9')])
def test_an_unusable_matrix_counts_as_unspecified(tmp_path, name, codec, matrix):
    path = tagged(tmp_path / name, planes(RED, 6), codec, colorspace=matrix)
    np.testing.assert_allclose(pixel(path), RED, atol=3)


@pytest.mark.parametrize('matrix', WEIGHTS)
def test_a_matrix_is_honoured(tmp_path, matrix):
    for size in ((64, 64), (720, 64)):
        path = tagged(tmp_path / 'a.mp4', planes(RED, matrix), size=size, colorspace=matrix)
        np.testing.assert_allclose(pixel(path), RED, atol=3)


@pytest.mark.parametrize(('lines', 'matrix'), [(718, 6), (720, 1), (1080, 1)])
@pytest.mark.parametrize('tag', [None, 2, 14])
def test_untagged_clips_as_players_guess(tmp_path, lines, matrix, tag):
    tags = {} if tag is None else {'colorspace': tag}
    path = tagged(tmp_path / 'a.mp4', planes(RED, matrix), size=(lines, 32), **tags)
    np.testing.assert_allclose(pixel(path), RED, atol=3)


# Logarithmic, linear, without a number, new: none is converted, so none may matter.
@pytest.mark.parametrize('transfer', [0, 3, 8, 9, 10, 14, 17])
@pytest.mark.parametrize('primaries', [0, 1, 10, 12, 22])
def test_other_transfers_and_primaries_change_nothing(tmp_path, transfer, primaries):
    tags = {'color_trc': transfer, 'color_primaries': primaries, 'colorspace': 6}
    path = tagged(tmp_path / 'a.mp4', planes(RED, 6), **tags)
    plain = tagged(tmp_path / 'b.mp4', planes(RED, 6), colorspace=6)
    np.testing.assert_array_equal(pixel(path), pixel(plain))


# ---- HDR ----

GRAYS = {  # a level of paper white, of a gray card, of black, and what they become
    HLG: {0.75: 230, 0.38: 109, 0: 0},
    PQ: {0.58: 230, 0.38: 108, 0: 0},
}


@pytest.mark.parametrize('transfer', GRAYS)
@pytest.mark.parametrize(
    ('name', 'codec', 'bits'),
    [('a.mp4', 'libx265', 10), ('a.mkv', 'libx264', 10), ('a.mov', 'libx264', 8)],
)
def test_hdr_becomes_sdr(tmp_path, name, codec, bits, transfer):
    tags = {'color_trc': transfer, 'color_primaries': 9, 'colorspace': 9}
    for level, expected in GRAYS[transfer].items():
        values = planes([255 * level] * 3, 9, bits)
        path = tagged(tmp_path / name, values, codec, bits=bits, **tags)
        np.testing.assert_allclose(pixel(path), expected, atol=2 if bits == 10 else 3)


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_hdr_of_which_the_container_alone_tells(tmp_path, name):
    tags = {'color_trc': HLG, 'color_primaries': 9, 'colorspace': 9}
    values = planes([255 * 0.75] * 3, 9, 10)
    params = 'transfer=undef:colorprim=undef'
    path = tagged(tmp_path / name, values, 'libx264', bits=10, params=params, **tags)
    with av.open(str(path)) as c:
        assert next(c.decode(video=0)).color_trc == 2  # unspecified
    np.testing.assert_allclose(pixel(path), GRAYS[HLG][0.75], atol=2)


def test_wide_colours_without_hdr_stay(tmp_path):
    tags = {'color_trc': 14, 'color_primaries': 9, 'colorspace': 9}
    path = tagged(tmp_path / 'a.mp4', planes([191] * 3, 9, 10), 'libx265', bits=10, **tags)
    np.testing.assert_allclose(pixel(path), 191, atol=3)


def codes_of(light, transfer):
    """The inverse of what hdr.py does first, by the formulas of BT.2100: linear light -> codes."""
    if transfer == PQ:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        power = (light * 1000 / 10000) ** m1
        return ((c1 + c2 * power) / (1 + c3 * power)) ** m2
    luminance = (light @ [0.2627, 0.678, 0.0593])[..., None]
    scene = light * np.maximum(luminance, 1e-9) ** (-0.2 / 1.2)
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    log = a * np.log(np.maximum(12 * scene - b, 1e-9)) + c
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), log)


@pytest.mark.parametrize('transfer', GRAYS)
def test_hdr_by_its_light(transfer):
    """Colours below the knee keep their light: they come out as BT.1886 codes of it."""
    rng = np.random.default_rng(0)
    # Of a display of 1000 cd/m2, in BT.709, up to 80 cd/m2, where nothing is compressed yet.
    light = rng.uniform(0.002, 0.08, (50, 40, 3))
    to_bt2020 = np.array(
        [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    )
    codes = np.rint(65535 * codes_of(light @ to_bt2020.T, transfer)).astype(np.uint16)
    expected = 255 * (light * 1000 / 203) ** (1 / 2.4)
    np.testing.assert_allclose(hdr_to_sdr(codes, transfer, 9), expected, atol=1)


@pytest.mark.parametrize('transfer', GRAYS)
def test_hdr_never_folds(transfer):
    """Brighter is never shown darker, and the brightest is white."""
    codes = np.repeat(np.arange(0, 65536, 16, dtype=np.uint16)[None, :, None], 3, axis=2)
    shown = hdr_to_sdr(codes, transfer, 9)[0].astype(int)
    assert (np.diff(shown, axis=0) >= 0).all() and (shown[-1] == 255).all()
    assert (np.ptp(shown, axis=1) <= 1).all()
