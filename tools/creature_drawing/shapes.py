"""Smooth shapes over time, and their painting with antialiasing.

Points are in frame units, x to the right and y down: 0 and 1 are the centres of the border pixels.
T: times, N: points of a shape.
"""

from collections.abc import Sequence
from functools import cache
from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

SUPERSAMPLING = 4  # a frame is painted this many times larger, then averaged
ALONG, CAP = 14, 7  # samples along a tube, and around each of its round ends


class Shape(NamedTuple):
    """A filled polygon over time."""

    points: np.ndarray  # (T, N, 2)
    colour: Colour
    outlined: bool = False  # has part in the outline of its layer


class Layer(NamedTuple):
    """Shapes that share one outline: first all outlines are painted, then all shapes, in order."""

    name: str  # the leg, as in creature_motion.LEGS, or 'trunk'
    shapes: list[Shape]
    outline: Colour
    width: float  # of the outline, frame units; 0: none


class Tube(NamedTuple):
    """A bent limb with round ends, and coordinates on it that move with it.

    s runs from -1 to 0 around the first end, 0 to 1 along, 1 to 2 around the last end; t runs from
    -1 (the left-hand side of the way from first to last: the back of a body facing right) to 1.
    """

    centre: np.ndarray  # (T, K, 2)
    side: np.ndarray  # (T, K, 2) from the centre to t = 1
    s: np.ndarray  # (K,)

    def at(self, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        """The points at coordinates s, t (N,) -> (T, N, 2). t beyond the skin is held on it."""
        left = np.clip(np.searchsorted(self.s, s, side='right') - 1, 0, len(self.s) - 2)
        share = np.clip((s - self.s[left]) / (self.s[left + 1] - self.s[left]), 0, 1)[:, None]
        centre = self.centre[:, left] * (1 - share) + self.centre[:, left + 1] * share
        side = self.side[:, left] * (1 - share) + self.side[:, left + 1] * share
        return centre + side * np.clip(t, -1, 1)[:, None]

    def outline(self) -> np.ndarray:
        """(T, N, 2) of the whole tube."""
        return np.concatenate([self.centre - self.side, (self.centre + self.side)[:, ::-1]], 1)

    def band(self, start: float, stop: float, top: float = -1, bottom: float = 1) -> np.ndarray:
        """(T, N, 2) of the part of the tube between s = start and stop, t = top and bottom."""
        s = np.linspace(start, stop, 12)
        return self.at(np.concatenate([s, s[::-1]]), np.repeat([top, bottom], 12))

    def blob(self, s: float, t: float, length: float, width: float) -> np.ndarray:
        """(T, N, 2) of an ellipse around (s, t) with these half axes, cut off at the skin."""
        turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        return self.at(s + length * np.cos(turn), t + width * np.sin(turn))


@cache
def _bezier(order: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Bernstein polynomials of `order` control points and their derivatives, (samples, order)."""
    u = np.linspace(0, 1, samples)[:, None]
    n, i = order - 1, np.arange(order)
    basis = np.array([comb(n, k) for k in i]) * u**i * (1 - u) ** (n - i)
    lower = np.array([comb(n - 1, k) for k in i[:-1]]) * u ** i[:-1] * (1 - u) ** (n - 1 - i[:-1])
    slope = np.zeros((samples, order))
    slope[:, 1:] += n * lower
    slope[:, :-1] -= n * lower
    return basis, slope


def tube(controls: Sequence[np.ndarray], radii: ArrayLike) -> Tube:
    """A tube along a Bezier curve. controls: M >= 2 of (T, 2); radii: M of them, blended alike."""
    points = np.stack(controls, axis=1)
    basis, slope = _bezier(points.shape[1], ALONG)
    centre, along = basis @ points, slope @ points
    along = along / np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
    radius = basis @ np.asarray(radii, 'float64')
    turn = np.linspace(0, np.pi / 2, CAP + 1)[1:]
    first = centre[:, :1] - along[:, :1] * (radius[0] * np.sin(turn[::-1]))[:, None]
    last = centre[:, -1:] + along[:, -1:] * (radius[-1] * np.sin(turn))[:, None]
    radius = np.concatenate([radius[0] * np.cos(turn[::-1]), radius, radius[-1] * np.cos(turn)])
    along = np.concatenate([along[:, :1].repeat(CAP, 1), along, along[:, -1:].repeat(CAP, 1)], 1)
    normal = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    s = np.concatenate([-np.sin(turn[::-1]), np.linspace(0, 1, ALONG), 1 + np.sin(turn)])
    return Tube(np.concatenate([first, centre, last], 1), normal * radius[:, None], s)


def direction(angle: np.ndarray) -> np.ndarray:
    """(...) -> (..., 2): the unit vector at this angle over 'to the right'."""
    return np.stack([np.cos(angle), -np.sin(angle)], axis=-1)


def place(origin: np.ndarray, angle: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Carries points (N, 2) (forward, up) of a frame at origin (T, 2), angle (T,) -> (T, N, 2)."""
    forward, up = direction(angle)[:, None], direction(angle + np.pi / 2)[:, None]
    return origin[:, None] + points[None, :, :1] * forward + points[None, :, 1:] * up


def ellipse(x: float, y: float, length: float, width: float) -> np.ndarray:
    """(N, 2): the outline of an ellipse with these half axes, for place()."""
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + length * np.cos(turn), y + width * np.sin(turn)], axis=-1)


