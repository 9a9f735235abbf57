"""Clips that count as a whole, or not at all."""

from collections.abc import Callable, Iterator

import numpy as np

from modules.data.clips import Clip
from modules.runtime.errors import UserError
from modules.runtime.messages import warn


class DamagedClipError(Exception):
    """The clip can't be read to its end."""


def read_whole(clip: Clip, tell: Callable[[str], None] = warn) -> Iterator[np.ndarray]:
    """The frames of a clip; raises DamagedClipError where they break off.

    Args:
        tell: gets a line about each thing that is noticed on the way.
    """
    notes: list[str] = []
    try:
        yield from clip.frames(notes)
        for note in notes:
            tell(note)
    except UserError as error:
        raise DamagedClipError(str(error)) from error
