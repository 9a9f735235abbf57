"""What makes a creature: its build and its coat; and where its joints are in a pose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tools.creature_drawing.motion import IS_HIND, LEG, Pose
from tools.creature_drawing.scenes import GROUND
from tools.creature_drawing.shapes import Colour, direction

FAR = np.array([0.022, -0.012])  # the far legs stand a little ahead and higher
IS_FAR = np.array([False, False, True, True])
SOLE = 0.85  # radius of a foot, in `limb`s

EARS = ('point', 'round', 'long', 'flop', 'leaf')
HORNS = {'none': 0.62, 'nubs': 0.12, 'curved': 0.12, 'unicorn': 0.06, 'antlers': 0.08}
# Kinds of tails: how far they are raised at rest, and how far they curl up, in radians.
TAILS = {
    'tuft': (-0.7, -0.7), 'bushy': (0.15, 0.5), 'ball': (0.5, 0.0), 'cat': (0.5, 0.9),
    'taper': (-0.25, 0.3), 'horse': (-0.6, -0.8),
}  # fmt: skip
CRESTS = {'none': 0.55, 'mane': 0.2, 'spikes': 0.12, 'lion': 0.13}
PATTERNS = {
    'plain': 0.22, 'spots': 0.2, 'patches': 0.14, 'stripes': 0.22, 'saddle': 0.12, 'rear': 0.1,
}  # fmt: skip


@dataclass(frozen=True)
class Build:
    """Proportions, in frame units, and the kinds of a creature's parts."""

    legs: int = 4  # or 2
    leg: float = LEG
    upper: float = 0.5  # share of the leg above its joint
    limb: float = 0.03  # radius of a leg at its joint
    half: float = 0.135  # half the distance from hip to shoulder
    rear: float = 0.085  # radius of the body at the hip
    waist: float = 0.085
    chest: float = 0.09
    neck: float = 0.14
    neck_angle: float = 0.95
    head: float = 0.068  # radius of the skull
    muzzle: float = 1.2  # in skull radii
    head_angle: float = -0.2
    tail: float = 0.17
    ears: str = 'point'  # or 'none'
    horns: str = 'none'
    tails: str = 'bushy'
    crest: str = 'none'

    @classmethod
    def random(cls, rng: np.random.Generator, legs: int) -> Build:
        """Random proportions, moderately around the standard ones, and random parts."""

        def around(middle: float, share: float) -> float:
            return float(middle * rng.uniform(1 - share, 1 + share))

        girth = around(1.0, 0.08)
        two = legs == 2
        return cls(
            legs=legs,
            leg=around(LEG, 0.05),
            upper=around(0.5, 0.06),
            limb=around(0.03, 0.08),
            half=around(0.09 if two else 0.135, 0.05),
            rear=around(0.085, 0.07) * girth,
            waist=around(0.082, 0.12) * girth,
            chest=around(0.088, 0.07) * girth,
            neck=around(0.145, 0.1),
            neck_angle=float(rng.uniform(0.88, 1.06)),
            head=around(0.068, 0.08),
            muzzle=float(rng.uniform(0.9, 1.4)),
            head_angle=float(rng.uniform(-0.28, -0.08)),
            tail=around(0.165, 0.1),
            ears='none' if two else str(rng.choice(EARS)),
            horns='none' if two else str(rng.choice(list(HORNS), p=list(HORNS.values()))),
            tails=str(rng.choice(('bushy', 'taper') if two else list(TAILS))),
            crest=str(rng.choice(list(CRESTS), p=list(CRESTS.values()))),
        )


def random_marks(rng: np.random.Generator, pattern: str) -> tuple[tuple[float, ...], ...]:
    """Where a coat's spots, patches or stripes lie on the body; for the meaning see Coat."""
    marks: list[tuple[float, ...]] = []
    if pattern == 'spots':
        grid = [(s, t) for s in np.linspace(-0.4, 1.4, 8) for t in (-0.6, -0.05, 0.45)]
        marks = [
            (s + rng.uniform(-0.06, 0.06), t + rng.uniform(-0.15, 0.15),
             rng.uniform(0.05, 0.085), rng.uniform(0.13, 0.22))
            for s, t in grid if rng.random() < 0.85
        ]  # fmt: skip
    elif pattern == 'patches':
        marks = [
            (s + rng.uniform(-0.12, 0.12), rng.uniform(-0.8, 0.5),
             rng.uniform(0.14, 0.24), rng.uniform(0.35, 0.6))
            for s in np.linspace(-0.35, 1.2, int(rng.integers(3, 6)))
        ]  # fmt: skip
    elif pattern == 'stripes':
        marks = [
            (s + rng.uniform(-0.03, 0.03), rng.uniform(0.2, 0.7), rng.uniform(0.04, 0.06))
            for s in np.linspace(-0.5, 1.3, int(rng.integers(6, 9)))
        ]
    return tuple(tuple(float(value) for value in mark) for mark in marks)


