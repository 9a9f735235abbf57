"""The shapes that a creature is painted with, from back to front."""

from collections.abc import Sequence

import numpy as np

from tools.creature_drawing.body import SOLE, Build, Coat, Skeleton
from tools.creature_drawing.motion import IS_HIND, LEGS
from tools.creature_drawing.scenes import shaded
from tools.creature_drawing.shapes import (
    Colour,
    Layer,
    Shape,
    Tube,
    direction,
    ellipse,
    place,
    tube,
)

WHITE, DARK = (255, 255, 255), (38, 32, 40)
BEAK, HOOF, HORN = (244, 160, 44), (74, 60, 56), (240, 226, 190)
OUTLINE = 0.0075  # width, frame units

# Lengths on the head are in radii of the skull; points are (forward, up) from its middle.
# Ears: angle over the head's, length, radii at root, middle and tip.
EAR_SHAPES = {
    'point': (1.75, 1.0, (0.42, 0.3, 0.02)),
    'round': (2.0, 0.35, (0.42, 0.45, 0.4)),
    'long': (1.95, 1.75, (0.2, 0.46, 0.1)),
    'flop': (3.6, 1.1, (0.2, 0.42, 0.26)),
    'leaf': (2.7, 1.1, (0.14, 0.5, 0.06)),
}
# Horns: control points, radii at root and tip.
HORN_SHAPES = {
    'none': [],
    'nubs': [([(0.1, 0.8), (0.05, 1.5)], 0.14, 0.2)],
    'curved': [([(0.1, 0.8), (0.5, 1.6), (-0.3, 2.0)], 0.26, 0.05)],
    'unicorn': [([(0.45, 0.75), (1.0, 2.2)], 0.24, 0.03)],
    'antlers': [
        ([(0.0, 0.8), (-0.3, 1.6), (-0.1, 2.4)], 0.15, 0.09),
        ([(-0.15, 1.6), (0.5, 2.0)], 0.13, 0.07),
    ],
}
# Tails: radii along them, in frame units.
TAIL_RADII = {
    'tuft': (0.02, 0.015, 0.014, 0.014),
    'bushy': (0.02, 0.06, 0.075, 0.008),
    'cat': (0.026, 0.024, 0.022, 0.022),
    'taper': (0.06, 0.045, 0.025, 0.008),
    'horse': (0.022, 0.04, 0.05, 0.012),
}


def along(points: np.ndarray) -> list[np.ndarray]:
    """(T, M, 2) -> the M points, each (T, 2)."""
    return list(np.moveaxis(points, 1, 0))


def stripe(limb: Tube, s: float, end: float, half: float, colour: Colour) -> Shape:
    """A wedge from the back of a limb down to t = end."""
    corners = np.array([s - half, s + half, s + 0.3 * half, s - 0.3 * half])
    return Shape(limb.at(corners, np.array([-1, -1, end, end])), colour)


def markings(coat: Coat, limb: Tube, part: str, light: float = 1.0) -> list[Shape]:
    """The coat's markings on a part: body, neck, or the thigh of a hind or fore leg."""
    colour = shaded(coat.second, light)
    if coat.pattern == 'stripes':
        marks = [(s, 0.6, 0.07) for s in (0.3, 0.6, 0.9)]
        wanted = coat.marks if part == 'body' else marks
        return [stripe(limb, s, end, half, colour) for s, end, half in wanted]
    if coat.pattern in ('spots', 'patches') and part == 'body':
        return [Shape(limb.blob(*mark), colour) for mark in coat.marks]
    if coat.pattern == 'spots':
        spots = [(0.15, -0.4), (0.4, 0.35), (0.7, -0.3)]
        return [Shape(limb.blob(s, t, 0.12, 0.25), colour) for s, t in spots]
    if coat.pattern == 'patches' and part == 'neck':
        return [Shape(limb.blob(0.75, -0.6, 0.3, 0.9), colour)]
    if coat.pattern == 'saddle' and part == 'body':
        return [Shape(limb.band(0.1, 0.8), colour)]
    if coat.pattern == 'rear' and part == 'body':
        return [Shape(limb.band(-1, 0.35), colour)]
    if coat.pattern == 'rear' and part == 'hind':
        return [Shape(limb.outline(), colour)]
    return []


