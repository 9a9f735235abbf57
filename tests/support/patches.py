"""An object of four coloured patches, and a keypoint detector that knows it: no networks."""

import numpy as np

COLOURS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]], 'float32')
# Where the patches' middles lie in a frame that shows the object as it should be, x and y.
PLACES = np.array([[0.3, 0.25], [0.7, 0.3], [0.35, 0.75], [0.6, 0.7]])
PATCH = 0.16  # of the frame's side
SIZE = (64, 64)


def draw_patches(picture, box):
    """Paints the object in its frame `box` over a picture (H, W, 3) uint8, which is returned."""
    for (x, y), colour in zip(PLACES, COLOURS):
        left, top = box.x + (x - PATCH / 2) * box.w, box.y + (y - PATCH / 2) * box.h
        rows = slice(max(0, round(top)), max(0, round(top + PATCH * box.h)))
        columns = slice(max(0, round(left)), max(0, round(left + PATCH * box.w)))
        picture[rows, columns] = colour * 255
    return picture


def patches(height, width, box):
    """(height, width, 3) uint8: gray, with the object in its frame `box`."""
    return draw_patches(np.full((height, width, 3), 128, np.uint8), box)


def detect_patches(frames):
    """(N, 4, 2): the middles of the colours, or of the frame where one is not there."""
    found = np.zeros((len(frames), len(COLOURS), 2))
    for i, frame in enumerate(frames):
        for k, colour in enumerate(COLOURS):
            rows, columns = np.nonzero(np.abs(frame - colour).max(axis=2) < 0.3)
            if len(rows):
                middle = np.array([columns.mean(), rows.mean()]) + 0.5
                found[i, k] = middle / frame.shape[1::-1] * 2 - 1
    return found
