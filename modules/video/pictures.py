"""Pictures: read as RGB, resized to a model's size."""

import contextlib
import functools
import logging
import struct
import warnings
import zlib
from typing import Iterator, Tuple

import numpy as np
from PIL import Image, ImageOps
from scipy import sparse

from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike

Size = Tuple[int, int]  # (height, width)

# What counts as a frame in a folder of pictures.
IMAGE_SUFFIXES = (
    *('.apng', '.avif', '.avifs', '.bmp', '.dib', '.gif', '.heic', '.heif', '.hif', '.j2k', '.jfif'),
    *('.jp2', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tga', '.tif'),
    *('.tiff', '.webp'),
)
# What Pillow's decoders raise on damaged files; what they log about it must not reach the screen.
PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
logging.getLogger('PIL').addHandler(logging.NullHandler())


def read_image(path: PathLike) -> np.ndarray:
    """Reads a picture of any format that Pillow knows; of an animated one, the first frame.

    EXIF orientation is applied. Transparency is laid over white: the colours hidden beneath it are
    arbitrary (often black), and white is what viewers and web pages show. 16-bit values are scaled
    to 8 bits; float values must lie in [0, 1].

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: no such file, not a picture, damaged, or too many pixels.
    """
    with open_picture(path) as image:
        return _picture_to_rgb(ImageOps.exif_transpose(image), path)


@contextlib.contextmanager
def open_picture(path: PathLike) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            # Remarks on odd metadata, and on pictures that are large but not yet refused.
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                yield image
    except Image.UnidentifiedImageError as error:
        raise UserError(
            f'{path}: not a picture that can be read; save it as PNG or JPEG'
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(f'{path}: too many pixels; scale the picture down') from error
    except PILLOW_ERRORS as error:
        if getattr(error, 'filename', None) is not None:  # the system's, about opening the file
            raise UserError(f'{path}: {reason_of(error)}; give the path of a picture') from error
        raise UserError(f'{path}: damaged picture ({error}); replace it') from error


def _picture_to_rgb(image: Image.Image, path: PathLike) -> np.ndarray:
    if image.mode == 'I' or image.mode.startswith('I;16'):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f'{path}: 32-bit gray values; save the picture with 8 or 16 bits')
        gray = (values + 128) // 257
    elif image.mode == 'F':
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise UserError(f'{path}: float values outside [0, 1]; save the picture with 8 bits')
        gray = np.rint(values * 255)
    elif image.has_transparency_data:
        return over_white(np.asarray(image.convert('RGBA')))
    else:
        return np.array(image.convert('RGB'))
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def over_white(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8, alpha not multiplied in -> (H, W, 3) uint8 on white."""
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def resize_frame(frame: np.ndarray, size: Size) -> np.ndarray:
    """What `skimage.transform.resize(frame, size)` computes, to 1e-6 and some ten times faster.

    That is order 1 with its default anti-aliasing: linear and separable, so two sparse matrices.

    Args:
        frame: (H, W, 3) uint8.
        size: (height, width) wanted.

    Returns:
        (height, width, 3) float32 in [0, 1]; frame / 255 if the size is the wanted one already.
    """
    (old_height, old_width), (height, width) = frame.shape[:2], size
    pixels = frame.astype(np.float32) / np.float32(255)
    if (old_height, old_width) == (height, width):
        return pixels
    rows = _resize_matrix(old_height, height) @ pixels.reshape(old_height, old_width * 3)
    columns = rows.reshape(height, old_width, 3).transpose(1, 0, 2).reshape(old_width, height * 3)
    resized = _resize_matrix(old_width, width) @ columns
    return np.ascontiguousarray(resized.reshape(width, height, 3).transpose(1, 0, 2))


@functools.lru_cache(maxsize=16)
def _resize_matrix(old: int, new: int) -> sparse.csr_matrix:
    """(new, old) float32: a Gaussian, then linear interpolation, along one axis.

    The Gaussian has sigma (old / new - 1) / 2 and is cut off at 4 sigma; beyond its border the
    image is mirrored about the centre of the last pixel.
    """
    scale = old / new
    sigma = max(0.0, (scale - 1) / 2)
    radius = int(4 * sigma + 0.5)
    taps = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (taps / sigma) ** 2) if radius else np.ones(1)
    centre = (np.arange(new) + 0.5) * scale - 0.5
    low = np.floor(centre).astype(int)
    linear = np.stack([1 - (centre - low), centre - low], axis=1)
    # Weight, column and row of each entry: (new, 2, taps); entries at the same place add up.
    weight = linear[:, :, None] * (kernel / kernel.sum())
    column = np.abs(low[:, None, None] + np.array([[0], [1]]) + taps) % max(2 * (old - 1), 1)
    column = np.where(column > old - 1, 2 * (old - 1) - column, column)
    row = np.broadcast_to(np.arange(new)[:, None, None], column.shape)
    entries = (weight.astype(np.float32).ravel(), (row.ravel(), column.ravel()))
    return sparse.csr_matrix(entries, shape=(new, old))
