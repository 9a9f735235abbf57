"""Reports what training would meet in a dataset; reads every frame, changes nothing.

    python tools/check_dataset.py data/vox --config config/vox-256.yaml

With the config, sizes and ids are judged by its `dataset_params`. The exit status is 0 if the
dataset can be trained on, whatever the warnings, else 2.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from tqdm import tqdm

from modules.config import load_config
from modules.data.clips import (
    EXACT,
    MOVIE,
    Clip,
    Part,
    Size,
    decode_apart,
    group_by_id,
    list_part,
    open_clip,
    read_through,
    size_text,
    take_size,
)
from modules.data.frame_cache import GIGABYTE, is_cached
from modules.data.loader import TrainingOrder
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.messages import counted, printable
from modules.runtime.process import available_cores

# How much smaller the cache's lossless frames usually are; drawn pictures shrink more, noise less.
SHRINKING = 5


class Inspected(NamedTuple):
    """What became of one clip."""

    clip: Clip | None  # None: can't be opened
    problem: str | None
    notes: list[str]  # what is left out of it


def inspect(path: Path, frame_size: Size | None, resize: str) -> Inspected:
    """Opens a clip and reads all of its frames."""
    clip, notes = None, []
    try:
        clip = decode_apart(path, open_clip, path, frame_size, resize)
        notes = [*clip.notes, *decode_apart(path, read_through, clip)]
    except UserError as error:
        return Inspected(clip, str(error), notes)
    return Inspected(clip, None, notes)


def inspect_part(part: Part, title: str, frame_size: Size | None, resize: str) -> list[Inspected]:
    paths = [part.folder / name for name in part.clips]
    with ThreadPoolExecutor(available_cores()) as pool:
        results = pool.map(lambda path: inspect(path, frame_size, resize), paths)
        return list(tqdm(results, title, len(paths), unit='clip', leave=False, disable=None))


def describe(clips: Sequence[Clip]) -> Iterator[tuple[str, str]]:
    """Rows of the table: what, and how much of it."""
    lengths = [clip.frame_count for clip in clips]
    yield 'clips', _tally(Counter(clip.kind for clip in clips))
    spread = f'{_range(lengths, "frame")} a clip'
    if min(lengths) < max(lengths):
        spread += f', median {median(lengths):g}'
    yield 'frames', f'{sum(lengths)} in all; {spread}'
    yield 'sizes', _tally(Counter(size_text(clip.stored_size or clip.size) for clip in clips))
    rates = Counter(f'{float(clip.fps):.4g}' for clip in clips if clip.kind == MOVIE)
    yield 'fps', _tally(rates) or 'unknown: pictures have none'
    groups = [len(group) for group in group_by_id([clip.name for clip in clips]).values()]
    yield 'ids', f'{len(groups)}, of {_range(groups, "clip")} each'
    everything = _bytes(clips)
    cached = _bytes([clip for clip in clips if is_cached(clip)]) / SHRINKING
    yield 'memory', f'{everything / GIGABYTE:.2g} GB with --preload'
    yield 'disk', f'about {cached / GIGABYTE:.2g} GB for the frame cache, without --preload'


def warnings_of(clips: Sequence[Clip], dataset: dict[str, Any] | None) -> Iterator[str]:
    """What to know about the training clips that does not stop training."""
    single = [clip.name for clip in clips if clip.frame_count == 1]
    if single:
        clips_said = counted(len(single), 'clip')
        yield f'{clips_said} of a single frame, without motion, such as {single[0]}'
    if dataset is None:
        return
    height, width = dataset['frame_shape'][:2]
    sizes = [clip.stored_size or clip.size for clip in clips]
    small = [c.name for c, size in zip(clips, sizes) if size[0] < height or size[1] < width]
    if small:
        done = 'their border is repeated' if dataset['resize'] == EXACT else 'they become blurred'
        clips_said = counted(len(small), 'clip')
        yield f'{clips_said} smaller than {width}x{height}: {done}, such as {small[0]}'
    if dataset['id_sampling'] and not any('#' in clip.name for clip in clips):
        yield "id_sampling is on, but no name holds a '#': each clip is an id of its own"


def _range(numbers: Sequence[int], noun: str) -> str:
    least, most = min(numbers), max(numbers)
    return counted(most, noun) if least == most else f'{least} to {counted(most, noun)}'


def _tally(counts: Counter) -> str:
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f'{what} ({count})' for what, count in ranked[:6]]
    return ', '.join(shown) + (f' and {len(counts) - 6} more' if len(counts) > 6 else '')


def _bytes(clips: Sequence[Clip]) -> int:
    return sum(clip.frame_count * clip.size[0] * clip.size[1] * 3 for clip in clips)


def report(
    part: Part, title: str, frame_size: Size | None = None, resize: str = EXACT
) -> list[Clip]:
    """Prints the part's table and its problems -> the clips that can be opened."""
    results = inspect_part(part, title, frame_size, resize)
    clips = [result.clip for result in results if result.clip]
    broken = [result.problem for result in results if not result.clip]
    damaged = [result.problem for result in results if result.clip and result.problem]
    print(f'{title}: {counted(len(part.clips), "clip")} in {part.folder}')
    if clips:
        for what, how_much in describe(clips):
            print(f'  {what:8}{how_much}')
    if part.others:
        kinds = _tally(Counter(Path(name).suffix or name for name in part.others))
        others = counted(len(part.others), 'other file')
        print(f'  warning: {others} passed over: {printable(kinds)}')
    print_problems('clips are broken, left out', broken)
    print_problems('clips are damaged midway', damaged)
    print_problems('things are left out of clips', [n for result in results for n in result.notes])
    return clips


