"""Pictures of every kind, read as RGB."""

import contextlib
import io
import logging
import os
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import (
    IO,
    Any,
    NamedTuple,
)

import numpy as np
from PIL import Image, ImageFile, JpegImagePlugin, UnidentifiedImageError

from modules.runtime.chatter import without_chatter
from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike, open_file
from modules.video.colour_profiles import to_srgb
from modules.video.limits import PICTURE, check_pixels
from modules.video.rescued_pictures import (
    JPEG,
    ORIENTATION,
    Bare,
    orientation,
    with_missing_end,
    without_metadata,
)

Size = tuple[int, int]  # (height, width)

# What counts as a frame in a folder of pictures.
IMAGE_SUFFIXES = (
    *('.apng', '.avif', '.avifs', '.bmp', '.dib', '.gif', '.heic', '.heif', '.hif', '.j2k'),
    *('.jfif', '.jp2', '.jpe', '.jpeg', '.jpg', '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tga'),
    *('.tif', '.tiff', '.webp'),
)
logging.getLogger('PIL').addHandler(logging.NullHandler())  # its words on odd files stay unsaid

# Those of IMAGE_SUFFIXES. By what a file holds, whatever its name, Pillow would open others, too:
# PostScript, for which it starts a program, and formats that hardly anybody has.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'GIF', 'PPM', 'WEBP', 'TIFF', 'AVIF', 'JPEG2000', 'TGA')
# JPEGs of more pixels are decoded at 1/2, 1/4 or 1/8 of their size: far more than networks see.
_LARGE, _REDUCED, _LARGEST_JPEG = 89_478_485, 2**25, 300_000_000
_ROWS = 512  # that are worked on at a time, to take little memory beside the picture's own
# Brands of HEIC, in the box that starts a file.
_HEIC = frozenset((b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'hevm', b'hevs'))
# PNG tells its transparent colour in the bits of the file, Pillow gives pixels of 8 bits.
_KEYS: Mapping[str, Callable[[Any], Any]] = {
    'L;2': lambda gray: gray * 85,
    'L;4': lambda gray: gray * 17,
    'RGB;16B': lambda colour: tuple(value >> 8 for value in colour),
}


class Picture(NamedTuple):
    """What is drawn in a picture, upright."""

    colours: np.ndarray  # (H, W, 3) uint8, sRGB
    alpha: np.ndarray | None = None  # (H, W) uint8; None: opaque
    is_keyed: bool = False  # transparent are certain colours, rather than pixels

    def hides_all(self) -> bool | None:
        """As the function of this name; a colour that is transparent by its name is meant to be."""
        if self.alpha is None:
            return False
        hides = hides_all(self.colours, self.alpha)
        return None if hides and self.is_keyed else hides

    def shown(self, ignore_alpha: bool | None = None) -> np.ndarray:
        """(H, W, 3) uint8: on white, or as if all were opaque; None: that if alpha hides all."""
        ignore_alpha = self.hides_all() if ignore_alpha is None else ignore_alpha
        if self.alpha is None or ignore_alpha:
            return self.colours
        return over_white(self.colours, self.alpha)


def read_image(path: PathLike) -> np.ndarray:
    """Reads a PNG, JPEG, JPEG 2000, WebP, AVIF, TIFF, GIF, BMP, TGA or PNM, whatever its name.

    Of an animated one it is the first frame.

    HEIC is read where the package pillow-heif is installed. EXIF orientation is applied, colours
    with an ICC profile become sRGB. Broken metadata don't matter, nor that a JPEG lacks its end
    marker, as long as all pixels are there. 16-bit values are scaled to 8 bits; float values must
    lie in [0, 1]. A JPEG of over 89 megapixels is read at a half, a quarter or an eighth of its
    size.

    Transparency is laid over white: the colours hidden beneath it are arbitrary (often black), and
    white is what viewers and web pages show. Where it hides a whole picture (some renderers save
    alpha 0 everywhere), the picture is shown as if it were opaque.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: no such file, not a picture, damaged, or too many pixels.
    """
    return read_picture(path).shown()


def read_picture(path: PathLike) -> Picture:
    """Likewise, before transparency is laid over white: of a clip's frames all are treated alike.

    Raises:
        UserError: as read_image.
    """
    with _telling_errors(path):
        return _read(path)


def stored_size(path: PathLike) -> tuple[int, int]:
    """(width, height) before EXIF orientation, as a rule from the header alone.

    Raises:
        UserError: as read_image.
    """
    with _telling_errors(path):
        try:
            with _opened(path) as image:
                return image.size
        except Exception:  # the header is among what is broken
            height, width = _read(path).colours.shape[:2]
            return width, height


