"""Random changes of training samples: every frame of a clip gets the same.

A clip is an array (T, H, W, 3), T frames of height H and width W: uint8, or float32 in [0, 1] once
pixels have been mixed by a rotation or a resize. All randomness comes from the generator passed in.
Classes, options and their meaning are those of the official augmentation.py.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.random import Generator
from skimage.transform import resize, rotate

from modules.data.hue import shift_hue
from modules.video.levels import to_float

Params = Mapping[str, object] | None
Transform = Callable[[np.ndarray, Generator], np.ndarray]


class RandomFlip:
    """Swaps the order of frames with probability 1/2; otherwise mirrors them with probability 1/2.

    Each only where its flag is on; a clip is never both reversed and mirrored.
    """

    def __init__(self, time_flip: bool = False, horizontal_flip: bool = False):
        self.time_flip, self.horizontal_flip = time_flip, horizontal_flip

    def __call__(self, clip: np.ndarray, rng: Generator) -> np.ndarray:
        in_time, in_space = rng.random(2) < 0.5
        if in_time and self.time_flip:
            return clip[::-1]
        if in_space and self.horizontal_flip:
            return clip[:, :, ::-1]
        return clip


class RandomRotation:
    """Turns about the centre by a uniform angle; bilinear, and black where nothing was.

    Args:
        degrees: (low, high), counter-clockwise; a number d stands for (-d, d).
    """

    def __init__(self, degrees: float | Sequence[float]):
        self.low, self.high = degrees if isinstance(degrees, Sequence) else (-degrees, degrees)

    def __call__(self, clip: np.ndarray, rng: Generator) -> np.ndarray:
        angle = rng.uniform(self.low, self.high)
        return np.stack([rotate(frame, angle, preserve_range=True) for frame in to_float(clip)])


class RandomResize:
    """Scales height and width by one uniform factor, rounded down to whole pixels.

    Args:
        ratio: (low, high) of the factor.
        interpolation: nearest or bilinear.
    """

    def __init__(self, ratio: Sequence[float] = (3 / 4, 4 / 3), interpolation: str = 'nearest'):
        self.low, self.high = ratio
        self.order = {'nearest': 0, 'bilinear': 1}[interpolation]

    def __call__(self, clip: np.ndarray, rng: Generator) -> np.ndarray:
        factor = rng.uniform(self.low, self.high)
        size = tuple(max(1, int(side * factor)) for side in clip.shape[1:3])
        # Kept for parity: the blur before shrinking also where the nearest pixel is taken, and
        # black beyond the border, which darkens the rim of what is blurred or interpolated.
        options = {'order': self.order, 'mode': 'constant', 'anti_aliasing': True}
        return np.stack(
            [resize(frame, size, preserve_range=True, **options) for frame in to_float(clip)]
        )


class RandomCrop:
    """Cuts a random window, after repeating the border of frames that are too small for it.

    Args:
        size: (height, width) in pixels; a number stands for both.
    """

    def __init__(self, size: int | Sequence[int]):
        self.size = (size[0], size[1]) if isinstance(size, Sequence) else (size, size)

    def __call__(self, clip: np.ndarray, rng: Generator) -> np.ndarray:
        missing = [max(0, want - have) for want, have in zip(self.size, clip.shape[1:3])]
        pads = [(gap // 2, (gap + 1) // 2) for gap in missing]
        clip = np.pad(clip, ((0, 0), *pads, (0, 0)), mode='edge')
        height, width = self.size
        y, x = rng.integers(0, np.subtract(clip.shape[1:3], self.size), endpoint=True)
        return clip[:, y : y + height, x : x + width]


class ColorJitter:
    """Changes colours of the 8-bit values, in a random order of the changes.

    Args:
        brightness, contrast, saturation: a value x draws a factor from [max(0, 1 - x), 1 + x].
        hue: a value x draws a shift from [-x, x] in turns of the colour circle; at most 0.5.
        A value of 0 leaves the change out.
    """

    def __init__(
        self, brightness: float = 0, contrast: float = 0, saturation: float = 0, hue: float = 0
    ):
        self.brightness, self.contrast = brightness, contrast
        self.saturation, self.hue = saturation, hue

    def __call__(self, clip: np.ndarray, rng: Generator) -> np.ndarray:
        """-> uint8, a view of an array (T, 3, H, W)."""
        changes: list[Callable[[np.ndarray], np.ndarray]] = []
        for amount, change in (
            (self.brightness, change_brightness),
            (self.contrast, change_contrast),
            (self.saturation, change_saturation),
        ):
            if amount > 0:
                factor = rng.uniform(max(0, 1 - amount), 1 + amount)
                changes.append(partial(change, factor=factor))
        if self.hue > 0:
            changes.append(partial(shift_hue, shift=rng.uniform(-self.hue, self.hue)))
        if clip.dtype != np.uint8:
            clip = np.rint(clip * np.float32(255)).clip(0, 255).astype(np.uint8)
        planes = np.ascontiguousarray(clip.transpose(0, 3, 1, 2))
        for number in rng.permutation(len(changes)):
            planes = changes[number](planes)
        return planes.transpose(0, 2, 3, 1)


class AllAugmentationTransform:
    """The changes that are not None, one after another, in this order whatever the arguments'."""

    def __init__(
        self,
        flip_param: Params = None,
        rotation_param: Params = None,
        resize_param: Params = None,
        crop_param: Params = None,
        jitter_param: Params = None,
    ):
        pairs: Sequence[tuple[Callable[..., Transform], Params]] = (
            (RandomFlip, flip_param),
            (RandomRotation, rotation_param),
            (RandomResize, resize_param),
            (RandomCrop, crop_param),
            (ColorJitter, jitter_param),
        )
        self.transforms: list[Transform] = [
            kind(**params) for kind, params in pairs if params is not None
        ]

    def __call__(self, clip: np.ndarray, rng: Generator) -> np.ndarray:
        for transform in self.transforms:
            clip = transform(clip, rng)
        return clip


# ---- changes of colour: planes (T, 3, H, W) uint8 -> the same, as Pillow's ImageEnhance ----


def change_brightness(planes: np.ndarray, factor: float) -> np.ndarray:
    return _blend(np.uint8(0), planes, factor)


def change_contrast(planes: np.ndarray, factor: float) -> np.ndarray:
    """Each frame keeps its own mean."""
    means = _luma(planes).mean(axis=(1, 2, 3), keepdims=True)
    return _blend((means + 0.5).astype(np.uint8), planes, factor)


def change_saturation(planes: np.ndarray, factor: float) -> np.ndarray:
    return _blend(_luma(planes), planes, factor)


def _luma(planes: np.ndarray) -> np.ndarray:
    """(T, 1, H, W), by integers: weights of 1/65536, rounded."""
    total = planes[:, :1].astype(np.uint32)
    total *= np.uint32(19595)
    total += planes[:, 1:2] * np.uint32(38470)
    total += planes[:, 2:] * np.uint32(7471)
    total += np.uint32(1 << 15)
    total >>= np.uint32(16)
    return total.astype(np.uint8)


def _blend(start: np.ndarray | np.uint8, end: np.ndarray, factor: float) -> np.ndarray:
    """start + factor * (end - start), cut to 8 bits, where `start` is broadcast; factor >= 0."""
    mixed = end.astype(np.float32)
    mixed -= start
    mixed *= np.float32(factor)
    mixed += start
    if factor > 1:
        mixed.clip(0, 255, out=mixed)
    return mixed.astype(np.uint8)
