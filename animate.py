"""Animates pairs of a test set: the first frame of one clip, the motion of another.

    python animate.py --config config/vox-256.yaml --checkpoint vox-cpk.pth.tar --save_dir results

Also the one animation loop of the project (paper Sec. 3.4): arrays in, arrays out, one frame at a
time.
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Tuple,
    Union,
)

import numpy as np
from tqdm import tqdm

from modules.animation.normalization import (
    ABSOLUTE,
    Normalization,
    hull_area,
    movement_scale,
    normalize_kp,
)
from modules.animation.results import OUTPUTS, AnimationFolder, Writer, name_pairs
from modules.config import load_config
from modules.data.augmentation import to_float
from modules.inference.options import add_engine_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.hashing import weights_hash
from modules.runtime.process import choose_device, prepare_process

if TYPE_CHECKING:  # a mistake in the arguments is reported before Paddle is imported
    from paddle import Tensor

    from frames_dataset import Pair
    from modules.build import Models
    from modules.data.clips import Clip
    from modules.generator import Generated
    from modules.inference.engine import Engine
    from modules.util import Keypoints
    from modules.visualizer import Visualizer


class Animated(NamedTuple):
    """A frame of an animation, and what explains it; all in batches of one."""

    source: 'Tensor'  # (1, C, H, W) in [0, 1]
    driving: 'Tensor'  # (1, C, H, W) in [0, 1]
    kp_source: 'Keypoints'
    kp_driving: 'Keypoints'  # as detected
    kp_norm: 'Keypoints'  # carried over to the source
    generated: 'Generated'

    @property
    def frame(self) -> np.ndarray:
        """The result: (H, W, C) float32 in [0, 1]."""
        return self.generated.prediction[0].numpy().transpose(1, 2, 0)


def no_grad(function: Callable) -> Callable:
    """paddle.no_grad() as a decorator that imports Paddle only when the function is called."""

    @functools.wraps(function)
    def without_gradients(*args, **kwargs):
        import paddle

        with paddle.no_grad():
            return function(*args, **kwargs)

    return without_gradients


def to_batch(frame: np.ndarray) -> 'Tensor':
    """(H, W, C) float in [0, 1] -> (1, C, H, W) float32."""
    import paddle

    return paddle.to_tensor(frame.astype('float32').transpose(2, 0, 1)[np.newaxis])


def to_bytes(frame: np.ndarray) -> np.ndarray:
    """Float in [0, 1] -> uint8, rounded."""
    return np.rint(frame * 255).astype('uint8')


def engine_of(models: Union['Models', 'Engine']) -> 'Engine':
    """An engine as it is; networks alone are computed eagerly."""
    from modules.inference.engine import as_engine

    return as_engine(models)


@no_grad
def find_best_frame(
    models: Union['Models', 'Engine'], source: np.ndarray, driving: Iterable[np.ndarray]
) -> Tuple[int, np.ndarray]:
    """The driving frame whose pose is most like the source's: its number and itself.

    Poses are compared by the model's own keypoints, centred and scaled to a hull of area 1. Frames
    whose keypoints span no area are passed over.

    Raises:
        UserError: the source's span none, or those of no frame do.
    """
    engine = engine_of(models)

    def pose(frame: np.ndarray) -> np.ndarray:
        kp = engine.detect(to_batch(frame)).value[0].numpy()
        return (kp - kp.mean(axis=0)) / np.sqrt(hull_area(kp))

    target = pose(source)
    best = None
    for number, frame in enumerate(driving):
        try:
            distance = np.square(pose(frame) - target).sum()
        except UserError:  # of no size, so not to be compared; the next frames may be
            continue
        if best is None or distance < best[0]:
            best = distance, number, frame
    if best is None:
        raise UserError(
            'the keypoints span no area in any driving frame, so there is none to compare; leave '
            'out --find_best_frame for this model or clip'
        )
    return best[1:]


class Animator:
    """Animates one source image; all that depends on the source alone is computed once.

    Args:
        models: networks with trained weights, which are switched to eval mode, or an engine
            (modules/inference/engine.py) made of them.
        source: (H, W, C) float in [0, 1], of the size the model was trained for.
        initial: (H, W, C), the driving frame whose pose is the source's.
    """

    @no_grad
    def __init__(
        self,
        models: Union['Models', 'Engine'],
        source: np.ndarray,
        initial: np.ndarray,
        normalization: Normalization = ABSOLUTE,
    ):
        self.engine = engine_of(models)
        self.normalization = normalization
        self.source = to_batch(source)
        self.kp_source = self.engine.detect(self.source)
        self.kp_initial = self.engine.detect(to_batch(initial))
        self.encoded = self.engine.encode(self.source, self.kp_source)
        adapt = normalization.adapt_movement_scale and normalization.use_relative_movement
        self.scale = movement_scale(self.kp_source, self.kp_initial) if adapt else 1.0

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """A driving frame -> the source in its pose; both (H, W, C) float in [0, 1]."""
        return self.explain(frame, with_deformed=False).frame

    @no_grad
    def explain(self, frame: np.ndarray, with_deformed: bool = True) -> Animated:
        """A driving frame (H, W, C) -> the source in its pose, and all that led to it.

        Args:
            with_deformed: compute `generated.deformed`, which nothing but a picture of it needs.
        """
        driving = to_batch(frame)
        kp_driving = self.engine.detect(driving)
        kp_norm = normalize_kp(
            self.kp_source, kp_driving, self.kp_initial, self.normalization, self.scale
        )
        generated = self.engine.decode(self.encoded, kp_norm, self.kp_source, with_deformed)
        return Animated(self.source, driving, self.kp_source, kp_driving, kp_norm, generated)


def explained_animation(
    models: Union['Models', 'Engine'],
    source: np.ndarray,
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: Optional[np.ndarray] = None,
    with_deformed: bool = True,
) -> Iterator[Animated]:
    """Animates `source` by the frames of `driving` as they come, holding one at a time.

    Args:
        models, source, normalization: as for Animator.
        driving: frames (H, W, C) float in [0, 1] of the source's size.
        initial: the driving frame whose pose is the source's; the first one if None.
        with_deformed: as for Animator.explain.

    Yields:
        A result, and what explains it, for every driving frame.
    """
    animator = None
    for frame in driving:
        if animator is None:
            initial = frame if initial is None else initial
            animator = Animator(models, source, initial, normalization)
        yield animator.explain(frame, with_deformed)


def animate(
    models: Union['Models', 'Engine'],
    source: np.ndarray,
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: Optional[np.ndarray] = None,
) -> Iterator[np.ndarray]:
    """The frames of `explained_animation` alone: (H, W, C) float32 in [0, 1], one by one."""
    steps = explained_animation(
        models, source, driving, normalization, initial, with_deformed=False
    )
    for step in steps:
        yield step.frame


# --- the script ----------------------------------------------------------------------------------


class Unusable(Exception):
    """Why a pair can't be animated; others may be."""


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--config', type=Path, required=True)
    parser.add_argument(
        '--checkpoint',
        help='weights: .pth.tar, .pdparams, .safetensors, a folder of .npz files or a known name; '
        "the config's ckpt_model if left out",
    )
    parser.add_argument(
        '--save_dir',
        type=Path,
        help='folder of the results; where finished pairs are left as they are. If left out, '
        'animation/ beside the file given as --checkpoint, else log/CONFIG/animation',
    )
    parser.add_argument(
        '--outputs',
        nargs='+',
        choices=OUTPUTS,
        default=OUTPUTS,
        help='result: the animation as a video; png: its frames side by side, lossless; grid: a '
        'video of what the networks do; all if left out',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='of the random pairs, where the config has no pairs_list; 0, as officially, if left '
        'out',
    )
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    add_engine_options(parser)
    options = parser.parse_args()
    if not 0 <= options.seed < 2**32:
        parser.error(f'--seed {options.seed}: give a whole number from 0 to 2^32 - 1')
    if options.save_dir is None:
        run = Path('log') / options.config.stem
        if options.checkpoint is not None and Path(options.checkpoint).exists():
            run = Path(options.checkpoint).parent
        options.save_dir = run / 'animation'
    return options


