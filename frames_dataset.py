"""Datasets of videos: what training, reconstruction and animation read.

A clip is a video (mp4, gif, mov, ...), a folder of frames, or a picture of frames side by side.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.data.augmentation import AllAugmentationTransform
from modules.data.clips import EXACT, Clip, Size, group_by_id, list_part, take_size
from modules.data.frame_cache import is_cached, read_entry
from modules.data.loader import Key
from modules.data.opening import (
    available_memory,
    fill_cache,
    open_cache,
    open_clips,
    preload_clips,
    warn_all,
)
from modules.data.pairs import Pair, drawn_pairs, listed_pairs
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import warn
from modules.video.levels import to_float

__all__ = ['Damage', 'FramesDataset', 'Pair', 'Sample', 'animation_pairs']

ATTEMPTS = 100  # clips in a row that can't be read, after which training gives up


class Sample(NamedTuple):
    """A training sample: two frames (3, H, W), float32 in [0, 1], and their clip's name."""

    source: np.ndarray
    driving: np.ndarray
    name: str


class Damage(NamedTuple):
    """A clip that could not be read, and why."""

    name: str
    message: str


class FramesDataset:
    """The clips of one part of a dataset.

    For training, samples are drawn from it: `dataset[key]`. Else it gives whole clips: `video`.
    Clips that can't be opened are named on stderr and left out.

    Attributes:
        clips, names: those that can be opened: in `train/` and `test/` sorted by name; without
            these folders in the order of the random split.
        broken: one line for each clip left out.
        unreadable: how often each clip, by name, failed in training.
        frame_shape: (height, width, 3).
    """

    def __init__(
        self,
        root_dir: PathLike,
        frame_shape: Sequence[int] = (256, 256, 3),
        id_sampling: bool = False,
        pairs_list: PathLike | None = None,
        augmentation_params: Mapping[str, Any] | None = None,
        resize: str = EXACT,
        cache_dir: PathLike | None = None,
        cache_gb: float = 100,
        is_train: bool = True,
        preload: bool = False,
        random_seed: int = 0,
    ):
        """Opens all clips and, for training, gets their frames ready: in a cache or in memory.

        Args:
            root_dir: holds `train/` and `test/`, or clips that are split 80 : 20 at random.
            frame_shape: (height, width, 3) of every frame.
            id_sampling: a training epoch is a pass over ids, what stands before '#' in a clip's
                name, with a random clip of each, instead of a pass over clips.
            pairs_list: csv file of the pairs to animate, for `animation_pairs`.
            augmentation_params: of AllAugmentationTransform, for training; None: no changes.
            resize: how frames of another size are brought to frame_shape: 'exact' not at all, and
                such clips are left out; 'crop' to the middle, 'pad' by repeating the border.
            cache_dir: folder for decoded frames; None for one in the user's cache folder.
            cache_gb: most gigabytes (10^9 bytes) of decoded frames to keep there; 0: no cache.
            is_train: the training part, else the test part.
            preload: for training, hold all frames in memory as uint8 instead of in the cache.
            random_seed: of the split.

        Raises:
            UserError: no usable clip: none can be read, or the frames of none have the size of
                frame_shape or are cropped to it; too little memory to preload.
        """
        self.root_dir, self.frame_shape = Path(root_dir), tuple(frame_shape)
        self.is_train, self.pairs_list, self.resize = is_train, pairs_list, resize
        if self.frame_shape[2] != 3:
            raise UserError(
                f'dataset_params.frame_shape: {self.frame_shape[2]} channels; must be 3, frames '
                'are read in colour'
            )
        params = augmentation_params or {}
        self.transform = AllAugmentationTransform(**params)
        self.unreadable: Counter = Counter()
        self._frames: dict[int, np.ndarray] = {}
        free = available_memory()  # now, before other processes of this machine preload, too
        self._cache = open_cache(cache_dir, cache_gb) if is_train and not preload else None
        part = list_part(root_dir, is_train, random_seed)
        self.clips, self.broken = open_clips(part, self._size, resize, self._cache)
        if not is_train or params.get('crop_param') is None:
            self.clips, others = take_size(self.clips, self._size)
            warn_all(others, 'clips are of another size, left out')
            self.broken += others
        if is_train and preload:
            self._frames = preload_clips(self.clips, free)
        elif self._cache:
            self.clips, crashed = fill_cache(self._cache, self.clips)
            if not self.clips:
                raise UserError(f'{self.root_dir}: no clip can be decoded; {crashed[0]}')
            self.broken += crashed
        self.names = [clip.name for clip in self.clips]
        self._entries = [self._entry(clip) for clip in self.clips]
        # The clips that a sample may come from.
        self._groups = [[number] for number in range(len(self.clips))]
        if is_train and id_sampling:
            self._groups = list(group_by_id(self.names).values())

    def __len__(self) -> int:
        """Samples of a pass: ids with id_sampling in training, else clips."""
        return len(self._groups)

    def __getitem__(self, key: Key) -> Sample:
        """The training sample of this key; what can't be read is reported and replaced."""
        sample, damage = self.draw(key)
        self.report(damage)
        return sample

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Draws a training sample: two frames of a clip, in order, both changed alike.

        Args:
            index: which clip or id; from `len(self)` on it starts again (num_repeats).

        Raises:
            UserError: the frames can't be read.
        """
        return self._sample_from(self._choose(index, rng), rng)

    def draw(self, key: Key) -> tuple[Sample, list[Damage]]:
        """The training sample of this key, and what could not be read on the way to it.

        Frames that can't be read give way to those of another index: drawn from the key as well, so
        that the same key gives the same sample at any time.

        Raises:
            UserError: `ATTEMPTS` clips in a row can't be read.
        """
        index, (seed, epoch, position) = key
        damage: list[Damage] = []
        for attempt in range(ATTEMPTS):
            entropy = np.random.SeedSequence(seed, spawn_key=(epoch, position, attempt))
            rng = np.random.default_rng(entropy)
            if attempt:
                index = int(rng.integers(len(self)))
            number = self._choose(index, rng)
            try:
                return self._sample_from(number, rng), damage
            except UserError as error:
                damage.append(Damage(self.names[number], str(error)))
        raise UserError(
            f'{self.root_dir}: {ATTEMPTS} clips in a row could not be read; look at them with '
            f'tools/check_dataset.py; the last one: {damage[-1].message}'
        )

    def report(self, damage: Sequence[Damage]) -> None:
        """Counts what `draw` could not read, and warns of each clip once."""
        for name, message in damage:
            self.unreadable[name] += 1
            if self.unreadable[name] == 1:
                warn(f'{message} (another clip takes its place in such samples)')

    def video(self, index: int) -> Clip:
        """A whole clip: its `frames()` come one by one, beside `name`, `fps`, `frame_count`."""
        return self.clips[index]

    @property
    def _size(self) -> Size:
        return self.frame_shape[0], self.frame_shape[1]

    def _choose(self, index: int, rng: np.random.Generator) -> int:
        """The number of the clip: of an id, a random one."""
        group = self._groups[index % len(self)]
        return group[rng.integers(len(group))]

    def _sample_from(self, number: int, rng: np.random.Generator) -> Sample:
        indices = np.sort(rng.integers(self.clips[number].frame_count, size=2))
        frames = self.transform(self._read(number, indices.tolist()), rng)
        source, driving = to_float(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))
        return Sample(source, driving, self.names[number])

    def _read(self, number: int, indices: list[int]) -> np.ndarray:
        """(2, H, W, 3) uint8: from memory, from the cache, or else from the clip itself."""
        if number in self._frames:
            return self._frames[number][indices]
        entry = self._entries[number]
        frames = read_entry(entry, indices) if entry else None
        return self.clips[number].read(indices) if frames is None else frames

    def _entry(self, clip: Clip) -> Path | None:
        """The cache entry to read the clip from."""
        if not self._cache or not is_cached(clip):
            return None
        try:
            return self._cache.entry(clip.path, self._size, self.resize)
        except OSError:  # taken away a moment ago: reported when it is read
            return None


def animation_pairs(dataset: FramesDataset, num_pairs: int, seed: int = 0) -> list[Pair]:
    """The pairs to animate, at most `num_pairs`.

    They are the first ones of `dataset.pairs_list`, a csv file with columns source and driving,
    names of clips, where pairs with a name that is not in the dataset are passed over and counted
    on stderr. Without a list, they are drawn from the square of the first `num_pairs` clips,
    without repetition; so they are, and a line says so, where there is no such file: those that the
    published configs name come with the official code.

    Raises:
        UserError: the list can't be read, or none of its pairs is in the dataset.
    """
    if dataset.pairs_list is not None:
        if Path(dataset.pairs_list).exists():
            return listed_pairs(dataset.pairs_list, dataset.names, dataset.root_dir)[:num_pairs]
        warn(
            f'{dataset.pairs_list}: no such file; pairs are drawn at random. The lists of the '
            'published configs are in data/ of the official repository; dataset_params.pairs_list '
            'names them, null is for drawn ones'
        )
    return drawn_pairs(len(dataset.clips), num_pairs, seed)
