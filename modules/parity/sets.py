"""What tools/parity.py compares: each set of golden arrays, computed by this project."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from modules.animation.animator import animate, to_batch
from modules.animation.normalization import Normalization, movement_scale, normalize_kp
from modules.build import Models, build_models
from modules.checkpoints.models import load_checkpoint
from modules.checkpoints.weight_names import to_official_names
from modules.config import check_config, load_config
from modules.eager import Engine
from modules.inference.choice import build_engine
from modules.parity import record
from modules.parity.record import STEP_INPUTS, Arrays, record_keypoints, to_tensor
from modules.runtime.errors import UserError
from modules.training.trainer import Trainer
from modules.transform import Transform
from modules.util import AntiAliasInterpolation2d, Keypoints, kp2gaussian, make_coordinate_grid
from modules.video import read_image
from modules.video.levels import to_bytes

_INPUTS = {
    'unit': r'kp|image|tps_(affine_noise|control_params)|norm\.kp_.*',
    'nets': r'source|driving|tps_(affine_noise|control_params)',
    'full': r'source|driving',
    'trajectory': r'source|driving|tps_(affine_noise|control_params)|loss_names',
    'demo': r'$^',
}


def is_input(set_name: str, name: str) -> bool:
    """Whether an array of this set is given rather than computed."""
    return re.fullmatch(_INPUTS[set_name], name) is not None


def compute(
    meta: Mapping[str, Any],
    golden: Arrays,
    path: Path,
    pins: Arrays | None = None,
    engine: str = 'eager',
) -> Arrays:
    """This project's values for a golden file.

    Args:
        path: where the file lies; a demo set's checkpoint and frames lie beside it.
        pins: for the nets set, see record_train.
        engine: of the full and demo sets (see modules/inference/engine.py); the others are always
            eager.
    """
    if meta['set'] == 'unit':
        return compute_unit(golden, meta['align_corners'])
    if meta['set'] == 'demo':
        return compute_demo(meta, golden, path.parent, engine)
    config = meta['config']
    config['model_params']['common_params']['align_corners'] = meta['align_corners']
    config = check_config(config, source=str(path))
    if meta['set'] == 'full':
        return compute_full(config, meta['seed'], golden, engine)
    if meta['set'] == 'nets':
        checkpoint = path.parent / meta['checkpoint'] if meta.get('checkpoint') else None
        return record.record_nets(config, meta['seed'], golden, checkpoint, pins)
    return compute_trajectory(config, meta, golden)


def compute_unit(golden: Arrays, align_corners: bool) -> Arrays:
    """Grid, heatmaps, blur, thin-plate transform and keypoint normalisation, in float32."""
    kp = to_tensor(golden['kp'], 'float32')
    image = to_tensor(golden['image'], 'float32')
    ours: dict[str, Any] = {}
    for name in golden:
        if match := re.fullmatch(r'grid_(\d+)x(\d+)', name):
            ours[name] = make_coordinate_grid((int(match[1]), int(match[2])), kp.dtype)
        elif match := re.fullmatch(r'kp2gaussian_(\d+)x(\d+)_var([\d.]+)', name):
            ours[name] = kp2gaussian(kp, (int(match[1]), int(match[2])), float(match[3]))
        elif match := re.fullmatch(r'antialias_(kernel_)?([\d.]+)', name):
            down = AntiAliasInterpolation2d(image.shape[1], float(match[2]))
            ours[name] = down.weight if match[1] else down(image)
        elif match := re.fullmatch(r'norm\.adapt([01])_rel([01])_jac([01])\.value', name):
            adapt, relative, jacobian = (match[i] == '1' for i in (1, 2, 3))
            found = normalized(golden, Normalization(relative, jacobian, adapt))
            ours.update(record_keypoints(name[: -len('.value')], found))
    noise = to_tensor(golden['tps_affine_noise'], 'float32')
    transform = Transform(noise, to_tensor(golden['tps_control_params'], 'float32'))
    kp.stop_gradient = False
    jacobian = transform.jacobian(kp)
    (gradient,) = paddle.grad((jacobian * jacobian).sum(), kp)
    ours.update(
        warp_coordinates=transform.warp_coordinates(kp),
        warp_coordinates_affine_only=Transform(noise).warp_coordinates(kp),
        tps_jacobian=jacobian,
        tps_jacobian_sq_grad=gradient,
        transform_frame=transform.transform_frame(image, align_corners),
    )
    return {name: np.asarray(value) for name, value in ours.items()}


def normalized(golden: Arrays, normalization: Normalization) -> Keypoints:
    """The unit set's driving keypoints, normalised."""
    source, driving, initial = (
        Keypoints(*(to_tensor(golden[f'norm.kp_{n}.{p}'], 'float32') for p in Keypoints._fields))
        for n in ('source', 'driving', 'initial')
    )
    scale = movement_scale(source, initial) if normalization.adapt_movement_scale else 1.0
    return normalize_kp(source, driving, initial, normalization, scale)