def leg_shapes(build: Build, coat: Coat, bones: Skeleton, index: int, light: float) -> list[Shape]:
    """One leg of LEGS; `light` below 1 darkens the far ones."""
    base = shaded(coat.base, light)
    part = 'hind' if IS_HIND[index] else 'fore'
    root, knee, ankle = (joint[:, index] for joint in (bones.roots, bones.knees, bones.ankles))
    limb, sole = build.limb, SOLE * build.limb
    thigh = tube([root, knee], [limb * (1.75 if part == 'hind' else 1.45), limb * 1.05])
    shin = tube([knee, ankle], [limb * 1.02, sole])
    toe = ankle + (0.8 if coat.hooves else 1.15) * limb * direction(bones.feet[:, index])
    foot = tube([ankle, toe], [sole, 0.92 * sole])
    # No line around its upper end: the thigh becomes one with the body.
    shapes = [Shape(thigh.band(0.5, 2), base, True), Shape(thigh.outline(), base)]
    shapes += markings(coat, thigh, part, light)
    shapes.append(Shape(shin.outline(), base, True))
    paw = base
    if coat.pattern == 'stripes':
        shapes.append(Shape(shin.band(0.2, 0.4), shaded(coat.second, light)))
    if coat.socks:
        paw = shaded(coat.second, light)
        shapes.append(Shape(shin.band(0.45, 2), paw))
    if build.legs == 2:
        paw = shaded(BEAK, light)
    elif coat.hooves:
        paw = shaded(HOOF, light)
    return [*shapes, Shape(foot.outline(), paw, True)]


def crest_shapes(build: Build, coat: Coat, body: Tube, neck: Tube) -> list[Shape]:
    """What stands up along the neck or the back: a mane of curls, or spikes."""
    if build.crest == 'mane':
        curl = ellipse(0, 0, 0.5 * build.head, 0.5 * build.head)
        middles = along(neck.at(np.array([0.1, 0.4, 0.7, 1.0]), np.full(4, -1.0)))
        return [Shape(middle[:, None] + curl, coat.second, True) for middle in middles]
    if build.crest != 'spikes':
        return []
    shapes = []
    places = [(body, s, 0.13) for s in (0.0, 0.3, 0.6, 0.9)]
    for limb, s, half in [*places, (neck, 0.45, 0.22), (neck, 0.85, 0.22)]:
        outline = limb.at(np.array([s - half, s, s + half, s]), np.array([-0.8, -1.0, -0.8, 0.0]))
        outwards = outline[:, 1] - outline[:, 3]
        outwards /= np.linalg.norm(outwards, axis=-1, keepdims=True)
        outline[:, 1] += 0.042 * outwards
        shapes.append(Shape(outline[:, :3], coat.second, True))
    return shapes


def torso_shapes(build: Build, coat: Coat, bones: Skeleton) -> list[Shape]:
    """Body, neck and what is on them."""
    waist = 2 * build.waist - 0.5 * (build.rear + build.chest)  # a Bezier curve goes half the way
    body = tube([bones.hip, bones.arch, bones.shoulder], [build.rear, waist, build.chest])
    neck = tube([bones.nape, bones.head], [0.72 * build.chest, 0.78 * build.head])
    shapes = crest_shapes(build, coat, body, neck)
    shapes += [Shape(body.outline(), coat.base, True), Shape(neck.outline(), coat.base, True)]
    shapes += markings(coat, neck, 'neck') + markings(coat, body, 'body')
    if coat.belly:
        s = np.linspace(-0.35, 1.45, 14)
        top = 1 - 0.55 * np.sin(np.pi * np.linspace(0, 1, 14))
        rim = body.at(np.concatenate([s, s[::-1]]), np.concatenate([top, np.ones(14)]))
        shapes.append(Shape(rim, shaded(coat.base, 1.55)))
    if build.legs == 2:  # a folded wing
        s, t = np.array([[0.75, 0.3, -0.75, 0.0, 0.6], [-0.35, -0.5, 0.0, 0.5, 0.4]])
        shapes.append(Shape(body.at(s, t), shaded(coat.second, 0.9)))
    return shapes


def tail_shapes(build: Build, coat: Coat, bones: Skeleton) -> list[Shape]:
    points = along(bones.tail)
    if build.tails == 'ball':
        puff = points[0][:, None] + ellipse(0, 0, 0.045, 0.045)
        return [Shape(puff, shaded(coat.base, 1.5), True)]
    tail = tube(points, TAIL_RADII[build.tails])
    colour = coat.second if build.tails == 'horse' else coat.base
    shapes = [Shape(tail.outline(), colour, True)]
    if build.tails == 'tuft':
        tuft = points[3][:, None] + ellipse(0, 0, 0.03, 0.03)
        shapes.append(Shape(tuft, coat.second, True))
    if build.tails in ('bushy', 'cat'):
        shapes.append(Shape(tail.band(0.68, 2), shaded(coat.second, 1.1)))
    if build.tails == 'taper' and coat.pattern == 'stripes':
        shapes += [Shape(tail.band(s, s + 0.12), coat.second) for s in (0.25, 0.55)]
    return shapes


