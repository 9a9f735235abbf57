"""What the official notebook calls, as it calls it: demo.py has these functions, too."""

from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from paddle import nn
from tqdm import tqdm

from modules.animation.animator import animate
from modules.animation.normalization import Normalization
from modules.build import Models
from modules.checkpoints.models import StoredModels
from modules.config import load_config
from modules.eager import EagerEngine, Engine
from modules.inference.choice import build_engine
from modules.runtime.files import PathLike
from modules.runtime.process import prepare_library
from modules.video.levels import to_float

# model_params by generator, for the engine.
_PARAMS: WeakKeyDictionary[nn.Layer, dict[str, Any]] = WeakKeyDictionary()


def load_checkpoints(
    config_path: PathLike, checkpoint_path: PathLike, cpu: bool = False
) -> tuple[nn.Layer, nn.Layer]:
    """generator and kp_detector, with their weights, in eval mode.

    Args:
        checkpoint_path: weights of any kind that demo.py takes.
        cpu: switch Paddle to the CPU.

    Raises:
        UserError: config or weights are not there, or don't fit.
    """
    config = load_config(config_path)
    prepare_library(cpu)
    models = StoredModels(config, checkpoint_path).load().eval()
    _PARAMS[models.generator] = config['model_params']
    return models.generator, models.kp_detector


def make_animation(
    source_image: np.ndarray,
    driving_video: Sequence[np.ndarray],
    generator: nn.Layer,
    kp_detector: nn.Layer,
    relative: bool = True,
    adapt_movement_scale: bool = True,
    cpu: bool = False,
) -> list[np.ndarray]:
    """Animates a picture with the frames of a clip.

    Args:
        source_image: (H, W, 3) float in [0, 1], or uint8.
        driving_video: frames of the same size.
        generator, kp_detector: from `load_checkpoints`.
        relative: carry over movement and Jacobians since the first frame, not the pose.
        adapt_movement_scale: scale the movement by the ratio of the objects' sizes.
        cpu: switch Paddle to the CPU.

    Returns:
        (H, W, 3) float32 in [0, 1] for each frame.
    """
    prepare_library(cpu)
    frames = [to_float(np.asarray(frame)).astype('float32') for frame in driving_video]
    source = to_float(np.asarray(source_image)).astype('float32')
    normalization = Normalization(relative, relative, adapt_movement_scale)
    engine = _engine(generator, kp_detector, source, frames)
    made = animate(engine, source, frames, normalization)
    return list(tqdm(made, total=len(frames), disable=None))


def _engine(
    generator: nn.Layer, kp_detector: nn.Layer, source: np.ndarray, frames: list[np.ndarray]
) -> Engine:
    """The fastest, as demo.py's; eagerly what is not of `load_checkpoints`, or of several sizes."""
    models = Models(generator, kp_detector, nn.Identity())  # nobody needs a discriminator
    params = _PARAMS.get(generator)
    if params is None or any(frame.shape != source.shape for frame in frames):
        return EagerEngine(models)
    return build_engine(models, params, source.shape[:2], batch=None)
