"""Frames brought to a model's size."""

import functools
import math

import numpy as np
import scipy

from modules.video.levels import to_bytes

# Values of a frame that are held as floats at a time.
_AT_ONCE = 2**22


def resize_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What `skimage.transform.resize(frame, size)` computes, to 1e-6 and some ten times faster.

    That is order 1 with its default anti-aliasing: linear and separable, so two sparse matrices.

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
    top, vertical = _resize_matrix(old_height, height, y, box_height)
    left, horizontal = _resize_matrix(old_width, width, x, box_width)
    down, across = vertical.shape[1], horizontal.shape[1]  # pixels that are looked at
    pixels = frame[top : top + down, left : left + across].reshape(down, across * 3)
    rows = np.empty((height, across * 3), np.float32)
    step = max(1, _AT_ONCE // down)
    for start in range(0, across * 3, step):
        part = pixels[:, start : start + step].astype(np.float32) / np.float32(255)
        rows[:, start : start + step] = vertical @ part
    columns = rows.reshape(height, across, 3).transpose(1, 0, 2).reshape(across, height * 3)
    resized = horizontal @ columns
    return np.ascontiguousarray(resized.reshape(width, height, 3).transpose(1, 0, 2))


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


@functools.lru_cache(maxsize=16)
def _resize_matrix(
    old: int, new: int, start: float, length: float
) -> tuple[int, 'scipy.sparse.csr_matrix']:
    """A Gaussian, then linear interpolation, along one axis.

    The Gaussian has sigma (length / new - 1) / 2 and is cut off at 4 sigma. Beyond the border of
    the part the pixels in it are mirrored about the centre of the last one; beyond the border of
    the image, those of the image.

    Args:
        old: pixels of the image.
        new: wanted ones.
        start, length: of the part of the image, in its pixels.

    Returns:
        The first pixel that is looked at, and (new, pixels from that one on) float32.
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
    # Weight, column and row of each entry: (new, 2, taps); entries at the same place add up.
    weight = linear[:, :, None] * (kernel / kernel.sum())
    column = _mirrored(low[:, None, None] + np.array([[0], [1]]) + taps, within)
    column = _mirrored(column + first, old)
    row = np.broadcast_to(np.arange(new)[:, None, None], column.shape)
    least = int(column.min())
    entries = (weight.astype(np.float32).ravel(), (row.ravel(), column.ravel() - least))
    # SciPy imports its parts where they are first used; frames of the right size do without.
    return least, scipy.sparse.csr_matrix(entries, shape=(new, int(column.max()) - least + 1))


def _mirrored(index: np.ndarray, count: int) -> np.ndarray:
    """Any whole numbers, brought to 0 .. count - 1 by mirroring about the first and the last."""
    index = np.abs(index) % max(2 * (count - 1), 1)
    return np.where(index > count - 1, 2 * (count - 1) - index, index)
