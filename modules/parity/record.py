"""Everything the networks compute on fixed inputs, under the names of the golden `nets` format."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from modules import test_mode
from modules.build import Models, build_models
from modules.checkpoints.models import load_checkpoint
from modules.checkpoints.weight_names import is_constant, to_official_names
from modules.model import TrainingLosses, total_loss
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike, atomic_output
from modules.runtime.seeding import seeded_inputs, seeded_value
from modules.transform import Transform
from modules.util import Keypoints
from modules.vgg import Vgg19

Arrays = dict[str, np.ndarray]


def to_tensor(image: np.ndarray, dtype: str) -> Tensor:
    """uint8 images -> [0, 1] in `dtype`; other arrays keep their values."""
    tensor = paddle.to_tensor(image).astype(dtype)
    return tensor / 255 if image.dtype == np.uint8 else tensor


def seed_networks(models: Models, seed: int) -> None:
    """Gives the three networks the weights drawn from their names; blur kernels keep theirs."""
    for network_name, network in models._asdict().items():
        for key, tensor in to_official_names(network.state_dict()).items():
            if not key.endswith('down.weight'):
                value = seeded_value(f'{network_name}.{key}', tuple(tensor.shape), seed)
                tensor.set_value(value.astype(str(tensor.numpy().dtype)))


def seeded_models(config: Mapping[str, Any], seed: int, dtype: str) -> Models:
    """Networks with name-drawn weights, which are drawn in float32 and then cast."""
    models = build_models(config)
    seed_networks(models, seed)
    for network in models:
        network.to(dtype=dtype)
    return models


def seeded_losses(config: Mapping[str, Any], dtype: str) -> TrainingLosses:
    """The losses, over a VGG19 with name-drawn weights."""
    vgg = None
    if any(config['train_params']['loss_weights']['perceptual']):
        vgg = Vgg19()
        vgg.seed()
    losses = TrainingLosses(config, vgg)
    losses.to(dtype=dtype)
    return losses


def row(tensor: Tensor | None) -> np.ndarray:
    """A tensor in at most eight numbers: its L2 norm, its mean, its first six values."""
    values = np.zeros(1) if tensor is None else tensor.numpy().astype('float64').ravel()
    return np.concatenate([[np.linalg.norm(values), values.mean()], values[:6]])


def record_keypoints(name: str, kp: Keypoints) -> Arrays:
    parts = {f'{name}.{part}': value for part, value in kp._asdict().items() if value is not None}
    return {key: value.numpy() for key, value in parts.items()}


@paddle.no_grad()
def record_eval(models: Models, losses: TrainingLosses, source: Tensor, driving: Tensor) -> Arrays:
    """The networks' outputs in eval mode; the discriminator looks at the driving frame."""
    models.eval()
    kp_source, kp_driving = models.kp_detector(source), models.kp_detector(driving)
    arrays = {
        **record_keypoints('eval.kp_source', kp_source),
        **record_keypoints('eval.kp_driving', kp_driving),
    }
    generated = models.generator(source, kp_driving=kp_driving, kp_source=kp_source)
    for name in ('mask', 'sparse_deformed', 'occlusion_map', 'deformed', 'prediction'):
        if getattr(generated, name) is not None:
            arrays[f'eval.generator.{name}'] = getattr(generated, name).numpy()
    pyramid = losses.pyramid(driving, losses.disc_scales)
    for scale, judgement in models.discriminator(pyramid, kp_driving).items():
        for i, feature_map in enumerate(judgement.feature_maps):
            arrays[f'eval.discriminator.feature_maps_{scale}.{i}'] = feature_map.numpy()
        arrays[f'eval.discriminator.prediction_map_{scale}'] = judgement.prediction_map.numpy()
    return arrays


def record_train(
    models: Models,
    losses: TrainingLosses,
    source: Tensor,
    driving: Tensor,
    transform: Transform,
    pins: Arrays | None = None,
) -> Arrays:
    """One generator and one discriminator loss in train mode, no optimizer step between.

    Args:
        pins: recorded results by tap name ('prediction', 'op.000.interpolate', ...) that replace
            the computed ones as they are reached; what is returned is from before the replacing.
    """
    models.train()
    with test_mode.record(pins) as tape:
        step = losses.generator_step(models, source, driving, transform)
        total_loss(step.losses).backward()
        disc_losses = losses.discriminator_step(
            models, driving, step.generated.prediction, step.kp_driving
        )
        if disc_losses:
            total_loss(disc_losses).backward()
    arrays = {f'train.{name}': value.numpy() for name, value in tape.values.items()}
    for network_name, network in models._asdict().items():
        for name, parameter in to_official_names(dict(network.named_parameters())).items():
            if not name.endswith(('running_mean', 'running_var')):
                arrays[f'train.grad.{network_name}.{name}'] = row(parameter.grad)
        for name, buffer in to_official_names(network.state_dict()).items():
            if name.endswith(('running_mean', 'running_var', 'weight_u', 'weight_v')):
                arrays[f'train.buffer.{network_name}.{name}'] = buffer.numpy()
    return arrays


