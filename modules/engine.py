"""What computes the networks of an animation: Paddle's eager mode, or programs compiled from them.

An engine serves one frame size. Keypoints are always computed in float32.
"""

import contextlib
import functools
import gc
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Callable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np
import paddle
from paddle import Tensor, nn

from modules.build import Models
from modules.checkpoint import StoredModels
from modules.cli import UserError
from modules.generator import EncodedSource, Generated, deform
from modules.hashing import weights_hash
from modules.inference_networks import FrameDecoder, KeypointProgram, SourceEncoder
from modules.ops.precision import DTYPES, autocast, check_capability, gpu_capability
from modules.predictors import Program, compile_program
from modules.program_cache import ProgramCache, key_of
from modules.runtime import describe_cpu, release_freed_memory
from modules.util import Keypoints

# After so many frames memory that fell to pieces goes back to the system: 30 ms for 50 MB.
_TIDY_EVERY = 16
# Failures of Paddle's compiler and predictor.
_COMPILER_ERRORS = (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError)
_GPU_ERRORS = (*_COMPILER_ERRORS, OSError, MemoryError, SystemError, IndexError)


class EagerEngine:
    """The networks themselves, operation by operation: the reference.

    Args:
        models: networks with trained weights; they are switched to eval mode.
        dtype: of the generator on GPUs: 'float32', 'bfloat16' or 'float16'.
    """

    name = 'eager'

    def __init__(self, models: Models, dtype: str = 'float32'):
        models.eval()
        self.models = models
        self.dtype = dtype

    def detect(self, image: Tensor) -> Keypoints:
        """(1, C, H, W) in [0, 1] -> keypoints."""
        return self.models.kp_detector(image)

    def encode(self, image: Tensor, kp_source: Keypoints) -> EncodedSource:
        """What depends on the source alone, for `decode`."""
        with self._precision():
            return self.models.generator.encode(image)

    def decode(
        self,
        source: EncodedSource,
        kp_driving: Keypoints,
        kp_source: Keypoints,
        with_deformed: bool = False,
    ) -> Generated:
        """The source in the driving pose."""
        with self._precision():
            generated = self.models.generator.decode(source, kp_driving, kp_source, with_deformed)
        if self.dtype == 'float32':
            return generated
        return Generated(*(part if part is None else part.astype('float32') for part in generated))

    def _precision(self):
        return autocast(self.dtype)


class CompiledSource(NamedTuple):
    """All that depends on the source alone."""

    image: Tensor  # (1, C, H, W)
    parts: Tuple[np.ndarray, ...]  # the first inputs of the decoder


