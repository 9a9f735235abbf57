"""Mixed precision: what is computed in bfloat16 or float16, and what stays in float32.

On GPUs convolutions take the low precision, and what lies between them follows. On CPUs that have
bfloat16, convolutions alone take it (modules/ops/onednn.py), as most of Paddle's other operations
lack it there. Coordinates stay in float32: bfloat16 has 8 significant bits, so that near the border
of a frame of 256 pixels it moves a keypoint by up to half a pixel. Frames stay in float32, too:
their blur is cheap.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import paddle
from paddle.amp.auto_cast import amp_state

from modules.runtime.errors import UserError
from modules.runtime.process import has_bf16

# Paddle's names of the precisions that options and configs name.
DTYPES = {'fp32': 'float32', 'bf16': 'bfloat16', 'fp16': 'float16'}

# Never in low precision, beside what Paddle itself keeps in float32 (softmax, exp, means, ...). No
# network here multiplies matrices of anything but coordinates. The names are those by which
# autocast knows the operations, which differ from the functions'.
FLOAT32_OPS = frozenset({'matmul_v2', 'grid_sampler', 'sigmoid'})

# The compute capability from which Paddle's autocast takes effect; below it only warns.
_CAPABILITIES = {'bf16': (8, 0), 'fp16': (7, 0)}


_low_convolutions = False  # on the CPU, as it is now


def has_effect() -> bool:
    """Whether Paddle's autocast works here: on GPUs only."""
    return paddle.device.get_device() != 'cpu'


def lowers_convolutions(dtype: str | None) -> bool:
    """Whether `autocast` to it lowers convolutions, and nothing else, here: on CPUs."""
    return dtype == 'bfloat16' and not has_effect() and has_bf16()


def convolutions_are_low() -> bool:
    """Whether convolutions on the CPU are to take bfloat16 now."""
    return _low_convolutions


@contextmanager
def _convolutions(low: bool) -> Iterator[None]:
    global _low_convolutions
    before, _low_convolutions = _low_convolutions, low
    try:
        yield
    finally:
        _low_convolutions = before


def autocast(dtype: str | None) -> AbstractContextManager[None]:
    """A context in which networks compute in `dtype`, where that has an effect.

    Args:
        dtype: 'bfloat16', 'float16', or 'float32' or None for nothing.
    """
    if lowers_convolutions(dtype):
        return _convolutions(low=True)
    if dtype in (None, 'float32') or not has_effect():
        return nullcontext()
    return paddle.amp.auto_cast(level='O1', dtype=dtype, custom_black_list=FLOAT32_OPS)


def full_precision() -> AbstractContextManager[None]:
    """A context without autocast. What enters from outside may have to be cast to float32 first."""
    if _low_convolutions:
        return _convolutions(low=False)
    if amp_state() is None:
        return nullcontext()
    return paddle.amp.auto_cast(enable=False)


def gpu_capability() -> tuple[int, int] | None:
    """Compute capability of the GPU in use; None on the CPU."""
    return paddle.device.cuda.get_device_capability() if has_effect() else None


def check_capability(
    option: str, precision: str | None, capability: tuple[int, int] | None
) -> None:
    """Refuses a precision that this GPU lacks, which Paddle would pass over with a warning.

    Args:
        option: what asked for it: 'amp', '--precision'.
        precision: 'fp32', 'bf16', 'fp16' or None.
        capability: of the GPU, as `gpu_capability` gives it; None (the CPU) passes.

    Raises:
        UserError: the GPU is too old.
    """
    needed = _CAPABILITIES.get(precision or 'fp32')
    if needed is None or capability is None or tuple(capability) >= needed:
        return
    others = [name for name, least in _CAPABILITIES.items() if tuple(capability) >= least]
    raise UserError(
        f'{option}: {precision} needs a GPU of compute capability {needed[0]}.{needed[1]} or '
        f'higher, and this one has {capability[0]}.{capability[1]}; use '
        f'{" or ".join([*others, "fp32"])}'
    )
