"""The clips of a test set, reconstructed and measured, by this process or by several."""

import argparse
import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from frames_dataset import FramesDataset
from modules.checkpoints.models import StoredModels
from modules.data.clips import Clip
from modules.eager import Engine
from modules.evaluation.metrics import Measure, Tallies, add
from modules.evaluation.reconstruction import reconstruct
from modules.evaluation.whole_clips import DamagedClipError
from modules.inference.choice import build_engine
from modules.runtime.errors import UserError
from modules.runtime.messages import above_bars, warn
from modules.runtime.pool import Alone, InTurn, Pool
from modules.runtime.pool_process import Tell
from modules.video import VideoWriter
from tools.evaluation.measures import build_measures
from tools.evaluation.report import Evaluation, Row


class Task(NamedTuple):
    """A clip to reconstruct."""

    number: int  # of all clips of the test set
    clip: Clip

    @property
    def name(self) -> str:
        return self.clip.name


class Found(NamedTuple):
    """What became of a clip: its figures, or why it can't be read to its end."""

    row: Row | None
    damage: str
    notes: list[str]  # a line about each thing that was noticed on the way


class ClipMeasurer:
    """Reconstructs and measures clips, one at a time; the Work of a pool's process.

    Args:
        frames: the folder of the reconstructions, each in a folder named by its clip's number;
            None: they are not kept.
    """

    def __init__(self, engine: Engine, measures: Sequence[Measure], frames: Path | None):
        self._engine, self._measures, self._frames = engine, measures, frames

    def __call__(self, task: Task, tell: Tell) -> Found:
        notes: list[str] = []
        try:
            return Found(self._measure(task, notes), '', notes)
        except DamagedClipError as error:  # no folder is left behind
            return Found(None, str(error), [*notes, f'{error} (left out)'])

    def _measure(self, task: Task, notes: list[str]) -> Row:
        figures: Tallies = {}
        count = 0
        writer = None
        if self._frames is not None:
            writer = VideoWriter(_numbered(self._frames, task), task.clip.fps)
        with writer or contextlib.nullcontext():
            for pair in reconstruct(self._engine, task.clip, tell=notes.append):
                for measure in self._measures:
                    add(figures, measure(pair))
                if writer is not None:
                    writer.write(pair.result)
                count += 1
        return Row(task.name, count, figures)


def make_measurer(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    models: StoredModels,
    identity: str | None,
    frames: Path | None,
) -> ClipMeasurer:
    """What reconstructs and measures, in this process.

    Args:
        options: of tools/evaluate.py.
        identity: which the models must have; None: any.

    Raises:
        UserError: they are others by now, or something can't be loaded.
    """
    if identity is not None:
        models.must_be(identity)
    engine = build_engine(
        models,
        config['model_params'],
        config['dataset_params']['frame_shape'][:2],
        options.engine,
        options.precision,
        batch=options.batch,
    )
    return ClipMeasurer(engine, build_measures(options), frames)


def evaluate(
    workers: Alone | Pool, dataset: FramesDataset, wanted: int | None, frames: Path | None = None
) -> Evaluation:
    """Reconstructs and measures the first `wanted` clips that can be read; all if None.

    Args:
        workers: of ClipMeasurers.
        frames: the folder of the reconstructions; they get their names. None: there are none.

    Raises:
        UserError: no clip can be read.
    """
    tasks = [Task(number, clip) for number, clip in enumerate(dataset.clips)]
    orders = InTurn(tasks, wanted)
    total = len(tasks) if wanted is None else min(wanted, len(tasks))
    found: dict[int, Found] = {}
    with tqdm(total=total, unit='clip', disable=None) as bar:
        for task, answer in workers.run(orders):
            found[task.number] = answer
            orders.count(answer.row is not None)
            bar.update(answer.row is not None)
            for line in answer.notes:
                with above_bars():
                    warn(line)
    in_order = [(tasks[number], found[number]) for number in sorted(found)]
    broken = [*dataset.broken, *(answer.damage for _, answer in in_order if answer.damage)]
    good = [(task, answer.row) for task, answer in in_order if answer.row is not None]
    if not good:
        raise UserError(f'{dataset.root_dir}: no clip can be read to its end; {broken[-1]}')
    if frames is not None:
        _name_frames(frames, [task for task, _ in good])
    return Evaluation([row for _, row in good], broken)


def _numbered(frames: Path, task: Task) -> Path:
    return frames / f'{task.number:06d}'


def _name_frames(frames: Path, tasks: Sequence[Task]) -> None:
    """Names the folders of reconstructions: the line in videos.csv, and the clip without dots."""
    for left in frames.glob('.*'):  # by a process that died
        shutil.rmtree(left)
    for line, task in enumerate(tasks):
        name = task.name.replace('.', '_')
        _numbered(frames, task).rename(frames / f'{line:04d}_{name}')
