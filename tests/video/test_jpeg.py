"""Frames of a camera as JPEG bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video.jpeg import decode_jpeg, encode_jpeg


def smooth(height, width):
    """(H, W, 3) uint8 whose levels grow downwards, to the right and both."""
    down, across = np.linspace(0, 200, height)[:, None], np.linspace(0, 250, width)
    one = np.ones((height, width))
    return np.rint(np.stack([down * one, across * one, (down + across) / 2], 2)).astype('uint8')


def test_there_and_back():
    picture = smooth(48, 64)
    back = decode_jpeg(encode_jpeg(picture))
    assert back.dtype == np.uint8 and np.abs(back.astype(int) - picture).max() <= 6


def test_large_frames_are_halved_to_no_less_than_is_needed():
    data = encode_jpeg(smooth(480, 640))
    assert decode_jpeg(data, (128, 128)).shape == (240, 320, 3)
    assert decode_jpeg(data, (256, 256)).shape == (480, 640, 3)
    assert decode_jpeg(data, (64, 64)).shape == (120, 160, 3)
    small = decode_jpeg(data, (128, 128)).astype(int)
    assert np.abs(small - smooth(240, 320)).max() <= 6


def test_gray_frames_become_rgb():
    file = io.BytesIO()
    Image.new('L', (8, 8), 77).save(file, 'JPEG')
    assert decode_jpeg(file.getvalue()).shape == (8, 8, 3)


def as_png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'PNG')
    return file.getvalue()


@pytest.mark.parametrize(
    'data',
    [
        b'',
        b'\xff\xd8\xff',
        bytes(1000),
        as_png(smooth(8, 8)),
        encode_jpeg(smooth(48, 64))[:300],
    ],
    ids=['nothing', 'a beginning', 'zeros', 'a PNG', 'half of one'],
)
def test_what_is_no_jpeg(data):
    with pytest.raises(UserError, match='no JPEG'):
        decode_jpeg(data)


def test_large_ones_are_refused_by_their_header():
    data = bytearray(encode_jpeg(smooth(48, 64)))
    place = data.index(b'\xff\xc0') + 5  # height and width, of two bytes each
    data[place : place + 4] = b'\xff\x00\xff\x00'
    with pytest.raises(UserError, match='more than 2073600 pixels'):
        decode_jpeg(bytes(data))
    with pytest.raises(UserError, match='more than 100 pixels: 64 x 48'):
        decode_jpeg(encode_jpeg(smooth(48, 64)), most_pixels=100)
