"""Checks of training: what survives a checkpoint, and what an overflow does."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import paddle

from modules.training.run_folder import START, RunFolder, resume
from modules.training.trainer import Trainer
from tools.gpu_checking.findings import Findings
from tools.gpu_checking.precision import MOST_SKIPPED, mixed_precision, need
from tools.gpu_checking.small import Arrays, differing, small_batch, small_config, small_run

_NETWORKS = ('generator', 'kp_detector', 'discriminator')


def through_a_checkpoint(trainer: Trainer, amp: str | None = None) -> Trainer:
    """Another trainer that takes up what a checkpoint file holds of this one."""
    other = small_run(amp)
    with tempfile.TemporaryDirectory() as folder:
        path = RunFolder(Path(folder), small_config(amp=amp), keep=1).save(trainer, START)
        resume(path, other)
    return other


def state_of(trainer: Trainer) -> Arrays:
    """Copies of the weights and statistics of all networks and of the optimizers' state."""
    state = {
        f'{name}.{key}': tensor.numpy().copy()
        for name, network in trainer.models._asdict().items()
        for key, tensor in network.state_dict().items()
    }
    return {**state, **{key: array.copy() for key, array in trainer.state()[0].items()}}


def adam_resume(findings: Findings) -> None:
    """Optimizers that were saved beside those that went on, given the same gradients: to the bit.

    Adam's powers of beta are on the CPU at first and on the GPU once they were read from a file, so
    that another of Paddle's kernels takes them.
    """
    trainer = small_run()
    before = state_of(trainer)
    for number in range(3):
        descend(trainer, number)
    resumed = through_a_checkpoint(trainer)
    findings.holds('read as saved', not differing(state_of(trainer), state_of(resumed)))
    for number in range(3, 6):
        descend(trainer, number)
        descend(resumed, number)
    ours, theirs = state_of(trainer), state_of(resumed)
    for network in _NETWORKS:
        moved = any(name.startswith(network) for name in differing(before, ours))
        findings.holds(f'{network}: learns', moved)
    different = differing(ours, theirs)
    findings.holds('goes on the same to the bit', not different, ', '.join(different[:3]))


def descend(trainer: Trainer, number: int) -> None:
    """A step of each optimizer on gradients that are drawn from the step's number."""
    rng = np.random.default_rng(number)
    for optimizer in trainer.optimizers.values():
        for parameter in optimizer._parameter_list:
            gradient = rng.normal(size=parameter.shape).astype('float32')
            (parameter * paddle.to_tensor(gradient)).sum().backward()
        with paddle.utils.unique_name.guard():  # as the trainer steps them
            optimizer.step()
        optimizer.clear_grad()


def overflow(findings: Findings) -> None:
    """An infinity in the gradients of each network alone; then save and resume.

    On the CPU by emulation.
    """
    need('fp16')
    with mixed_precision():
        _overflow(findings)


def _overflow(findings: Findings) -> None:
    trainer, batch = small_run('fp16'), small_batch()
    skipped = 0
    while skipped < MOST_SKIPPED and trainer.step(*batch).skipped:
        skipped += 1
    findings.at_most('steps until the scale fits', skipped, MOST_SKIPPED - 1)
    for network in _NETWORKS:
        before, scale = state_of(trainer), trainer.scaler.scale
        with _infinite(trainer, network):
            result = trainer.step(*batch)
        changed = differing(before, state_of(trainer))
        findings.holds(f'overflow in the {network}: the step is skipped', result.skipped)
        findings.holds(f'{network}: nothing changes', not changed, ', '.join(changed[:3]))
        findings.holds(
            f'{network}: the scale is halved once',
            trainer.scaler.scale == scale / 2,
            f'{scale:g} -> {trainer.scaler.scale:g}',
        )
    if findings.failed:  # then weights may be infinite, which no checkpoint takes up
        return
    resumed = through_a_checkpoint(trainer, 'fp16')
    scales = [(t.scaler.scale, t.scaler.good_steps) for t in (trainer, resumed)]
    findings.holds('scale and count survive a checkpoint', scales[0] == scales[1], str(scales))
    results = [t.step(*batch) for t in (trainer, resumed)]
    findings.holds('both go on', not any(result.skipped for result in results))


@contextlib.contextmanager
def _infinite(trainer: Trainer, network: str) -> Iterator[None]:
    """In the block the gradients of one network, and of no other, hold an infinity."""
    parameter = trainer.optimizers[network]._parameter_list[-1]
    hook = parameter.register_hook(lambda gradient: gradient * float('inf'))
    try:
        yield
    finally:
        hook.remove()