class CompiledEngine:
    """Programs for Paddle's predictor, from the cache or compiled.

    Args:
        models: networks with trained weights. They are not needed afterwards, which saves memory
            if nobody else keeps them; stored ones are not even loaded if all programs are there.
        model_params: of their config.
        size: (H, W) of the frames.
        bf16: compute the generator's convolutions in bfloat16.
        explain: also compute what `decode` returns beside the prediction; costs little.
        gpu: number of the GPU that runs them; the CPU, by oneDNN, if None.

    Raises:
        UserError: the stored networks can't be loaded, or have been changed meanwhile.
    """

    def __init__(
        self,
        models: Union[Models, StoredModels],
        model_params: Mapping[str, Any],
        size: Sequence[int],
        bf16: bool = False,
        explain: bool = False,
        gpu: Optional[int] = None,
    ):
        self.name = 'onednn' if gpu is None else 'cudnn'
        h, w = size
        common = model_params['common_params']
        image, kp = [1, common['num_channels'], h, w], [1, common['num_kp'], 2]
        self.align_corners, self.explain = common['align_corners'], explain
        loaded = functools.lru_cache(lambda: _loaded(models).eval())
        store = _Store({
            'weights': _identity(models),
            'model': json.dumps(model_params, sort_keys=True),
            'size': f'{h}x{w}',
            'sources': _hash_of_sources(),
            'paddle': f'{paddle.__version__} {paddle.version.commit}',
            'device': describe_cpu() if gpu is None else paddle.device.cuda.get_device_name(gpu),
            'engine': self.name,
        }, gpu)  # fmt: skip
        self._keypoints = store.program(
            'keypoints', lambda: (KeypointProgram(loaded().kp_detector, gpu is None), [image])
        )
        self._source = store.program(
            'source', lambda: (SourceEncoder(loaded().generator), [image, kp])
        )

        def decoder() -> Tuple[nn.Layer, List[List[int]]]:
            generator = loaded().generator
            loaded.cache_clear()  # the last that needs the networks, and the largest program
            decoder = FrameDecoder(generator, tuple(size), bf16, explain, onednn=gpu is None)
            return decoder, _decoder_inputs(decoder, generator, common, size)

        name = f'frame{" explained" * explain}{" bf16" * bf16}'
        self._decoder = store.program(name, decoder, bf16)
        self._encoded: Optional[CompiledSource] = None  # what the decoder has got
        self._frames = 0

    def detect(self, image: Tensor) -> Keypoints:
        """(1, C, H, W) in [0, 1] -> keypoints."""
        self._keypoints.set(0, image.numpy())
        return Keypoints(*map(paddle.to_tensor, self._keypoints.run()))

    def encode(self, image: Tensor, kp_source: Keypoints) -> CompiledSource:
        """What depends on the source alone, for `decode`."""
        self._source.set(0, image.numpy())
        self._source.set(1, kp_source.value.numpy())
        return CompiledSource(image, tuple(self._source.run()))

    def decode(
        self,
        source: CompiledSource,
        kp_driving: Keypoints,
        kp_source: Keypoints,
        with_deformed: bool = False,
    ) -> Generated:
        """The source in the driving pose; without `explain` nothing but the prediction.

        Raises:
            ValueError: with_deformed, but the engine was made without `explain`.
        """
        if with_deformed and not self.explain:
            raise ValueError('an engine that explains is needed for the deformed image')
        if source is not self._encoded:
            for position, array in enumerate(source.parts):
                self._decoder.set(position, array)
            self._encoded = source
        pairs = [(kp_driving.value, kp_source.value), (kp_driving.jacobian, kp_source.jacobian)]
        given = [tensor for pair in pairs for tensor in pair if tensor is not None]
        for position, tensor in enumerate(given, len(source.parts)):
            self._decoder.set(position, tensor.numpy())
        if self._frames % _TIDY_EVERY == 0:  # the first time, what compiling and the networks had
            release_freed_memory()
        self._frames += 1
        prediction, *explained = map(paddle.to_tensor, self._decoder.run())
        if not explained:
            return Generated(prediction, None, None, None, None)
        deformation, mask, sparse_deformed, *occlusion = explained
        deformed = deform(source.image, deformation, self.align_corners) if with_deformed else None
        occlusion_map = occlusion[0] if occlusion else None
        return Generated(prediction, deformed, mask, sparse_deformed, occlusion_map)


Engine = Union[EagerEngine, CompiledEngine]


def as_engine(models: Union[Models, Engine]) -> Engine:
    """An engine as it is; networks alone are computed eagerly."""
    return models if isinstance(models, (EagerEngine, CompiledEngine)) else EagerEngine(models)


def _loaded(models: Union[Models, StoredModels]) -> Models:
    return models.load() if isinstance(models, StoredModels) else models


def _identity(models: Union[Models, StoredModels]) -> str:
    if isinstance(models, StoredModels):
        return f'file {models.identity()}'
    return weights_hash([models.generator, models.kp_detector])


class _Store:
    """Programs that depend on the same things, from the cache or made."""

    def __init__(self, parts: Mapping[str, str], gpu: Optional[int] = None):
        self.parts = parts
        self.gpu = gpu
        self.cache = ProgramCache()

    def program(
        self,
        name: str,
        make: Callable[[], Tuple[nn.Layer, List[List[int]]]],
        bf16: bool = False,
    ) -> Program:
        """
        Args:
            make: gives the layer and the shapes of its inputs.
        """
        key = key_of({**self.parts, 'program': name})
        entry = self.cache.find(key)
        if entry is not None:
            # A run that trims the cache may take it away meanwhile.
            with contextlib.suppress(*_COMPILER_ERRORS, OSError):
                return Program(entry, bf16, gpu=self.gpu)
        layer, shapes = make()
        random = np.random.default_rng(0)
        noise = [random.random(shape, np.float32) for shape in shapes]
        with self.cache.fill(key) as folder, paddle.no_grad():
            compile_program(layer, shapes, folder)
            expected = [tensor.numpy() for tensor in layer(*map(paddle.to_tensor, noise))]
            del layer  # memory holds either its weights or the program's
            gc.collect()
            release_freed_memory()
            program = Program(folder, bf16, gpu=self.gpu)
            exact = not bf16 and self.gpu is None  # GPUs may round factors (TF32)
            _verify(program, noise, expected, 1e-3 if exact else 0.05)
        return program


