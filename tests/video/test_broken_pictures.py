"""Pictures whose pixels are sound and whose other parts are not, and what Pillow raises at all."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import VideoReader, pictures, read_image

SMALL = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
PICTURE = Image.fromarray(SMALL).resize((64, 48), Image.BICUBIC)
PIXELS = np.asarray(PICTURE)
ORIENTATION_6 = struct.pack('<HHIHH', 274, 3, 1, 6, 0)
TEXT_AS_RESOLUTION = struct.pack('<HHI4s', 282, 2, 3, b'72\0')


def saved(kind, picture=PICTURE, **options):
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def exif(*entries, first=8):
    body = struct.pack('<H', len(entries)) + b''.join(entries) + bytes(4)
    return b'II*\0' + struct.pack('<I', first) + body


def chunk(name, content, checksum=None):
    checksum = zlib.crc32(name + content) if checksum is None else checksum
    return struct.pack('>I', len(content)) + name + content + struct.pack('>I', checksum)


def png(before=b'', after=b'', between=b''):
    """With more chunks before, after or among the pixels."""
    data = saved('PNG')
    start = data.index(b'IDAT') - 4
    end = data.index(b'IEND') - 4
    content = data[start + 8 : end - 4]
    split = len(content) // 2
    parts = [content[:split], content[split:]] if between else [content]
    pixels = between.join(chunk(b'IDAT', part) for part in parts)
    return data[:start] + before + pixels + after + data[end:]


def read(tmp_path, data, suffix):
    path = tmp_path / f'picture.{suffix}'
    path.write_bytes(data)
    return read_image(path)


BOMB = zlib.compress(bytes(50 << 20))
BROKEN_CHUNKS = {
    'text-checksum': chunk(b'tEXt', b'a\0b', 1),
    'profile-checksum': chunk(b'iCCP', b'a\0\0' + zlib.compress(b'x'), 1),
    'key-checksum': chunk(b'tRNS', PIXELS[2, 2].astype('>u2').tobytes(), 1),
    'text-length': struct.pack('>I', 3) + b'tEXtxxxx',
    'text-endless': struct.pack('>I', 2**31 - 1) + b'tEXtabc',
    'text-inflating': chunk(b'zTXt', b'a\0\0' + BOMB),
    'words-inflating': chunk(b'iTXt', b'a\0\1\0\0\0' + BOMB),
    'profile-inflating': chunk(b'iCCP', b'a\0\0' + BOMB),
    'many-texts': 70 * chunk(b'zTXt', b'a\0\0' + zlib.compress(bytes(10**6))),
    'text-method': chunk(b'zTXt', b'a\0\5xx'),
    'profile-empty': chunk(b'iCCP', b''),
    'exif-garbage': chunk(b'eXIf', b'\0\x08\0\2\1\x12\0\3aaaaaaaa'),
    'gamma-short': chunk(b'gAMA', b'1'),
    'chromaticities-short': chunk(b'cHRM', bytes(31)),
    'resolution-short': chunk(b'pHYs', b'1'),
    'key-short': chunk(b'tRNS', b'1'),
    'animation-short': chunk(b'acTL', b'1'),
    'animation-order': chunk(b'acTL', bytes([0, 0, 0, 2, 0, 0, 0, 0]))
    + chunk(b'fcTL', struct.pack('>5I2H2B', 5, 64, 48, 0, 0, 1, 1, 0, 0)),
    'name': chunk(b'\xe9\xff\0a', b'1'),
}


@pytest.mark.parametrize('name', BROKEN_CHUNKS)
def test_png_with_broken_metadata(tmp_path, name):
    broken = BROKEN_CHUNKS[name]
    np.testing.assert_array_equal(read(tmp_path, png(broken), 'png'), PIXELS)
    if not name.startswith(('text-', 'key-')):  # Pillow takes the rest as it comes
        np.testing.assert_array_equal(read(tmp_path, png(after=broken), 'png'), PIXELS)


def test_png_with_metadata_among_the_pixels(tmp_path):
    data = png(between=chunk(b'tEXt', b'a\0b'))
    np.testing.assert_array_equal(read(tmp_path, data, 'png'), PIXELS)


def test_exif_counts_beside_broken_metadata(tmp_path):
    turned = chunk(b'eXIf', exif(ORIENTATION_6, TEXT_AS_RESOLUTION))
    for data in (png(turned), png(after=turned), png(turned + BROKEN_CHUNKS['text-checksum'])):
        np.testing.assert_array_equal(read(tmp_path, data, 'png'), np.rot90(PIXELS, -1))


def test_png_with_damaged_pixels_stays_refused(tmp_path):
    data = saved('PNG')
    header = data[:20] + b'\0\0\0\x50' + data[24:]  # another height, so another checksum
    for damaged in (data[:-1000], header, png()[:40]):
        with pytest.raises(UserError, match='picture'):
            read(tmp_path, damaged, 'png')


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack('>H', len(content) + 2) + content


def with_exif(content):
    return segment(0xE1, b'Exif\0\0' + content)


def entry(tag, kind, count, value=b'abcd'):
    return struct.pack('<HHI4s', tag, kind, count, value)


MP = b'MPF\0' + exif(entry(0xB001, 2, 3, b'abc\0'))
UPRIGHT_SEGMENTS = {
    'exif-garbage': with_exif(b'x' * 14),
    'exif-empty': with_exif(b''),
    'exif-far': with_exif(exif(ORIENTATION_6, first=2**31)),
    'orientation-9': with_exif(exif(struct.pack('<HHIHH', 274, 3, 1, 9, 0))),
    'orientation-text': with_exif(exif(entry(274, 2, 2, b'6\0\0\0'))),
    'pictures-garbage': segment(0xE2, b'MPF\0garbage'),
    'pictures-text': segment(0xE2, MP),
    'photoshop-short': segment(0xED, b'Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\2ab'),
    'jfif-short': segment(0xE0, b'JFIF\0'),
    'adobe-short': segment(0xEE, b'Adobe'),
    'profile-short': segment(0xE2, b'ICC_PROFILE\0'),
    'profile-garbage': segment(0xE2, b'ICC_PROFILE\0\1\1' + b'x' * 200),
}
TURNED_SEGMENTS = {
    'text': with_exif(exif(ORIENTATION_6, TEXT_AS_RESOLUTION)),
    'empty-text': with_exif(exif(ORIENTATION_6, entry(282, 2, 1, bytes(4)), entry(296, 3, 1))),
    'endless': with_exif(exif(ORIENTATION_6, entry(282, 5, 2**31))),
    'beyond-the-end': with_exif(exif(entry(270, 3, 9), ORIENTATION_6)),
    'cut-short': with_exif(exif(ORIENTATION_6, TEXT_AS_RESOLUTION)[:26]),
    'photoshop': UPRIGHT_SEGMENTS['photoshop-short'] + with_exif(exif(ORIENTATION_6)),
}


@pytest.mark.parametrize('name', [*UPRIGHT_SEGMENTS, *TURNED_SEGMENTS])
def test_jpeg_with_broken_metadata(tmp_path, name):
    data = saved('JPEG', quality=90)
    plain = np.asarray(Image.open(io.BytesIO(data)))
    segments = {**UPRIGHT_SEGMENTS, **TURNED_SEGMENTS}[name]
    frame = read(tmp_path, data[:2] + segments + data[2:], 'jpg')
    np.testing.assert_array_equal(frame, np.rot90(plain, -(name in TURNED_SEGMENTS)))


@pytest.mark.parametrize('kind', ['AVIF', 'WEBP'])
def test_exif_of_other_formats(tmp_path, kind):
    """AVIF turns pictures by other means than EXIF, so that a broken one changes nothing there."""
    metadata = Image.Exif()
    metadata[274], metadata[282], metadata[315] = 6, 72.0, 'a' * 30
    options = {'lossless': True} if kind == 'WEBP' else {'quality': 90}
    data = saved(kind, exif=metadata.tobytes(), **options)
    plain = read(tmp_path, data, kind.lower())
    assert plain.shape == (64, 48, 3)
    if kind == 'AVIF':
        del metadata[274]
    sound = metadata.tobytes()[6:]
    resolution = sound.index(struct.pack('>HH', 282, 5))
    text = struct.pack('>HHI4s', 282, 2, 3, b'72\0\0')
    broken = sound[:resolution] + text + sound[resolution + 12 :]
    garbage = bytes(len(sound))
    assert sound in data
    frame = read(tmp_path, data.replace(sound, broken), kind.lower())
    np.testing.assert_array_equal(frame, plain)
    frame = read(tmp_path, data.replace(sound, garbage), kind.lower())
    np.testing.assert_array_equal(frame, plain if kind == 'AVIF' else np.rot90(plain))


@pytest.mark.parametrize('kind', [2, 3, 5, 12])
def test_tiff_with_broken_metadata(tmp_path, kind):
    metadata = Image.Exif()
    metadata[274] = 6
    data = saved('TIFF', exif=metadata, dpi=(72, 72), description='ab')
    for tag, before in ((270, 2), (282, 5)):
        place = data.index(struct.pack('<HH', tag, before))
        broken = data[:place] + struct.pack('<HHI', tag, kind, 3) + data[place + 8 :]
        np.testing.assert_array_equal(read(tmp_path, broken, 'tif'), np.rot90(PIXELS, -1))


def test_libtiff_prints_nothing(tmp_path, capfd):
    data = saved('TIFF', compression='tiff_lzw')
    start = struct.unpack('<I', data[4:8])[0] + 2  # of the entries
    damaged = 0
    for place in range(start, start + 12 * data[start - 2], 12):
        for kind in (2, 12):
            broken = data[: place + 2] + struct.pack('<HI', kind, 9) + data[place + 8 :]
            try:
                read(tmp_path, broken, 'tif')
            except UserError as error:
                damaged += 'damaged picture' in str(error)
    assert damaged > 2
    assert capfd.readouterr() == ('', '')
    os.write(2, b'heard')  # stderr is where it was
    assert capfd.readouterr().err == 'heard'


ENDLESS_JPEGS = {
    'plain': {},
    'optimized': {'optimize': True},
    'progressive': {'progressive': True},
    'restarts': {'restart_marker_blocks': 2},
    'progressive-restarts': {'progressive': True, 'restart_marker_rows': 1},
}


@pytest.mark.parametrize('name', ENDLESS_JPEGS)
@pytest.mark.parametrize('mode', ['RGB', 'L', 'CMYK'])
def test_jpeg_without_its_end(tmp_path, name, mode):
    data = saved('JPEG', PICTURE.convert(mode), quality=80, **ENDLESS_JPEGS[name])
    whole = read(tmp_path, data, 'jpg')
    for cut in (1, 2):
        np.testing.assert_array_equal(read(tmp_path, data[:-cut], 'jpg'), whole)
    for cut in range(5, len(data) - 200, 97):
        try:
            frame = read(tmp_path, data[:-cut], 'jpg')
        except UserError as error:
            assert 'damaged' in str(error)
        else:  # what is missing is not seen
            np.testing.assert_array_equal(frame, whole)


def test_folders_have_such_frames_too(tmp_path):
    turned = with_exif(exif(ORIENTATION_6, TEXT_AS_RESOLUTION))
    data = saved('JPEG')
    plain = [data[:2] + with_exif(exif(ORIENTATION_6)) + data[2:], data[:2] + turned + data[2:]]
    for number in range(4):
        (tmp_path / f'{number}.jpg').write_bytes(plain[number % 2])
    with VideoReader(tmp_path) as reader:
        assert reader.size == (64, 48)
        frames = list(reader)
    assert len(frames) == 4 and all((frame == frames[0]).all() for frame in frames)


@pytest.mark.parametrize(
    'error',
    [
        ValueError('a\nb'), TypeError(), OverflowError('large'), struct.error('short'), KeyError(1),
        AssertionError(), NotImplementedError(), RecursionError(), EOFError(), OSError('broken'),
        SyntaxError('x'), zlib.error(), MemoryError(), Image.DecompressionBombError(),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_a_decoder_raises_is_told_in_a_line(tmp_path, monkeypatch, error):
    (tmp_path / 'a.png').write_bytes(png())

    def fail(*arguments):
        raise error

    monkeypatch.setattr(pictures, '_decode', fail)
    with pytest.raises(UserError) as caught:
        read_image(tmp_path / 'a.png')
    assert str(caught.value).startswith(f'{tmp_path / "a.png"}: ')
    assert '\n' not in str(caught.value)
