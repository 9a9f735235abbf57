"""Records what the official PyTorch code computes, in the `nets` format.

`dump` starts this file as a program of its own, since the official repository has packages of the
same names as ours; there it imports nothing of this project but modules/runtime/seeding.py, by its
path.
"""

import importlib.util
import json
import os
import subprocess
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
TRAIN_KEYS = ('scales', 'transform_params', 'loss_weights')


def dump(
    torch_repo: Path,
    config_path: Path,
    checkpoint: Path | None,
    out: Path,
    seed: int,
    torch_python: str | None = None,
) -> None:
    """Runs the official code of `torch_repo` on seeded frames and writes `out`.

    Args:
        torch_python: interpreter with PyTorch; None: this one.

    Raises:
        UserError: `out` is no place for it, no clone there, no PyTorch, a loss that the official
            code doesn't have, or it fails.
    """
    from modules.config import load_config
    from modules.runtime.errors import UserError
    from modules.runtime.files import atomic_output, check_output

    if out.suffix != '.npz':
        raise UserError(f'--out {out}: the file is an .npz; give it that extension')
    check_output(out)
    check_clone(torch_repo)
    python = torch_python or sys.executable
    if package_version(python, 'torch') is None:
        raise UserError(
            f'{python}: has no PyTorch, which the official code needs; name another Python by '
            '--torch_python'
        )
    if checkpoint is not None and not checkpoint.is_file():
        raise UserError(f'{checkpoint}: no such checkpoint')
    config = load_config(config_path, need=('train_params',))
    if config['train_params']['loss_weights']['pixel']:
        raise UserError(
            f'{config_path}: train_params.loss_weights.pixel: the official code has no such loss; '
            'set it to 0'
        )
    job = {
        'name': out.stem,
        'seed': seed,
        'frame_shape': config['dataset_params']['frame_shape'],
        'checkpoint': None if checkpoint is None else str(checkpoint.resolve()),
        **official_config(config),
    }
    if checkpoint is not None:
        job['checkpoint_beside'] = os.path.relpath(checkpoint, out.parent)
    with atomic_output(out) as path:
        command = [python, __file__, str(torch_repo.resolve()), str(path.resolve())]
        done = subprocess.run(command, input=json.dumps(job), text=True, check=False)
        if done.returncode:
            raise UserError(f'{torch_repo}: the official code failed, see above')


def check_clone(torch_repo: Path) -> None:
    """Raises UserError if the official repository is not there."""
    from modules.runtime.errors import UserError

    if not (torch_repo / 'modules' / 'keypoint_detector.py').is_file():
        raise UserError(f'{torch_repo}: not a clone of the official first-order-model repository')


def package_version(python: str, package: str) -> str | None:
    """The version of an interpreter's package, such as torch; None where it has none.

    Raises:
        UserError: it can't be started.
    """
    from modules.runtime.errors import UserError, reason_of

    question = f'import {package}; print({package}.__version__)'
    try:
        done = subprocess.run([python, '-c', question], capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f'--torch_python {python}: {reason_of(error)}') from error
    return None if done.returncode else done.stdout.strip()