def ear_shapes(
    build: Build, coat: Coat, bones: Skeleton, flap: np.ndarray, far: bool
) -> list[Shape]:
    """One ear, if the creature has any; flap: its angle (T,) from where it is at rest."""
    if build.ears == 'none':
        return []
    h = build.head
    turn, length, radii = EAR_SHAPES[build.ears]
    foot = np.array([[0.05 if far else -0.35, 0.72]])
    root = place(bones.head, bones.head_angle, h * foot)[:, 0]
    whole = length * h * direction(bones.head_angle + turn + flap)
    outline = tube([root, root + 0.5 * whole, root + whole], h * np.array(radii)).outline()
    colour = coat.second if build.ears in ('flop', 'long') else coat.base
    return [Shape(outline, shaded(colour, 0.74 if far else 0.92), True)]


def horn_shapes(build: Build, bones: Skeleton) -> list[Shape]:
    shapes = []
    for points, root, tip in HORN_SHAPES[build.horns]:
        placed = place(bones.head, bones.head_angle, build.head * np.array(points))
        radii = build.head * np.linspace(root, tip, len(points))
        shapes.append(Shape(tube(along(placed), radii).outline(), HORN, True))
    return shapes


def head_shapes(build: Build, coat: Coat, bones: Skeleton, flap: np.ndarray) -> list[Shape]:
    """Head, ears, horns and face."""

    def local(points: np.ndarray) -> np.ndarray:
        return place(bones.head, bones.head_angle, build.head * points)

    shapes = []
    if build.crest == 'lion':
        turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
        radius = 1.7 + 0.1 * np.cos(10 * turn)
        mane = np.stack([radius * np.cos(turn) - 0.35, radius * np.sin(turn) - 0.1], axis=-1)
        shapes.append(Shape(local(mane), coat.second, True))
    shapes += ear_shapes(build, coat, bones, flap, far=True) + horn_shapes(build, bones)
    skull = Shape(local(ellipse(0, 0, 1.05, 0.98)), coat.base, True)
    if build.legs == 2:
        beak = np.array([[0.6, 0.45], [1.3, 0.3], [2.0, -0.2], [1.3, -0.5], [0.6, -0.5]])
        shapes += [Shape(local(beak), BEAK, True), skull]
    else:
        ends = local(np.array([[0.35, -0.22], [build.muzzle, -0.34]]))
        muzzle = tube(along(ends), build.head * np.array([0.74, 0.55]))
        shapes += [Shape(muzzle.outline(), coat.base, True), skull]
        if coat.pale_muzzle:
            shapes.append(Shape(muzzle.band(0.4, 2), shaded(coat.base, 1.5)))
        tip = build.muzzle + 0.4
        smile = [(-0.75, -0.62), (-0.35, -0.66), (-0.05, -0.52), (-0.35, -0.76), (-0.8, -0.72)]
        shapes.append(Shape(local(ellipse(tip, -0.12, 0.2, 0.17)), DARK))
        shapes.append(Shape(local(np.add(smile, (tip, 0))), shaded(coat.base, 0.45)))
    shapes += ear_shapes(build, coat, bones, flap, far=False)
    if coat.round_eye:
        shapes.append(Shape(local(ellipse(0.32, 0.22, 0.33, 0.36)), WHITE))
    pupil = ellipse(0.42, 0.2, 0.19, 0.22) if coat.round_eye else ellipse(0.35, 0.2, 0.2, 0.24)
    shapes.append(Shape(local(pupil), DARK))
    shapes.append(Shape(local(ellipse(0.4, 0.3, 0.07, 0.07)), WHITE))
    return shapes


def layers(build: Build, coat: Coat, bones: Skeleton, flap: np.ndarray) -> list[Layer]:
    """Everything to paint, from back to front. flap: angle (T,) of the ears."""
    line = shaded(coat.base, 0.5)

    def legs(indices: Sequence[int], light: float, colour: Colour) -> list[Layer]:
        return [
            Layer(LEGS[index], leg_shapes(build, coat, bones, index, light), colour, OUTLINE)
            for index in indices
            if build.legs == 4 or IS_HIND[index]
        ]

    trunk = tail_shapes(build, coat, bones) + torso_shapes(build, coat, bones)
    trunk += head_shapes(build, coat, bones, flap)
    return [
        *legs((3, 2), 0.7, shaded(line, 0.8)),
        Layer('trunk', trunk, line, OUTLINE),
        *legs((1, 0), 1.0, line),
    ]


def snout(build: Build, bones: Skeleton) -> np.ndarray:
    """The tip of the snout or beak, (T, 2)."""
    tip = (1.85, -0.2) if build.legs == 2 else (build.muzzle + 0.3, -0.3)
    return place(bones.head, bones.head_angle, build.head * np.array([tip]))[:, 0]
