"""Rectangles in pictures: their geometry, and what is cut out by them; numpy only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from modules.video.resizing import resize_part


class Box(NamedTuple):
    """A rectangle in pixels of a picture; it may reach beyond the picture's border.

    Pixel (i, j) of the picture covers x from j to j + 1 and y from i to i + 1, so that the whole of
    a picture (H, W) is Box(0, 0, W, H).
    """

    x: float
    y: float
    w: float
    h: float

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of its middle."""
        return self.x + self.w / 2, self.y + self.h / 2

    @property
    def area(self) -> float:
        return self.w * self.h


def whole(picture: np.ndarray) -> Box:
    """The box that is all of a picture (H, W, ...)."""
    return Box(0, 0, picture.shape[1], picture.shape[0])


def around(centre: tuple[float, float], height: float, ratio: float = 1.0) -> Box:
    """The box of this height around a point (x, y); `ratio` is width / height."""
    width = height * ratio
    return Box(centre[0] - width / 2, centre[1] - height / 2, width, height)


def square(
    box: Box, factor: float = 1.0, shift: tuple[float, float] = (0, 0), ratio: float = 1.0
) -> Box:
    """The smallest square around a box, enlarged about its middle, and moved.

    Args:
        factor: of its side.
        shift: (x, y) of the move, in widths and heights of `box`.
        ratio: width / height of what a model takes, for those that take no squares.
    """
    x, y = box.centre
    height = max(box.h, box.w / ratio) * factor
    return around((x + shift[0] * box.w, y + shift[1] * box.h), height, ratio)


def overlap(one: Box, other: Box) -> float:
    """Intersection over union, from 0 (apart) to 1 (the same)."""
    across = min(one.x + one.w, other.x + other.w) - max(one.x, other.x)
    down = min(one.y + one.h, other.y + other.h) - max(one.y, other.y)
    common = max(0.0, across) * max(0.0, down)
    return common / (one.area + other.area - common)


def cut(picture: np.ndarray, box: Box, size: tuple[int, int]) -> np.ndarray:
    """What a box holds, brought to a size as `modules.video.resize_frame` does it.

    Args:
        picture: (H, W, 3) uint8.
        box: the picture is mirrored beyond its border, as far as the box reaches. That of the whole
            picture gives exactly what `resize_frame(picture, size)` does.
        size: (height, width) wanted; of another ratio than the box, what it holds is squeezed.

    Returns:
        (height, width, 3) float32 in [0, 1].
    """
    return resize_part(picture, box, size)


def brought_inside(box: Box, picture: Box, shrink: float, move: float) -> Box:
    """A box that reaches beyond a picture, made somewhat smaller and moved inwards, if that helps.

    Args:
        shrink: it keeps at least so large a part of its side.
        move: and is moved along each axis by at most so large a part of it.
    """
    factor = min(1.0, max(shrink, min(picture.w / box.w, picture.h / box.h)))
    x, y = box.centre
    _, _, w, h = smaller = around((x, y), box.h * factor, box.w / box.h)
    left = min(max(smaller.x, picture.x), picture.x + max(picture.w - w, 0))
    top = min(max(smaller.y, picture.y), picture.y + max(picture.h - h, 0))
    across = float(np.clip(left - smaller.x, -move * w, move * w))
    down = float(np.clip(top - smaller.y, -move * h, move * h))
    return Box(smaller.x + across, smaller.y + down, w, h)
