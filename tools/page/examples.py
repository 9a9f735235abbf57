"""Pictures and clips to try the page with, for the bundled networks.

The first pair is bundled; the others are drawn when the page starts, of creatures that no network
has seen.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from modules.animation.boxes import around
from modules.animation.inputs import BUNDLED
from modules.video import VideoReader, read_image, write_picture, write_video
from tools.creature_drawing.creatures import Creature, draw_clip, random_stream
from tools.creature_drawing.motion import Motion
from tools.creature_drawing.placements import draw_placed

FRAMES, SIZE = 48, 128
THUMBNAIL = 144  # pixels, height
_SCENE = (240, 320)  # (H, W) of the picture that is larger than what is animated
_SEED = 20


class Example(NamedTuple):
    """A picture, a clip, and both beside each other in small."""

    picture: Path
    clip: Path
    thumbnail: Path


def make_examples(folder: Path) -> list[Example]:
    """Writes the examples into a folder."""
    pairs = [_bundled(folder), _drawn(folder, 1, _SCENE), _drawn(folder, 10, None)]
    return [Example(*pair, _thumbnail(folder, *pair)) for pair in pairs]


def _bundled(folder: Path) -> tuple[Path, Path]:
    names = 'source.png', 'driving.mp4'
    picture, clip = (Path(shutil.copy(BUNDLED / name, folder / name)) for name in names)
    return picture, clip


def _drawn(folder: Path, number: int, scene: tuple[int, int] | None) -> tuple[Path, Path]:
    """A creature at the start of a motion, in the middle of a scene if there is one, and another
    creature in that motion.
    """
    rng = random_stream(_SEED, 'held_out', number)
    motion = Motion.random(rng)
    animated = Creature.random(rng)
    driver = Creature.random(rng, legs=animated.build.legs)
    if scene is None:
        still = draw_clip(animated, motion, 1, SIZE)[0]
    else:
        box = around((scene[1] * 0.58, scene[0] * 0.54), scene[0] * 0.7)
        still = draw_placed(animated, motion, 0, scene, box)
    picture, clip = folder / f'creature-{number}.png', folder / f'motion-{number}.mp4'
    write_picture(picture, still)
    write_video(clip, draw_clip(driver, motion, FRAMES, SIZE), 25)
    return picture, clip


def _thumbnail(folder: Path, picture: Path, clip: Path) -> Path:
    with VideoReader(clip) as reader:
        frame = next(iter(reader))
    small = [_scaled(read_image(picture)), _scaled(frame)]
    path = folder / f'{picture.stem}-thumbnail.png'
    write_picture(path, np.concatenate(small, axis=1))
    return path


def _scaled(picture: np.ndarray) -> np.ndarray:
    """The middle square of a picture."""
    side = min(picture.shape[:2])
    top, left = ((length - side) // 2 for length in picture.shape[:2])
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS))
