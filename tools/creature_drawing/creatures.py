"""Animated cartoon animals of known motion: the same motion can be drawn on any creature.

creature = Creature.random(np.random.default_rng(0))
motion = Motion.random(np.random.default_rng(1), kind='trot')
frames = draw_clip(creature, motion, num_frames=32, size=128)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tools.creature_drawing.body import Build, Coat, Skeleton, skeleton
from tools.creature_drawing.motion import LEGS, Motion
from tools.creature_drawing.parts import layers, snout
from tools.creature_drawing.scenes import Scene, random_coat, shaded
from tools.creature_drawing.shapes import Layer, covers, paint

TWO_LEGGED = 0.1  # share of random creatures

# Parts of the data that never share random numbers.
PARTS = ('train', 'test', 'held_out')

# Names of the joints, and the layer that each is seen on: hip and shoulder are the near legs' too.
JOINTS = {
    'hip': 'near_hind', 'shoulder': 'near_hind', 'head': 'trunk', 'snout': 'trunk',
    'tail_root': 'trunk', 'tail_tip': 'trunk',
    **{f'{leg}_knee': leg for leg in LEGS}, **{f'{leg}_foot': leg for leg in LEGS},
}  # fmt: skip
JOINT_NAMES = tuple(JOINTS)


class Joints(NamedTuple):
    """Exact keypoints at T times, in the order of JOINT_NAMES."""

    points: np.ndarray  # (T, J, 2) x, y in [-1, 1], which are the centres of the border pixels
    visible: np.ndarray  # (T, J) bool: exists, inside the frame and not behind another part


class HeldOutCase(NamedTuple):
    """An animation across identities whose true result is known; all uint8 (T, size, size, 3)."""

    name: str
    clip: np.ndarray  # creature A; its first frame is the source, the rest the true result
    driving: np.ndarray  # creature B, in the same motion and so in the same first pose


@dataclass(frozen=True)
class Creature:
    """A creature in front of its background, facing right unless mirrored."""

    build: Build
    coat: Coat
    scene: Scene
    mirrored: bool = False

    @classmethod
    def random(
        cls, rng: np.random.Generator, legs: int | None = None, mirrored: bool | None = False
    ) -> Creature:
        """A random creature; None for `legs` (4 or 2) or `mirrored` leaves that to chance."""
        two, left = rng.random() < TWO_LEGGED, rng.random() < 0.5
        base, second = random_coat(rng)
        build = Build.random(rng, legs or (2 if two else 4))
        coat = Coat.random(rng, base, second)
        scene = Scene.random(rng, (base, shaded(base, 0.7)))
        return cls(build, coat, scene, left if mirrored is None else mirrored)

    def elsewhere(self, rng: np.random.Generator) -> Creature:
        """The same creature in front of another random background."""
        base = self.coat.base
        return replace(self, scene=Scene.random(rng, (base, shaded(base, 0.7))))


def _posed(creature: Creature, motion: Motion, times: np.ndarray) -> tuple[Skeleton, list[Layer]]:
    pose = motion.pose(times)
    bones = skeleton(creature.build, pose)
    return bones, layers(creature.build, creature.coat, bones, pose.ears)


def posed_layers(creature: Creature, motion: Motion, times: ArrayLike) -> list[Layer]:
    """What is painted at `times` (T,), 0 to 1 over the clip, over the scene."""
    _, drawn = _posed(creature, motion, np.asarray(times, 'float64'))
    return [_mirrored(layer) for layer in drawn] if creature.mirrored else drawn


def draw(creature: Creature, motion: Motion, times: np.ndarray, size: int) -> np.ndarray:
    """The frames at `times` (T,), 0 to 1 over the clip -> uint8 (T, size, size, 3)."""
    times = np.atleast_1d(np.asarray(times, 'float64'))
    drawn = posed_layers(creature, motion, times)
    return paint(drawn, len(times), creature.scene.canvas(size))


def draw_frame(creature: Creature, motion: Motion, t: float, size: int) -> np.ndarray:
    """The frame at time t, 0 to 1 over the clip -> uint8 (size, size, 3)."""
    return draw(creature, motion, np.array([t]), size)[0]


def draw_clip(creature: Creature, motion: Motion, num_frames: int, size: int) -> np.ndarray:
    """The whole clip, uint8 (num_frames, size, size, 3). Unless the motion travels it loops."""
    return draw(creature, motion, clip_times(num_frames), size)


def clip_times(num_frames: int) -> np.ndarray:
    """The times of a clip's frames, (num_frames,): 0 is the first, 1 would be the one after."""
    return np.arange(num_frames) / num_frames


def joints(creature: Creature, motion: Motion, times: np.ndarray) -> Joints:
    """The exact keypoints at `times` (T,), whatever the size of the frame."""
    times = np.atleast_1d(np.asarray(times, 'float64'))
    bones, drawn = _posed(creature, motion, times)
    trunk = [bones.hip, bones.shoulder, bones.head, snout(creature.build, bones)]
    points = np.concatenate(
        [np.stack(trunk, axis=1), bones.tail[:, [0, 3]], bones.knees, bones.ankles], axis=1
    )
    inside = ((points >= 0) & (points <= 1)).all(axis=-1)
    visible = inside & ~_hidden(points, drawn)
    points = 2 * points - 1
    return Joints(points * (-1, 1) if creature.mirrored else points, visible)


def _hidden(points: np.ndarray, drawn: Sequence[Layer]) -> np.ndarray:
    """Which joints (T, J, 2) don't exist or lie under a layer painted later -> (T, J) bool."""
    hidden = np.zeros(points.shape[:2], bool)
    order = [layer.name for layer in drawn]
    for index, layer_name in enumerate(JOINTS.values()):
        if layer_name not in order:  # a foreleg of a two-legged creature
            hidden[:, index] = True
            continue
        for layer in drawn[order.index(layer_name) + 1 :]:
            for shape in layer.shapes:
                hidden[:, index] |= covers(shape.points, points[:, index : index + 1])[:, 0]
    return hidden


def _mirrored(layer: Layer) -> Layer:
    shapes = [
        shape._replace(points=shape.points * (-1.0, 1.0) + (1.0, 0.0)) for shape in layer.shapes
    ]
    return layer._replace(shapes=shapes)


def random_stream(seed: int, part: str, index: int) -> np.random.Generator:
    """The random numbers of item `index` of a part of the data: no two items share theirs."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(PARTS.index(part), index)))


def held_out_cases(
    count: int, size: int, num_frames: int = 32, seed: int = 0, legs: int | None = None
) -> Iterator[HeldOutCase]:
    """Animations of creatures and motions that no dataset of whatever seed holds.

    Both creatures of a case have as many legs: `legs`, or as chance has it.
    """
    for index in range(count):
        rng = random_stream(seed, 'held_out', index)
        motion = Motion.random(rng)
        animated = Creature.random(rng, legs)
        driver = Creature.random(rng, legs=animated.build.legs)
        yield HeldOutCase(
            name=f'{index:03d}_{motion.kind}',
            clip=draw_clip(animated, motion, num_frames, size),
            driving=draw_clip(driver, motion, num_frames, size),
        )
