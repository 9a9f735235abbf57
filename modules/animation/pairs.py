"""Pairs of a test set: the first frame of one clip, animated by another clip."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from frames_dataset import FramesDataset, Pair, animation_pairs
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


def animate_pairs(
    engine: Engine,
    clips: list[Clip],
    pairs: Mapping[str, Pair],
    folder: AnimationFolder,
    normalization: Normalization,
    visualizer: Visualizer,
    device: str,
) -> tuple[int, int]:
    """Writes the outputs of all pairs that are not finished.

    Returns:
        How many pairs were written, and how many could not be.
    """
    todo = {name: pair for name, pair in pairs.items() if not folder.is_finished(name)}
    if len(todo) < len(pairs):
        print(f'{len(pairs) - len(todo)} of {len(pairs)} pairs are finished already: skipped')
    failed = 0
    for name, pair in tqdm(todo.items(), f'on {device}', unit='pair', disable=None):
        source, driving = clips[pair.source], clips[pair.driving]
        notes: list[str] = []
        steps = animate_pair(
            engine, source, driving, normalization, 'grid' in folder.outputs, notes
        )
        try:
            with folder.pair(name, driving.fps) as writers:
                write_pair(writers, steps, visualizer)
            for note in notes:
                tqdm.write(printable(f'note: {name}: {note}'), file=sys.stderr)
        except UnusableError as error:
            failed += 1
            tqdm.write(printable(f'warning: {name}: left out: {error}'), file=sys.stderr)
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
    config: Mapping[str, Any],
    checkpoint: str | None,
    folder: AnimationFolder,
    seed: int,
    engine: str,
    precision: str,
    batch: int | None,
    device: str,
) -> Outcome:
    """Animates the pairs of a config's test set into a folder, which other runs stay out of.

    Args:
        config: a checked config with `dataset_params` and `animate_params`.
        checkpoint: as for StoredModels.
        seed: of the drawn pairs, see frames_dataset.animation_pairs.
        engine, precision, batch: as for build_engine.
        device: its name, for the progress bar.

    Raises:
        UserError: there is no data set, the weights don't fit, the folder holds another run, or no
            pair at all can be animated.
    """
    params = config['animate_params']
    dataset = FramesDataset(**config['dataset_params'], is_train=False)
    pairs = name_pairs(dataset.names, animation_pairs(dataset, params['num_pairs'], seed))
    models = StoredModels(config, checkpoint)
    run = run_of(config, models.load(), pairs)
    if precision != 'fp32':
        run['precision'] = precision
    built = build_engine(
        models,
        config['model_params'],
        config['dataset_params']['frame_shape'][:2],
        engine,
        precision,
        explain='grid' in folder.outputs,
        batch=batch,
    )
    normalization = Normalization(**params['normalization_params'])
    visualizer = Visualizer(**config['visualizer_params'])
    with folder.open(run):
        written, failed = animate_pairs(
            built, dataset.clips, pairs, folder, normalization, visualizer, device
        )
    if failed == len(pairs):
        raise UserError(f'{dataset.root_dir}: none of {failed} pairs can be animated, see above')
    return Outcome(written, failed, len(pairs))
