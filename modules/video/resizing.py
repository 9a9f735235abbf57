"""Frames brought to a model's size."""

import functools
import math
from typing import NamedTuple

import numpy as np

from modules.video.levels import to_bytes

# Rows of a result that are computed from the same pixels, and how many values of these at a time:
# they stay in the processor's cache. Twice as fast as a sparse matrix of SciPy.
_ROWS, _AT_ONCE = 8, 2**16


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What `skimage.transform.resize(frame, size)` computes, to 1e-6 and some ten times faster.

    That is order 1 with its default anti-aliasing: linear and separable, so two matrices, in which
    a row is zero but for the pixels around its own.

    Args:
        frame: (H, W, 3) uint8.
        size: (height, width) wanted.

    Returns:
        (height, width, 3) float32 in [0, 1]; frame / 255 if the size is the wanted one already.
    """
    if frame.shape[:2] == tuple(size):
        return frame.astype(np.float32) / np.float32(255)
    return resize_part(frame, (0, 0, frame.shape[1], frame.shape[0]), size)


def resize_part(
    frame: np.ndarray, box: tuple[float, float, float, float], size: tuple[int, int]
) -> np.ndarray:
    """`resize_frame` of a part of the frame, without a copy of it.

    Args:
        frame: (H, W, 3) uint8.
        box: x, y, width and height of the part in pixels. Of whole pixels it is what `resize_frame`
            makes of that slice; else its samples lie between the pixels accordingly. Beyond its
            border the frame is mirrored about the centre of its last pixel, as often as it takes.
        size: (height, width) wanted.

    Returns:
        (height, width, 3) float32 in [0, 1].
    """
    x, y, box_width, box_height = box
    (old_height, old_width), (height, width) = frame.shape[:2], size
    top, down, vertical = _resize_matrix(old_height, height, y, box_height)
    left, across, horizontal = _resize_matrix(old_width, width, x, box_width)
    pixels = frame[top : top + down, left : left + across].reshape(down, across * 3)
    rows = _product(vertical, pixels)
    columns = rows.reshape(height, across, 3).transpose(1, 0, 2).reshape(across, height * 3)
    resized = _product(horizontal, columns).reshape(width, height, 3).transpose(1, 0, 2)
    return np.divide(resized, np.float32(255), order='C')


def fit_frame(frame: np.ndarray, size: tuple[int, int], crop: bool) -> np.ndarray:
    """A frame scaled to another size without being squeezed, anti-aliased.

    Args:
        frame: (H, W, 3) uint8.
        size: (height, width) wanted.
        crop: the middle of the frame fills it; else all of the frame lies in its middle, and the
            frame's border is repeated around it.

    Returns:
        (height, width, 3) uint8; the frame itself if the size is the wanted one already.
    """
    if frame.shape[:2] == tuple(size):
        return frame
    ratios = [want / have for want, have in zip(size, frame.shape[:2])]
    if crop:
        factor = max(ratios)
        window = [min(h, max(1, round(w / factor))) for h, w in zip(frame.shape[:2], size)]
        top, left = ((have - side) // 2 for have, side in zip(frame.shape[:2], window))
        inner = frame[top : top + window[0], left : left + window[1]]
        return to_bytes(resize_frame(np.ascontiguousarray(inner), size))
    factor = min(ratios)
    scaled = [min(w, max(1, round(h * factor))) for h, w in zip(frame.shape[:2], size)]
    inner = to_bytes(resize_frame(frame, (scaled[0], scaled[1])))
    around = [((w - s) // 2, w - s - (w - s) // 2) for w, s in zip(size, scaled)]
    return np.pad(inner, (*around, (0, 0)), mode='edge')


class _Band(NamedTuple):
    """Some rows of a matrix, without the columns in which they are all zero."""

    rows: slice
    columns: slice
    values: np.ndarray  # (rows, columns) float32


def _product(matrix: tuple[_Band, ...], values: np.ndarray) -> np.ndarray:
    """(M, K) @ (K, N) of any type -> (M, N) float32."""
    product = np.empty((matrix[-1].rows.stop, values.shape[1]), np.float32)
    for band in matrix:
        step = max(1, _AT_ONCE // band.values.shape[1])
        for start in range(0, values.shape[1], step):
            part = np.s_[start : start + step]
            taken = values[band.columns, part].astype(np.float32, copy=False)
            np.matmul(band.values, taken, out=product[band.rows, part])
    return product


@functools.lru_cache(maxsize=16)
def _resize_matrix(
    old: int, new: int, start: float, length: float
) -> tuple[int, int, tuple[_Band, ...]]:
    """A Gaussian, then linear interpolation, along one axis.

    The Gaussian has sigma (length / new - 1) / 2 and is cut off at 4 sigma. Beyond the border of
    the part the pixels in it are mirrored about the centre of the last one; beyond the border of
    the image, those of the image.

    Args:
        old: pixels of the image.
        new: wanted ones.
        start, length: of the part of the image, in its pixels.

    Returns:
        The first pixel that is looked at, how many are from there on, and the matrix of (new, so
        many).
    """
    scale = length / new
    sigma = max(0.0, (scale - 1) / 2)
    radius = int(4 * sigma + 0.5)
    taps = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (taps / sigma) ** 2) if radius else np.ones(1)
    first = math.floor(start)
    within = math.ceil(start + length) - first  # whole pixels of the part
    centre = start - first + (np.arange(new) + 0.5) * scale - 0.5
    low = np.floor(centre).astype(int)
    linear = np.stack([1 - (centre - low), centre - low], axis=1)
    # Weight and column of each entry: (new, 2, taps); entries at the same place add up.
    weight = linear[:, :, None] * (kernel / kernel.sum())
    column = _mirrored(low[:, None, None] + np.array([[0], [1]]) + taps, within)
    column = _mirrored(column + first, old)
    least = int(column.min())
    column -= least
    bands = []
    for top in range(0, new, _ROWS):
        rows = slice(top, min(top + _ROWS, new))
        columns = slice(int(column[rows].min()), int(column[rows].max()) + 1)
        values = np.zeros((rows.stop - top, columns.stop - columns.start))
        row = np.arange(rows.stop - top)[:, None, None]
        np.add.at(values, (row, column[rows] - columns.start), weight[rows])
        bands.append(_Band(rows, columns, values.astype(np.float32)))
    return least, int(column.max()) + 1, tuple(bands)


def _mirrored(index: np.ndarray, count: int) -> np.ndarray:
    """Any whole numbers, brought to 0 .. count - 1 by mirroring about the first and the last."""
    index = np.abs(index) % max(2 * (count - 1), 1)
    return np.where(index > count - 1, 2 * (count - 1) - index, index)