@contextlib.contextmanager
def open_picture(path: PathLike) -> Iterator[ImageFile.ImageFile]:
    """A picture whose header Pillow has read; what goes wrong with it in the block is told, too."""
    with _telling_errors(path), _opened(path) as image:
        yield image


@contextlib.contextmanager
def _telling_errors(path: PathLike) -> Iterator[None]:
    """The one border between Pillow, which raises whatever comes to it on odd files, and us."""
    try:
        yield
    except UserError:
        raise
    except UnidentifiedImageError as error:
        raise UserError(
            f'{path}: not a picture that can be read; save it as PNG or JPEG'
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(f'{path}: too many pixels; scale the picture down') from error
    except MemoryError as error:
        raise UserError(f'{path}: too large for the memory; scale the picture down') from error
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:  # about opening the file
            raise UserError(f'{path}: {reason_of(error)}; give the path of a picture') from error
        reason = ' '.join(str(error).split())[:200] or type(error).__name__
        raise UserError(f'{path}: damaged picture ({reason}); replace it') from error


def _read(path: PathLike) -> Picture:
    """The pixels of a file; where Pillow fails on something else in it, without that."""
    try:
        with _opened(path) as image:
            return _decode(image, path)
    except (UserError, MemoryError, Image.DecompressionBombError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        rescued = _rescue(path)
        if rescued is not None:
            return rescued
        raise


def _rescue(path: PathLike) -> Picture | None:
    """The pixels of a file without its metadata; None if it isn't these that are broken."""
    with open_file(path) as file:
        bare = without_metadata(file)
    if bare is None:
        return None

    def decode(data: bytes) -> Picture:
        with _opened(io.BytesIO(data)) as image:
            return _decode(image, path, bare)

    try:
        return decode(bare.data)
    except Exception:
        if not bare.data.startswith(JPEG):
            return None
    try:
        colours = with_missing_end(bare.data, lambda data: decode(data).colours)
    except Exception:  # not whole by far
        return None
    return None if colours is None else Picture(colours)


@contextlib.contextmanager
def _opened(source: PathLike | IO[bytes]) -> Iterator[ImageFile.ImageFile]:
    """A picture whose header has been read; no decoding so far."""
    with warnings.catch_warnings():
        # Remarks on odd metadata, and on pictures that are large but not yet refused.
        warnings.simplefilter('ignore')
        with contextlib.ExitStack() as stack:
            if isinstance(source, (str, os.PathLike)):
                file: IO[bytes] = stack.enter_context(open_file(source))
            else:
                file = source
            image = stack.enter_context(_identified(file, source))
            width, height = image.size
            if width * height > _LARGE and isinstance(image, JpegImagePlugin.JpegImageFile):
                scales = (scale for scale in (2, 4) if width * height <= scale**2 * _REDUCED)
                scale = next(scales, 8)
                image.draft(None, (max(1, width // scale), max(1, height // scale)))
            # All of a progressive one lies in memory, whatever the size it is decoded to.
            is_jpeg = isinstance(image, JpegImagePlugin.JpegImageFile)
            if not is_jpeg or 'progressive' in image.info:
                path = source if isinstance(source, (str, os.PathLike)) else 'the picture'
                check_pixels(path, width, height, PICTURE)
            yield image


def _identified(file: IO[bytes], source: PathLike | IO[bytes]) -> ImageFile.ImageFile:
    """Args: the file, and what names it."""
    try:
        return Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        if not _is_heic(file):
            raise
        try:
            import pillow_heif
        except ImportError as error:
            raise UserError(
                f'{source}: HEIC is read with the package pillow-heif; install that, or save the '
                'picture as PNG or JPEG'
            ) from error
        pillow_heif.register_heif_opener()
        file.seek(0)
        return Image.open(file, formats=('HEIF',))
    except Image.DecompressionBombError:
        # A JPEG is not decoded as a whole if it is that large; its class doesn't mind the size.
        file.seek(0)
        try:
            image = JpegImagePlugin.JpegImageFile(file)
        except SyntaxError:
            image = None
        if image is None or image.size[0] * image.size[1] > _LARGEST_JPEG:
            raise
        return image


def _is_heic(file: IO[bytes]) -> bool:
    file.seek(0)
    size, box = struct.unpack('>I4s', file.read(8).ljust(8, b'\0'))
    brands = file.read(min(max(0, size - 8), 256))
    found = {brands[place : place + 4] for place in range(0, len(brands), 4)}
    return box == b'ftyp' and bool(found & _HEIC)


def _decode(file: ImageFile.ImageFile, path: PathLike, bare: Bare | None = None) -> Picture:
    """The pixels of an open picture; of a bare one, with its orientation and profile."""
    key = file.info.get('transparency')
    if key is not None and file.format == 'PNG':
        in_8_bits = _KEYS.get(str(file.tile[0][3]))
        key = file.info['transparency'] = in_8_bits(key) if in_8_bits else key
    # libtiff prints what it finds odd.
    prints = any(part[0] == 'libtiff' for part in file.tile)
    with without_chatter(shown_on_failure=False) if prints else contextlib.nullcontext():
        file.load()
    # A copy has a palette where the file lacks one.
    image: Image.Image = file.copy() if file.mode == 'P' else file
    lies = _orientation(image, bare)
    profile = bare.profile if bare and bare.profile else image.info.get('icc_profile')
    is_keyed = image.mode not in ('RGBA', 'RGBa', 'LA', 'La', 'PA')
    image, alpha = _split(image, key, path)
    colours = _upright(_to_array(to_srgb(image, profile)), lies)
    return Picture(colours, None if alpha is None else _upright(alpha, lies), is_keyed)


def _upright(pixels: np.ndarray, lies: Any) -> np.ndarray:
    """(H, W, ...) turned and mirrored as EXIF's orientation asks, where it is one."""
    if lies in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if lies in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if lies in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _to_array(image: Image.Image) -> np.ndarray:
    """np.array(image) of an RGB picture, without a copy of the whole on the way."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _ROWS):
        below = min(top + _ROWS, height)
        pixels[top:below] = np.asarray(image.crop((0, top, width, below)))
    return pixels


def _orientation(image: Image.Image, bare: Bare | None) -> Any:
    """EXIF's, or else XMP's; what is broken beside it doesn't matter."""
    exif = bare.exif if bare else b''
    with contextlib.suppress(Exception):
        exif = exif or image.info.get('exif') or b''
        found = image.getexif().get(ORIENTATION)
        if found is not None:
            return found
    return orientation(exif)


def _split(image: Image.Image, key: Any, path: PathLike) -> tuple[Image.Image, np.ndarray | None]:
    """A picture of mode L, RGB or CMYK, and the alpha of a picture; as of Picture."""
    if image.mode == 'I' or image.mode.startswith('I;16'):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f'{path}: 32-bit gray values; save the picture with 8 or 16 bits')
        alpha = None if key is None else np.where(values == key, np.uint8(0), np.uint8(255))
        return _by_rows(values, lambda rows: (rows.astype(np.int32) + 128) // 257), alpha
    if image.mode == 'F':
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise UserError(f'{path}: float values outside [0, 1]; save the picture with 8 bits')
        return _by_rows(values, lambda rows: np.rint(rows * 255)), None
    is_gray = image.mode in ('1', 'L', 'LA', 'La')
    if image.has_transparency_data:
        rgba = image if image.mode == 'RGBA' else image.convert('RGBA')
        colours = rgba.getchannel('R') if is_gray else rgba.convert('RGB')
        return colours, np.asarray(rgba.getchannel('A'))
    if is_gray:
        return image.convert('L'), None
    return (image if image.mode in ('RGB', 'CMYK') else image.convert('RGB')), None


def _by_rows(values: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Image.Image:
    """A gray picture of what a function makes of a few rows at a time."""
    gray = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), _ROWS):
        gray[top : top + _ROWS] = function(values[top : top + _ROWS])
    return Image.fromarray(gray)


def hides_all(colours: np.ndarray, alpha: np.ndarray) -> bool | None:
    """Whether alpha hides a whole picture; None where nothing is beneath it but black.

    Args:
        colours, alpha: (H, W, 3) and (H, W), of any dtype.
    """
    if alpha.any():
        return False
    return True if colours.any() else None


def ignores_alpha(hiding: Iterable[bool | None]) -> bool:
    """Whether a clip is shown as if it were opaque: nothing would be seen of any frame, as
    `hides_all` says. Frames are asked up to the first that shows something, mostly that is the
    first one.
    """
    found = False
    for hides in hiding:
        if hides is False:
            return False
        found = found or hides is True
    return found


def over_white(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """(H, W, 3) and (H, W) uint8, alpha not multiplied in -> (H, W, 3) uint8 on white."""
    shown = np.empty_like(colours, order='C')
    for top in range(0, len(colours), _ROWS):
        rows = slice(top, top + _ROWS)
        mixed, part = colours[rows].astype(np.uint16), alpha[rows, :, None].astype(np.uint16)
        mixed *= part
        mixed += 255 * (255 - part) + 127
        mixed //= 255
        shown[rows] = mixed
    return shown
