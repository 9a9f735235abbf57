"""Long clips to track things in: drawn discs, and what finds them by their colour."""

import numpy as np
from scipy import ndimage

from modules.animation.boxes import Box

COLOURS = {'red': (230, 40, 40), 'blue': (40, 60, 230)}


def scene(discs, height=96, width=160, ground=(90, 120, 90)):
    """A frame with discs, each (name of its colour, x, y, radius)."""
    frame = np.empty((height, width, 3), np.uint8)
    frame[:] = ground
    y, x = np.mgrid[:height, :width] + 0.5
    frame[..., 1] += (10 * np.sin(x / 7)).astype(np.int8).view(np.uint8)
    for name, left, top, radius in discs:
        frame[(x - left) ** 2 + (y - top) ** 2 < radius**2] = COLOURS[name]
    return frame


def find_discs(frame):
    """The boxes of all discs in a frame, compressed or not; the largest first."""
    boxes = []
    for colour in COLOURS.values():
        near = np.abs(frame.astype(int) - colour).max(axis=2) < 60
        for rows, columns in ndimage.find_objects(ndimage.label(near)[0]):
            height, width = rows.stop - rows.start, columns.stop - columns.start
            if min(height, width) > 8:
                boxes.append(Box(columns.start, rows.start, width, height))
    return sorted(boxes, key=lambda box: -box.area)


def long_clip():
    """Two discs, one of which leaves; another shot with one; none; and the first shot again.

    Frames 0 to 39: red moves slowly, blue is there to frame 24. 40 to 69: a red one elsewhere. 70
    to 79: nothing. 80 to 99: blue.
    """
    frames = []
    for i in range(40):
        blue = [('blue', 120, 50, 18)] if i < 25 else []
        frames.append(scene([('red', 40 + 0.2 * i, 48, 20), *blue]))
    frames += [scene([('red', 50, 44, 20)], ground=(30, 40, 50)) for _ in range(30)]
    frames += [scene([], ground=(30, 40, 50))] * 10
    frames += [scene([('blue', 118 + 0.1 * i, 50, 18)]) for i in range(20)]
    return frames
