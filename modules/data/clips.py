"""The clips of a dataset: videos, folders of frames, and strips.

A strip is a picture of frames side by side.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from modules.runtime.children import ChildDiedError, call_apart
from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike
from modules.video import (
    CLIP_SUFFIXES,
    FOLDER_FPS,
    IMAGE_SUFFIXES,
    VideoReader,
    is_animated,
    map_repeated,
    read_image,
)
from modules.video.resizing import fit_frame

Size = tuple[int, int]  # (height, width)
Result = TypeVar('Result')

EXACT, CROP, PAD = 'exact', 'crop', 'pad'  # of dataset_params.resize
MOVIE, FOLDER, STRIP = 'video', 'folder', 'strip'
# Pictures that may be clips as well.
ANIMATED = ('.avif', '.avifs', '.png', '.webp')
STRIPS = tuple(suffix for suffix in IMAGE_SUFFIXES if suffix not in CLIP_SUFFIXES)


class CrashError(UserError):
    """A clip ends the process that decodes it."""


class Part(NamedTuple):
    """Clips of one folder, by name; nothing is opened yet."""

    folder: Path
    clips: list[str]
    others: list[str]  # files of kinds that are no clips


class Clip(NamedTuple):
    """A clip that can be opened, and what its headers say. Frames are (H, W, 3) uint8, RGB."""

    path: Path
    kind: str  # MOVIE, FOLDER or STRIP
    frame_count: int
    size: Size  # of a frame
    fps: Fraction  # that of folders and strips is assumed
    notes: tuple[str, ...] = ()  # a line about each thing that is left out of it
    resize: str = EXACT  # how frames of the file are brought to `size`
    stored_size: Size | None = None  # of the file's frames, where it is another and known

    @property
    def name(self) -> str:
        return self.path.name

    def frames(self, notes: list[str] | None = None) -> Iterator[np.ndarray]:
        """All frames, one after another; a repeated one is the same array again.

        Args:
            notes: gets a line about each thing that is noticed on the way, beside `self.notes`.

        Raises:
            UserError: damage, when it is reached.
        """
        if self.kind == STRIP:
            yield from map(self._fitted, self._cut())
        else:
            with VideoReader(self.path) as reader:
                yield from map_repeated(self._fitted, reader)
                if notes is not None:
                    notes += [note for note in reader.notes if note not in self.notes]

    def read(self, indices: Sequence[int]) -> np.ndarray:
        """(N, H, W, 3): the frames of these numbers, in this order; numbers may repeat.

        Of a folder, these pictures alone are opened, beside the first. A video is decoded from a
        keyframe on, which may be 250 frames away, and a strip as a whole: what the frame cache is
        there to avoid.

        Raises:
            UserError: damage on the way there, or a clip that was taken away or replaced.
        """
        if self.kind == STRIP:
            return np.stack([self._fitted(frame) for frame in self._cut()[list(indices)]])
        with VideoReader(self.path) as reader:
            counts = (self.frame_count, None)  # None: only decoding would tell
            known = self.stored_size or (self.size if self.resize == EXACT else reader.size)
            if tuple(reader.size) != tuple(known) or reader.frame_count not in counts:
                raise self._has_changed()
            frames = reader.read_frames(indices)
            return frames if self.resize == EXACT else np.stack(list(map(self._fitted, frames)))

    def resized(self, how: str, size: Size) -> Clip:
        """The same clip with its frames brought to a size; as it is where `how` is EXACT."""
        if how == EXACT:
            return self
        return self._replace(size=size, resize=how, stored_size=self.size)

    def _fitted(self, frame: np.ndarray) -> np.ndarray:
        if self.resize == EXACT:
            return frame
        return fit_frame(frame, self.size, crop=self.resize == CROP)

    def _cut(self) -> np.ndarray:
        """(N, H, W, 3): the frames of a strip."""
        picture = read_image(self.path)
        known = self.stored_size or (self.size if self.resize == EXACT else None)
        height, width = known or (picture.shape[0], picture.shape[1] // self.frame_count)
        if picture.shape != (height, self.frame_count * width, 3):
            raise self._has_changed()
        return picture.reshape(height, self.frame_count, width, 3).swapaxes(0, 1)

    def _has_changed(self) -> UserError:
        return UserError(f'{self.path}: has changed since training began; start again')


def size_text(size: Sequence[int]) -> str:
    """(height, width) as people write it: width x height."""
    return f'{size[1]}x{size[0]}'


def list_clips(folder: PathLike) -> Part:
    """All clips of a folder, sorted; hidden files are passed over.

    Raises:
        UserError: no such folder, one that can't be read, or one without clips.
    """
    folder = Path(folder)
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith('.'))
    except OSError as error:
        raise UserError(
            f'{folder}: {reason_of(error)}; give the folder of the clips (in a config: '
            'dataset_params.root_dir)'
        ) from error
    part = Part(folder, [], [])
    for name in names:
        (part.clips if clip_kind(folder / name) else part.others).append(name)
    if not part.clips:
        raise UserError(
            f'{folder}: no clips here; put videos, folders of frames or pictures of frames side by '
            'side there'
        )
    return part


def clip_kind(path: PathLike) -> str | None:
    """MOVIE, FOLDER or STRIP by what stands at the path, None for no clip.

    Nothing is opened, but pictures of kinds that may be animated.
    """
    path = Path(path)
    if path.is_dir():
        return FOLDER
    suffix = path.suffix.lower()
    if suffix in CLIP_SUFFIXES:
        return MOVIE
    if suffix in STRIPS:
        return MOVIE if suffix in ANIMATED and is_animated(path) else STRIP
    return None


def open_clip(path: PathLike, frame_size: Size | None = None, resize: str = EXACT) -> Clip:
    """Reads the headers of a video, the first picture of a folder, or the whole of a strip.

    Args:
        frame_size: (height, width) of the frames that a strip is cut into; None: square ones.
        resize: how frames are brought to frame_size; a strip is then cut into frames of its shape
            that are as high as the strip.

    Raises:
        UserError: nothing that can be opened, damage that shows without decoding, or a strip that
            does not divide into such frames.
    """
    path, kind = Path(path), clip_kind(path)
    if kind == STRIP:
        height, width = read_image(path).shape[:2]
        if frame_size and resize != EXACT:
            cut = height, max(1, round(height * frame_size[1] / frame_size[0]))
        else:
            cut = frame_size or (height, height)
        frame_height, frame_width = cut
        if height != frame_height or width % frame_width:
            raise UserError(
                f'{path}: {width}x{height} pixels are not a row of frames of '
                f'{frame_width}x{frame_height}; set dataset_params.frame_shape to their size'
            )
        clip = Clip(path, kind, width // frame_width, cut, Fraction(FOLDER_FPS))
        return clip.resized(resize, frame_size or cut)
    with VideoReader(path) as reader:
        count = reader.frame_count
        if count is None:  # a raw stream, where only decoding tells
            count = sum(1 for _ in reader)
        rate, notes = Fraction(reader.fps), tuple(reader.notes)
        clip = Clip(path, kind or MOVIE, count, reader.size, rate, notes)
        return clip.resized(resize, frame_size or clip.size)


def read_through(clip: Clip) -> list[str]:
    """Reads all frames of a clip -> a line about each thing that is noticed on the way.

    Raises:
        UserError: damage.
    """
    notes: list[str] = []
    for _ in clip.frames(notes):
        pass
    return notes


def decode_apart(path: PathLike, function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)`, which decodes the clip at `path`, in another process.

    Raises:
        CrashError: the clip has ended the process.
        UserError: what the function raises.
    """
    try:
        return call_apart(function, *arguments)
    except ChildDiedError as error:
        raise CrashError(
            f'{path}: ends its decoder ({error}); convert it to H.264 in mp4'
        ) from error


