"""What is done with one clip, in a process of its own, and many of these at a time."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from tqdm import tqdm

from modules.animation.faces import find_raised_faces
from modules.animation.timeline import TimedClip, find_timeline
from modules.animation.track_clips import Record, clip_hash, find_tracks, write_tracks
from modules.animation.tracks import Rules, Track
from modules.data.clips import CrashError, decode_apart, open_clip
from modules.runtime.children import close_children
from modules.runtime.errors import UserError, reason_of
from modules.video import VideoReader
from tools.dataset_preparing.sources import Source
from tools.dataset_preparing.survey import Survey, survey

PEEKS = (1 / 6, 1 / 2, 5 / 6)  # of a clip, where faces are looked for

Result = TypeVar('Result')


class Done(NamedTuple):
    """Results and failures by the sources' names."""

    results: dict[str, Any]
    failures: dict[str, str]  # one line each


def open_timed(path: Path, fps: Fraction) -> TimedClip:
    """A clip at its own rate, or at `fps` where that is lower."""
    reader = VideoReader(path)
    return TimedClip(reader, find_timeline(reader, fps=min(reader.fps, fps)))


def look_at(path: Path, fps: Fraction, rules: Rules) -> Survey:
    """Reads all of a clip.

    Raises:
        UserError: it can't be read, or is damaged.
    """
    with open_timed(path, fps) as clip:
        found = survey(clip, clip.fps, clip_hash(path), rules.max_frames, rules.min_frames)
        return found._replace(notes=tuple(dict.fromkeys(clip.notes)))


def shows_face(path: Path) -> bool:
    """Whether there is a face in one of a few frames."""
    with VideoReader(path) as reader:
        count = reader.frame_count or 1
        frames = reader.read_frames([int(count * peek) for peek in PEEKS])
    find = _find_faces()
    return any(find(frame) for frame in frames)


def face_tracks(path: Path, fps: Fraction, rules: Rules, record: Path, sha256: str) -> list[Track]:
    """The tracks of faces, also those that are too short or too small.

    Args:
        record: the file of what was found, by which a run that was stopped goes on.
    """
    settings = {'clip': path.name, 'sha256': sha256, 'rules': rules._asdict(), 'fps': str(fps)}
    held = Record(record, settings, '--out')
    if held.tracks is None:
        with open_timed(path, fps) as clip:
            find_tracks(clip, _find_faces(), rules, held)
    assert held.tracks is not None
    return held.tracks


@functools.lru_cache(maxsize=1)
def _find_faces() -> Callable[[np.ndarray], Sequence[Any]]:
    import cv2

    cv2.setNumThreads(1)  # clips are looked at side by side
    return find_raised_faces()


def write_clips(
    path: Path, fps: Fraction, tracks: Mapping[Path, Track], scratch: Path, size: int, kind: str
) -> None:
    """Writes the clips of tracks; see write_tracks."""
    with open_timed(path, fps) as clip:
        write_tracks(clip, tracks, scratch, size, kind)


def middle_frame(path: Path) -> np.ndarray:
    """(H, W, 3) uint8: what a clip shows in its middle."""
    clip = open_clip(path)
    return clip.read([clip.frame_count // 2])[0]


def apart(
    sources: Sequence[Source],
    task: Callable[[Source], tuple[Any, ...]],
    title: str,
    workers: int,
    may_fail: bool = True,
) -> Done:
    """Does something with each clip, in as many processes as asked for.

    Args:
        task: gives a function and its arguments, which are pickled.
        may_fail: a clip that fails is no reason to stop; else only one that ends its decoder is
            none.
    """

    def one(source: Source) -> tuple[Any, str | None]:
        try:
            return decode_apart(source.path, *task(source)), None
        except UserError as error:
            if not (may_fail or isinstance(error, CrashError)):
                raise
            return None, str(error)
        except OSError as error:
            place = os.fsdecode(error.filename or '')
            if not (may_fail and place.startswith(str(source.path))):  # of the data set
                raise
            return None, f'{source.path}: {reason_of(error)}'
        except RuntimeError as error:  # unforeseen: its last line tells what
            if not may_fail:
                raise
            return None, f'{source.path}: {str(error).strip().splitlines()[-1]}'

    done = Done({}, {})
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(one, source) for source in sources]
        try:
            pairs = zip(sources, futures)
            for source, future in tqdm(pairs, title, len(sources), unit='clip', disable=None):
                result, failure = future.result()
                if failure is None:
                    done.results[source.name] = result
                else:
                    done.failures[source.name] = failure
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            close_children()
            raise
    return done