def check_samples(clips: Sequence[Clip], config: Mapping[str, Any]) -> None:
    """Raises UserError where an epoch has not a single batch."""
    params = config.get('train_params')
    if params:
        ids = group_by_id([clip.name for clip in clips])
        count = len(ids if config['dataset_params']['id_sampling'] else clips)
        TrainingOrder(count * params['num_repeats'], params['batch_size'], seed=0)


def where_sizes_fit(clips: Sequence[Clip]) -> str:
    """With what in a config; only --config tells more."""
    sizes = {clip.size for clip in clips}
    if len(sizes) > 1:
        return 'with dataset_params.resize: crop or pad, for frames are of several sizes'
    return f'with dataset_params.frame_shape: {[*sizes.pop(), 3]}, or with resize: crop or pad'


def print_problems(label: str, problems: Sequence[str | None]) -> None:
    if problems:
        print(f'  warning: {len(problems)} {label}:')
        for problem in problems:
            print(f'    {printable(str(problem))}')


def main() -> None:
    parser = ArgumentParser(description='Reports what training would meet in a dataset.')
    parser.add_argument(
        'dir', metavar='FOLDER', help='folder of the data set, as dataset_params.root_dir'
    )
    parser.add_argument('--config', metavar='FILE.yaml', help='config of the training')
    args = parser.parse_args()
    config = load_config(args.config, ['dataset_params']) if args.config else {}
    dataset = config.get('dataset_params')
    how: tuple[Any, ...] = ()
    if dataset:
        how = tuple(dataset['frame_shape'][:2]), dataset['resize']

    train = list_part(args.dir, is_train=True)
    clips = report(train, 'train', *how)
    try:
        report(list_part(args.dir, is_train=False), 'test', *how)
    except UserError as error:
        print(f'test: nothing for animate.py: {printable(str(error))}')
    if not clips:
        raise UserError(f'{train.folder}: no clip of {len(train.clips)} can be read')
    if dataset:
        crops = (dataset['augmentation_params'] or {}).get('crop_param') is not None
        if not crops:
            clips, others = take_size(clips, how[0])
            print_problems('clips are of another size, left out', others)
    for warning in warnings_of(clips, dataset):
        print(f'warning: {printable(warning)}')
    check_samples(clips, config)
    ready = 'ready for training'
    if not dataset:
        ready += f' by train.py --data, or by a config {where_sizes_fit(clips)}'
    print(ready)


if __name__ == '__main__':
    run_command(main)
