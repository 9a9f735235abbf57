"""Checks of numbers: the same on every device."""

import functools

import numpy as np
import paddle

from modules.ops.linalg import inverse_2x2
from modules.util import SameBlock2d
from tools.gpu_checking.findings import Findings
from tools.gpu_checking.small import (
    Arrays,
    compare_largest,
    compare_norms,
    on_device,
    on_gpu,
    step_arrays,
    without_tf32,
)

# Under the published networks' own: of arrays in float64 their largest error (the measure of
# tools/parity.py), of those in float32 their root mean square error over all of a kind.
FLOAT64_BAR, FLOAT32_BAR = 1e-6, 2e-5
# Gradients in float32 jump where a sample meets the border of a pixel or a difference its zero.
FLOAT32_GRADIENT_BAR = 5e-3


@functools.cache
def reference() -> Arrays:
    """A step of the small networks on the CPU in float64, operation by operation."""
    with on_device('cpu'):
        return step_arrays('float64', plain=True)


def float64(findings: Findings) -> None:
    """The device's way in float64 beside the CPU's plain one."""
    compare_largest(findings, step_arrays('float64'), reference(), FLOAT64_BAR)


def float32(findings: Findings) -> None:
    """The device's way in float32 beside the CPU's plain one in float64."""
    without_tf32()
    found = step_arrays('float32')
    compare_norms(findings, found, reference(), FLOAT32_BAR, FLOAT32_GRADIENT_BAR)


def inverse(findings: Findings) -> None:
    """Inverses of 2x2 matrices beside NumPy's in float64; what becomes of singular ones."""
    rng = np.random.default_rng(0)
    matrices = rng.normal(size=(4, 10, 2, 2)).astype('float32')
    wanted = np.linalg.inv(matrices.astype('float64'))
    found = inverse_2x2(paddle.to_tensor(matrices)).numpy()
    error = np.abs(found - wanted).max((2, 3)) / np.abs(wanted).max((2, 3))
    findings.at_most('inverses', float(error.max()), 1e-6)
    singular = paddle.to_tensor([[[1.0, 2.0], [2.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]])
    singular.stop_gradient = False
    inverses = inverse_2x2(singular)
    inverses.sum().backward()
    for name, tensor in (('inverses', inverses), ('gradients', singular.grad)):
        finite = bool(np.isfinite(tensor.numpy()).all())
        findings.holds(f'singular matrices: {name} are finite', finite, str(tensor.numpy()))


def batch_norm(findings: Findings) -> None:
    """Running statistics after one batch: of PyTorch's kind, with the unbiased variance."""
    rng = np.random.default_rng(0)
    images = rng.normal(0.3, 1, (2, 3, 4, 5))
    for dtype, bar in (('float64', 1e-6), ('float32', 1e-5)):
        block = SameBlock2d(3, 4)
        block.to(dtype=dtype)
        block.train()
        x = paddle.to_tensor(images.astype(dtype))
        values = block.conv(x).numpy().astype('float64')
        block(x)
        mean, variance = values.mean((0, 2, 3)), values.var((0, 2, 3), ddof=1)
        found_mean, found = block.norm._mean.numpy(), block.norm._variance.numpy()
        wrong = np.abs(found - (0.9 + 0.1 * variance)).max() / found.max()
        findings.at_most(f'running variance in {dtype}', wrong, bar)
        wrong = np.abs(found_mean - 0.1 * mean).max() / np.abs(mean).max()
        findings.at_most(f'running mean in {dtype}', wrong, bar)
    if on_gpu():
        findings.fact("Paddle's sync_batch_norm keeps", _kept_by_sync_batch_norm(images))


def _kept_by_sync_batch_norm(images: np.ndarray) -> str:
    """Which variance `paddle.nn.SyncBatchNorm` keeps; while it is the biased one, we do without."""
    layer = paddle.nn.SyncBatchNorm(images.shape[1])
    layer.train()
    layer(paddle.to_tensor(images.astype('float32')))
    kept = layer._variance.numpy()
    kinds = {'the biased variance': 0, 'the unbiased variance': 1}
    for name, ddof in kinds.items():
        if np.allclose(kept, 0.9 + 0.1 * images.var((0, 2, 3), ddof=ddof), rtol=1e-4):
            return name
    return 'something else'


def repeat(findings: Findings) -> None:
    """The same step twice. On GPUs sums by atomic operations come in any order."""
    first, second = (step_arrays('float32') for _ in range(2))
    same = all(first[name].tobytes() == second[name].tobytes() for name in first)
    if not on_gpu():
        findings.holds('bit for bit the same on the CPU', same)
        return
    findings.fact('bit for bit the same', same)
    compare_norms(findings, second, first, FLOAT32_BAR, FLOAT32_GRADIENT_BAR)