@dataclass(frozen=True)
class Coat:
    """Colours and markings."""

    base: Colour
    second: Colour  # of the markings
    pattern: str  # one of PATTERNS
    # On the body, in the coordinates of Tube. Spots and patches: s, t and half the size in both;
    # stripes: s, the t where they end, half the width.
    marks: tuple[tuple[float, ...], ...]
    belly: bool  # a paler belly
    socks: bool
    pale_muzzle: bool
    hooves: bool  # dark, else paws like the coat
    round_eye: bool  # with its white showing

    @classmethod
    def random(cls, rng: np.random.Generator, base: Colour, second: Colour) -> Coat:
        """A random pattern in these colours."""
        pattern = str(rng.choice(list(PATTERNS), p=list(PATTERNS.values())))
        return cls(
            base=base,
            second=second,
            pattern=pattern,
            marks=random_marks(rng, pattern),
            belly=bool(rng.random() < 0.5),
            socks=bool(rng.random() < 0.35),
            pale_muzzle=bool(rng.random() < 0.45),
            hooves=bool(rng.random() < 0.5),
            round_eye=bool(rng.random() < 0.5),
        )


class Skeleton(NamedTuple):
    """Where a creature's joints are, over T times, in frame units; angles in radians."""

    middle: np.ndarray  # (T, 2) of the body
    arch: np.ndarray  # (T, 2) where the back is drawn to by its bend
    hip: np.ndarray  # (T, 2)
    shoulder: np.ndarray  # (T, 2)
    roots: np.ndarray  # (T, 4, 2) of the legs, in the order of LEGS
    knees: np.ndarray  # (T, 4, 2)
    ankles: np.ndarray  # (T, 4, 2)
    feet: np.ndarray  # (T, 4) angle, 0 is flat, negative: on the toes
    nape: np.ndarray  # (T, 2) where the neck begins
    head: np.ndarray  # (T, 2) middle of the skull
    head_angle: np.ndarray  # (T,)
    tail: np.ndarray  # (T, 4, 2) control points, from the body


def skeleton(build: Build, pose: Pose) -> Skeleton:
    """Forward kinematics; the lowest foot is on the ground unless the motion lifts them all."""
    two = build.legs == 2
    angle = pose.pitch * (0.6 if two else 1.0) + (0.3 if two else 0.0)
    along, up = direction(angle), direction(angle + np.pi / 2)
    reach = build.half * along
    # From the middle of the body first, whose height follows from the feet.
    if two:
        roots = np.repeat((-0.15 * reach)[:, None], 4, axis=1)
    else:
        roots = np.where(IS_HIND[:, None], -reach[:, None], reach[:, None])
    bones = np.stack([np.sin(pose.legs), np.cos(pose.legs)], axis=-1)
    knees = roots + build.leg * build.upper * bones[:, :, 0]
    ankles = knees + build.leg * (1 - build.upper) * bones[:, :, 1]
    used = IS_HIND if two else np.ones(4, bool)
    lift = pose.foot_up[:, used].min(axis=1)
    low = ankles[:, used, 1].max(axis=1) + SOLE * build.limb
    middle = np.stack([0.5 + pose.x, GROUND - LEG * lift - low], axis=-1)
    shift = middle[:, None] + np.where(IS_FAR[:, None], FAR, 0.0)
    nape = middle + reach + build.chest * (0.1 * along + 0.25 * up)
    rump = middle - reach + build.rear * (0.35 * up - 0.55 * along)
    neck = build.neck * direction(build.neck_angle + pose.neck + 0.6 * angle)
    return Skeleton(
        middle=middle,
        arch=middle + 4 * build.half * pose.bend[:, None] * up,
        hip=middle - reach,
        shoulder=middle + reach,
        roots=roots + shift,
        knees=knees + shift,
        ankles=ankles + shift,
        feet=-1.1 * np.clip((pose.foot_up - lift[:, None]) / 0.3, 0, 1),
        nape=nape,
        head=nape + neck,
        head_angle=build.head_angle + pose.neck + pose.head + 0.5 * pose.pitch,
        tail=tail_points(build, pose, rump, angle),
    )


def tail_points(build: Build, pose: Pose, root: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Control points (T, 4, 2) of the tail of a body at this angle (T,), from its root (T, 2)."""
    raised, curl = TAILS[build.tails]
    first = angle + np.pi - raised - pose.tail[:, 0]
    last = first - curl - pose.tail[:, 1]
    turns = np.stack([first, (first + last) / 2, last], axis=1)
    steps = np.cumsum(build.tail / 3 * direction(turns), axis=1)
    return np.concatenate([root[:, None], root[:, None] + steps], axis=1)
