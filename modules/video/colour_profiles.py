"""ICC profiles: the colours that a picture means, as sRGB."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

# Steps of 256 by which a profile may differ from sRGB and still be taken for it: rounding of
# tables. Pictures that say they are sRGB stay as they are, to the bit.
_SAME = 2


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The colours of an L, RGB or CMYK picture as RGB.

    As in browsers, a profile that is damaged, or for colours of another kind than the picture's,
    counts for nothing.
    """
    conversion = _conversion(profile, image.mode) if profile else None
    if conversion is None:
        return image if image.mode == 'RGB' else image.convert('RGB')
    return conversion.apply(image)


@functools.lru_cache(maxsize=16)  # the frames of a clip have the same
def _conversion(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From the colours of `profile`; None where they are sRGB's, or can't be told."""
    try:
        srgb = ImageCms.createProfile('sRGB')
        transform = ImageCms.buildTransform(io.BytesIO(profile), srgb, mode, 'RGB')
        if mode != 'CMYK':
            probe = _probe(mode)
            shown = np.asarray(transform.apply(probe)).astype(int)
            if np.abs(shown - np.asarray(probe.convert('RGB'))).max() <= _SAME:
                return None
    except Exception:  # whatever the library says of a damaged profile
        return None
    return transform


def _probe(mode: str) -> Image.Image:
    """A picture of colours from all over the cube, or of all grays."""
    if mode == 'L':
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 18).round().astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1)
    return Image.fromarray(cube.reshape(18, -1, 3))
