"""What the official PyTorch code does for tools/benchmark.py and for the tools that animate beside
it (tools/official/animation.py), in a process of its own.

The official repository has packages of the same names as ours: nothing of this project is imported
here but files of tools/ and modules/runtime/seeding.py that need NumPy only.
"""

import functools
import importlib
import json
import runpy
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # main() puts the official repository in its place

from tools.benchmarking import common
from tools.official import parity
from tools.official.forms import FORMS

# What the official demo.py imports, itself or on the way, and make_animation does not use.
NOT_NEEDED = ('ffmpeg', 'imageio', 'matplotlib', 'pandas', 'skimage', 'sklearn')


def build(job: dict[str, Any], torch) -> dict[str, Any]:
    """The official networks with weights from a checkpoint or, where the job has none, from their
    names, and its corners as in the config.
    """
    _prepare(job, torch)
    return parity.build_networks({'checkpoint': None, 'seed': common.SEED, **job}, torch)


def _prepare(job: dict[str, Any], torch) -> None:
    parity.stand_in_for_torchvision(torch)
    grid_sample = torch.nn.functional.grid_sample

    @functools.wraps(grid_sample)  # torch.compile asks every function for its name
    def with_corners(*args, **kwargs):
        return grid_sample(*args, **{'align_corners': job['align_corners'], **kwargs})

    torch.nn.functional.grid_sample = with_corners


def train(job: dict[str, Any], result: Path) -> None:
    """Training steps on the same batch, in the order of the official train.py."""
    import torch

    networks = build(job, torch)
    from modules import model

    inputs = common.read_inputs(job['inputs'])
    parity.fix_transform(model, inputs, torch)
    batch = {n: torch.from_numpy(inputs[n]).float() / 255 for n in ('source', 'driving')}
    params = job['config']['train_params']
    order = [networks[name] for name in ('kp_detector', 'generator', 'discriminator')]
    full = model.GeneratorFullModel(*order, params)
    disc_full = model.DiscriminatorFullModel(*order, params)
    if hasattr(full, 'vgg'):
        parity.seed_vgg(full.vgg, torch)
    optimizers = {
        name: torch.optim.Adam(network.parameters(), lr=job['rates'][name], betas=(0.5, 0.999))
        for name, network in networks.items()
    }
    losses, seconds = [], []
    for _ in range(1 + job['steps']):
        start = time.perf_counter()
        losses.append(_step(full, disc_full, optimizers, batch))
        seconds.append(time.perf_counter() - start)
    common.write_result(result, seconds=seconds, losses=losses, version=_version(torch))


def _step(full, disc_full, optimizers, batch) -> dict[str, float]:
    losses, generated = full(batch)
    sum(losses.values()).backward()
    _update(optimizers['generator'], optimizers['kp_detector'])
    if full.loss_weights['generator_gan'] != 0:
        optimizers['discriminator'].zero_grad()
        disc_losses = disc_full(batch, generated)
        sum(disc_losses.values()).backward()
        _update(optimizers['discriminator'])
        losses = {**losses, **disc_losses}
    return {name: loss.item() for name, loss in losses.items()}


def _update(*optimizers) -> None:
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


def animate_frames(job: dict[str, Any], result: Path) -> None:
    """make_animation of the official demo.py, whose loop over the frames is listened to, with the
    networks in one of FORMS.
    """
    import torch

    networks = build(job, torch)
    demo = _import_demo()
    inputs = common.read_inputs(job['inputs'])
    moments: list[float] = []

    def noted(frames: Iterable) -> Iterator:
        for frame in frames:
            yield frame
            moments.append(time.perf_counter())  # the loop asks for the next one: this one is done

    demo.tqdm = noted
    generator, kp_detector = networks['generator'].eval(), networks['kp_detector'].eval()
    start = time.perf_counter()
    frames = demo.make_animation(
        inputs['source'],
        list(inputs['driving']),
        *FORMS[job['form']].prepare(generator, kp_detector, torch),
        relative=True,
        adapt_movement_scale=False,
        cpu=True,
    )
    seconds = np.diff([start, *moments]).tolist()
    common.write_frames(result, frames)
    common.write_result(result, seconds=seconds, version=_version(torch))


def first_frame(job: dict[str, Any], result: Path) -> None:
    """From a checkpoint's file to the first frame of make_animation in memory."""
    moments = [time.perf_counter()]
    import torch

    moments.append(time.perf_counter())
    networks = build({**job, 'networks': ('generator', 'kp_detector')}, torch)
    demo = _import_demo()
    inputs = common.read_inputs(job['inputs'])
    frames = demo.make_animation(
        inputs['source'],
        list(inputs['driving'][:1]),
        networks['generator'].eval(),
        networks['kp_detector'].eval(),
        relative=True,
        adapt_movement_scale=False,
        cpu=True,
    )
    moments.append(time.perf_counter())
    common.write_frames(result, frames)
    common.write_result(result, seconds=np.diff(moments).tolist(), version=_version(torch))