def blur_kernels(models: Models, losses: TrainingLosses) -> dict[str, Tensor]:
    """The kernels before every subsampling: `blur.kp_detector.down.weight`, ..., for the pyramid of
    the losses `blur.pyramid.downs.0-5.weight`, ...
    """
    layers = {**models._asdict(), 'pyramid': losses.pyramid}
    return {
        f'blur.{name}.{key}': tensor
        for name, layer in layers.items()
        for key, tensor in layer.state_dict().items()
        if (is_constant(key) or name == 'pyramid') and tensor.shape[-1] > 1  # 1: of scale 1, unused
    }


def take_kernels(models: Models, losses: TrainingLosses, arrays: Mapping[str, np.ndarray]) -> None:
    """Replaces the kernels that `arrays` holds.

    Raises:
        UserError: one of another shape.
    """
    for name, tensor in blur_kernels(models, losses).items():
        if name in arrays:
            if list(arrays[name].shape) != tensor.shape:
                raise UserError(f'{name}: shape {arrays[name].shape}, not {tuple(tensor.shape)}')
            tensor.set_value(arrays[name].astype(str(tensor.numpy().dtype)))


STEP_INPUTS = ('source', 'driving', 'tps_affine_noise', 'tps_control_params')


def record_nets(
    config: Mapping[str, Any],
    seed: int,
    inputs: Mapping[str, np.ndarray] | None = None,
    checkpoint: PathLike | None = None,
    pins: Arrays | None = None,
) -> Arrays:
    """All of the `nets` format in float64: eval mode, then one training step.

    Another framework's blur kernels, which it computes in float32, may differ from ours in the last
    bit, and gradients then differ by more: the kernels that `inputs` holds are computed with.

    Args:
        config: checked, with model_params and the losses' part of train_params.
        seed: of the weights and, without `inputs`, of frames and noise.
        inputs: the arrays of STEP_INPUTS, of which the last may be absent, and kernels by the
            names of `blur_kernels`.
        checkpoint: weights instead of the name-drawn ones.
        pins: see `record_train`.

    Returns:
        The results, our own kernels and the inputs.
    """
    models = seeded_models(config, seed, 'float64')
    if checkpoint is not None:
        load_checkpoint(checkpoint, **models._asdict())
    losses = seeded_losses(config, 'float64')
    if inputs is None:
        shape = config['dataset_params']['frame_shape']
        inputs = seeded_inputs(seed, shape, **losses.transform_params)
    kernels = {name: kernel.numpy() for name, kernel in blur_kernels(models, losses).items()}
    take_kernels(models, losses, inputs)
    inputs = {name: inputs[name] for name in STEP_INPUTS if name in inputs}
    source, driving, *noise = (to_tensor(array, 'float64') for array in inputs.values())
    arrays = record_eval(models, losses, source, driving)
    arrays.update(record_train(models, losses, source, driving, Transform(*noise), pins))
    return {**inputs, **kernels, **arrays}


def save_nets(path: Path, config: Mapping[str, Any], seed: int, arrays: Arrays) -> None:
    """Writes arrays as a file that tools/parity.py checks."""
    common = dict(config['model_params']['common_params'])
    meta = {
        'set': 'nets',
        'name': path.stem,
        'seed': seed,
        'align_corners': common.pop('align_corners'),
        'config': {
            'model_params': {**config['model_params'], 'common_params': common},
            'train_params': config['train_params'],
        },
    }
    with atomic_output(path) as target:
        content: dict[str, Any] = {'meta': json.dumps(meta), **arrays}
        np.savez_compressed(target, **content)


def record_training_step(
    config: Mapping[str, Any], name: str, folder: Path, seed: int, checkpoint: PathLike | None
) -> Path:
    """TEST_MODE: one loss of each kind on fixed inputs, everything computed written as .npz.

    Args:
        name: of the config, for the file's name.
        folder: of the file; made where it is not there.
        seed, checkpoint: as for `record_nets`.

    Returns:
        The file written.
    """
    pins = test_mode.read_pins()
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f'{name}-test-mode.npz'
    save_nets(out, config, seed, record_nets(config, seed, pins.inputs, checkpoint, pins.results))
    return out
