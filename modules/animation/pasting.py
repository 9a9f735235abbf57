"""Animated squares back in the picture that they were cut from; no Paddle.

A square fades into the picture along its sides. What the networks change of its colours is taken
back where the square and the picture meet: it differs slowly from place to place, while what moves
there differs much, and is left as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from modules.animation.boxes import Box, cut
from modules.video.levels import to_bytes

FEATHER = 0.1  # how far from a side a square fades, in sides
SHARE = 0.1  # likewise between two squares that overlap
# Differences beyond this are no colours that are off, but something else that is seen there.
UNLIKE = 24 / 255
GRID = 32  # places along a side at which colours are compared
REACH = 1 / 8  # of a difference, in sides, until that of the whole seam replaces it


class Pasting:
    """Puts the animated squares of a picture back to where they were cut from.

    Outside the boxes, and where they begin, every pixel stays as it is in the picture. Where a
    square ends at the picture's border or beyond it, nothing fades. Of several squares at the same
    place each shows what is deeper inside its own box.
    """

    def __init__(self, picture: np.ndarray, boxes: Sequence[Box], size: tuple[int, int]):
        """
        Args:
            picture: (H, W, 3) uint8; must not be changed.
            boxes: what of it was cut; they may reach beyond its border. The others are where
                another one hides them.
            size: (h, w) of the squares.

        Raises:
            ValueError: a box that has not a pixel in common with the picture.
        """
        self.picture = picture
        self._patches = [
            _place(boxes, number, picture.shape[:2], size) for number in range(len(boxes))
        ]
        self._seen = [cut(picture, box, size) for box in boxes]
        self._boxes, self._size = tuple(boxes), size

    def onto(self, picture: np.ndarray) -> Pasting:
        """The same for another picture of the same size, such as the next frame of a clip."""
        other = object.__new__(Pasting)
        other.picture = picture
        other._patches = self._patches
        other._seen = [cut(picture, box, self._size) for box in self._boxes]
        other._boxes, other._size = self._boxes, self._size
        return other

    def paste(self, *squares: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """The picture with a square in each box.

        Args:
            squares: (h, w, 3) float in [0, 1], in the order of the boxes.
            out: an earlier result for the same picture, to be overwritten where the boxes are: all
                else of a large picture need not be copied again.

        Returns:
            (H, W, 3) uint8; `out` if that is given.
        """
        result = self.picture.copy() if out is None else out
        if out is not None:
            for patch in self._patches:
                result[patch.region] = self.picture[patch.region]
        for square, seen, patch in zip(squares, self._seen, self._patches, strict=True):
            matched = to_bytes(np.clip(match_colours(square, seen, patch.seam), 0, 1))
            there = Image.fromarray(np.ascontiguousarray(result[patch.region]))
            # Rounding to 8 bits first changes no more than the last level.
            fitted = Image.fromarray(matched).resize(
                there.size, Image.Resampling.LANCZOS, patch.window
            )
            result[patch.region] = Image.composite(fitted, there, patch.mask)
        return result


class _Patch(NamedTuple):
    """Where a square comes to lie."""

    region: tuple[slice, slice]  # of the picture: rows and columns of whole pixels in the box
    window: tuple[float, float, float, float]  # the same in the square's pixels: x0, y0, x1, y1
    mask: Image.Image  # how much of the square is seen there, 0 to 255
    seam: np.ndarray  # (h, w) float32: where in the square colours are compared, 0 to 1


def match_colours(square: np.ndarray, seen: np.ndarray, seam: np.ndarray) -> np.ndarray:
    """A square with the colours that the picture has at the seam.

    Args:
        square, seen: (h, w, 3) float in [0, 1], the square and what the picture has there.
        seam: (h, w), how much each place counts, at least 0.

    Returns:
        (h, w, 3) float32, which may leave [0, 1] a little; as it is if the seam is nowhere.
    """
    total = float(seam.sum())
    if total == 0:
        return square
    difference = seen - square
    unlike = np.abs(difference).max(axis=2) / UNLIKE
    weight = seam * np.exp(-np.square(unlike))
    # What counts hardly anywhere tells nothing: then the colours stay.
    mean = np.einsum('hw,hwc->c', weight, difference) / (weight.sum() + 0.02 * total)
    terms = np.concatenate([weight[..., None] * difference, weight[..., None]], axis=2)
    (down, up), (down_across, up_across) = (_smoothing(length) for length in seam.shape)
    near = _along_both(terms, down, down_across)
    least = 0.1 * near[..., 3:].max() + 1e-6
    offset = (near[..., :3] + least * mean) / (near[..., 3:] + least)
    return square + _along_both(offset, up, up_across)


def _along_both(field: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """(h, w, c) -> (H, W, c) by matrices (H, h) and (W, w)."""
    height, width, channels = field.shape
    half = (rows @ field.reshape(height, -1)).reshape(-1, width, channels)
    return np.matmul(columns, half)


@functools.lru_cache(maxsize=8)
def _smoothing(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Matrices along an axis: a Gaussian at GRID places (GRID, length), and back (length, GRID)."""
    centres, pixels = (np.arange(GRID) + 0.5) / GRID, (np.arange(length) + 0.5) / length
    gaussian = np.exp(-0.5 * np.square((centres[:, None] - pixels) / REACH)) / length
    place = np.clip(pixels * GRID - 0.5, 0, GRID - 1)
    linear = np.maximum(0, 1 - np.abs(place[:, None] - np.arange(GRID)))
    return gaussian.astype(np.float32), linear.astype(np.float32)


