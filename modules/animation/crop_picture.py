"""A picture of what is cropped, for people to look at."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from modules.animation.boxes import Box, cut, whole
from modules.runtime.files import atomic_output
from modules.video import write_picture
from modules.video.levels import to_bytes

HEIGHT = 512  # pixels, of each part
_COLOUR = (255, 64, 64)


def write_crop_picture(path: Path, parts: Sequence[tuple[np.ndarray, Sequence[Box]]]) -> None:
    """Writes pictures (H, W, 3) uint8 side by side as a PNG, each with its boxes drawn in.

    Where a box reaches beyond its picture, what is mirrored for it is shown too, darkened. Without
    a box, all of a picture is one.
    """
    drawn = [_draw(picture, boxes or [whole(picture)]) for picture, boxes in parts]
    with atomic_output(path) as scratch:
        write_picture(scratch, np.concatenate(drawn, axis=1))


def _draw(picture: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """(HEIGHT, W, 3) uint8."""
    inside = whole(picture)
    corners = [(box.x, box.y, box.x + box.w, box.y + box.h) for box in (inside, *boxes)]
    left, top, *_ = (min(values) for values in zip(*corners))
    *_, right, bottom = (max(values) for values in zip(*corners))
    scale = HEIGHT / (bottom - top)
    shape = (HEIGHT, max(1, round((right - left) * scale)))
    shown = to_bytes(cut(picture, Box(left, top, right - left, bottom - top), shape))

    def place(part: Box) -> tuple[int, int, int, int]:
        """The first and the last pixels, x and y."""
        corners = part.x - left, part.y - top, part.x + part.w - left, part.y + part.h - top
        x, y, end_x, end_y = (round(corner * scale) for corner in corners)
        return x, y, max(x, min(end_x, shape[1]) - 1), max(y, min(end_y, shape[0]) - 1)

    x, y, end_x, end_y = place(inside)
    dark = shown // 2
    dark[y : end_y + 1, x : end_x + 1] = shown[y : end_y + 1, x : end_x + 1]
    image = Image.fromarray(dark)
    for box in boxes:
        ImageDraw.Draw(image).rectangle(place(box), outline=_COLOUR, width=3)
    return np.asarray(image)
