"""Pictures of 24 x 20 pixels in every format and mode."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.fuzz.cases import Seed

_PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8).repeat(4, 0).repeat(4, 1)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _of_mode(mode: str) -> Image.Image:
    colour = Image.fromarray(_PIXELS)
    if mode == 'I;16':
        return Image.fromarray(_PIXELS[..., 0].astype(np.uint16) * 257)
    if mode == 'F':
        return Image.fromarray(_PIXELS[..., 0].astype(np.float32) / 255)
    if mode in ('RGBA', 'LA'):
        image = colour.convert(mode)
        image.putalpha(Image.fromarray(_PIXELS[..., 1]))
        return image
    return colour.convert(mode)


def _all() -> Iterator[tuple[str, str, bytes]]:
    """(name, suffix, data)"""
    exif = Image.Exif()
    exif[274], exif[282], exif[270] = 6, 72.0, 'drawn'
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # when it was made
    modes = {
        'PNG': ('RGB', 'RGBA', 'L', 'LA', 'P', '1', 'I;16'),
        'TIFF': ('RGB', 'RGBA', 'L', 'P', '1', 'I;16', 'F', 'CMYK'),
        'JPEG': ('RGB', 'L', 'CMYK'),
        'WEBP': ('RGB', 'RGBA'), 'GIF': ('P',), 'BMP': ('RGB', 'L', 'P', '1'), 'PPM': ('RGB',
        'L', '1', 'I;16'),
        'TGA': ('RGB', 'RGBA', 'L', 'P'), 'JPEG2000': ('RGB', 'RGBA', 'L'), 'AVIF': ('RGB', 'RGBA'),
    }  # fmt: skip
    suffixes = {'JPEG': '.jpg', 'JPEG2000': '.jp2', 'TIFF': '.tif'}
    for kind, known in modes.items():
        suffix = suffixes.get(kind, f'.{kind.lower()}')
        for mode in known:
            yield f'{kind}-{mode}', suffix, _saved(_of_mode(mode), kind)
    colour, palette = _of_mode('RGB'), _of_mode('P')
    for kind in ('JPEG', 'PNG', 'WEBP', 'AVIF', 'TIFF'):
        suffix = suffixes.get(kind, f'.{kind.lower()}')
        extra = {'exif': exif} if kind == 'TIFF' else {'exif': exif.tobytes()}
        yield f'{kind}-told', suffix, _saved(colour, kind, icc_profile=profile, **extra)
    for way in ('tiff_lzw', 'tiff_adobe_deflate', 'packbits', 'jpeg'):
        yield f'TIFF-{way}', '.tif', _saved(colour, 'TIFF', compression=way)
    yield 'TIFF-fax', '.tif', _saved(_of_mode('1'), 'TIFF', compression='group4')
    yield 'JPEG-progressive', '.jpg', _saved(colour, 'JPEG', progressive=True)
    yield 'JPEG-restarts', '.jpg', _saved(colour, 'JPEG', restart_marker_blocks=1)
    yield 'PNG-keyed', '.png', _saved(palette, 'PNG', transparency=3)
    yield 'PNG-gray-keyed', '.png', _saved(_of_mode('L'), 'PNG', transparency=3)
    yield 'WEBP-lossless', '.webp', _saved(colour, 'WEBP', lossless=True)
    turned = [Image.fromarray(np.roll(_PIXELS, 4 * i, 1)) for i in range(1, 4)]
    for kind in ('WEBP', 'GIF', 'PNG', 'AVIF', 'TIFF'):
        suffix = suffixes.get(kind, f'.{kind.lower()}')
        options = {} if kind == 'TIFF' else {'duration': 100}
        yield (
            f'{kind}-moving',
            suffix,
            _saved(colour, kind, save_all=True, append_images=turned, **options),
        )


def _timeless(data: bytes) -> bytes:
    """An AVIF without the time when it was made."""
    for box in (b'mvhd', b'tkhd', b'mdhd') if data[4:8] == b'ftyp' else ():
        at = data.find(box) + 4
        if at >= 4:
            size = 16 if data[at] else 8
            data = data[: at + 4] + bytes(size) + data[at + 4 + size :]
    return data


def pictures() -> dict[str, Seed]:
    return {name: Seed({f'a{suffix}': _timeless(data)}) for name, suffix, data in _all()}
