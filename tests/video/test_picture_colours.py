"""The colours that pictures mean: profiles, transparency; and very large ones, and HEIC."""

import io
import struct
import sys
import zlib

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, JpegImagePlugin

from modules.runtime.errors import UserError
from modules.video import VideoReader, pictures, read_image, resize_frame
from tests.support import icc_profiles

COLOUR = (200, 150, 120)


# ---- profiles ----


@pytest.mark.parametrize('kind', ['PNG', 'JPEG', 'TIFF', 'WEBP', 'AVIF'])
@pytest.mark.parametrize('name', ['p3', 'adobe'])
def test_profiles_become_srgb(tmp_path, kind, name):
    options = {'lossless': True} if kind == 'WEBP' else {'quality': 95}
    picture = Image.new('RGB', (32, 32), COLOUR)
    path = tmp_path / f'a.{kind.lower()}'
    picture.save(path, kind, icc_profile=icc_profiles.rgb_profile(name), **options)
    exact = icc_profiles.in_srgb(name, COLOUR)
    tolerance = 1 if kind in ('PNG', 'TIFF', 'WEBP') else 4
    assert np.abs(exact - COLOUR).max() > 5
    np.testing.assert_allclose(read_image(path)[16, 16], exact, atol=tolerance)


def test_profiles_of_transparent_and_palette_pictures(tmp_path):
    profile = icc_profiles.rgb_profile('p3')
    exact = icc_profiles.in_srgb('p3', COLOUR)
    half = Image.new('RGBA', (4, 4), (*COLOUR, 128))
    half.save(tmp_path / 'half.png', icc_profile=profile)
    blended = (exact * 128 + 255 * 127) / 255
    np.testing.assert_allclose(read_image(tmp_path / 'half.png')[0, 0], blended, atol=1.5)
    Image.new('RGB', (4, 4), COLOUR).quantize(2).save(tmp_path / 'p.png', icc_profile=profile)
    np.testing.assert_allclose(read_image(tmp_path / 'p.png')[0, 0], exact, atol=1)


def test_gray_profiles(tmp_path):
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    expected = icc_profiles.srgb_values((np.arange(256) / 255) ** 1.8)[None, :, None]
    profile = icc_profiles.gray_profile(1.8)
    ramp.save(tmp_path / 'l.png', icc_profile=profile)
    ramp.convert('LA').save(tmp_path / 'la.png', icc_profile=profile)
    Image.fromarray(np.asarray(ramp).astype(np.uint16) * 257).save(
        tmp_path / 'i16.png', icc_profile=profile
    )
    for name in ('l.png', 'la.png', 'i16.png'):
        frame = read_image(tmp_path / name)
        np.testing.assert_allclose(frame, np.broadcast_to(expected, frame.shape), atol=1.5)


def test_cmyk_profile(tmp_path):
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    picture = Image.fromarray(np.array([inks], np.uint8), 'CMYK')
    picture.save(tmp_path / 'plain.tif')
    picture.save(tmp_path / 'a.tif', icc_profile=icc_profiles.cmyk_profile())
    paper, cyan, magenta, yellow, black = read_image(tmp_path / 'a.tif')[0].astype(int)
    assert paper.min() > 235 and black.max() < 60
    assert cyan[0] < cyan[1:].min() < 240 and magenta[1] < magenta[[0, 2]].min()
    assert yellow[2] < yellow[:2].min()
    plain = read_image(tmp_path / 'plain.tif')[0].tolist()
    assert plain == [[255] * 3, [0, 255, 255], [255, 0, 255], [255, 255, 0], [0] * 3]


