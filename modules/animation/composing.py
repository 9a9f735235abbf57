"""From painted squares to frames of the result: pasted back, side by side, scaled; no Paddle."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from PIL import Image

from modules.animation.boxes import Box, whole
from modules.animation.inputs import is_squeezed
from modules.animation.pasting import Pasting
from modules.runtime.errors import UserError
from modules.runtime.messages import note, say
from modules.video.levels import to_bytes

# Sides of a frame, in pixels: what the encoder of H.264 takes, and width and height that players'
# hardware often stops at.
LARGEST, PLAYED = 16384, (4096, 2304)


class Composer:
    """Makes frames of the result, one after another, as demo.py's options say.

    Args:
        options: paste_back, no_paste_back, side_by_side, size and upscale.
        picture: (H, W, 3) uint8, the whole of it.
        boxes: what of it was cropped, a box for each face; none where all of it was taken.
        sources: (h, w, 3) float in [0, 1] each, what was cut out.

    Attributes:
        size: (H, W) of the frames.

    Raises:
        UserError: they would be larger than any encoder takes.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        picture: np.ndarray,
        boxes: Sequence[Box],
        sources: Sequence[np.ndarray],
    ):
        self._beside = options.side_by_side
        self._sources = sources
        self._pasting: Pasting | None = None
        if options.paste_back or (boxes and not options.no_paste_back):
            places = boxes or [whole(picture)]
            self._pasting = Pasting(picture, places, sources[0].shape[:2])
        self._pasted: np.ndarray | None = None
        self._made: tuple[object, object, np.ndarray] | None = None
        shape = self._shape = self._composed_shape()
        self.size = _final_size(options, shape)
        if self.size != shape and options.upscale:
            size = f'{self.size[1]} x {self.size[0]}'
            say(f'upscaled to {size} by Lanczos interpolation, which adds no detail')

    def onto(self, picture: np.ndarray, sources: Sequence[np.ndarray]) -> None:
        """Another picture of the same size to paste into, such as the next frame of a clip."""
        self._sources = sources
        self._made = None
        if self._pasting is not None:
            self._pasting, self._pasted = self._pasting.onto(picture), None

    def frame(self, squares: Sequence[np.ndarray], driving: np.ndarray | None) -> np.ndarray:
        """A frame of the result.

        Args:
            squares: (h, w, 3) float in [0, 1], what was painted of each source. The same object
                again, with the same driving frame, is a frame that is repeated.
            driving: (h, w, 3) likewise, to be shown side by side; else not looked at.

        Returns:
            (H, W, 3) uint8, which the next call may overwrite; the same object for a repeated one.
        """
        if not self._beside:
            driving = None
        made = self._made
        if made is None or made[0] is not squares or made[1] is not driving:
            frame = scale_frame(self._compose(squares, driving), self.size)
            self._made = made = squares, driving, frame
        return made[2]

    def _composed_shape(self) -> tuple[int, int]:
        """(H, W) before the result is scaled."""
        height, width = self._sources[0].shape[:2]
        beside = 2 * width
        if self._pasting is not None:
            full_height, full_width = self._pasting.picture.shape[:2]
            beside = full_width + max(1, round(width * full_height / height))
            height, width = full_height, full_width
        return height, width + (beside if self._beside else 0)

    def _compose(self, squares: Sequence[np.ndarray], driving: np.ndarray | None) -> np.ndarray:
        if self._pasting is None:
            if driving is None:
                return to_bytes(squares[0])
            return to_bytes(np.concatenate([self._sources[0], driving, squares[0]], axis=1))
        self._pasted = self._pasting.paste(*squares, out=self._pasted)
        if driving is None:
            return self._pasted
        picture = self._pasting.picture
        width = self._shape[1] - 2 * picture.shape[1]
        shown = scale_frame(to_bytes(driving), (picture.shape[0], width))
        return np.concatenate([picture, shown, self._pasted], axis=1)


def scale_frame(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame (H, W, 3) uint8 brought to another (height, width) by Lanczos interpolation."""
    if frame.shape[:2] == tuple(size):
        return frame
    image = Image.fromarray(frame).resize((size[1], size[0]), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _final_size(options: argparse.Namespace, shape: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of the result, which is scaled from `shape`; says what is odd with it."""
    height, width = shape
    if options.size is not None:
        width, height = options.size
        if is_squeezed(shape, (height, width)):
            fitting = max(1, round(width * shape[0] / shape[1]))
            note(
                f'--size {width},{height}: squeezes a result of {shape[1]} x {shape[0]}; '
                f'{width},{fitting} would keep its shape'
            )
    elif options.upscale is not None:
        height, width = (max(1, round(length * options.upscale)) for length in shape)
    if max(height, width) > LARGEST:
        raise UserError(
            f'the result would be {width} x {height}, and {LARGEST} pixels are the most a side can '
            'have; give a smaller --size'
        )
    if (width > PLAYED[0] or height > PLAYED[1]) and options.size is None:
        ratio = min(PLAYED[0] / width, PLAYED[1] / height)
        smaller = [int(length * ratio) // 2 * 2 for length in (width, height)]
        note(
            f'the result is {width} x {height}; players may stop at {PLAYED[0]} x {PLAYED[1]}; '
            f'then give --size {smaller[0]},{smaller[1]}'
        )
    return height, width
