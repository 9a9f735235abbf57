"""Small networks with weights drawn from their names, what a training step computes with them, and
how two computations of it are compared.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle

from modules import test_mode
from modules.build import Models
from modules.checkpoints.weight_names import to_official_names
from modules.config.loading import load_config
from modules.model import TrainingLosses, total_loss
from modules.parity import record
from modules.parity.record import Arrays
from modules.runtime.gpu import switch_tf32_off
from modules.training.trainer import Trainer
from modules.transform import Transform
from tools.gpu_checking.findings import Findings
from tools.parity import error, group_of, peak

CONFIG = Path(__file__).with_name('small.yaml')
SEED, BATCH_SIZE = 0, 4  # the latter as in small.yaml


def small_config(**train_params: Any) -> dict[str, Any]:
    """The config of small.yaml, with some of its train_params changed."""
    config = load_config(CONFIG, need=('dataset_params', 'train_params'))
    config['train_params'].update(train_params)
    return config


def on_gpu() -> bool:
    return paddle.device.get_device() != 'cpu'


def without_tf32() -> None:
    """From now on GPUs multiply float32 numbers as they are."""
    if on_gpu():
        switch_tf32_off()


@contextlib.contextmanager
def on_device(name: str) -> Iterator[None]:
    """In the block tensors come to be on this device."""
    before = paddle.device.get_device()
    paddle.set_device(name)
    try:
        yield
    finally:
        paddle.set_device(before)


class Step(NamedTuple):
    """All that a training step needs."""

    models: Models
    losses: TrainingLosses
    source: paddle.Tensor
    driving: paddle.Tensor
    transform: Transform


def small_frames(clips: int = BATCH_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Two frames of each clip, (B, C, H, W) in [0, 1], float64: waves, and the same ones moved.

    Smooth, so that rounding does not decide over gradients, which jump at the border of a pixel.
    """
    h, w, channels = small_config()['dataset_params']['frame_shape']
    rng = np.random.default_rng(SEED)
    size = clips, channels, 3, 1, 1
    across, down = rng.uniform(1, 4, (2, *size))
    phase, shift = rng.uniform(0, 6.28, size), rng.uniform(0.1, 0.6, size)
    angle = across * np.linspace(0, 6.28, w) + down * np.linspace(0, 6.28, h)[:, None]
    source, driving = (np.sin(angle + phase + step * shift).mean(2) for step in (0, 1))
    return 0.5 + 0.5 * source, 0.5 + 0.5 * driving


class Batch(NamedTuple):
    """What a trainer's step takes."""

    source: paddle.Tensor
    driving: paddle.Tensor
    transform: Transform


def small_batch(dtype: str = 'float32') -> Batch:
    """A batch of the small clips with its noise; the same values on any device."""
    config = small_config()
    source, driving = small_frames()
    params, rng = config['train_params']['transform_params'], np.random.default_rng(SEED)
    affine = rng.normal(0, params['sigma_affine'], (len(source), 2, 3))
    control = rng.normal(0, params['sigma_tps'], (len(source), 1, params['points_tps'] ** 2))
    source, driving, *noise = (
        paddle.to_tensor(array.astype(dtype)) for array in (source, driving, affine, control)
    )
    return Batch(source, driving, Transform(*noise))


def small_step(dtype: str) -> Step:
    """Networks, losses and a batch of the current device; the same values on any."""
    config = small_config()
    models = record.seeded_models(config, SEED, dtype)
    return Step(models, record.seeded_losses(config, dtype), *small_batch(dtype))


def small_models() -> Models:
    """The networks in float32, on the current device."""
    return record.seeded_models(small_config(), SEED, 'float32')


def small_run(amp: str | None = None) -> Trainer:
    """A trainer of the small networks, without VGG, on the current device."""
    config = small_config(amp=amp)
    config['train_params']['loss_weights'].update(perceptual=[0] * 5, pixel=10)
    return Trainer(config, small_models(), record.seeded_losses(config, 'float32'), SEED)


def step_arrays(dtype: str, plain: bool = False) -> Arrays:
    """What the networks compute in eval mode and the losses and gradients of one step.

    Args:
        plain: operation by operation, as for comparison with the official code; else the fastest
            way that the device has.
    """
    step = small_step(dtype)
    with test_mode.record() if plain else contextlib.nullcontext():
        arrays = record.record_eval(step.models, step.losses, step.source, step.driving)
        arrays.update(losses_and_gradients(step))
    return arrays


def losses_and_gradients(step: Step) -> Arrays:
    """Of one generator and one discriminator loss in train mode, no optimizer step between."""
    models, losses = step.models.train(), step.losses
    found = losses.generator_step(models, step.source, step.driving, step.transform)
    total_loss(found.losses).backward()
    of_disc = losses.discriminator_step(
        models, step.driving, found.generated.prediction, found.kp_driving
    )
    total_loss(of_disc).backward()
    arrays = {'train.prediction': found.generated.prediction.numpy()}
    for name, loss in {**found.losses, **of_disc}.items():
        arrays[f'train.loss.{name}'] = loss.numpy()
    for network_name, network in models._asdict().items():
        for name, parameter in to_official_names(dict(network.named_parameters())).items():
            if parameter.grad is not None:
                arrays[f'train.grad.{network_name}.{name}'] = parameter.grad.numpy()
        for name, buffer in to_official_names(network.state_dict()).items():
            if name.endswith(('running_mean', 'running_var')):
                arrays[f'train.buffer.{network_name}.{name}'] = buffer.numpy()
    return arrays


def compare_largest(findings: Findings, found: Arrays, reference: Arrays, bar: float) -> None:
    """Puts the worst error of each group of arrays into the findings.

    An array's error is that of tools/parity.py: the largest difference over the largest value.
    """
    findings.holds('the same arrays are computed', set(found) == set(reference))
    for group, names in _groups(found, reference).items():
        floor = 1e-6 * max(peak(reference[name]) for name in names)
        errors = [error(found[name], reference[name], floor) for name in names]
        findings.at_most(group, float(np.max(errors)), bar)


def compare_norms(
    findings: Findings, found: Arrays, reference: Arrays, bar: float, gradient_bar: float
) -> None:
    """Puts |found - reference| / |reference|, norms over a group of arrays, into the findings."""
    findings.holds('the same arrays are computed', set(found) == set(reference))
    for group, names in _groups(found, reference).items():
        differences = sum(norm2(found[name] - reference[name].astype('float64')) for name in names)
        values = sum(norm2(reference[name]) for name in names)
        relative = float(np.sqrt(differences / max(values, 1e-30)))
        findings.at_most(group, relative, gradient_bar if '.grad.' in group else bar)


def _groups(found: Arrays, reference: Arrays) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name in sorted(set(found) & set(reference)):
        groups.setdefault(group_of(name), []).append(name)
    return groups


def norm2(array: np.ndarray) -> float:
    """The sum of the squares."""
    return float(np.square(array.astype('float64')).sum())


def differing(a: Arrays, b: Arrays) -> list[str]:
    """The names of arrays that are not the same bit for bit."""
    return [name for name in {**a, **b} if _bytes(a.get(name)) != _bytes(b.get(name))]


def _bytes(array: np.ndarray | None) -> bytes | None:
    return None if array is None else array.tobytes()
