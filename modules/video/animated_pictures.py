"""Animated WebP, and AVIF with transparency, as clips, decoded by Pillow.

libav reads animated WebP in its newest versions only, and keeps the transparency of an AVIF in a
track of its own. Other animated pictures (GIF, PNG, AVIF) are clips as any to it.
"""

import contextlib
import itertools
import os
import struct
from collections.abc import Generator, Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from modules.runtime.errors import UserError
from modules.runtime.files import PathLike, open_file
from modules.video.decoding import paced, take
from modules.video.limits import CLIP, check_pixels
from modules.video.opening import damage_error
from modules.video.pictures import Size, hides_all, ignores_alpha, open_picture, over_white
from modules.video.survey import survey
from modules.video.timing import Repeats, browsers_delays, find_pace
from modules.video.wholeness import has_another_clip

PNG = b'\x89PNG\r\n\x1a\n'


class Animation:
    """The frames of an animated picture; attributes as of VideoReader."""

    has_audio = False

    def __init__(self, path: Path):
        """Takes the times of frames from the headers, and the size from the first frame."""
        self.path = path
        delays = _webp_delays(path)
        if delays is None:
            clip = survey(path)
            self.fps, self.frame_count, self._slots = clip.fps, clip.frame_count, clip.slots
            self.notes = clip.notes
        else:
            starts = np.cumsum([0, *delays[:-1]])
            pace = find_pace(starts, Fraction(1, 1000), [], delays[-1], is_last_exact=True)
            self.fps, self.frame_count, self._slots = (
                pace.fps,
                pace.frame_count,
                pace.slots.tolist(),
            )
            self.notes = list(pace.notes(path))
            if has_another_clip(path, 'webp'):
                self.notes.append(f'{path}: another clip is joined to it, which is left out')
        if not self._slots:
            raise damage_error(path, 0, None)
        self.repeats = Repeats(self._slots, self.frame_count or 0)
        with contextlib.closing(self._decode()) as frames:
            first = next(frames)[1]
            self.size: Size = first.shape[:2]
            shown = itertools.chain([first], (frame for _, frame in frames))
            self._ignore_alpha = ignores_alpha(
                hides_all(frame[..., :3], frame[..., 3]) if frame.shape[2] == 4 else False
                for frame in shown
            )

    def frames(self, numbers: Iterable[int] | None = None) -> Generator[np.ndarray, None, None]:
        source = None
        wanted = itertools.count() if numbers is None else numbers
        with contextlib.closing(paced(self._decode(), self.frame_count)) as steps:
            for decoded in take(steps, wanted):
                if decoded is not source:
                    source, frame = decoded, np.ascontiguousarray(decoded[..., :3])
                    if decoded.shape[2] == 4 and not self._ignore_alpha:
                        frame = over_white(decoded[..., :3], decoded[..., 3])
                yield frame

    def pick(self, wanted: Sequence[int]) -> dict[int, np.ndarray]:
        """The frames of these numbers; each needs those before it."""
        chosen = set(wanted)
        return {number: frame for number, frame in enumerate(self.frames()) if number in chosen}

    def _decode(self) -> Generator[tuple[int, np.ndarray], None, None]:
        """Yields (number, frame): (H, W, 3) or, with transparency, (H, W, 4)."""
        with open_picture(self.path) as image:
            width, height = image.size
            check_pixels(self.path, width, height, CLIP)
            for place, slot in enumerate(self._slots):
                if place >= getattr(image, 'n_frames', 1):
                    raise damage_error(self.path, place, len(self._slots))
                image.seek(place)
                mode = 'RGBA' if image.has_transparency_data else 'RGB'
                yield slot, np.array(image.convert(mode))


def is_animated(path: PathLike) -> bool:
    """Whether a WebP, PNG or AVIF moves, as its first bytes tell; False for all other files."""
    return _animated_format(path) is not None


def is_for_pillow(path: PathLike) -> bool:
    """Whether the file is one of those that `Animation` is for."""
    kind = _animated_format(path)
    if kind == 'AVIF':
        try:
            with open_picture(path) as image:
                return image.mode == 'RGBA'
        except UserError:  # this Pillow can't read any
            return False
    return kind == 'WEBP'


def _animated_format(path: PathLike) -> str | None:
    try:
        with open_file(path) as file:
            head = file.read(4096)
    except OSError:  # who opens it next says why
        return None
    is_extended = head.startswith(b'RIFF') and head[8:16] == b'WEBPVP8X' and len(head) > 20
    if is_extended and head[20] & 2:
        return 'WEBP'
    if head.startswith(PNG) and b'acTL' in head.split(b'IDAT')[0]:
        return 'PNG'
    is_avif = head[4:8] == b'ftyp' and b'avis' in head[: int.from_bytes(head[:4], 'big')]
    return 'AVIF' if is_avif else None


def _webp_delays(path: PathLike) -> list[int] | None:
    """How long each frame of an animated WebP is shown, in ms; None for other pictures.

    Raises:
        UserError: it is cut short.
    """
    delays: list[int] = []
    with open(path, 'rb') as file:
        name, size, kind = struct.unpack('<4sI4s', file.read(12).ljust(12, b'\0'))
        if (name, kind) != (b'RIFF', b'WEBP'):
            return None
        place, end = 12, 8 + size
        is_whole = end <= os.path.getsize(path)
        while place + 8 <= end:
            file.seek(place)
            name, size = struct.unpack('<4sI', file.read(8).ljust(8, b'\0'))
            if name == b'ANMF':
                delays.append(int.from_bytes(file.read(15)[12:], 'little'))
            place += 8 + size + size % 2
            if not name.strip(b'\0'):  # beyond the file's end
                break
    if not (is_whole and delays):
        raise damage_error(path, len(delays), None)
    return browsers_delays(np.array(delays), Fraction(1, 1000)).tolist()
