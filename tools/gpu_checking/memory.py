"""Checks of memory: what a sample takes, how many fit, and what is said when they don't."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
from paddle import Tensor

from modules import test_mode
from modules.build import build_models
from modules.checkpoints.frozen import build_vgg
from modules.config.loading import load_config
from modules.model import TrainingLosses
from modules.runtime.errors import UserError
from modules.runtime.shortage import memory_shortage, shortage_explained, training_mend
from modules.training.trainer import Trainer
from tools.gpu_checking.findings import Findings
from tools.gpu_checking.running import ROOT
from tools.gpu_checking.small import on_gpu

CONFIG = ROOT / 'config' / 'vox-256.yaml'
# Gigabytes that a sample of it takes: kept for backward, counted by emulation (doc/gpu.md), and on
# GPUs with what backward itself needs and what the allocator rounds up.
KEPT_BAR, GPU_BAR = 0.72, 1.1
_LESS = 2  # the emulation takes frames of half the width and height


def memory(findings: Findings) -> None:
    """On GPUs steps of growing batches until one does not fit; on the CPU by emulation."""
    if on_gpu():
        _grow(findings)
        return
    config = load_config(CONFIG, need=('dataset_params', 'train_params'))
    findings.at_most('GB kept for backward a sample, vox-256', kept_per_sample(config), KEPT_BAR)


def out_of_memory(findings: Findings) -> None:
    """What train.py says of a batch that is too large: one line that names what helps.

    On the CPU of a tensor of a petabyte; on GPUs, too, of a step while the memory is taken.
    """
    said = [said_of(lambda: paddle.zeros([2**48]))]
    if on_gpu():
        trainer = full_trainer()
        part = paddle.device.cuda.get_device_properties().total_memory // 100
        taken = []
        with contextlib.suppress(Exception):  # until nothing is left
            while True:
                taken.append(paddle.zeros([part], 'uint8'))
        said.append(said_of(lambda: timed_steps(trainer, 4)))
        taken.clear()
        paddle.device.cuda.empty_cache()
        findings.holds('a step works afterwards', np.isfinite(timed_steps(trainer, 1)[0]))
    for words in said:
        named = all(name in words for name in ('out of memory', 'batch_size', 'accumulation_steps'))
        findings.holds('one line names what helps', named and '\n' not in words, words[:300])


def said_of(work: Callable[[], Any]) -> str:
    """What a user is told of a work that fails for memory."""
    params = load_config(CONFIG, need=('train_params',))['train_params']
    try:
        with shortage_explained(training_mend(params, processes=1)):
            work()
    except UserError as error:
        return str(error)
    except Exception as error:
        return f'{type(error).__name__}: {error}'
    return 'nothing'


def kept_per_sample(config: dict[str, Any]) -> float:
    """Gigabytes that the generator's losses keep for backward, a sample more.

    Counted on the CPU at half of the width and height, where the networks go operation by operation
    as on a GPU; all maps grow with the frame.
    """
    models, losses = build_models(config).train(), full_losses(config)
    h, w, channels = config['dataset_params']['frame_shape']

    def kept(batch: int) -> int:
        tensors: dict[int, Tensor] = {}

        def note(tensor: Tensor) -> Tensor:
            tensors[tensor.data_ptr()] = tensor  # held, so that no address comes twice
            return tensor

        source, driving = paddle.rand([2, batch, channels, h // _LESS, w // _LESS]).unbind(0)
        transform = losses.random_transform(np.random.default_rng(0), batch)
        hooks = paddle.autograd.saved_tensors_hooks(note, lambda tensor: tensor)
        with test_mode.record(), hooks:
            losses.generator_step(models, source, driving, transform)
        return sum(tensor.size * tensor.element_size() for tensor in tensors.values())

    return (kept(3) - kept(2)) * _LESS**2 / 1e9


def full_losses(config: dict[str, Any]) -> TrainingLosses:
    """The losses of a config, over random VGG features where it has a perceptual loss."""
    perceptual = any(config['train_params']['loss_weights']['perceptual'])
    return TrainingLosses(config, build_vgg('random') if perceptual else None)


def _grow(findings: Findings) -> None:
    """Training steps in float32, their memory by batch; batches double until one does not fit."""
    trainer, used = full_trainer(), {}
    largest, failed = 0, None
    while failed is None or failed - largest > max(1, largest // 8):
        batch = max(1, 2 * largest) if failed is None else (largest + failed) // 2
        try:
            used[batch] = timed_steps(trainer, batch, count=1)
            largest = batch
        except Exception as error:
            if memory_shortage(error) is None:
                raise
            failed = batch
        paddle.device.cuda.empty_cache()
    findings.fact('largest batch of vox-256', largest)
    for batch, (seconds, peak) in used.items():
        findings.fact(f'batch of {batch}: GB at most', peak / 1e9)
        findings.fact(f'batch of {batch}: seconds a step', seconds)
    if largest < 2:
        findings.fact('GB a sample', 'not run: no two batches fit')
        return
    fitting = [batch for batch in used if batch <= 8]  # the larger ones may find less workspace
    growth = used[fitting[-1]][1] - used[fitting[-2]][1]
    findings.at_most('GB a sample', growth / (fitting[-1] - fitting[-2]) / 1e9, GPU_BAR)


def full_trainer(amp: str | None = None) -> Trainer:
    """A trainer of vox-256 with random weights on the current device."""
    config = load_config(CONFIG, need=('dataset_params', 'train_params'))
    config['train_params']['amp'] = amp
    return Trainer(config, build_models(config), full_losses(config))


def timed_steps(trainer: Trainer, batch: int, count: int = 3) -> tuple[float, int]:
    """
    Returns:
        The median time of some steps after a first one, in seconds; the most bytes of the GPU's
        memory that were in use.
    """
    source, driving = paddle.rand([2, batch, 3, 256, 256]).unbind(0)
    transform = trainer.losses.random_transform(np.random.default_rng(0), batch)
    paddle.device.cuda.reset_max_memory_allocated()
    seconds = []
    for _ in range(1 + count):
        start = time.perf_counter()
        trainer.step(source, driving, transform)
        paddle.device.synchronize()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[1:])), paddle.device.cuda.max_memory_allocated()
