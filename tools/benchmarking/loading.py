"""Samples per second of the training data, beside decoding the whole clip for each of them."""

import os
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from frames_dataset import FramesDataset
from modules.data.frame_cache import GIGABYTE
from modules.data.loader import TrainingOrder, make_loader
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.runtime.process import available_cores
from tools.benchmarking.common import SEED, Report, Series
from tools.make_demo_dataset import write_all
from tools.markdown import table

WORKERS = 2
BATCH = 8
NAIVE_SHARE = 20  # the naive way gets this many times fewer samples, so as to take about as long
FPS = 25


class WholeClips(FramesDataset):
    """The naive way: decodes the whole clip for each sample, then picks two frames."""

    def _read(self, number: int, indices: list[int]) -> np.ndarray:
        return np.stack(list(self.clips[number].frames()))[indices]


class Pace(NamedTuple):
    """How fast samples come."""

    rate: Series  # samples per second
    cpu: Series  # CPU seconds of all processes for a sample: other programs hardly disturb this


class Paces(NamedTuple):
    """Of both ways, measured in turns."""

    ours: Pace
    naive: Pace

    @property
    def ratio(self) -> float:
        return self.ours.rate.median / self.naive.rate.median

    @property
    def cpu_ratio(self) -> float:
        return self.naive.cpu.median / self.ours.cpu.median


def draw_clips(folder: Path, clips: int, frames: int, shape: Sequence[int]) -> None:
    """Fills a new folder with a dataset of drawn creatures as mp4 clips.

    Raises:
        UserError: frames that are not square, or of an odd size.
    """
    height, width = shape[:2]
    if height != width or height % 2:
        raise UserError(
            f'dataset_params.frame_shape: clips of {height}x{width} are not drawn, only square '
            'ones of an even size; give clips with --data'
        )
    options = Namespace(train=clips, test=0, size=height, frames=frames, fps=FPS, format='mp4')
    options = Namespace(**vars(options), clips_per_creature=1, legs='any', mirror=False, seed=SEED)
    with atomic_output(folder, folder=True) as target:
        write_all(Namespace(**vars(options), workers=available_cores()), target)


def cpu_seconds() -> float:
    """Of this process and of those it has started that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def load(dataset: FramesDataset, samples: int) -> tuple[float, float]:
    """Samples per second, and CPU seconds for a sample, of an epoch with its worker processes."""
    order = TrainingOrder(samples, min(BATCH, samples), SEED)
    start, cpu, count = time.perf_counter(), cpu_seconds(), 0
    for batch in make_loader(dataset, order.epoch(0), WORKERS):
        count += len(batch.names)
    return count / (time.perf_counter() - start), (cpu_seconds() - cpu) / count


def measure(ours: FramesDataset, naive: FramesDataset, samples: int, repeats: int) -> Paces:
    ways = {ours: samples, naive: max(samples // NAIVE_SHARE, 2 * WORKERS)}
    found: dict[FramesDataset, list[tuple[float, float]]] = {ours: [], naive: []}
    for _ in tqdm(range(repeats), 'loading', disable=None):
        for dataset, count in ways.items():
            found[dataset].append(load(dataset, count))
    return Paces(*(Pace(*map(Series, zip(*found[dataset]))) for dataset in ways))


def compare_loading(config: Mapping[str, Any], options: Namespace) -> Report:
    """The section `loading`.

    Args:
        options: data (a dataset's folder, drawn where it does not exist; None for a temporary
            one), clips, frames (of what is drawn), samples, repeats.
    """
    params = config['dataset_params']
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.data or Path(scratch, 'clips')
        if not folder.exists():
            draw_clips(folder, options.clips, options.frames, params['frame_shape'])
        common = {'root_dir': folder, 'frame_shape': params['frame_shape']}
        cache = Path(scratch, 'cache')
        start = time.perf_counter()
        first = FramesDataset(**common, cache_dir=cache)
        filling = time.perf_counter() - start
        paces: dict[str, Paces] = {}
        for name, augmentation in (
            ('without augmentation', None),
            ("with the config's augmentation", params['augmentation_params']),
        ):
            changed = {**common, 'augmentation_params': augmentation}
            ours = FramesDataset(**changed, cache_dir=cache)
            naive = WholeClips(**changed, cache_gb=0)
            paces[name] = measure(ours, naive, options.samples, options.repeats)
        size = sum(entry.stat().st_size for entry in cache.iterdir()) / GIGABYTE
        return report(paces, [clip.frame_count for clip in first.clips], filling, size)


def report(paces: Mapping[str, Paces], counts: list[int], filling: float, size: float) -> Report:
    """
    Args:
        counts: frames of each clip.
        filling, size: seconds that the frame cache took to fill, gigabytes it takes.
    """
    rows = [
        [
            name,
            *(f'{pace.rate.median:.1f}' for pace in both),
            f'{both.ratio:.1f}x',
            *(f'{1000 * pace.cpu.median:.1f} ms' for pace in both),
            f'{both.cpu_ratio:.1f}x',
        ]
        for name, both in paces.items()
    ]
    ways = ['this project', 'whole clips decoded', 'ratio']
    header = ['samples per second', *ways, 'CPU per sample: this project', *ways[1:]]
    frames = f'{min(counts)}' if min(counts) == max(counts) else f'{min(counts)} to {max(counts)}'
    about = (
        f'{len(counts)} clips of {frames} frames, {WORKERS} worker processes. '
        f'The frame cache was filled once, in {filling:.1f} s, and takes {1000 * size:.0f} MB.'
    )
    series: dict[str, Series] = {}
    figures: dict[str, Any] = {'cache': {'seconds': filling, 'gigabytes': size}}
    for name, both in paces.items():
        series.update({f'{name}, {way}': pace.rate for way, pace in both._asdict().items()})
        figures[name] = {'ratio': both.ratio, 'cpu_ratio': both.cpu_ratio}
        for way, pace in both._asdict().items():
            figures[name][way] = {kind: s.as_json() for kind, s in pace._asdict().items()}
    return Report((*table(header, rows), '', about), series, figures)
