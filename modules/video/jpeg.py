"""Frames of a camera as JPEG bytes, in memory: what browsers send and show."""

import io

import numpy as np
from PIL import Image

from modules.runtime.errors import UserError

MOST_PIXELS = 1920 * 1080
_QUALITY = 90


def decode_jpeg(
    data: bytes, least: tuple[int, int] | None = None, most_pixels: int = MOST_PIXELS
) -> np.ndarray:
    """A camera's frame; a large one is halved while it is decoded, which saves most of the time.

    Args:
        data: of a JPEG file.
        least: (height, width) that is needed; None: all there is.
        most_pixels: of a frame; its header tells, and larger ones are not decoded.

    Returns:
        (H, W, 3) uint8, RGB: the frame as it is, or a half, quarter or eighth of its size, as long
        as that is `least` or more.

    Raises:
        UserError: no JPEG, a damaged or a larger one.
    """
    too_large = f'a frame of more than {most_pixels} pixels'
    try:
        with Image.open(io.BytesIO(data), formats=['JPEG']) as image:
            if image.width * image.height > most_pixels:
                raise UserError(f'{too_large}: {image.width} x {image.height}')
            if least is not None:
                image.draft('RGB', (least[1], least[0]))
            return np.asarray(image.convert('RGB'))
    except Image.DecompressionBombError as error:
        raise UserError(too_large) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError('a frame that is no JPEG, or a damaged one') from error


def encode_jpeg(frame: np.ndarray, quality: int = _QUALITY) -> bytes:
    """(H, W, 3) uint8, RGB -> a JPEG file, in full colour resolution."""
    data = io.BytesIO()
    Image.fromarray(frame).save(data, 'JPEG', quality=quality, subsampling=0)
    return data.getvalue()
