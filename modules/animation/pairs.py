"""Pairs of a test set: the first frame of one clip, animated by another clip."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from frames_dataset import FramesDataset, animation_pairs
from modules.animation.animator import Animated, explained_animation
from modules.animation.normalization import Normalization
from modules.animation.results import AnimationFolder, Writer, name_pairs
from modules.build import Models
from modules.checkpoints.models import StoredModels, weights_hash
from modules.data.clips import Clip
from modules.eager import Engine
from modules.inference.choice import build_engine
from modules.runtime.errors import UserError
from modules.runtime.messages import printable
from modules.runtime.pool import Alone, InTurn, Pool, workers
from modules.runtime.pool_process import Tell
from modules.video import map_repeated
from modules.video.levels import to_bytes, to_float
from modules.visualizer import Visualizer


class Outcome(NamedTuple):
    """Numbers of pairs."""

    written: int  # now, not by an earlier run
    failed: int
    total: int


class UnusableError(Exception):
    """Why a pair can't be animated; others may be."""


def animate_pair(
    engine: Engine,
    source: Clip,
    driving: Clip,
    normalization: Normalization,
    with_deformed: bool,
    notes: list[str],
) -> Iterator[Animated]:
    """The first frame of one clip, animated by another clip.

    Args:
        notes: as of Clip.frames, of the driving clip.

    Raises:
        UnusableError: a clip can't be read, or the keypoints allow no adapt_movement_scale.
    """
    try:
        frames = map_repeated(to_float, driving.frames(notes))
        first = to_float(source.read([0])[0])
        yield from explained_animation(
            engine, first, frames, normalization, with_deformed=with_deformed
        )
    except UserError as error:
        raise UnusableError(str(error)) from error


def draw(visualizer: Visualizer, step: Animated) -> np.ndarray:
    """source | driving | deformed | result with keypoints | result | occlusion, as officially."""
    return visualizer.visualize(
        step.source,
        step.driving,
        step.generated._replace(sparse_deformed=None),  # too many columns for a video
        step.kp_source,
        step.kp_driving,
        step.kp_norm,
    )


def write_pair(
    writers: Mapping[str, Writer], steps: Iterable[Animated], visualizer: Visualizer
) -> None:
    def pictures(step: Animated) -> dict[str, np.ndarray]:
        drawn = {'grid': draw(visualizer, step)} if 'grid' in writers else {}
        return {**dict.fromkeys(writers, to_bytes(step.frame)), **drawn}

    for made in map_repeated(pictures, steps):
        for kind, writer in writers.items():
            writer.write(made[kind])


class Task(NamedTuple):
    """A pair to animate."""

    name: str
    source: Clip
    driving: Clip


class Made(NamedTuple):
    """What became of a pair."""

    notes: list[str]
    failure: str = ''  # why it could not be animated


class PairMaker:
    """Animates pairs into a folder, one at a time; the Work of a pool's process."""

    def __init__(self, engine: Engine, folder: AnimationFolder, config: Mapping[str, Any]):
        self._engine, self._folder = engine, folder
        self._normalization = Normalization(**config['animate_params']['normalization_params'])
        self._visualizer = Visualizer(**config['visualizer_params'])

    def __call__(self, task: Task, tell: Tell) -> Made:
        """Writes the outputs of a pair; none if it can't be animated."""
        notes: list[str] = []
        steps = animate_pair(
            self._engine,
            task.source,
            task.driving,
            self._normalization,
            'grid' in self._folder.outputs,
            notes,
        )
        try:
            with self._folder.pair(task.name, task.driving.fps) as writers:
                write_pair(writers, steps, self._visualizer)
        except UnusableError as error:
            return Made([], str(error))
        return Made(notes)


class Means(NamedTuple):
    """What animates, as `build_engine` and `StoredModels` take it."""

    config: Mapping[str, Any]
    checkpoint: str | Path | None
    engine: str
    precision: str
    batch: int | None


