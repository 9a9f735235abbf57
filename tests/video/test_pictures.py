"""Pictures of every kind, and resizing."""

import av
import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.transform import resize

from modules.runtime.errors import UserError
from modules.video import read_image, resize_frame
from tests.support.clips import drawn, one_line

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
