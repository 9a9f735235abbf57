"""Checks of mixed precision: where the low precision goes, and what it does to numbers.

On the CPU by emulation (tools/gpu_checking/emulated_amp.py).
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import paddle

from modules.model import total_loss
from modules.ops.precision import DTYPES, autocast, check_capability, gpu_capability
from modules.runtime.errors import UserError
from tools.gpu_checking.emulated_amp import Counts, emulated_amp
from tools.gpu_checking.findings import Findings, NotRunError
from tools.gpu_checking.memory import full_trainer, timed_steps
from tools.gpu_checking.small import (
    Step,
    on_gpu,
    small_batch,
    small_config,
    small_models,
    small_run,
    small_step,
    without_tf32,
)

LOW = ('conv2d', 'batch_norm', 'relu')
# They carry coordinates, or weigh them; the first two are met under autocast for certain.
CALLED = ('matmul_v2', 'grid_sampler')
FLOAT32 = (*CALLED, 'softmax', 'sigmoid', 'exp', 'instance_norm')


# Of what emulation finds some times: 0.12 at most in bf16, 0.006 in fp16.
ANGLE_BARS = {'bf16': 0.3, 'fp16': 0.05}
FULL_BATCH = 4
MOST_SKIPPED = 16  # until the scale fits, which is at first 2 to the 16th
MEMORY_SHARE = 0.8  # of a step in low precision, beside one in float32


class Bars(NamedTuple):
    """Largest differences from float32; some times what emulation finds."""

    loss: float  # relative
    shift: float  # of keypoints, in pixels of the frame
    jacobian: float
    deformed: float  # of the warped source, whose values are in [0, 1]


# Were the hourglass of the keypoint detector in low precision, keypoints would be off by 0.04 and
# 0.003 pixels; were its heads, Jacobians by 4e-3 and 5e-4.
BARS = {
    'bf16': Bars(loss=0.1, shift=1e-2, jacobian=1e-3, deformed=1e-3),
    'fp16': Bars(loss=0.02, shift=1e-3, jacobian=1e-4, deformed=1e-4),
}


def is_lacking(precision: str) -> bool:
    """Whether this GPU is too old for it; on the CPU it is emulated."""
    try:
        check_capability(precision, precision, gpu_capability())
    except UserError:
        return True
    return False


def need(precision: str) -> None:
    """Raises NotRunError where the GPU lacks the precision."""
    if is_lacking(precision):
        raise NotRunError(f'this GPU is too old for {precision}')


@contextlib.contextmanager
def mixed_precision() -> Iterator[Callable[[], Counts]]:
    """In the block autocast has an effect; gives what counts the calls of each operation."""
    if not on_gpu():
        with emulated_amp() as calls:
            yield lambda: calls
        return
    paddle.base.core.clear_low_precision_op_list()
    paddle.set_flags({'FLAGS_low_precision_op_list': 1})
    try:
        yield _paddles_counts
    finally:
        paddle.set_flags({'FLAGS_low_precision_op_list': 0})


def _paddles_counts() -> Counts:
    """Paddle's own statistics, as paddle.amp.debugging prints them."""
    counts: Counts = {}
    for name, calls in paddle.base.core.get_low_precision_op_list().items():
        float16, bfloat16, float32, _ = map(int, calls.split(','))
        counts[name] = {'float16': float16, 'bfloat16': bfloat16, 'float32': float32}
    return counts


def amp_bf16(findings: Findings) -> None:
    _check(findings, 'bf16')


def amp_fp16(findings: Findings) -> None:
    _check(findings, 'fp16')


def _check(findings: Findings, precision: str) -> None:
    need(precision)
    without_tf32()
    step = small_step('float32')
    wanted = step.losses.generator_step(*_inputs(step))
    step = small_step('float32')
    with mixed_precision() as counted:
        with autocast(DTYPES[precision]):
            found = step.losses.generator_step(*_inputs(step))
        total_loss(found.losses).backward()
        _check_places(findings, counted(), DTYPES[precision])
    tensors = {
        **{f'keypoints: {part}': t for part, t in found.kp_driving._asdict().items()},
        **{name: t for name, t in found.generated._asdict().items() if name != 'prediction'},
        **{f'loss {name}': t for name, t in found.losses.items()},
    }
    for name, tensor in tensors.items():
        findings.holds(f'{name} is float32', tensor.dtype == paddle.float32, str(tensor.dtype))
    for name, loss in found.losses.items():
        error = abs(loss.item() / wanted.losses[name].item() - 1)
        findings.at_most(f'loss {name}', error, BARS[precision].loss)
    shift = pixels(found.kp_driving.value, wanted.kp_driving.value)
    findings.at_most("keypoints' shift in training, pixels", shift, BARS[precision].shift)
    _check_shift(findings, step, precision)


