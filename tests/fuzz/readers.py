"""What reads files, as commands do, and how many of the cases each gets."""

import contextlib
import io
import itertools
import os
from fractions import Fraction
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from modules.animation.job_options import JobError, job_options
from modules.animation.motion_file import check_config, check_detector, read_motion
from modules.animation.results import AnimationFolder
from modules.animation.track_clips import Record
from modules.checkpoints.reading import (
    content_hash,
    read_checkpoint,
    read_run_state,
    read_weights,
)
from modules.config import load_config
from modules.data.clips import open_clip, read_through
from modules.data.frame_cache import _HEAD as HEAD
from modules.data.frame_cache import FrameCache, read_entry
from modules.data.pairs import listed_pairs
from modules.inference.program_cache import ProgramCache
from modules.training.held_state import check_held_state
from modules.training.resuming import changes_of_run
from modules.video import VideoReader, first_frame, is_moving, open_frames, read_image
from modules.video.pictures import stored_size
from modules.video.sound import find_sound
from tests.fuzz import doors
from tests.fuzz.cases import Reader, Wrong
from tests.fuzz.corpus import caches, checkpoints, clips, pictures, texts
from tests.fuzz.mutating import boxes, pickles, tensors, trees, zips
from tests.fuzz.mutating.texts import mutate_table, mutate_yaml
from tools.batching.places import place_rows
from tools.batching.table import read_table

_FRAMES = 300  # of a clip that are looked at: it may tell of millions, all but few of them repeated
NEEDS = (
    ('dataset_params.frame_shape',),
    ('dataset_params', 'train_params', 'visualizer_params'),
    ('dataset_params', 'animate_params'),
    ('dataset_params', 'reconstruction_params'),
    (),
)
_HIDDEN = '.sound'  # what a reader makes for itself


def read_checkpoint_file(path: Path, rng: Random) -> bool:
    if path.parent.name != 'case':  # a folder is given, not a file in it
        path = next(parent for parent in path.parents if parent.parent.name == 'case')
    way = rng.randrange(6)
    if way == 0 and path.is_file():
        read_weights(path)
    elif way == 1 and path.is_file():
        read_run_state(path)
    else:
        content_hash(path)
        for state in read_checkpoint(path, training_state=way == 2).networks.values():
            for array in state.values():
                np.isfinite(array).all()
    return True


def read_run(path: Path, rng: Random) -> bool:
    if path.name == 'run.json':
        folder = AnimationFolder(path.parent, ('result',), '.mp4')
        with folder.open(checkpoints.RUN):
            return True
    if path.suffix == '.json':
        Record(path, checkpoints.TRACK_SETTINGS, '--out')
        return True
    changes_of_run(checkpoints.RUN_CONFIG, path, ('dataset_params', 'train_params'))
    check_held_state(path, read_run_state(path)[1])
    return True


def read_config(path: Path, rng: Random) -> bool:
    load_config(path, rng.choice(NEEDS))
    return True


def read_picture(path: Path, rng: Random) -> bool:
    is_moving(path)
    read = rng.choice((read_image, read_image, first_frame, stored_size, open_frames))
    read(path)
    return True


def read_clip(path: Path, rng: Random) -> bool:
    """By a sequence of demo.py's, by that of data sets, at random, its first frame, its sound."""
    way = rng.randrange(6)
    if way < 2:
        with open_frames(path) as reader:
            numbers = sorted(rng.sample(range(20), 3)) if way else itertools.count()
            for _ in itertools.islice(reader.frames_at(numbers), _FRAMES):
                pass
            reader.notes  # noqa: B018
    elif way == 2:
        clip = open_clip(path, (32, 32), rng.choice(('exact', 'crop', 'pad')))
        if clip.frame_count < _FRAMES:
            read_through(clip)
            clip.read([clip.frame_count - 1, 0])
    elif way == 3:
        with VideoReader(path) as reader:
            last = min(reader.frame_count or 1, _FRAMES) - 1
            reader.read_frames([last, 0])
    elif way == 4:
        first_frame(path)
    else:
        find_sound(path, Fraction(1, 25), Fraction(3, 2))
    return True


def read_folder(path: Path, rng: Random) -> bool:
    """A folder of pictures as a clip, and as a data set."""
    with VideoReader(path.parent) as reader:
        for _ in reader:
            pass
    return True


def read_pairs(path: Path, rng: Random) -> bool:
    listed_pairs(path, ['a.mp4', 'b.mp4', 'é.mp4'], Path('data'))
    return True


