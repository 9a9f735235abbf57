"""Colours of creatures and what stands behind them."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from tools.creature_drawing.shapes import SUPERSAMPLING, Colour, canvas

GROUND = 0.86  # height of the ground in the frame, from the top
KINDS = {'plain': 0.34, 'gradient': 0.2, 'meadow': 0.16, 'hills': 0.1, 'stripes': 0.1, 'dots': 0.1}

# Coat and markings that look well together.
PALETTES = (
    ('#d9772b', '#fbe8cf'), ('#f4f1ea', '#4a3b36'), ('#94512f', '#5b2e1a'), ('#9aa3ad', '#5f6772'),
    ('#8798ab', '#c3cfdb'), ('#d8b47a', '#9c6b3c'), ('#eec46b', '#a8642a'), ('#f5f3ee', '#3a3a44'),
    ('#ee9a3a', '#4a2d22'), ('#f2a7b0', '#d9788a'), ('#6fc7a4', '#3c9478'), ('#3fa7a3', '#f2d36b'),
    ('#8e6cc0', '#c9a8ec'), ('#4f86c6', '#a6cdf0'), ('#9bc653', '#5e8f2f'), ('#cf4b43', '#8d2b2b'),
    ('#4a4858', '#7d7a90'), ('#f0dfbd', '#c99f66'), ('#7a4f3a', '#c69a74'), ('#ff8d6b', '#ffd2a8'),
    ('#e3c9f0', '#9a6fc0'), ('#5c6f3a', '#a9bf6b'), ('#c0a48a', '#f3e7d8'), ('#35536e', '#e8b04b'),
)  # fmt: skip


def from_hex(text: str) -> Colour:
    red, green, blue = (int(text[i : i + 2], 16) for i in (1, 3, 5))
    return red, green, blue


def to_levels(rgb: tuple[float, float, float]) -> Colour:
    """[0, 1] -> 0 to 255."""
    red, green, blue = (round(value * 255) for value in rgb)
    return red, green, blue


def shaded(colour: Colour, light: float) -> Colour:
    """Darker for light < 1 (0 is black), lighter for light > 1 (2 is white)."""
    if light <= 1:
        red, green, blue = (round(value * light) for value in colour)
    else:
        red, green, blue = (round(value + (255 - value) * (light - 1)) for value in colour)
    return red, green, blue


def jittered(colour: Colour, rng: np.random.Generator, hue: float, amount: float) -> Colour:
    """Shifts the hue by up to `hue` turns, saturation and brightness by up to `amount`."""
    h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in colour))
    h, s, v = np.array([h, s, v]) + rng.uniform(-1, 1, 3) * (hue, amount, amount)
    rgb = colorsys.hsv_to_rgb(h % 1, float(np.clip(s, 0, 1)), float(np.clip(v, 0.12, 1)))
    return to_levels(rgb)


def random_coat(rng: np.random.Generator) -> tuple[Colour, Colour]:
    """Colours of the coat and of its markings."""
    base, second = (from_hex(text) for text in PALETTES[rng.integers(len(PALETTES))])
    if rng.random() < 0.4:  # any hue, the same for both
        turn = float(rng.uniform(-0.5, 0.5))
        base, second = (_turned(colour, turn) for colour in (base, second))
    return jittered(base, rng, 0.03, 0.08), jittered(second, rng, 0.03, 0.08)


def _turned(colour: Colour, turn: float) -> Colour:
    h, s, v = colorsys.rgb_to_hsv(*(value / 255 for value in colour))
    return to_levels(colorsys.hsv_to_rgb((h + turn) % 1, s, v))


def distance(first: Colour, second: Colour) -> float:
    """How different two colours look, 0 to 255."""
    difference = np.subtract(first, second, dtype='float64')
    return float(np.sqrt((difference**2 * (0.3, 0.5, 0.2)).sum()))


@dataclass(frozen=True)
class Scene:
    """A background, which does not move."""

    kind: str  # one of KINDS
    sky: Colour
    ground: Colour
    seed: int  # of where dots and hills are

    @classmethod
    def random(cls, rng: np.random.Generator, avoid: tuple[Colour, ...] = ()) -> Scene:
        """A random background, its colours well apart from those to `avoid`."""
        kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
        best: tuple[float, Colour, Colour] | None = None
        for _ in range(60):
            hue, dark = rng.uniform(), rng.random() < 0.08
            level = rng.uniform(0.25, 0.45) if dark else rng.uniform(0.66, 0.98)
            sky = colorsys.hsv_to_rgb(hue, rng.uniform(0.05, 0.45), level)
            turn = rng.uniform(-0.12, 0.12) if kind in ('meadow', 'hills') else 0.0
            fall = rng.uniform(0.78, 0.9) if kind in ('meadow', 'hills') else rng.uniform(0.9, 0.95)
            ground = colorsys.hsv_to_rgb((hue + turn) % 1, rng.uniform(0.1, 0.5), level * fall)
            if kind in ('stripes', 'dots'):
                ground = sky[0] * fall, sky[1] * fall, sky[2] * fall
            colours = to_levels(sky), to_levels(ground)
            apart = min((distance(a, b) for a in colours for b in avoid), default=255.0)
            if best is None or apart > best[0]:
                best = apart, *colours
            if apart > 50:
                break
        assert best is not None
        return cls(kind, best[1], best[2], int(rng.integers(2**32)))

    def canvas(self, size: int) -> Image.Image:
        """The background of a frame of `size` pixels, to paint on."""
        picture = canvas(size, self.sky)
        width = size * SUPERSAMPLING
        brush = ImageDraw.Draw(picture)
        rng = np.random.default_rng(self.seed)
        if self.kind == 'gradient':
            share = np.linspace(0, 1, width)[:, None]
            shades = np.array(self.sky) * (1 - share) + np.array(self.ground) * share
            rows = np.rint(shades).astype('uint8')[:, None]
            picture.paste(Image.fromarray(rows.repeat(width, axis=1)))
        elif self.kind == 'meadow':
            brush.rectangle((0, 0.8 * width, width, width), fill=self.ground)
        elif self.kind == 'hills':
            self._hills(brush, width, rng)
        elif self.kind == 'stripes':
            count, slope = int(rng.integers(5, 9)), float(rng.choice([-0.6, 0, 0.6]))
            step = width / count
            for x in np.arange(-count, 2 * count) * step:
                top, bottom = x + slope * width, x
                corners = (bottom, width, bottom + step / 2, width, top + step / 2, 0, top, 0)
                brush.polygon(corners, fill=self.ground)
        elif self.kind == 'dots':
            count = int(rng.integers(6, 10))
            step, radius = width / count, width / count * rng.uniform(0.16, 0.26)
            for row in range(count + 1):
                for column in range(count + 1):
                    x, y = (column + row % 2 / 2) * step, (row + 0.5) * step
                    box = (x - radius, y - radius, x + radius, y + radius)
                    brush.ellipse(box, fill=self.ground)
        return picture

    def _hills(self, brush: ImageDraw.ImageDraw, width: int, rng: np.random.Generator) -> None:
        """Two rows of hills, the farther one paler."""
        x = np.linspace(0, 1, 80)
        for level, mix in ((0.66, 0.5), (0.8, 1.0)):
            waves, phase = rng.uniform(0.6, 1.5), rng.uniform()
            y = level - 0.05 * np.sin(2 * np.pi * (waves * x + phase))
            colour = tuple(round(a * (1 - mix) + b * mix) for a, b in zip(self.sky, self.ground))
            outline = np.stack([x, y], 1).ravel() * width
            brush.polygon([*outline.tolist(), width, width, 0, width], fill=colour)
