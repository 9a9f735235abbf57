"""Creatures somewhere in larger scenes, for looking for them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from modules.animation.boxes import Box, around
from tools.creature_drawing.creatures import Creature, draw_frame, posed_layers, random_stream
from tools.creature_drawing.motion import Motion
from tools.creature_drawing.shapes import Layer, paint

SIDES = (0.35, 0.95)  # of the square that is the creature's frame, in shorter sides of the scene
SHAPES = ((480, 640), (640, 480), (512, 512), (360, 640), (640, 360))  # of scenes, (H, W)


class Placement(NamedTuple):
    """A creature somewhere in a scene, and another one in about its pose, framed as in training."""

    picture: np.ndarray  # (H, W, 3) uint8
    box: Box  # of the frame in which the creature was drawn
    driving: np.ndarray  # (size, size, 3) uint8


def draw_placed(
    creature: Creature, motion: Motion, t: float, shape: tuple[int, int], box: Box
) -> np.ndarray:
    """The frame at time t, its creature within `box` of a larger scene -> (H, W, 3) uint8."""
    size = max(shape)
    scale, shift = (box.h - 1) / (size - 1), np.array([box.x, box.y]) / (size - 1)
    layers = [moved(layer, scale, shift) for layer in posed_layers(creature, motion, [t])]
    picture = paint(layers, 1, creature.scene.canvas(size))[0]
    return np.ascontiguousarray(picture[: shape[0], : shape[1]])


def moved(layer: Layer, scale: float, shift: np.ndarray) -> Layer:
    """A layer scaled and then shifted, (x, y), both in units of the frame."""
    shapes = [shape._replace(points=shape.points * scale + shift) for shape in layer.shapes]
    return layer._replace(shapes=shapes, width=layer.width * scale)


def placements(count: int, size: int, seed: int = 0) -> Iterator[Placement]:
    """Held-out creatures at random places and of random sizes in drawn scenes.

    Args:
        size: of the driving frame, which shows another creature at the start of the same motion.
    """
    for index in range(count):
        rng = random_stream(seed, 'held_out', index)
        motion = Motion.random(rng)
        animated = Creature.random(rng)
        driver = Creature.random(rng, legs=animated.build.legs)
        shape = SHAPES[rng.integers(len(SHAPES))]
        side = round(min(shape) * rng.uniform(*SIDES))
        x, y = (int(rng.integers(length - side + 1)) for length in shape[::-1])
        box = around((x + side / 2, y + side / 2), side)
        picture = draw_placed(animated, motion, 0, shape, box)
        yield Placement(picture, box, draw_frame(driver, motion, 0, size))