def test_profiles_that_change_nothing(tmp_path):
    """sRGB itself, to the bit; one for other colours than the picture's; a broken one."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    path = tmp_path / 'a.png'
    p3 = icc_profiles.rgb_profile('p3')
    built_in = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    others = [icc_profiles.gray_profile(1.0), icc_profiles.cmyk_profile(), p3[:300], b'x' * 500]
    for profile in (built_in, icc_profiles.rgb_profile('srgb'), *others):
        Image.fromarray(noise).save(path, icc_profile=profile)
        np.testing.assert_array_equal(read_image(path), noise)
    Image.fromarray(noise[..., 0]).save(path, icc_profile=p3)
    np.testing.assert_array_equal(read_image(path)[..., 1], noise[..., 0])


def test_profile_beside_broken_metadata(tmp_path):
    file = io.BytesIO()
    picture = Image.new('RGB', (8, 8), COLOUR)
    picture.save(file, 'PNG', icc_profile=icc_profiles.rgb_profile('p3'))
    data = file.getvalue()
    (tmp_path / 'a.png').write_bytes(data[:33] + b'\0\0\0\1tEXta' + bytes(4) + data[33:])
    file = io.BytesIO()
    picture.save(file, 'JPEG', quality=95, icc_profile=icc_profiles.rgb_profile('p3'))
    data = file.getvalue()
    broken = b'\xff\xed\0\x1dPhotoshop 3.0\x008BIM\3\xed\0\0\0\0\0\2a'
    (tmp_path / 'a.jpg').write_bytes(data[:2] + broken + data[2:])
    exact = icc_profiles.in_srgb('p3', COLOUR)
    for name, tolerance in (('a.png', 1), ('a.jpg', 3)):
        np.testing.assert_allclose(read_image(tmp_path / name)[4, 4], exact, atol=tolerance)


# ---- transparency ----


def hidden(alpha=0):
    y, x = np.mgrid[:32, :32].astype(np.uint8)
    return np.stack([4 * x, 4 * y, np.full_like(x, 128), np.full_like(x, alpha)], axis=-1)


@pytest.mark.parametrize('name', ['a.png', 'a.tif', 'a.webp'])
def test_alpha_that_hides_all_is_ignored(tmp_path, name):
    options = {'lossless': True, 'exact': True} if name.endswith('webp') else {}
    Image.fromarray(hidden()).save(tmp_path / name, **options)
    np.testing.assert_array_equal(read_image(tmp_path / name), hidden()[..., :3])
    seen = hidden()
    seen[5, 5, 3] = 1
    Image.fromarray(seen).save(tmp_path / name, **options)
    assert (read_image(tmp_path / name)[10:] == 255).all()


def test_nothing_but_transparency_is_white(tmp_path):
    Image.new('RGBA', (8, 8)).save(tmp_path / 'black.png')
    palette = Image.new('RGB', (8, 8), COLOUR).quantize(2)
    palette.save(tmp_path / 'palette.png', transparency=0)
    Image.new('RGB', (8, 8), COLOUR).save(tmp_path / 'key.png', transparency=COLOUR)
    for name in ('black.png', 'palette.png', 'key.png'):
        assert (read_image(tmp_path / name) == 255).all()


def test_folders_decide_once_about_alpha(tmp_path):
    """A fade-in starts with frames of which nothing is seen."""
    for number, alpha in enumerate((0, 0, 0)):
        Image.fromarray(hidden(alpha)).save(tmp_path / f'{number}.png')
    with VideoReader(tmp_path) as reader:
        assert all((frame == hidden()[..., :3]).all() for frame in reader)
    Image.fromarray(hidden(255)).save(tmp_path / '3.png')
    with VideoReader(tmp_path) as reader:
        frames = list(reader)
    assert all((frame == 255).all() for frame in frames[:3])
    assert (frames[3] == hidden()[..., :3]).all()
    assert (VideoReader(tmp_path).read_frames([1]) == 255).all()


def write_clip(path, frames):
    with av.open(path, 'w') as clip:
        stream = clip.add_stream('png', rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, 'rgba'
        for frame in frames:
            clip.mux(stream.encode(av.VideoFrame.from_ndarray(frame, 'rgba')))
        clip.mux(stream.encode(None))


def test_clips_decide_once_about_alpha(tmp_path):
    path, frames = tmp_path / 'a.mov', np.array([hidden()] * 3)
    write_clip(path, frames)
    with VideoReader(path) as reader:
        np.testing.assert_array_equal(list(reader), frames[..., :3])
        np.testing.assert_array_equal(reader.read_frames([1]), frames[1:2, ..., :3])
    frames[2, ..., 3] = 255
    write_clip(path, frames)
    with VideoReader(path) as reader:
        first, second, third = reader
    assert (first == 255).all() and (second == 255).all() and (third == frames[2, ..., :3]).all()


def png(width, height, depth, colours, rows, key):
    """Lines of samples of any depth, as PNG packs them."""

    def chunk(name, content):
        checksum = struct.pack('>I', zlib.crc32(name + content))
        return struct.pack('>I', len(content)) + name + content + checksum

    lines = b''.join(b'\0' + row for row in rows)
    head = struct.pack('>2I5B', width, height, depth, colours, 0, 0, 0)
    chunks = chunk(b'IHDR', head) + chunk(b'tRNS', key)
    chunks += chunk(b'IDAT', zlib.compress(lines)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + chunks


@pytest.mark.parametrize(
    ('depth', 'colours', 'row', 'key', 'expected'),
    [
        (16, 0, struct.pack('>4H', 0, 514, 65535, 0), struct.pack('>H', 0), [255, 2, 255, 255]),
        (16, 0, struct.pack('>4H', 0, 514, 257, 0), struct.pack('>H', 514), [0, 255, 1, 0]),
        (8, 0, bytes([7, 8, 9, 7]), struct.pack('>H', 7), [255, 8, 9, 255]),
        (4, 0, bytes([0x12, 0x31]), struct.pack('>H', 1), [255, 34, 51, 255]),
        (2, 0, bytes([0b01101101]), struct.pack('>H', 1), [255, 170, 255, 255]),
        (1, 0, bytes([0b01100000]), struct.pack('>H', 0), [255, 255, 255, 255]),
        (16, 2, struct.pack('>12H', *[514] * 3, *[257] * 3, *[514] * 3, *[0] * 3),
         struct.pack('>3H', 514, 514, 514), [255, 1, 255, 0]),
    ],
)  # fmt: skip
def test_png_names_its_transparent_colour_in_the_files_bits(
    tmp_path, depth, colours, row, key, expected
):
    (tmp_path / 'a.png').write_bytes(png(4, 1, depth, colours, [row], key))
    assert read_image(tmp_path / 'a.png')[0, :, 0].tolist() == expected


# ---- size ----


def test_very_large_jpegs_are_read_at_a_part_of_their_size(tmp_path, monkeypatch):
    gradient = Image.linear_gradient('L').resize((800, 600)).convert('RGB')
    path = tmp_path / 'a.jpg'
    exif = Image.Exif()
    exif[274] = 6
    gradient.save(path, quality=95, exif=exif)
    whole = read_image(path)
    assert whole.shape == (800, 600, 3)
    monkeypatch.setattr(pictures, '_LARGE', 400_000)
    for limit, scale in ((200_000, 2), (50_000, 4), (5_000, 8)):
        monkeypatch.setattr(pictures, '_REDUCED', limit)
        frame = read_image(path)
        assert frame.shape == (800 // scale, 600 // scale, 3)
        difference = resize_frame(frame, (64, 64)) - resize_frame(whole, (64, 64))
        assert np.abs(difference).max() < 0.02
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100_000)  # Pillow refuses twice as many
    assert read_image(path).shape == (100, 75, 3)
    with VideoReader(tmp_path) as reader:
        assert next(iter(reader)).shape == (100, 75, 3)
    gradient.save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='too many pixels'):
        read_image(tmp_path / 'a.png')
    monkeypatch.setattr(pictures, '_LARGEST_JPEG', 400_000)
    with pytest.raises(UserError, match='too many pixels'):
        read_image(path)


def test_a_photograph_of_200_megapixels(tmp_path):
    path = tmp_path / 'a.jpg'
    Image.linear_gradient('L').resize((16320, 12240)).save(path, quality=30)
    frame = read_image(path)
    assert frame.shape == (3060, 4080, 3)
    assert abs(int(frame[1530, 2040, 0]) - 128) < 3


def test_no_ordinary_jpeg_is_reduced(tmp_path, monkeypatch):
    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, 'draft', None)
    Image.new('L', (9000, 9900)).save(tmp_path / 'a.jpg')  # 89.1 megapixels
    assert read_image(tmp_path / 'a.jpg').shape == (9900, 9000, 3)


# ---- HEIC ----


@pytest.mark.parametrize('brands', [b'heic\0\0\0\0mif1heic', b'mif1\0\0\0\0mif1miafheic'])
def test_heic_names_the_package_that_reads_it(tmp_path, monkeypatch, brands):
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    path = tmp_path / 'IMG_0001.HEIC'
    path.write_bytes(struct.pack('>I', 8 + len(brands)) + b'ftyp' + brands + bytes(100))
    with pytest.raises(UserError, match=r'IMG_0001\.HEIC: .*pillow-heif; install') as error:
        read_image(path)
    assert '\n' not in str(error.value)


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path):
    pillow_heif = pytest.importorskip('pillow_heif')
    picture = Image.linear_gradient('L').convert('RGB')
    picture.paste(COLOUR, (0, 0, 128, 128))
    heif = pillow_heif.from_pillow(picture)
    heif.save(tmp_path / 'a.heic', quality=95)
    np.testing.assert_allclose(read_image(tmp_path / 'a.heic')[64, 64], COLOUR, atol=4)
