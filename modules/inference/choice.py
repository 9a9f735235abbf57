"""Which engine computes an animation on this machine. What is missing is told in a line."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import paddle

from modules.build import Models
from modules.checkpoints.models import StoredModels
from modules.eager import EagerEngine, Engine
from modules.inference.engine import COMPILER_ERRORS, GPU_ERRORS, CompiledEngine, loaded_models
from modules.ops.precision import DTYPES, check_capability, gpu_capability
from modules.runtime.errors import UserError
from modules.runtime.messages import note
from modules.runtime.process import has_bf16


class _Wanted(NamedTuple):
    """The arguments of build_engine."""

    models: Models | StoredModels
    model_params: Mapping[str, Any]
    size: Sequence[int]
    engine: str
    precision: str
    explain: bool


def build_engine(
    models: Models | StoredModels,
    model_params: Mapping[str, Any],
    size: Sequence[int],
    engine: str = 'auto',
    precision: str = 'fp32',
    explain: bool = False,
) -> Engine:
    """The engine of these names for this machine. What it lacks is told in a line.

    Args:
        models, model_params, size, explain: as for CompiledEngine.
        engine: one of engine_options.ENGINES; auto: the fastest in float32 that there is.
        precision: one of engine_options.PRECISIONS, of the generator.

    Raises:
        UserError: the engine was asked for by its name, and this machine lacks it; or the stored
            models can't be loaded.
    """
    wanted = _Wanted(models, model_params, size, engine, precision, explain)
    device = paddle.device.get_device()
    if device != 'cpu':
        return _engine_on_gpu(int(device.partition(':')[2] or 0), wanted)
    return _engine_on_cpu(wanted)


def _engine_on_gpu(number: int, wanted: _Wanted) -> Engine:
    models, model_params, size, engine, precision, explain = wanted
    if engine == 'onednn':
        raise UserError('--engine onednn: runs on the CPU; add --cpu')
    if engine == 'cudnn':
        if precision != 'fp32':
            raise UserError(f'--engine cudnn: has only fp32; for {precision} use --engine eager')
        try:
            return CompiledEngine(models, model_params, size, explain=explain, gpu=number)
        except GPU_ERRORS as error:
            note(f'the eager engine is used: {_failure(error)}')
    check_capability('--precision', precision, gpu_capability())
    return EagerEngine(loaded_models(models), DTYPES[precision])


def _engine_on_cpu(wanted: _Wanted) -> Engine:
    models, model_params, size, engine, precision, explain = wanted
    if engine == 'cudnn':
        raise UserError('--engine cudnn: runs on GPUs, and Paddle sees none or was told --cpu')
    if engine == 'eager':
        if precision != 'fp32':
            note(f'--precision {precision}: the eager engine has only fp32 on the CPU')
        return EagerEngine(loaded_models(models))
    if precision == 'fp16':
        raise UserError('--precision fp16: is for GPUs; on the CPU choose bf16')
    lacks = _lack_of_onednn()
    if lacks is None and precision == 'bf16' and not has_bf16():
        note('--precision bf16: this CPU has no instructions for it, so fp32 is used')
        precision = 'fp32'
    if lacks is None:
        try:
            return CompiledEngine(models, model_params, size, precision == 'bf16', explain)
        except COMPILER_ERRORS as error:
            if engine == 'onednn':
                raise
            lacks = _failure(error)
    if engine == 'onednn':
        raise UserError(f'--engine onednn: {lacks}; use --engine eager')
    note(f'the slow eager engine is used: {lacks}')
    return EagerEngine(loaded_models(models))


def _failure(error: Exception) -> str:
    return f'its compiler failed ({" ".join(str(error).split())[:200]})'


def _lack_of_onednn() -> str | None:
    if not paddle.base.core.is_compiled_with_onednn():
        return 'this PaddlePaddle has no oneDNN'
    return None