def grown(points: np.ndarray, width: float) -> np.ndarray:
    """Moves a closed outline (T, N, 2) outwards by `width`."""
    along = np.roll(points, -1, 1) - np.roll(points, 1, 1)
    normal = np.stack([along[..., 1], -along[..., 0]], axis=-1)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    x, y = points[..., 0], points[..., 1]
    area = (x * np.roll(y, -1, 1) - np.roll(x, -1, 1) * y).sum(1)
    return points + width * np.sign(area)[:, None, None] * normal


def covers(points: np.ndarray, spots: np.ndarray) -> np.ndarray:
    """Whether the outline (T, N, 2) encloses each of spots (T, J, 2) -> (T, J) bool."""
    x, y = spots[..., None, 0], spots[..., None, 1]
    start, stop = points[:, None], np.roll(points, -1, 1)[:, None]
    crosses = (start[..., 1] > y) != (stop[..., 1] > y)
    rise = np.where(crosses, stop[..., 1] - start[..., 1], 1)
    meet = start[..., 0] + (y - start[..., 1]) / rise * (stop[..., 0] - start[..., 0])
    return (crosses & (x < meet)).sum(-1) % 2 == 1


def canvas(size: int, colour: Colour = (255, 255, 255)) -> Image.Image:
    """An empty picture to paint a frame of `size` pixels on."""
    return Image.new('RGB', (size * SUPERSAMPLING,) * 2, colour)


def _on_canvas(points: np.ndarray, size: int) -> list[list[int]]:
    """(T, N, 2) in frame units -> flat lists of canvas pixels, one for each time."""
    pixels = np.rint((points * (size - 1) + 0.5) * SUPERSAMPLING - 0.5).astype('int64')
    return pixels.reshape(len(points), -1).tolist()


def flattened(layers: Sequence[Layer], size: int) -> list[tuple[list[list[int]], Colour]]:
    """Everything to paint, in order: canvas coordinates at each time, and the colour."""
    todo = []
    for layer in layers:
        if layer.width:
            todo += [
                (_on_canvas(grown(shape.points, layer.width), size), layer.outline)
                for shape in layer.shapes
                if shape.outlined
            ]
        todo += [(_on_canvas(shape.points, size), shape.colour) for shape in layer.shapes]
    return todo


def paint(layers: Sequence[Layer], times: int, background: Image.Image) -> np.ndarray:
    """Paints the layers over a canvas() at each of T times -> uint8 (T, size, size, 3)."""
    size = background.width // SUPERSAMPLING
    todo = flattened(layers, size)
    frames = np.empty((times, size, size, 3), 'uint8')
    for index in range(times):
        picture = background.copy()
        brush = ImageDraw.Draw(picture)
        for outlines, colour in todo:
            brush.polygon(outlines[index], fill=colour)
        frames[index] = np.asarray(picture.reduce(SUPERSAMPLING))
    return frames