def animate_pair(
    engine: 'Engine',
    source: 'Clip',
    driving: 'Clip',
    normalization: Normalization,
    with_deformed: bool,
) -> Iterator[Animated]:
    """The first frame of one clip, animated by another clip.

    Raises:
        Unusable: a clip can't be read, or the keypoints allow no adapt_movement_scale.
    """
    try:
        frames = map(to_float, driving.frames())
        first = to_float(source.read([0])[0])
        yield from explained_animation(
            engine, first, frames, normalization, with_deformed=with_deformed
        )
    except UserError as error:
        raise Unusable(str(error)) from error


def draw(visualizer: 'Visualizer', step: Animated) -> np.ndarray:
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
    writers: Mapping[str, Writer], steps: Iterable[Animated], visualizer: 'Visualizer'
) -> None:
    for step in steps:
        frame = to_bytes(step.frame)
        for kind, writer in writers.items():
            writer.write(draw(visualizer, step) if kind == 'grid' else frame)


def animate_pairs(
    engine: 'Engine',
    clips: List['Clip'],
    pairs: Mapping[str, 'Pair'],
    folder: AnimationFolder,
    normalization: Normalization,
    visualizer: 'Visualizer',
    device: str,
) -> Tuple[int, int]:
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
        steps = animate_pair(engine, source, driving, normalization, 'grid' in folder.outputs)
        try:
            with folder.pair(name, driving.fps) as writers:
                write_pair(writers, steps, visualizer)
        except Unusable as error:
            failed += 1
            tqdm.write(f'warning: {name}: left out: {error}', file=sys.stderr)
    return len(todo) - failed, failed