def _verify(
    program: Program,
    arrays: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    bar: float,
) -> None:
    """Raises RuntimeError if a new program doesn't compute of arrays what is expected.

    Compilers have defects, and one of wrong pictures would stay in the cache.
    """
    for position, array in enumerate(arrays):
        program.set(position, array)
    for found, wanted in zip(program.run(), expected):
        error = np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean())
        if not error <= bar:  # nor for NaN
            raise RuntimeError(f'a compiled program is wrong by {error:.1e}')


def _decoder_inputs(
    decoder: FrameDecoder, generator, common: Mapping[str, Any], size: Sequence[int]
) -> List[List[int]]:
    """The shapes of what a decoder takes."""
    h, w = size
    motion = generator.dense_motion_network
    step = motion.down.stride if motion.scale_factor != 1 else 1
    reduced = [-(-h // step), -(-w // step)]
    features = decoder.features_size
    count = common['num_kp']
    return [
        [1, common['num_channels'], *reduced],
        [features[0] * features[1], decoder.num_features],
        [count, *reduced],
        *[[1, count, 2]] * 2,
        *[[1, count, 2, 2]] * (2 * common['estimate_jacobian']),
    ]


def _hash_of_sources() -> str:
    """Of all modules: what compiles programs, the networks, and what reads checkpoints."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob('[!.]*.py')):
        digest.update(path.read_bytes())
    return digest.hexdigest()


# --- the choice ----------------------------------------------------------------------------------


def build_engine(
    models: Union[Models, StoredModels],
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
    wanted = models, model_params, size, engine, precision, explain
    device = paddle.device.get_device()
    if device != 'cpu':
        return _engine_on_gpu(int(device.partition(':')[2] or 0), *wanted)
    return _engine_on_cpu(*wanted)


def _engine_on_gpu(number, models, model_params, size, engine, precision, explain) -> Engine:
    if engine == 'onednn':
        raise UserError('--engine onednn: runs on the CPU; add --cpu')
    if engine == 'cudnn':
        if precision != 'fp32':
            raise UserError(f'--engine cudnn: has only fp32; for {precision} use --engine eager')
        try:
            return CompiledEngine(models, model_params, size, explain=explain, gpu=number)
        except _GPU_ERRORS as error:
            _note(f'the eager engine is used: {_failure(error)}')
    check_capability('--precision', precision, gpu_capability())
    return EagerEngine(_loaded(models), DTYPES[precision])


def _engine_on_cpu(models, model_params, size, engine, precision, explain) -> Engine:
    if engine == 'cudnn':
        raise UserError('--engine cudnn: runs on GPUs, and Paddle sees none or was told --cpu')
    if engine == 'eager':
        if precision != 'fp32':
            _note(f'--precision {precision}: the eager engine has only fp32 on the CPU')
        return EagerEngine(_loaded(models))
    if precision == 'fp16':
        raise UserError('--precision fp16: is for GPUs; on the CPU choose bf16')
    lacks = _lack_of_onednn()
    if lacks is None and precision == 'bf16' and not _has_bf16():
        _note('--precision bf16: this CPU has no instructions for it, so fp32 is used')
        precision = 'fp32'
    if lacks is None:
        try:
            return CompiledEngine(models, model_params, size, precision == 'bf16', explain)
        except _COMPILER_ERRORS as error:
            if engine == 'onednn':
                raise
            lacks = _failure(error)
    if engine == 'onednn':
        raise UserError(f'--engine onednn: {lacks}; use --engine eager')
    _note(f'the slow eager engine is used: {lacks}')
    return EagerEngine(_loaded(models))


def _failure(error: Exception) -> str:
    return f'its compiler failed ({" ".join(str(error).split())[:200]})'


def _lack_of_onednn() -> Optional[str]:
    if not paddle.base.core.is_compiled_with_onednn():
        return 'this PaddlePaddle has no oneDNN'
    return None


def _has_bf16() -> bool:
    flags = describe_cpu().split()
    return 'avx512_bf16' in flags or 'amx_bf16' in flags


def _note(message: str) -> None:
    print(f'note: {message}', file=sys.stderr)