def make_maker(
    means: Means, models: StoredModels, identity: str | None, folder: AnimationFolder
) -> PairMaker:
    """What animates, in this process.

    Args:
        identity: which the models must have; None: any.

    Raises:
        UserError: they are others by now, or can't be loaded.
    """
    if identity is not None:
        models.must_be(identity)
    engine = build_engine(
        models,
        means.config['model_params'],
        means.config['dataset_params']['frame_shape'][:2],
        means.engine,
        means.precision,
        explain='grid' in folder.outputs,
        batch=means.batch,
    )
    return PairMaker(engine, folder, means.config)


def animate_pairs(
    makers: Alone | Pool, tasks: Iterable[Task], folder: AnimationFolder, device: str
) -> tuple[int, int]:
    """Writes the outputs of all pairs that are not finished.

    Returns:
        How many pairs were written, and how many could not be.
    """
    tasks = list(tasks)
    todo = [task for task in tasks if not folder.is_finished(task.name)]
    if len(todo) < len(tasks):
        print(f'{len(tasks) - len(todo)} of {len(tasks)} pairs are finished already: skipped')
    failed = 0
    answers = makers.run(InTurn(todo))
    bar = tqdm(answers, f'on {device}', len(todo), unit='pair', disable=None)
    for task, made in bar:
        for note in made.notes:
            tqdm.write(printable(f'note: {task.name}: {note}'), file=sys.stderr)
        if made.failure:
            failed += 1
            left_out = f'warning: {task.name}: left out: {made.failure}'
            tqdm.write(printable(left_out), file=sys.stderr)
    return len(todo) - failed, failed


def run_of(config: Mapping[str, Any], models: Models, pairs: Iterable[str]) -> dict[str, Any]:
    """What the results depend on, as the folder's run.json holds it."""
    networks = {k: v for k, v in config['model_params'].items() if k != 'discriminator_params'}
    dataset = {key: config['dataset_params'][key] for key in ('root_dir', 'frame_shape')}
    if config['dataset_params']['resize'] != 'exact':  # folders from before there was this key
        dataset['resize'] = config['dataset_params']['resize']
    return {
        'dataset_params': dataset,
        'model_params': networks,
        'animate_params': config['animate_params'],
        'visualizer_params': config['visualizer_params'],
        'weights_sha256': weights_hash(models),
        'pairs': list(pairs),
    }


def animate_test_set(
    means: Means,
    folder: AnimationFolder,
    seed: int,
    device: str,
    processes: int = 1,
    gpus: Sequence[str] = (),
) -> Outcome:
    """Animates the pairs of a config's test set into a folder, which other runs stay out of.

    Args:
        means: with a checked config with `dataset_params` and `animate_params`.
        seed: of the drawn pairs, see frames_dataset.animation_pairs.
        device: its name, for the progress bar.
        processes: that animate, a pair at a time each; 1: this one.
        gpus: among which several are spread; none: the CPU.

    Raises:
        UserError: there is no data set, the weights don't fit, the folder holds another run, or no
            pair at all can be animated.
    """
    config = means.config
    dataset = FramesDataset(**config['dataset_params'], is_train=False)
    drawn = animation_pairs(dataset, config['animate_params']['num_pairs'], seed)
    pairs = name_pairs(dataset.names, drawn)
    clips = dataset.clips
    tasks = [Task(name, clips[pair.source], clips[pair.driving]) for name, pair in pairs.items()]
    left = sum(not folder.is_finished(task.name) for task in tasks)
    processes = max(1, min(processes, left))
    models = StoredModels(config, means.checkpoint)
    identity = models.identity() if processes > 1 else None
    run = run_of(config, models.load(), pairs)
    if means.precision != 'fp32':
        run['precision'] = means.precision
    settings = (means, models, identity, folder)
    with (
        workers(make_maker, settings, processes, gpus) as makers,
        folder.open(run),
        contextlib.closing(makers),  # all of them end before the folder is free for others
    ):
        written, failed = animate_pairs(makers, tasks, folder, device)
    if failed == len(pairs):
        raise UserError(f'{dataset.root_dir}: none of {failed} pairs can be animated, see above')
    return Outcome(written, failed, len(pairs))