def run_of(config: Mapping[str, Any], models: 'Models', pairs: Iterable[str]) -> Dict[str, Any]:
    """What the results depend on, as the folder's run.json holds it."""
    networks = {k: v for k, v in config['model_params'].items() if k != 'discriminator_params'}
    dataset = {key: config['dataset_params'][key] for key in ('root_dir', 'frame_shape')}
    return {
        'dataset_params': dataset,
        'model_params': networks,
        'animate_params': config['animate_params'],
        'visualizer_params': config['visualizer_params'],
        'weights_sha256': weights_hash([models.generator, models.kp_detector]),
        'pairs': list(pairs),
    }


def main() -> None:
    options = parse_arguments()
    config = load_config(options.config, need=('dataset_params', 'animate_params'))
    params = config['animate_params']
    normalization = Normalization(**params['normalization_params'])
    if any(normalization) and not normalization.use_relative_movement:
        print(
            'note: use_relative_jacobian and adapt_movement_scale change nothing without '
            'use_relative_movement',
            file=sys.stderr,
        )
    prepare_process()
    device = choose_device(options.cpu)
    from frames_dataset import FramesDataset, animation_pairs
    from modules.checkpoints.models import StoredModels
    from modules.inference.engine import build_engine
    from modules.visualizer import Visualizer

    dataset = FramesDataset(**config['dataset_params'], is_train=False)
    drawn = animation_pairs(dataset, params['num_pairs'], options.seed)
    pairs = name_pairs(dataset.names, drawn)
    visualizer = Visualizer(**config['visualizer_params'])
    models = StoredModels(config, options.checkpoint)
    folder = AnimationFolder(options.save_dir, options.outputs, params['format'])
    run = run_of(config, models.load(), pairs)
    if options.precision != 'fp32':
        run['precision'] = options.precision
    engine = build_engine(
        models,
        config['model_params'],
        config['dataset_params']['frame_shape'][:2],
        options.engine,
        options.precision,
        explain='grid' in options.outputs,
    )
    with folder.open(run):
        written, failed = animate_pairs(
            engine, dataset.clips, pairs, folder, normalization, visualizer, device
        )
    if failed == len(pairs):
        raise UserError(f'{dataset.root_dir}: none of {failed} pairs can be animated, see above')
    left_out = f', {failed} left out' if failed else ''
    print(f'written: {written} of {len(pairs)} pairs into {folder.path}{left_out}')


if __name__ == '__main__':
    run_command(main)