def animate_clips(job: dict[str, Any], result: Path) -> None:
    """make_animation of the official demo.py for each of the job's animations; nothing is timed."""
    import torch

    networks = build(job, torch)
    demo = _import_demo()
    demo.tqdm = iter  # no bars
    for animation in job['animations']:
        inputs = common.read_inputs(animation.pop('inputs'))
        frames = demo.make_animation(
            inputs['source'],
            inputs['driving'],
            networks['generator'].eval(),
            networks['kp_detector'].eval(),
            cpu=True,
            **animation,
        )
        common.write_frames(result, frames)
    common.write_result(result, seconds=[], version=_version(torch))


def whole_demo(job: dict[str, Any], result: Path) -> None:
    """The official demo.py, from files to a file; in other forms than its own, what a script does
    that holds one frame at a time.

    `seconds`: the whole process; of a script also those of a frame, without the conversion that the
    first one may bring, but with the end of the file.
    """
    import torch

    seconds = []
    if job['form'] == 'official':
        _prepare(job, torch)
        _run_demo(job, result.with_name('official.yaml'))
    else:
        networks = build({**job, 'networks': ('generator', 'kp_detector')}, torch)
        seconds.append(_animate_files(job, networks, torch))
    seconds.insert(0, time.time() - job['started'])
    common.write_result(result, seconds=seconds, version=_version(torch))


def _run_demo(job: dict[str, Any], config_file: Path) -> None:
    config_file.write_text(json.dumps(job['config']), encoding='utf-8')
    names = ('checkpoint', 'source_image', 'driving_video', 'result_video')
    options = [word for name in names for word in (f'--{name}', job[name])]
    sys.argv = ['demo.py', '--config', str(config_file), *options]
    sys.argv += ['--relative', '--adapt_scale', '--cpu']
    demo = str(Path(job['torch_repo']) / 'demo.py')
    _with_shells(lambda: runpy.run_path(demo, run_name='__main__'))


def _animate_files(job: dict[str, Any], networks: dict[str, Any], torch) -> float:
    """Gives the seconds of a frame."""
    import imageio.v2 as imageio

    demo = _import_demo()
    generate, detect = FORMS[job['form']].prepare(
        networks['generator'].eval(), networks['kp_detector'].eval(), torch
    )
    h, w = job['size']

    def as_tensor(frame):
        return torch.from_numpy(frame).permute(2, 0, 1).unsqueeze(0).float() / 255

    resized = demo.resize(imageio.imread(job['source_image']), (h, w))[..., :3]
    source = as_tensor(np.asarray(255 * resized, np.float32))
    reader = imageio.get_reader(job['driving_video'], size=(w, h))
    fps = reader.get_meta_data()['fps']
    with torch.no_grad(), imageio.get_writer(job['result_video'], fps=fps) as writer:
        kp_source, kp_initial = detect(source), None
        generate(source, kp_source=kp_source, kp_driving=kp_source)
        start, count = time.perf_counter(), 0
        for frame in reader:
            kp_driving = detect(as_tensor(np.asarray(frame)))
            kp_initial = kp_initial or kp_driving
            kp_norm = demo.normalize_kp(
                kp_source=kp_source,
                kp_driving=kp_driving,
                kp_driving_initial=kp_initial,
                adapt_movement_scale=True,
                use_relative_movement=True,
                use_relative_jacobian=True,
            )
            prediction = generate(source, kp_source=kp_source, kp_driving=kp_norm)['prediction']
            pixels = (255 * prediction[0].permute(1, 2, 0)).round().to(torch.uint8)
            writer.append_data(pixels.numpy())
            count += 1
    return (time.perf_counter() - start) / count


def _import_demo():
    """The official demo.py."""
    return _with_shells(lambda: importlib.import_module('demo'))


def _with_shells(call: Callable[[], Any]) -> Any:
    """What a call that imports the official code gives; packages that are missing and not needed
    are empty shells to it.
    """
    shells = []
    while True:
        try:
            value = call()
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split('.')[0] not in NOT_NEEDED:
                raise
            shells.append(error.name)
            sys.modules[error.name] = MagicMock()
        else:
            for name in shells:  # torch.compile looks into some of these packages
                del sys.modules[name]
            return value


def _version(torch) -> str:
    return f'torch {torch.__version__}, {torch.get_num_threads()} threads'


def main() -> None:
    job, result = common.read_job()
    sys.path[0] = job['torch_repo']
    sections = {
        'training': train,
        'animation': animate_frames,
        'start': first_frame,
        'clips': animate_clips,
        'demo': whole_demo,
    }
    sections[job['section']](job, result)


if __name__ == '__main__':
    main()
