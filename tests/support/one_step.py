"""One training step as train.py takes it, by the fast path or by Paddle's plain operations.

In float32 gradients are rough, whichever path computes them. The fast path in float64 shows whether
both agree.
"""

import contextlib
import gc
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import paddle
import paddle.nn.functional as F
from scipy.ndimage import zoom

from modules import test_mode
from modules.ops import onednn, winograd
from modules.parity import record
from modules.runtime.heap import release_freed_memory
from modules.training.trainer import Trainer
from modules.transform import Transform
from tools.parity import error, peak

BATCH = 2


class Step(NamedTuple):
    """What one step computed."""

    losses: dict[str, float]
    gradients: dict[str, np.ndarray]  # 'generator.first.conv.weight', ...: of all that is trained


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Paddle's own kernels in the networks' order of operations, the path of TEST_MODE."""
    serves, onednn.serves = onednn.serves, lambda x: False
    try:
        with test_mode.record():
            yield
    finally:
        onednn.serves = serves


@contextlib.contextmanager
def double_precision() -> Iterator[None]:
    """The fast path in float64: oneDNN has no such kernels, so Paddle's stand in for them."""
    stand_ins = {
        (onednn, 'serves'): lambda x: paddle.in_dynamic_mode(),
        (onednn, '_convolution'): convolution,
        (onednn, '_gradient_of_image'): image_gradient,
        (onednn, '_weight_gradient'): weight_gradient,
        (onednn, '_relu_program'): lambda padding, *_: (
            lambda x, w, b: F.relu(F.conv2d(x, w, b, padding=padding))
        ),
        (onednn, '_strided_program'): lambda *_: lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        (winograd, '_image_program'): lambda shape, relu: (
            lambda x: (F.relu(x) if relu else x).transpose([0, 3, 1, 2]).contiguous()
        ),
    }
    own = {place: getattr(*place) for place in stand_ins}
    for place, function in stand_ins.items():
        setattr(*place, function)
    try:
        yield
    finally:
        for place, function in own.items():
            setattr(*place, function)


# Of modules.ops.onednn, by Paddle's kernels.


def convolution(x, weight, padding, low):
    return F.conv2d(x, weight, padding=padding)


@paddle.enable_grad()
def image_gradient(size, weight, dy, padding, stride=1, low=False):
    image = paddle.zeros(size, dy.dtype)
    image.stop_gradient = False
    # Not by paddle.grad: Paddle crashes where one is called inside another.
    F.conv2d(image, weight.detach(), padding=padding, stride=stride).backward(dy)
    return image.grad


@paddle.enable_grad()
def weight_gradient(size, x, dy, padding, stride=1, low=False):
    weight = paddle.zeros(size, x.dtype)
    weight.stop_gradient = False
    F.conv2d(x.detach(), weight, padding=padding, stride=stride).backward(dy)
    return weight.grad


def take_step(config: Mapping[str, Any], dtype: str, seed: int = 0) -> Step:
    """`_take_step`, which leaves no memory behind: steps in float64 take gigabytes."""
    try:
        return _take_step(config, dtype, seed)
    finally:
        gc.collect()
        release_freed_memory()


def _take_step(config: Mapping[str, Any], dtype: str, seed: int) -> Step:
    """The first step of a run of `config`, from name-drawn weights, on frames drawn from `seed`."""
    models = record.seeded_models(config, seed, dtype)
    trainer = Trainer(config, models, record.seeded_losses(config, dtype))
    trainer.begin_epoch(0)
    losses = trainer.step(*inputs(config, dtype, seed)).losses
    return Step({name: loss.item() for name, loss in losses.items()}, gradients(trainer))


def inputs(config: Mapping[str, Any], dtype: str, seed: int):
    """Source, driving frames and the transform of a step."""
    rng = np.random.RandomState(seed)
    height, width, channels = config['dataset_params']['frame_shape']
    frames = rng.rand(2, BATCH, channels, height // 8, width // 8)
    frames = zoom(frames, (1, 1, 1, 8, 8), order=1)  # without grain, as pictures are
    noise = rng.randn(BATCH, 2, 3) * 0.05, rng.randn(BATCH, 1, 25) * 0.005
    source, driving, *noise = (paddle.to_tensor(a, dtype) for a in (*frames, *noise))
    return source, driving, Transform(*noise)


def gradients(trainer: Trainer) -> dict[str, np.ndarray]:
    """What the networks' parameters got in the first step: twice Adam's first moment after it."""
    end = '_moment1_0'
    return {
        name[: -len(end)].partition('/')[2]: 2 * array
        for name, array in trainer.state()[0].items()
        if name.endswith(end)
    }


def network_of(name: str) -> str:
    return name.partition('.')[0]


def errors(found: Step, wanted: Step) -> dict[str, float]:
    """The error of every loss and gradient as tools/parity.py measures it; a group is a network."""
    assert list(found.losses) == list(wanted.losses)
    assert found.gradients.keys() == wanted.gradients.keys()
    result = {n: error(np.array(x), np.array(wanted.losses[n]), 0) for n, x in found.losses.items()}
    largest: dict[str, float] = {}
    for name, array in wanted.gradients.items():
        network = network_of(name)
        largest[network] = max(largest.get(network, 0.0), peak(array))
    for name, array in wanted.gradients.items():
        floor = 1e-6 * largest[network_of(name)]
        result[name] = error(found.gradients[name], array, floor)
    return result


def assert_agrees(found: Step, wanted: Step, bar: float) -> None:
    over = {name: e for name, e in errors(found, wanted).items() if not e <= bar}
    assert not over, sorted(over.items(), key=lambda item: -item[1])[:5]


def relative(found, wanted, floor=0.0):
    """The norm of a difference as a share of the norm."""
    norm = max(np.linalg.norm(wanted), floor)
    return float(np.linalg.norm(found - wanted) / norm)


def gradient_errors(step, reference):
    """By network the error of all gradients together, and that of the worst array.

    Arrays of less than 1e-4 of a network's largest norm count as of that: such are the biases
    before a norm, whose gradient is nothing but rounding.
    """
    result = {}
    for network in dict.fromkeys(map(network_of, reference.gradients)):
        names = [name for name in reference.gradients if network_of(name) == network]
        found, wanted = (
            np.concatenate([s.gradients[name].ravel() for name in names]) for s in (step, reference)
        )
        floor = 1e-4 * max(np.linalg.norm(reference.gradients[name]) for name in names)
        worst = max(
            relative(step.gradients[name], reference.gradients[name], floor) for name in names
        )
        result[network] = relative(found, wanted), worst
    return result