def _place(
    boxes: Sequence[Box], number: int, shape: tuple[int, int], size: tuple[int, int]
) -> _Patch:
    """How the square of a box lies in a picture (H, W)."""
    x, y, width, height = boxes[number]
    left, right = _within(x, width, shape[1])
    top, bottom = _within(y, height, shape[0])
    if left >= right or top >= bottom:
        raise ValueError(f'{boxes[number]} holds no pixel of a picture of {shape[1]} x {shape[0]}')
    across, down = np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5
    shown = _shown(boxes, number, shape, across, down)
    # Later squares are laid over it, and hide it by what is seen of them.
    over = sum(_shown(boxes, n, shape, across, down) for n in range(number + 1, len(boxes)))
    mask = np.rint(np.minimum(shown / np.maximum(1 - over, 1e-3), 1) * 255).astype(np.uint8)

    scale_x, scale_y = size[1] / width, size[0] / height

    def in_square(start: float, end: float, scale: float, most: int) -> tuple[float, float]:
        return max(0.0, start * scale), min(float(most), end * scale)

    x0, x1 = in_square(left - x, right - x, scale_x, size[1])
    y0, y1 = in_square(top - y, bottom - y, scale_y, size[0])
    columns = x + (np.arange(size[1]) + 0.5) / scale_x
    rows = y + (np.arange(size[0]) + 0.5) / scale_y
    faded = _fading(boxes[number], shape, columns, rows)
    inside = np.outer((rows > 0) & (rows < shape[0]), (columns > 0) & (columns < shape[1]))
    seam = (4 * faded * (1 - faded) * inside).astype(np.float32)
    return _Patch(
        (slice(top, bottom), slice(left, right)), (x0, y0, x1, y1), Image.fromarray(mask), seam
    )


def _within(start: float, length: float, limit: int) -> tuple[int, int]:
    """The whole pixels of a side that lie in the picture: first, and one after the last."""
    return max(0, int(np.ceil(start - 1e-6))), min(limit, int(np.floor(start + length + 1e-6)))


def _shown(
    boxes: Sequence[Box],
    number: int,
    shape: tuple[int, int],
    across: np.ndarray,
    down: np.ndarray,
) -> np.ndarray:
    """(Y, X): how much of a box's square is seen at these places of the picture, 0 to 1."""
    shown = _fading(boxes[number], shape, across, down)
    depth = _depth(boxes[number], across, down)
    for other, box in enumerate(boxes):
        if other != number:
            deeper = depth - _depth(box, across, down)
            shown = shown * _smooth_step(0.5 + deeper / (2 * SHARE))
    return shown


def _fading(box: Box, shape: tuple[int, int], across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(Y, X): 0 along the sides of a box, 1 inside; no fading at the picture's border."""
    x, y, width, height = box
    return np.outer(
        _fading_along(down, y, height, shape[0]), _fading_along(across, x, width, shape[1])
    )


def _fading_along(place: np.ndarray, start: float, length: float, limit: int) -> np.ndarray:
    before = (place - start) / length if start > 0 else np.inf
    after = (start + length - place) / length if start + length < limit else np.inf
    nearest = np.broadcast_to(np.minimum(before, after), place.shape)
    return _smooth_step(nearest / FEATHER)


def _depth(box: Box, across: np.ndarray, down: np.ndarray) -> np.ndarray:
    """(Y, X): how far inside a box, 1 in its middle, 0 at its sides, negative beyond."""
    (x, y), (width, height) = box.centre, (box.w, box.h)
    return 1 - np.maximum.outer(np.abs(down - y) / height, np.abs(across - x) / width) * 2


def _smooth_step(value: np.ndarray) -> np.ndarray:
    """0 up to 0, 1 from 1 on, and between them without an edge."""
    value = np.clip(value, 0, 1)
    return value * value * (3 - 2 * value)