def _inputs(step: Step) -> tuple:
    """The arguments of a generator step in training."""
    step.models.train()
    return step.models, step.source, step.driving, step.transform


def _check_places(findings: Findings, counts: Counts, dtype: str) -> None:
    """Which operations took the low precision, by the names that autocast knows them by."""
    for name in LOW:
        calls = counts.get(name, {})
        low, high = calls.get(dtype, 0), calls.get('float32', 0)
        findings.fact(f'{name}: calls in {dtype} and in float32', f'{low}, {high}')
        findings.holds(f'{name} is mostly {dtype}', low > high, f'{low} calls of {low + high}')
    for name in FLOAT32:
        calls = counts.get(name, {})
        low = sum(number for kind, number in calls.items() if kind != 'float32')
        findings.holds(f'{name} is float32', low == 0, f'{low} calls in low precision')
        if name in CALLED:
            findings.holds(f'{name} is called', bool(calls))


@paddle.no_grad()
def _check_shift(findings: Findings, step: Step, precision: str) -> None:
    """Keypoints, Jacobians and motion in eval mode, where batches do not decide."""
    models, bars = small_models().eval(), BARS[precision]

    source, driving = (models.kp_detector(image) for image in (step.source, step.driving))
    deformed = models.generator(step.source, driving, source).deformed
    with mixed_precision(), autocast(DTYPES[precision]):
        low = models.kp_detector(step.driving)
        low_deformed = models.generator(step.source, driving, source).deformed
    findings.at_most("keypoints' shift, pixels", pixels(low.value, driving.value), bars.shift)
    findings.at_most('Jacobians', difference(low.jacobian, driving.jacobian), bars.jacobian)
    findings.at_most('warped source', difference(low_deformed, deformed), bars.deformed)


def difference(a: paddle.Tensor, b: paddle.Tensor) -> float:
    """The largest difference."""
    return float(np.abs(a.numpy().astype('float64') - b.numpy().astype('float64')).max())


def pixels(a: paddle.Tensor, b: paddle.Tensor) -> float:
    """The largest difference of coordinates, in pixels of the small frames."""
    width = small_config()['dataset_params']['frame_shape'][1]
    return difference(a, b) * (width - 1) / 2


def learning(findings: Findings) -> None:
    """A step's gradients beside float32's; on GPUs memory and time of full-size steps."""
    wanted = _gradients(None)
    for precision, bar in ANGLE_BARS.items():
        if is_lacking(precision):
            findings.fact(precision, 'not run: this GPU is too old for it')
            continue
        for network, gradient in _gradients(precision).items():
            lengths = np.linalg.norm(gradient) * np.linalg.norm(wanted[network])
            angle = 1 - float(gradient @ wanted[network] / lengths)
            findings.at_most(f'{precision}: {network}, 1 - cosine of its gradient', angle, bar)
    if on_gpu():
        weigh(findings)


def _gradients(precision: str | None) -> dict[str, np.ndarray]:
    """Of each network, as Adam keeps them after the first step that is not skipped."""
    with mixed_precision() if precision else contextlib.nullcontext():
        trainer, batch = small_run(precision), small_batch()
        for _ in range(MOST_SKIPPED):
            if not trainer.step(*batch).skipped:
                break
    kept = sorted((key, value) for key, value in trainer.state()[0].items() if 'moment1' in key)
    return {
        name: np.concatenate([v.ravel() for key, v in kept if key.startswith(f'optimizer_{name}/')])
        for name in trainer.optimizers
    }


def weigh(findings: Findings) -> None:
    """Memory and time of training steps of config/vox-256.yaml in each precision, on a GPU."""
    used = {}
    for precision in (None, *BARS):
        name = precision or 'fp32'
        if precision and is_lacking(precision):
            continue
        seconds, used[name] = timed_steps(full_trainer(precision), FULL_BATCH)
        findings.fact(f'{name}: seconds a step of vox-256, batch of {FULL_BATCH}', seconds)
        findings.fact(f'{name}: GB of it at most', used[name] / 1e9)
        if precision:
            share = used[name] / used['fp32']
            findings.at_most(f'{name}: memory beside that of fp32', share, MEMORY_SHARE)