def compute_trajectory(
    config: Mapping[str, Any],
    meta: Mapping[str, Any],
    golden: Arrays,
    dtype: str = 'float64',
    steps: int | None = None,
) -> Arrays:
    """Training steps with all optimizers: their losses and the weights at the end.

    Args:
        steps: how many; all if None. In float32 only the first ones are the same everywhere.
    """
    models = record.seeded_models(config, meta['seed'], dtype)
    config['train_params'].update(batch_size=golden['source'].shape[1], epoch_milestones=[])
    trainer = Trainer(config, models, record.seeded_losses(config, dtype))
    names = [str(name) for name in golden['loss_names']]
    rows = []
    for step in range(len(golden['source']) if steps is None else steps):
        inputs = {name: to_tensor(golden[name][step], dtype) for name in STEP_INPUTS}
        transform = Transform(inputs['tps_affine_noise'], inputs['tps_control_params'])
        losses = trainer.step(inputs['source'], inputs['driving'], transform).losses
        rows.append([losses[name].item() for name in names])
    ours = {'losses': np.array(rows)}
    for network_name, network in models._asdict().items():
        for key, tensor in to_official_names(network.state_dict()).items():
            name = f'final.{network_name}.{key}'
            if name in golden:
                ours[name] = record.row(tensor)
    return ours


@paddle.no_grad()
def compute_full(config: Mapping[str, Any], seed: int, golden: Arrays, engine_name: str) -> Arrays:
    """A published configuration in float32; large outputs are thinned out by strides."""
    models = record.seeded_models(config, seed, 'float32').eval()
    source, driving = (to_tensor(golden[name], 'float32') for name in ('source', 'driving'))
    engine = build_engine(
        models, config['model_params'], source.shape[2:], engine_name, explain=True
    )
    rows = [
        full_row(engine, source[i : i + 1], driving[i : i + 1], golden) for i in range(len(source))
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def full_row(engine: Engine, source: Tensor, driving: Tensor, golden: Arrays) -> Arrays:
    """The full set's arrays of one pair of frames."""
    kp_source, kp_driving = engine.detect(source), engine.detect(driving)
    encoded = engine.encode(source, kp_source)
    generated = engine.decode(encoded, kp_driving, kp_source, with_deformed=True)
    ours = {
        **record_keypoints('kp_source', kp_source),
        **record_keypoints('kp_driving', kp_driving),
        'mask_mean': generated.mask.mean([2, 3]).numpy(),
    }
    for name in golden:
        if match := re.fullmatch(r'(prediction|deformed|occlusion_map)_stride(\d+)', name):
            step = int(match[2])
            ours[name] = getattr(generated, match[1]).numpy()[:, :, ::step, ::step]
    return ours


def compute_demo(meta: Mapping[str, Any], golden: Arrays, folder: Path, engine_name: str) -> Arrays:
    """The animation of source.png by driving.npy with the checkpoint beside the file, as uint8."""
    config_path = next(iter(sorted(folder.glob('*.yaml'))), None)
    if config_path is None:
        raise UserError(f'{folder}: no .yaml config beside the demo set')
    config = load_config(config_path)
    common = config['model_params']['common_params']
    source = read_image(folder / 'source.png') / np.float32(255)
    driving = np.load(folder / 'driving.npy', allow_pickle=False) / np.float32(255)
    ours: Arrays = {}
    for name in golden:
        match = re.fullmatch(r'align(\w+)\.relative(\w+)\.adapt(\w+)', name)
        if match:
            common['align_corners'], relative, adapt = (flag == 'True' for flag in match.groups())
            models = demo_models(config, folder / meta['checkpoint'])
            engine = build_engine(models, config['model_params'], source.shape[:2], engine_name)
            frames = animate(engine, source, driving, Normalization(relative, relative, adapt))
            ours[name] = np.stack([to_bytes(frame) for frame in frames])
    models = demo_models(config, folder / meta['checkpoint'])
    with paddle.no_grad():
        ours.update(record_keypoints('kp_source', models.kp_detector(to_batch(source))))
    return ours


def demo_models(config: Mapping[str, Any], checkpoint: Path) -> Models:
    models = build_models(config).eval()
    load_checkpoint(checkpoint, generator=models.generator, kp_detector=models.kp_detector)
    return models
