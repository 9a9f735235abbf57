"""Everything the networks compute on fixed inputs, under the names of the golden `nets` format."""

from typing import Any, Dict, Mapping, Optional

import numpy as np
import paddle
from paddle import Tensor

from modules import test_mode
from modules.build import Models, build_models
from modules.model import TrainingLosses
from modules.transform import Transform
from modules.util import Keypoints
from modules.vgg import Vgg19
from modules.weight_names import to_official_names

Arrays = Dict[str, np.ndarray]


def to_tensor(image: np.ndarray, dtype: str) -> Tensor:
    """uint8 images -> [0, 1] in `dtype`; other arrays keep their values."""
    tensor = paddle.to_tensor(image).astype(dtype)
    return tensor / 255 if image.dtype == np.uint8 else tensor


def seeded_models(config: Mapping[str, Any], seed: int, dtype: str) -> Models:
    """Networks with name-drawn weights, which are drawn in float32 and then cast."""
    models = build_models(config)
    test_mode.seed_networks(models, seed)
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


def row(tensor: Optional[Tensor]) -> np.ndarray:
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
    pins: Optional[Arrays] = None,
) -> Arrays:
    """One generator and one discriminator loss in train mode, no optimizer step between.

    Args:
        pins: recorded results by tap name ('prediction', 'op.000.interpolate', ...) that replace
            the computed ones as they are reached; what is returned is from before the replacing.
    """
    models.train()
    with test_mode.record(pins) as tape:
        step = losses.generator_step(models, source, driving, transform)
        sum(step.losses.values()).backward()
        disc_losses = losses.discriminator_step(
            models, driving, step.generated.prediction, step.kp_driving
        )
        if disc_losses:
            sum(disc_losses.values()).backward()
    arrays = {f'train.{name}': value.numpy() for name, value in tape.values.items()}
    for network_name, network in models._asdict().items():
        for name, parameter in to_official_names(dict(network.named_parameters())).items():
            if not name.endswith(('running_mean', 'running_var')):
                arrays[f'train.grad.{network_name}.{name}'] = row(parameter.grad)
        for name, buffer in to_official_names(network.state_dict()).items():
            if name.endswith(('running_mean', 'running_var', 'weight_u', 'weight_v')):
                arrays[f'train.buffer.{network_name}.{name}'] = buffer.numpy()
    return arrays
