"""Out of memory, of a GPU or of the machine, in one line that says what helps."""

import contextlib
import errno
import re
from collections.abc import Iterator, Mapping
from typing import Any

from modules.runtime.errors import UserError

# How Paddle 3.3, NVIDIA's libraries, oneDNN and C++ say it, in exceptions of any kind: those from
# within the backward pass of a PyLayer, for example, become an OSError.
_SIGNS = re.compile(
    r'ResourceExhausted|MemoryError|[Oo]ut of memory|ALLOC_FAILED|std::bad_alloc|out_of_memory'
    r'|[Uu]nable to allocate|Cannot allocate'
)
_ON_GPU = re.compile(r'on GPU (\d+)|CUDA|CUDNN|CUBLAS')
_AMOUNT = r'([\d.]+)([KMG]?B)'
_AMOUNTS = re.compile(rf'Cannot allocate {_AMOUNT} .*available memory is only {_AMOUNT}')


def memory_shortage(error: BaseException) -> str | None:
    """What is short of memory, and by how much if that is known; None for any other failure."""
    if isinstance(error, UserError):  # has its words already
        return None
    text = str(error)
    of_kind = isinstance(error, MemoryError) or getattr(error, 'errno', None) == errno.ENOMEM
    if not of_kind and not _SIGNS.search(text):
        return None
    found = _ON_GPU.search(text)
    where = ''
    if found is not None:
        where = f' on GPU {found[1]}' if found[1] else ' on the GPU'
    amounts = _AMOUNTS.search(text)
    if amounts is None:
        return f'out of memory{where}'
    wanted, free = (f'{float(amounts[i]):.3g} {amounts[i + 1]}' for i in (1, 3))
    return f'out of memory{where} ({wanted} more are needed, {free} are free)'


@contextlib.contextmanager
def shortage_explained(mend: str) -> Iterator[None]:
    """Within the block, or the function it decorates, a lack of memory is a user's error.

    Args:
        mend: what the user can do about it.
    """
    try:
        yield
    except Exception as error:
        shortage = memory_shortage(error)
        if shortage is None:
            raise
        raise UserError(f'{shortage}: {mend}') from error


# Of demo.py, animate.py and tools/evaluate.py.
ANIMATION_MEND = (
    'end other programs that use it; on a GPU, --precision fp16 needs less and --cpu nothing of it'
)


def training_mend(params: Mapping[str, Any], processes: int) -> str:
    """What a training run can do.

    Args:
        params: the config's train_params.
        processes: that share the batch.
    """
    batch, steps = params['batch_size'], params['accumulation_steps']
    at_once = batch // (processes * steps)
    settings = f'train_params.batch_size is {batch}, accumulation_steps {steps}'
    if at_once > 1:
        return (
            f'{settings}, which holds {at_once} samples at once; raise accumulation_steps, by '
            'which a batch is computed in parts, or lower batch_size'
        )
    precision = '' if params['amp'] else 'set train_params.amp to bf16, '
    return (
        f'{settings}, which holds a single sample; {precision}take smaller frames '
        '(dataset_params.frame_shape) or a device with more memory'
    )
