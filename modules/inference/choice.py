"""Which engine computes an animation on this machine, and how many frames a run of it takes. What
is missing is told in a line.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import paddle

from modules.build import Models
from modules.checkpoints.models import StoredModels
from modules.eager import EagerEngine, Engine
from modules.inference.engine import COMPILER_ERRORS, GPU_ERRORS, CompiledEngine, loaded_models
from modules.ops.precision import DTYPES, check_capability, gpu_capability
from modules.runtime.errors import OUTPUT_ERRORS, UserError, reason_of
from modules.runtime.memory import available_memory
from modules.runtime.messages import note
from modules.runtime.process import has_bf16, has_instructions

# Frames of a run where the user names no number, for frames of up to _PIXELS; see `choose_batch`.
BATCHES = {'GPU': 8, 'CPU, bf16 by AMX': 4, 'CPU': 1}
_PIXELS = 256 * 256
# That a run takes for each pixel of each of its frames, at most. Programs of vox-256 take 500 on a
# CPU; what networks take on GPUs is not measured.
_BYTES = 4096
_LEAST_ROOM = 2**20  # bytes; where fewer are free, that is why a compiler fails
_SHARE = 4  # a batch may take so large a part of the memory: one of so many


class _Wanted(NamedTuple):
    """The arguments of build_engine."""

    models: Models | StoredModels
    model_params: Mapping[str, Any]
    size: Sequence[int]
    engine: str
    precision: str
    explain: bool
    batch: int | None


def build_engine(
    models: Models | StoredModels,
    model_params: Mapping[str, Any],
    size: Sequence[int],
    engine: str = 'auto',
    precision: str = 'fp32',
    explain: bool = False,
    batch: int | None = 1,
) -> Engine:
    """The engine of these names for this machine. What it lacks is told in a line.

    Args:
        models, model_params, size, explain: as for CompiledEngine.
        engine: one of engine_options.ENGINES; auto: the fastest in float32 that there is.
        precision: one of engine_options.PRECISIONS, of the generator.
        batch: frames of a run: one where each is waited for; None where they come from a file: as
            many as `choose_batch` finds.

    Raises:
        UserError: the engine was asked for by its name, and this machine lacks it; or the stored
            models can't be loaded.
    """
    wanted = _Wanted(models, model_params, size, engine, precision, explain, batch)
    device = paddle.device.get_device()
    if device != 'cpu':
        return _engine_on_gpu(int(device.partition(':')[2] or 0), wanted)
    return _engine_on_cpu(wanted)


def choose_batch(
    size: Sequence[int],
    gpu: int | None = None,
    bf16: bool = False,
    explain: bool = False,
) -> int:
    """How many frames of a file a run takes: BATCHES, less of large frames or in little memory.

    - On GPUs several: a single frame leaves most of their processors without work (not measured).
    - On CPUs with matrix units (AMX), in bf16, several: they compute faster than the weights (150
      MB of vox-256) come from memory, which a batch reads once.
    - On other CPUs one: they compute for longer than they read, and what a run needs beside the
      weights grows with the batch, until it fits no cache any more.
    - Larger frames than 256 x 256 make smaller batches of as many pixels: they are work enough.
    - Explained frames come one by one: each brings more than twenty pictures along.

    Args:
        size: (H, W) of the frames.
        gpu: number of the GPU that computes; the CPU if None.
        bf16: by compiled programs in bfloat16, on the CPU.
    """
    if explain:
        return 1
    amx = gpu is None and bf16 and has_instructions('amx_bf16')
    count = BATCHES['GPU' if gpu is not None else 'CPU, bf16 by AMX' if amx else 'CPU']
    pixels = size[0] * size[1]
    memory = available_memory() if gpu is None else _memory_of_gpu(gpu)
    limits = [count, count * _PIXELS // pixels]
    if memory is not None:
        limits.append(memory // (_SHARE * _BYTES * pixels))
    return max(1, min(limits))


def _batch_of(wanted: _Wanted, gpu: int | None = None, bf16: bool = False) -> int:
    if wanted.batch is not None:
        return wanted.batch
    return choose_batch(wanted.size, gpu, bf16, wanted.explain)


def _memory_of_gpu(number: int) -> int:
    return paddle.device.cuda.get_device_properties(number).total_memory


def _engine_on_gpu(number: int, wanted: _Wanted) -> Engine:
    models, model_params, size, engine, precision, explain, _ = wanted
    if engine == 'onednn':
        raise UserError('--engine onednn: runs on the CPU; add --cpu')
    batch = _batch_of(wanted, number)
    if engine == 'cudnn':
        if precision != 'fp32':
            raise UserError(f'--engine cudnn: has only fp32; for {precision} use --engine eager')
        try:
            return CompiledEngine(
                models, model_params, size, explain=explain, gpu=number, batch=batch
            )
        except GPU_ERRORS as error:
            note(f'the eager engine is used: {_failure(error)}')
    check_capability('--precision', precision, gpu_capability())
    return EagerEngine(loaded_models(models), DTYPES[precision], batch)


def _engine_on_cpu(wanted: _Wanted) -> Engine:
    models, model_params, size, engine, precision, explain, _ = wanted
    if engine == 'cudnn':
        raise UserError('--engine cudnn: runs on GPUs, and Paddle sees none or was told --cpu')
    if engine == 'eager':
        if precision != 'fp32':
            note(f'--precision {precision}: the eager engine has only fp32 on the CPU')
        return EagerEngine(loaded_models(models), batch=_batch_of(wanted))
    if precision == 'fp16':
        raise UserError('--precision fp16: is for GPUs; on the CPU choose bf16')
    lacks = _lack_of_onednn()
    if lacks is None and precision == 'bf16' and not has_bf16():
        note('--precision bf16: this CPU has no instructions for it, so fp32 is used')
        precision = 'fp32'
    if lacks is None:
        bf16 = precision == 'bf16'
        batch = _batch_of(wanted, bf16=bf16)
        try:
            return CompiledEngine(models, model_params, size, bf16, explain, batch=batch)
        except (*COMPILER_ERRORS, OSError) as error:
            if engine == 'onednn' or not _is_of_engine(error):
                raise
            lacks = _failure(error)
    if engine == 'onednn':
        raise UserError(f'--engine onednn: {lacks}; use --engine eager')
    note(f'the slow eager engine is used: {lacks}')
    return EagerEngine(loaded_models(models), batch=_batch_of(wanted))


def _is_of_engine(error: Exception) -> bool:
    """Whether an engine without programs may do better."""
    return not isinstance(error, OSError) or error.errno in OUTPUT_ERRORS


def _failure(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in OUTPUT_ERRORS:
        return f'its programs can not be written ({reason_of(error)})'
    # Paddle goes on where it could write a part of a program alone, and fails to load it.
    if shutil.disk_usage(tempfile.gettempdir()).free < _LEAST_ROOM:
        return f'its programs can not be written to {tempfile.gettempdir()}; free space there'
    return f'its compiler failed ({" ".join(str(error).split())[:200]})'


def _lack_of_onednn() -> str | None:
    if not paddle.base.core.is_compiled_with_mkldnn():
        return 'this PaddlePaddle has no oneDNN'
    return None