def official_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the official code takes of a checked config, and `align_corners`, a word it lacks."""
    common = dict(config['model_params']['common_params'])
    align_corners = common.pop('align_corners')
    official = {'model_params': {**config['model_params'], 'common_params': common}}
    if 'train_params' in config:  # without them, networks can still be built
        train_params = config['train_params']
        official['train_params'] = {key: without_nulls(train_params[key]) for key in TRAIN_KEYS}
    return {'align_corners': align_corners, 'config': official}


def without_nulls(section):
    """The official code asks whether a key is there, not whether it is null."""
    if not isinstance(section, dict):
        return section
    return {key: value for key, value in section.items() if value is not None}


def load_seeding():
    spec = importlib.util.spec_from_file_location(
        'seeding', ROOT / 'modules' / 'runtime' / 'seeding.py'
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stand_in_for_torchvision(torch) -> None:
    """Gives the official code a VGG19 of the right shape without a download; it is seeded later."""
    widths = [64, 64, 'M', 128, 128, 'M', *[256] * 4, 'M', *[512] * 4, 'M', *[512] * 4, 'M']

    def vgg19(pretrained: bool = False):
        layers, channels = [], 3
        for width in widths:
            if width == 'M':
                layers.append(torch.nn.MaxPool2d(2))
            else:
                layers += [torch.nn.Conv2d(channels, width, 3, padding=1), torch.nn.ReLU()]
                channels = width
        return types.SimpleNamespace(features=torch.nn.Sequential(*layers))

    package = types.ModuleType('torchvision')
    package.models = types.ModuleType('torchvision.models')
    package.models.vgg19 = vgg19
    sys.modules.update({'torchvision': package, 'torchvision.models': package.models})


def record_ops(functional, align_corners: bool) -> dict[str, Any]:
    """Wraps grid_sample and interpolate: one convention of the corners, results kept by number."""
    found: dict[str, Any] = {}

    def wrap(kind, function, **fixed):
        def call(*args, **kwargs):
            result = function(*args, **kwargs, **fixed)
            found[f'op.{len(found):03d}.{kind}'] = result.detach()
            return result

        return call

    functional.grid_sample = wrap(
        'grid_sample', functional.grid_sample, align_corners=align_corners
    )
    functional.interpolate = wrap('interpolate', functional.interpolate)
    return found


def fix_transform(model, inputs: dict[str, np.ndarray], torch) -> None:
    """Makes the official model.py take this noise for its transforms."""

    class FixedTransform(model.Transform):
        def __init__(self, bs, **kwargs):
            super().__init__(bs, **kwargs)
            noise = torch.from_numpy(inputs['tps_affine_noise']).double()
            self.theta = noise + torch.eye(2, 3, dtype=torch.float64)
            if self.tps:
                self.control_params = torch.from_numpy(inputs['tps_control_params']).double()

    model.Transform = FixedTransform


def build_networks(job: dict[str, Any], torch) -> dict[str, Any]:
    """The official networks, or those that the job names, with the checkpoint's weights or those of
    their names.
    """
    from modules.discriminator import MultiScaleDiscriminator
    from modules.generator import OcclusionAwareGenerator
    from modules.keypoint_detector import KPDetector

    params = job['config']['model_params']
    classes = {
        'generator': OcclusionAwareGenerator,
        'kp_detector': KPDetector,
        'discriminator': MultiScaleDiscriminator,
    }
    networks = {
        name: classes[name](**params[f'{name}_params'], **params['common_params'])
        for name in job.get('networks', classes)
    }
    seeding = load_seeding()
    trained = {}
    if job['checkpoint']:
        trained = torch.load(job['checkpoint'], map_location='cpu', weights_only=True)
    for name, network in networks.items():
        state = network.state_dict()
        if name in trained:
            # Blur kernels follow from the config; a checkpoint may lack them.
            kernels = {key: value for key, value in state.items() if key.endswith('down.weight')}
            network.load_state_dict({**kernels, **trained[name]})
            continue
        with torch.no_grad():
            for key, tensor in state.items():
                if key.split('.')[-1] != 'num_batches_tracked' and not key.endswith('down.weight'):
                    value = seeding.seeded_value(f'{name}.{key}', tuple(tensor.shape), job['seed'])
                    tensor.copy_(torch.from_numpy(value))
    return networks


def to_float64(network) -> None:
    network.double()
    for layer in network.modules():
        if hasattr(layer, 'eps'):
            layer.eps = float(np.float32(layer.eps))  # as Paddle holds it


def seed_vgg(vgg, torch) -> None:
    seeding = load_seeding()
    with torch.no_grad():
        for part in (vgg.slice1, vgg.slice2, vgg.slice3, vgg.slice4, vgg.slice5):
            for key, tensor in part.state_dict().items():
                name = f'vgg19.features.{key}'
                value = seeding.seeded_value(name, tuple(tensor.shape), 0)
                scale = np.float32(np.sqrt(2)) if key.endswith('weight') else np.float32(1)
                tensor.copy_(torch.from_numpy(value * scale))


def row(tensor) -> np.ndarray:
    values = np.zeros(1) if tensor is None else tensor.detach().numpy().ravel()
    return np.concatenate([[np.linalg.norm(values), values.mean()], values[:6]])


def compact(tensor) -> np.ndarray:
    """Maps in float32, small arrays in float64."""
    array = tensor.detach().numpy()
    return array.astype('float32') if array.size > 1000 else array


def record_kernels(networks, *pyramids) -> dict[str, np.ndarray]:
    """The blur kernels, in names like `blur.kp_detector.down.weight`; none of scale 1, unused."""
    layers = [*networks.items(), *(('pyramid', pyramid) for pyramid in pyramids)]
    return {
        f'blur.{name}.{key}': tensor.numpy()
        for name, layer in layers
        for key, tensor in layer.state_dict().items()
        if (key.endswith('down.weight') or name == 'pyramid') and tensor.shape[-1] > 1
    }


def record_eval(networks, pyramid, source, driving, torch) -> dict[str, np.ndarray]:
    for network in networks.values():
        network.eval()
    arrays = {}
    with torch.no_grad():
        kps = {n: networks['kp_detector'](x) for n, x in (('source', source), ('driving', driving))}
        for name, kp in kps.items():
            arrays.update({f'eval.kp_{name}.{part}': compact(v) for part, v in kp.items()})
        generated = networks['generator'](
            source, kp_source=kps['source'], kp_driving=kps['driving']
        )
        arrays.update({f'eval.generator.{name}': compact(v) for name, v in generated.items()})
        judged = networks['discriminator'](pyramid(driving), kp=kps['driving'])
        for name, value in judged.items():
            if isinstance(value, list):
                maps = {f'eval.discriminator.{name}.{i}': compact(v) for i, v in enumerate(value)}
                arrays.update(maps)
            else:
                arrays[f'eval.discriminator.{name}'] = compact(value)
    return arrays


def record_train(networks, full, disc_full, batch, ops) -> dict[str, np.ndarray]:
    for network in networks.values():
        network.train()
    ops.clear()
    losses, generated = full(batch)
    sum(losses.values()).backward()
    for parameter in networks['discriminator'].parameters():
        parameter.grad = None
    if full.loss_weights['generator_gan'] != 0:
        disc_losses = disc_full(batch, generated)
        sum(disc_losses.values()).backward()
        losses = {**losses, **disc_losses}
    arrays = {f'train.loss.{name}': value.detach().numpy() for name, value in losses.items()}
    arrays.update({f'train.{name}': compact(value) for name, value in ops.items()})
    arrays['train.prediction'] = compact(generated['prediction'])
    if 'transformed_frame' in generated:
        arrays['train.transformed_frame'] = compact(generated['transformed_frame'])
    for name in ('kp_source', 'kp_driving', 'transformed_kp'):
        for part, value in generated.get(name, {}).items():
            arrays[f'train.{name}.{part}'] = compact(value)
    for name, network in networks.items():
        for key, parameter in network.named_parameters():
            if parameter.grad is not None:
                arrays[f'train.grad.{name}.{key}'] = row(parameter.grad)
        for key, buffer in network.state_dict().items():
            if key.endswith(('running_mean', 'running_var', 'weight_u', 'weight_v')):
                arrays[f'train.buffer.{name}.{key}'] = buffer.numpy()
    return arrays


def main() -> None:
    torch_repo, out = sys.argv[1:]
    job = json.load(sys.stdin)
    sys.path[0] = torch_repo
    import torch

    stand_in_for_torchvision(torch)
    ops = record_ops(torch.nn.functional, job['align_corners'])
    from modules import model

    train_params = job['config']['train_params']
    inputs = load_seeding().seeded_inputs(
        job['seed'], job['frame_shape'], **train_params['transform_params']
    )

    fix_transform(model, inputs, torch)
    networks = build_networks(job, torch)
    for network in networks.values():
        to_float64(network)
    order = ('kp_detector', 'generator', 'discriminator')
    params = (*(networks[name] for name in order), job['config']['train_params'])
    full, disc_full = model.GeneratorFullModel(*params), model.DiscriminatorFullModel(*params)
    if hasattr(full, 'vgg'):
        seed_vgg(full.vgg, torch)
    full.double(), disc_full.double()
    batch = {n: torch.from_numpy(inputs[n]).double() / 255 for n in ('source', 'driving')}
    arrays = {
        **record_kernels(networks, full.pyramid, disc_full.pyramid),
        **record_eval(networks, disc_full.pyramid, batch['source'], batch['driving'], torch),
        **record_train(networks, full, disc_full, batch, ops),
    }
    meta = {'set': 'nets', **{key: job[key] for key in ('name', 'seed', 'align_corners', 'config')}}
    if job['checkpoint']:
        meta['checkpoint'] = job['checkpoint_beside']
    np.savez_compressed(out, meta=json.dumps(meta), **inputs, **arrays)


if __name__ == '__main__':
    main()
