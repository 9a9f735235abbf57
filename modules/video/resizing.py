"""Frames brought to a model's size."""

import functools

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
    (old_height, old_width), (height, width) = frame.shape[:2], size
    if (old_height, old_width) == (height, width):
        return frame.astype(np.float32) / np.float32(255)
    matrix, pixels = _resize_matrix(old_height, height), frame.reshape(old_height, old_width * 3)
    rows = np.empty((height, old_width * 3), np.float32)
    step = max(1, _AT_ONCE // old_height)
    for start in range(0, old_width * 3, step):
        part = pixels[:, start : start + step].astype(np.float32) / np.float32(255)
        rows[:, start : start + step] = matrix @ part
    columns = rows.reshape(height, old_width, 3).transpose(1, 0, 2).reshape(old_width, height * 3)
    resized = _resize_matrix(old_width, width) @ columns
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
def _resize_matrix(old: int, new: int) -> 'scipy.sparse.csr_matrix':
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
    # SciPy imports its parts where they are first used; frames of the right size do without.
    return scipy.sparse.csr_matrix(entries, shape=(new, old))
