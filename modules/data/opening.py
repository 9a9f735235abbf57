"""The clips of a part of a data set, opened, and their frames in the cache or in memory.

What can't be used is named on stderr and left out.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from modules.data.clips import Clip, Part, Size, decode_apart, open_clip
from modules.data.frame_cache import GIGABYTE, FrameCache
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import counted, warn
from modules.runtime.process import available_cores, cores_of_process, local_processes

WARNINGS = 20  # lines of a kind that are printed


def open_clips(
    part: Part, size: Size, resize: str, cache: FrameCache | None
) -> tuple[list[Clip], list[str]]:
    """The clips of a part that can be opened, and a line for each that can't.

    Args:
        size, resize: as for open_clip.
        cache: knows clips of earlier runs.

    Raises:
        UserError: none can be opened.
    """

    def opened(name: str) -> Clip | str:
        path = part.folder / name
        try:
            known = cache.find(path, size, resize) if cache else None
            return known or decode_apart(path, open_clip, path, size, resize)
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(cores_of_process()) as pool:
        results = pool.map(opened, part.clips)
        count = len(part.clips)
        found = list(tqdm(results, 'opening clips', count, leave=False, delay=2, disable=None))
    clips = [clip for clip in found if isinstance(clip, Clip)]
    broken = [message for message in found if isinstance(message, str)]
    if part.others:
        others = counted(len(part.others), 'other file')
        warn(f'{part.folder}: {others} beside the clips, such as {part.others[0]}')
    warn_all(broken, f'of {len(part.clips)} clips in {part.folder} are broken, left out')
    warn_all([note for clip in clips for note in clip.notes], 'things are left out of clips')
    if broken and not clips:
        raise UserError(f'{part.folder}: no clip of {len(broken)} can be read; {broken[0]}')
    return clips, broken


def open_cache(cache_dir: PathLike | None, cache_gb: float) -> FrameCache | None:
    """The cache that dataset_params ask for; None for none, or where it can't be had by default.

    Raises:
        UserError: a folder that is given can't be written.
    """
    if cache_gb <= 0:
        return None
    try:
        return FrameCache(cache_dir, int(cache_gb * GIGABYTE))
    except UserError as error:
        if cache_dir is not None:
            raise
        warn(f'{error}; until then videos are read slowly')
        return None


def fill_cache(cache: FrameCache, clips: list[Clip]) -> tuple[list[Clip], list[str]]:
    """Stores the clips' frames -> those that can be used, and a line for each other one."""
    filled = cache.fill(clips, available_cores())  # one process at a time does
    damaged = [message for _, message in filled.damaged]
    warn_all(damaged, 'clips are damaged midway, used up to there')
    crashed = [message for _, message in filled.crashed]
    warn_all(crashed, 'clips end their decoder, left out')
    unusable = {clip.path for clip, _ in filled.crashed}
    clips = [clip for clip in clips if clip.path not in unusable]
    warn_all(filled.notes, 'things are left out of clips')
    if filled.left_out:
        warn(
            f'{filled.left_out} of {len(clips)} clips are not in the frame cache and will be read '
            f'slowly: {filled.reason}'
        )
    return clips, crashed


def preload_clips(clips: Sequence[Clip], free: int | None) -> dict[int, np.ndarray]:
    """All frames of each clip, (T, H, W, 3) uint8, by its number.

    One that breaks off is left to be read, and reported, on the way.

    Args:
        free: bytes for all local processes together, each of which holds the frames.

    Raises:
        UserError: they are too few.
    """
    need = sum(clip.frame_count * clip.size[0] * clip.size[1] * 3 for clip in clips)
    processes = local_processes()
    if free is not None and need * processes > free:
        times = f' in each of {processes} processes' if processes > 1 else ''
        raise UserError(
            f'--preload: the frames take {need / GIGABYTE:.1f} GB{times} and '
            f'{free / GIGABYTE:.1f} GB of memory are free; leave it out'
        )

    def frames(clip: Clip) -> np.ndarray | None:
        try:
            return np.stack(list(clip.frames()))
        except UserError:
            return None

    with ThreadPoolExecutor(cores_of_process()) as pool:
        bar = tqdm(pool.map(frames, clips), 'preload', len(clips), unit='clip', disable=None)
        return {number: array for number, array in enumerate(bar) if array is not None}


def warn_all(messages: Sequence[str], summary: str) -> None:
    """Prints the first WARNINGS of them, and how many there are."""
    for message in messages[:WARNINGS]:
        warn(message)
    if messages:
        rest = f' (the first {WARNINGS} are above)' if len(messages) > WARNINGS else ''
        warn(f'{len(messages)} {summary}{rest}; tools/check_dataset.py lists all')
