"""Clips of creatures as people take them with phones: what becomes a data set only by being cut.

Upright and across, turned by a tag alone, at uneven times, with two creatures, several shots, the
same clip once more in other bytes, and one in which nothing moves.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from modules.animation.boxes import Box, around
from modules.video.ffmpeg import find_ffmpeg
from tools.creature_drawing.creatures import Creature, clip_times, posed_layers, random_stream
from tools.creature_drawing.motion import Motion
from tools.creature_drawing.placements import moved
from tools.creature_drawing.shapes import paint

FPS = 30
FILLED = (0.75, 0.95)  # side of a creature's square, in the shorter sides of the picture
PERIOD = 48  # frames in which a motion goes once around; it starts again after that
SQUARES = 1.05  # least distance of two squares, in their sides


class Kind(NamedTuple):
    """What a clip is like."""

    name: str
    upright: bool = False  # higher than wide when it is shown
    turned: bool = False  # stored lying, with a tag that turns it
    creatures: int = 1
    shots: int = 1
    length: int = 1  # in the usual lengths
    uneven: bool = False  # frames at uneven times
    still: bool = False
    again: bool = False  # the first clip, smaller and compressed more


KINDS = (
    Kind('plain'),
    Kind('turned', upright=True, turned=True),
    Kind('two', creatures=2),
    Kind('shots', shots=3),
    Kind('uneven', uneven=True),
    Kind('upright', upright=True),
    Kind('long', length=4),
    Kind('again', again=True),
    Kind('still', still=True),
    Kind('turned', upright=True, turned=True, uneven=True),
    Kind('two', creatures=2, upright=True),
    Kind('shots', shots=2, upright=True, turned=True),
)


def write_phone_clip(folder: Path, index: int, size: int, frames: int, seed: int) -> None:
    """Writes the clip `IMG_INDEX.mp4`, of KINDS one after another.

    Args:
        size: the shorter side in pixels; the other is 16/9 of it.
        frames: in each shot.
    """
    kind = KINDS[index % len(KINDS)]
    path = folder / f'IMG_{index + 1:04d}.mp4'
    if kind.again:
        pictures = _draw(KINDS[0], index - index % len(KINDS), size, frames, seed)
        _encode(path, [picture[::2, ::2] for picture in pictures], uneven=False, crf=30)
        return
    pictures = _draw(kind, index, size, frames, seed)
    if not kind.turned:
        _encode(path, pictures, kind.uneven)
        return
    lying = path.with_name(f'.lying-{path.name}')
    _encode(lying, [np.rot90(picture) for picture in pictures], kind.uneven)
    command = [find_ffmpeg(), '-v', 'error', '-display_rotation', '-90', '-i', lying]
    subprocess.run([*map(str, command), '-c', 'copy', str(path)], check=True)
    lying.unlink()


def _draw(kind: Kind, index: int, size: int, frames: int, seed: int) -> list[np.ndarray]:
    """The frames (H, W, 3) uint8 of a clip; each shot has creatures and a scene of its own."""
    rng = random_stream(seed, 'train', 10**6 + index)  # beyond those of a data set's creatures
    pictures: list[np.ndarray] = []
    longer = 2 * round(size * 16 / 18)
    shape = (longer, size) if kind.upright else (size, longer)
    for _ in range(kind.shots):
        creatures = [Creature.random(rng, mirrored=None) for _ in range(kind.creatures)]
        count = 1 if kind.still else frames * kind.length
        shot = _draw_shot(creatures, count, shape, rng)
        pictures += [*shot] * (frames if kind.still else 1)
    return pictures


def _draw_shot(
    creatures: Sequence[Creature], count: int, shape: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """(count, H, W, 3): creatures in front of the scene of the first one, one beside another."""
    size, boxes = max(shape), _boxes(len(creatures), shape, rng)
    times, layers = clip_times(PERIOD), []
    for creature, box in zip(creatures, boxes):
        scale, shift = (box.h - 1) / (size - 1), np.array([box.x, box.y]) / (size - 1)
        drawn = posed_layers(creature, Motion.random(rng), times[: min(count, PERIOD)])
        layers += [moved(layer, scale, shift) for layer in drawn]
    shown = paint(layers, min(count, PERIOD), creatures[0].scene.canvas(size))
    return shown[np.arange(count) % PERIOD, : shape[0], : shape[1]]


def _boxes(count: int, shape: tuple[int, int], rng: np.random.Generator) -> list[Box]:
    """Squares within a picture (H, W), side by side or one over the other."""
    height, width = shape
    along = np.array([0, 1]) if height > width else np.array([1, 0])  # x, y of the longer side
    room = max(shape) / count
    boxes = []
    for number in range(count):
        side = min(min(shape) * rng.uniform(*FILLED), room / SQUARES)
        free = np.array([width, height]) - side
        free[along == 1] = room - side
        x, y = rng.uniform(0, 1, 2) * free + along * number * room
        boxes.append(around((x + side / 2, y + side / 2), side))
    return boxes


def _encode(path: Path, pictures: Sequence[np.ndarray], uneven: bool, crf: int = 20) -> None:
    """H.264 at FPS, or at times around that, as phones give them in the dark."""
    rng = np.random.default_rng(len(pictures))
    steps = rng.integers(28, 40, len(pictures)) if uneven else np.full(len(pictures), 1000 // FPS)
    times = np.concatenate([[0], np.cumsum(steps)])
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=FPS, options={'crf': str(crf)})
        height, width = (side - side % 2 for side in pictures[0].shape[:2])
        stream.height, stream.width, stream.pix_fmt = height, width, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000 if uneven else FPS)
        stream.codec_context.thread_count = 1  # more of them give other bytes
        for number, picture in enumerate(pictures):
            even = np.ascontiguousarray(picture[:height, :width])
            frame = av.VideoFrame.from_ndarray(even, 'rgb24').reformat(format='yuv420p')
            frame.time_base = stream.codec_context.time_base
            frame.pts = int(times[number]) if uneven else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