def read_jobs(path: Path, rng: Random) -> bool:
    for row in place_rows(read_table(path), path, Path('out')):
        with contextlib.suppress(JobError):  # of one row, which the report tells
            job_options(row.values)
    return True


def read_motion_file(path: Path, rng: Random) -> bool:
    motion = read_motion(path)
    check_config(path, motion, motion.size, {
        'common_params': {'num_kp': 2, 'estimate_jacobian': motion.jacobian is not None}
    })  # fmt: skip
    motion.take([0, motion.frame_count - 1], Fraction(10))
    check_detector(path, motion, 'ab' * 32)
    return True


def read_frame_cache(path: Path, rng: Random) -> bool:
    """The entry of a clip is used as it was written, or not at all."""
    clip = path.parent / 'a.png'
    clip.write_bytes(caches.strip())
    os.utime(clip, ns=(0, 0))
    cache = FrameCache(path.parent / 'cache')
    entry = cache.entry(clip, (16, 16))
    data = path.read_bytes()
    os.replace(path, entry)
    found = cache.find(clip, (16, 16))
    frames = read_entry(entry, [0, 3])
    sound = caches.frames()['entry'].files['a.frames']
    if data[:HEAD] != sound[:HEAD]:  # its checksums may have been made to fit
        return frames is not None
    expected = (
        np.asarray(Image.open(io.BytesIO(caches.strip()))).reshape(16, 4, 16, 3).swapaxes(0, 1)
    )
    if found is not None and (found.frame_count, found.size) != (4, (16, 16)):
        raise Wrong('an entry tells of another clip')
    if frames is not None and not (frames == expected[[0, 3]]).all():
        raise Wrong('an entry gives other pixels')
    return frames is not None


def read_program_cache(path: Path, rng: Random) -> bool:
    """An entry is as it was written, or there is none, and one can be made."""
    os.environ['XDG_CACHE_HOME'] = str(path.parents[3])
    cache = ProgramCache()
    entry = cache.find(caches.KEY)
    sound = {Path(name).name: data for name, data in caches.programs()['entry'].files.items()}
    if entry is None:
        with cache.fill(caches.KEY) as scratch:
            (scratch / 'a.json').write_bytes(b'{}')
        if cache.find(caches.KEY) is None:
            raise Wrong('an entry can not be made anew')
        return False
    held = {file.name: file.read_bytes() for file in entry.iterdir()}
    if held['sums.json'] == sound['sums.json'] and held != sound:
        raise Wrong('a damaged entry is used')
    return True


_SUFFIXES = (
    *('.png', '.jpg', '.webp', '.avif', '.gif', '.tif', '.mp4', '.mkv', '.avi', '.ts', '.apng'),
)  # fmt: skip
_OF_CHECKPOINTS = (tensors.mutate, pickles.mutate, pickles.mutate, zips.mutate, zips.mutate)
_OF_RUNS = (tensors.mutate, tensors.mutate_metadata, trees.mutate_json)
_ALL = (
    # what it is called, its seeds, mutations, what reads them, its share, other suffixes
    Reader('checkpoints', 'checkpoints: six formats', checkpoints.checkpoints, _OF_CHECKPOINTS,
           read_checkpoint_file, 40, ('.safetensors', '.npz', '.pth', '.tar', '')),
    Reader('runs', 'states of runs and of tools', checkpoints.runs, _OF_RUNS, read_run, 8),
    Reader('configs', 'configs', texts.configs, (mutate_yaml,), read_config, 5),
    Reader('pictures', 'pictures: 10 formats', pictures.pictures, (boxes.mutate,),
           read_picture, 20, _SUFFIXES),
    Reader('clips', 'clips: 18 formats', clips.clips, (boxes.mutate,), read_clip, 10, _SUFFIXES),
    Reader('pairs', 'lists of pairs', texts.pairs, (mutate_table,), read_pairs, 3),
    Reader('jobs', 'tables of jobs', texts.jobs, (mutate_table,), read_jobs, 3),
    Reader('motions', 'motion files', checkpoints.motions, (tensors.mutate,), read_motion_file, 8),
    Reader('frames', 'entries of the frame cache', caches.frames, (), read_frame_cache, 2),
    Reader('programs', 'entries of the program cache', caches.programs, (trees.mutate_json,),
           read_program_cache, 1),
    doors.DOORS,
)  # fmt: skip
READERS = {reader.name: reader for reader in _ALL}
