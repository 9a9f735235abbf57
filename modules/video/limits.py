"""How large a frame may be: a file of a few bytes can tell of a canvas that fills the memory."""

import os

from modules.runtime.errors import UserError
from modules.runtime.files import PathLike

VARIABLE = 'FOMM_MAX_MEGAPIXELS'  # sets both
# Megapixels: of a clip's frames, and of pictures, but for JPEGs, which are decoded at a part of
# their size if they are larger. Networks see 0.07.
CLIP, PICTURE = 50.0, 90.0


def most_pixels(megapixels: float) -> int:
    """Most pixels of a frame: `megapixels`, unless the user has set another limit.

    Raises:
        UserError: what is set is no number.
    """
    chosen = os.environ.get(VARIABLE)
    if not chosen:
        return round(megapixels * 1e6)
    try:
        return min(round(float(chosen) * 1e6), 2**31 - 1)
    except (ValueError, OverflowError) as error:
        raise UserError(f'{VARIABLE} is {chosen}; set it to a number of megapixels') from error


def check_pixels(path: PathLike, width: int, height: int, megapixels: float) -> None:
    """Raises UserError if a frame has more pixels than `most_pixels`."""
    most = most_pixels(megapixels)
    if width * height > most:
        raise UserError(
            f'{path}: {width}x{height} pixels, more than {most / 1e6:g} megapixels; scale it down, '
            f'or set {VARIABLE} to as many'
        )