def list_part(root_dir: PathLike, is_train: bool, random_seed: int = 0) -> Part:
    """The names of one part: of `train/` or `test/`, or of a random 80 : 20 split.

    The split of a sorted listing is that of scikit-learn's train_test_split, as officially.

    Raises:
        UserError: no such folder, no folder for this part, or a single clip to split.
    """
    root, wanted = Path(root_dir), 'train' if is_train else 'test'
    if (root / 'train').is_dir() or (root / 'test').is_dir():
        if not (root / wanted).is_dir():
            raise UserError(f'{root}: has no folder {wanted}/; create it beside the other one')
        return list_clips(root / wanted)
    whole = list_clips(root)
    if len(whole.clips) == 1:
        raise UserError(
            f'{root}: a single clip can not be split; put clips into train/ and test/ there'
        )
    order = np.random.RandomState(random_seed).permutation(len(whole.clips))
    tests = -(-len(whole.clips) // 5)
    chosen = order[tests:] if is_train else order[:tests]
    return whole._replace(clips=[whole.clips[number] for number in chosen])


def group_by_id(names: Sequence[str]) -> dict[str, list[int]]:
    """Numbers of the names by id, which is what stands before '#'; sorted by id."""
    groups: dict[str, list[int]] = {}
    for number in sorted(range(len(names)), key=names.__getitem__):
        groups.setdefault(names[number].split('#')[0], []).append(number)
    return dict(sorted(groups.items()))


def take_size(clips: Sequence[Clip], size: Size) -> tuple[list[Clip], list[str]]:
    """Those clips whose frames have this (height, width), and a line for each other one.

    Raises:
        UserError: all are of other sizes.
    """
    others = [clip for clip in clips if clip.size != size]
    lines = [
        f'{clip.path}: {size_text(clip.size)} pixels, but dataset_params.frame_shape is '
        f'{size_text(size)}'
        for clip in others
    ]
    mend = 'set dataset_params.resize to crop or pad, and frames are brought to that size'
    if clips and len(others) == len(clips):
        raise UserError(f'{lines[0]} ({len(others)} of {len(clips)} clips differ); {mend}')
    return [clip for clip in clips if clip.size == size], [f'{line}; {mend}' for line in lines]
