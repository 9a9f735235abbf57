"""Clips as frames at a constant rate, one after the other or at random."""

import bisect
import contextlib
import os
import re
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple, Union

import av
import numpy as np

from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.video.decoding import (
    FOLDER_FPS,
    Rate,
    damage_error,
    decode,
    display_matrix,
    exact_rate,
    paced,
    survey,
    to_rgb,
)
from modules.video.pictures import IMAGE_SUFFIXES, Size, open_picture, read_image


class VideoReader:
    """The frames of a clip (any that libav plays), or of a folder of pictures, one after another.

    Usable in a `with` statement. Frames are decoded as they are asked for; each `iter()` starts at
    the first one and ends the iteration before. A folder's pictures come sorted by name, numbers in
    the names compared as numbers; other files in it, and hidden ones, are ignored.

    A clip whose frames stray by more than half a frame from a constant rate is resampled onto one,
    so that sound and motion stay in step: a pause repeats a frame (the same array again: don't
    write into it), a burst drops some. Rotation and mirroring of phone videos are applied;
    transparency is laid over white, as in `read_image`; pixels that are not square and interlaced
    fields stay as they are stored.

    Damage raises a UserError, a clip cut short already when it is opened. Not noticed is what a
    format can't tell: GIF, VP8 and VP9 carry no checks on what they draw, and ts, mpg, flv and wmv
    streams may end after any packet.

    Attributes:
        fps: frames per second, exact; of a folder, `folder_fps`.
        frame_count: how many frames there are, exactly; None for raw streams without time stamps.
        size: (height, width) of every frame.
        has_audio: whether there is a sound track.
    """

    def __init__(self, path: PathLike, folder_fps: Rate = FOLDER_FPS):
        """Goes through the packets of a clip, or lists the folder.

        Raises:
            UserError: nothing readable at `path`, no frames, a clip cut short. Iterating over a
                folder raises at once if one picture differs in size from the first.
        """
        self.path = Path(path)
        self._frames: Optional[Iterator[np.ndarray]] = None
        self._pictures = _list_pictures(self.path) if os.path.isdir(path) else []
        if self._pictures:
            self.fps, self.has_audio = exact_rate(folder_fps), False
            self.frame_count: Optional[int] = len(self._pictures)
            self.size = read_image(self._pictures[0]).shape[:2]
        else:
            self._clip = survey(path)
            self.fps, self.has_audio = self._clip.fps, self._clip.has_audio
            self.frame_count = self._clip.frame_count
            with contextlib.closing(decode(self.path, self._clip)) as frames:
                _, first = next(frames)
            self._turn = display_matrix(first)
            self.size = to_rgb(first, self._turn).shape[:2]

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration under way, if any, and gives its decoder and file back."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def __iter__(self) -> Iterator[np.ndarray]:
        self.close()
        self._frames = self._read()
        return self._frames

    def _read(self) -> Iterator[np.ndarray]:
        for picture in self._pictures:  # a header tells the odd one before others cost work
            if _stored_size(picture) != _stored_size(self._pictures[0]):
                self._check_size(read_image(picture).shape[:2], picture)
        for picture in self._pictures:
            frame = read_image(picture)
            self._check_size(frame.shape[:2], picture)
            yield frame
        if not self._pictures:
            source = None
            for number, decoded in paced(decode(self.path, self._clip), self._clip):
                if decoded is not source:
                    source, frame = decoded, self._convert(decoded, number)
                yield frame

    def read_frames(self, indices: Sequence[int]) -> np.ndarray:
        """(N, H, W, 3) uint8: the frames of these numbers, in this order; numbers may repeat.

        The same frames as an iteration gives, but decoding starts at the nearest keyframe before a
        wanted frame (in formats without an exact index, at the clip's start).

        Raises:
            IndexError: a number below 0 or not below `frame_count`.
            UserError: damage on the way there.
        """
        wanted = sorted(set(indices))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < (self.frame_count or np.inf):
            raise IndexError(f'{self.path}: frames {wanted} of {self.frame_count}')
        if self._pictures:
            frames = {number: read_image(self._pictures[number]) for number in wanted}
            for number, frame in frames.items():
                self._check_size(frame.shape[:2], self._pictures[number])
        else:
            try:
                frames = self._pick(wanted, self._clip.keys)
            except UserError:
                # A jump may land among frames that need what was skipped; the whole way decides.
                frames = self._pick(wanted, [])
        return np.array([frames[index] for index in indices], np.uint8).reshape(-1, *self.size, 3)

    def _pick(self, wanted: List[int], keys: List[int]) -> Dict[int, np.ndarray]:
        """Decodes the `wanted` frames (ascending), jumping to keyframes with these stamps."""
        frames: Dict[int, np.ndarray] = {}
        key_numbers = [self._clip.slot(key) for key in keys]
        steps, position = paced(decode(self.path, self._clip), self._clip), 0
        for number in wanted:
            nearest = bisect.bisect_right(key_numbers, number) - 1
            if nearest > 0 and key_numbers[nearest] > position:
                steps.close()
                jump = decode(self.path, self._clip, keys[nearest])
                steps = paced(jump, self._clip, key_numbers[nearest])
            position, decoded = next((step for step in steps if step[0] == number), (number, None))
            if decoded is None:
                raise damage_error(self.path, number, self.frame_count)
            frames[number] = self._convert(decoded, number)
        steps.close()
        return frames

    def _convert(self, decoded: av.VideoFrame, number: int) -> np.ndarray:
        frame = to_rgb(decoded, self._turn)
        self._check_size(frame.shape[:2], f'{self.path}: frame {number}')
        return frame

    def _check_size(self, size: Size, name: PathLike) -> None:
        if tuple(size) != tuple(self.size):
            (height, width), (first_height, first_width) = size, self.size
            raise UserError(
                f'{name}: {width}x{height} pixels, but the first frame has '
                f'{first_width}x{first_height}; bring all frames to one size'
            )


def read_frames(path: PathLike, indices: Sequence[int]) -> np.ndarray:
    """(N, H, W, 3) uint8: some frames of a clip or folder; see `VideoReader.read_frames`."""
    with VideoReader(path) as reader:
        return reader.read_frames(indices)


def _list_pictures(folder: Path) -> List[Path]:
    try:
        names = os.listdir(folder)
    except PermissionError as error:
        raise UserError(f'{folder}: no permission to read it; change its permissions') from error
    names = [
        name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')
    ]
    if not names:
        raise UserError(f'{folder}: no pictures in this folder; put PNG or JPEG frames there')

    def natural(name: str) -> Tuple[List[Union[str, int]], str]:
        parts = re.split('([0-9]+)', name)
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], name

    return [folder / name for name in sorted(names, key=natural)]


def _stored_size(path: Path) -> Tuple[int, int]:
    """(width, height) before EXIF orientation, from the header alone."""
    with open_picture(path) as image:
        return image.size
