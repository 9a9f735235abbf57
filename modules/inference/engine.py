"""The engine of programs compiled from the networks, for one frame size.

The eager one is in modules/eager.py, the choice between them in modules/inference/choice.py.
"""

import contextlib
import functools
import gc
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn
from tqdm import tqdm

from modules.build import Models
from modules.checkpoints.models import StoredModels, weights_hash
from modules.generator import Generated, OcclusionAwareGenerator, deform
from modules.inference.networks import (
    FrameDecoder,
    KeypointProgram,
    SourceEncoder,
    has_winograd_form,
    reduced_size,
)
from modules.inference.program_cache import ProgramCache, key_of
from modules.ops.predictors import Program, compile_program
from modules.runtime.heap import release_freed_memory
from modules.runtime.process import describe_cpu
from modules.util import Keypoints

# After so many runs memory that fell to pieces goes back to the system: 30 ms for 50 MB.
_TIDY_EVERY = 16
_PROGRAMS = 3  # of an engine: keypoints, source, frame
# What the networks are written in, beside the operations.
_NETWORK_SOURCES = ('build', 'dense_motion', 'generator', 'keypoint_detector', 'util')
# Failures of Paddle's compiler and predictor.
COMPILER_ERRORS = (RuntimeError, ValueError, TypeError, NotImplementedError, AttributeError)
GPU_ERRORS = (*COMPILER_ERRORS, OSError, MemoryError, SystemError, IndexError)


class CompiledSource(NamedTuple):
    """All that depends on the source alone."""

    image: Tensor  # (1, C, H, W)
    parts: tuple[np.ndarray, ...]  # the first inputs of the decoder


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
        batch: frames of a run. Programs have fixed shapes. Where there are fewer frames, as at a
            clip's end, the last one fills the batch up: programs for each number would cost more
            in time to compile and in memory.

    Raises:
        UserError: the stored networks can't be loaded, or have been changed meanwhile.
    """

    def __init__(
        self,
        models: Models | StoredModels,
        model_params: Mapping[str, Any],
        size: Sequence[int],
        bf16: bool = False,
        explain: bool = False,
        gpu: int | None = None,
        batch: int = 1,
    ):
        self.name = 'onednn' if gpu is None else 'cudnn'
        self.batch = batch
        h, w = size
        common = model_params['common_params']
        image, kp = [common['num_channels'], h, w], [common['num_kp'], 2]
        self.align_corners, self.explain = common['align_corners'], explain
        loaded = functools.lru_cache(lambda: loaded_models(models).eval())
        store = _Store({
            'weights': _identity(models),
            'model': json.dumps(model_params, sort_keys=True),
            'size': f'{h}x{w}',
            'sources': _hash_of_sources(),
            'paddle': f'{paddle.__version__} {paddle.version.commit}',
            'device': describe_cpu() if gpu is None else paddle.device.cuda.get_device_name(gpu),
            'engine': self.name,
        }, gpu)  # fmt: skip
        with contextlib.closing(store):
            times = '' if batch == 1 else f' x{batch}'
            self._keypoints = store.program(
                f'keypoints{times}',
                lambda: (
                    KeypointProgram(loaded().kp_detector, (batch, h, w), gpu is None),
                    [[batch, *image]],
                ),
            )
            self._source = store.program(  # the same for any batch
                'source',
                lambda: (
                    SourceEncoder(loaded().generator, (h, w), gpu is None),
                    [[1, *image], [1, *kp]],
                ),
            )
            # In float32 Winograd's transforms, where they can be, halve the time on any processor;
            # in bfloat16 it depends on the processor's units, so there both forms are timed.
            params = model_params['generator_params']
            both = bf16 and gpu is None and has_winograd_form(params, (h, w))

            def decoder(direct: bool) -> Made:
                generator = loaded().generator
                if direct or not both:
                    loaded.cache_clear()  # the last that needs the networks, the largest program
                made = FrameDecoder(generator, (h, w), bf16, explain, gpu is None, batch, direct)
                return made, _decoder_inputs(made, generator, common, size, batch)

            name = f'frame{" explained" * explain}{" bf16" * bf16}{times}'
            forms = [functools.partial(decoder, direct) for direct in (False, True)[: 1 + both]]
            self._decoder = store.program(name, *forms, bf16=bf16)
        self._encoded: CompiledSource | None = None  # what the decoder has got
        self._runs = 0

    def detect(self, image: Tensor) -> Keypoints:
        """(B, C, H, W) in [0, 1], B at most `batch` -> keypoints."""
        self._keypoints.set(0, self._filled_up(image))
        return Keypoints(*self._run(self._keypoints, len(image)))

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
        """The source in each driving pose; without `explain` nothing but the prediction.

        Args:
            kp_driving: of B frames, at most `batch`.
            kp_source: of the source.

        Raises:
            ValueError: with_deformed, but the engine was made without `explain`.
        """
        if with_deformed and not self.explain:
            raise ValueError('an engine that explains is needed for the deformed image')
        if source is not self._encoded:
            for position, array in enumerate(source.parts):
                self._decoder.set(position, array)
            self._encoded = source
        position = len(source.parts)
        for driving, of_source in zip(kp_driving, kp_source):
            if driving is not None and of_source is not None:
                self._decoder.set(position, self._filled_up(driving))
                self._decoder.set(position + 1, of_source.numpy())
                position += 2
        if self._runs % _TIDY_EVERY == 0:  # the first time, what compiling and the networks had
            release_freed_memory()
        self._runs += 1
        prediction, *explained = self._run(self._decoder, len(kp_driving.value))
        if not explained:
            return Generated(prediction, None, None, None, None)
        deformation, mask, sparse_deformed, *occlusion = explained
        deformed = deform(source.image, deformation, self.align_corners) if with_deformed else None
        occlusion_map = occlusion[0] if occlusion else None
        return Generated(prediction, deformed, mask, sparse_deformed, occlusion_map)

    def _filled_up(self, tensor: Tensor) -> np.ndarray:
        """(B, ...) -> (batch, ...): the last one again where some are missing.

        Raises:
            ValueError: there are none, or more than a batch.
        """
        array = tensor.numpy()
        if not 1 <= len(array) <= self.batch:
            raise ValueError(f'{len(array)} frames for an engine of 1 to {self.batch} a run')
        missing = self.batch - len(array)
        return np.concatenate([array, array[-1:].repeat(missing, 0)]) if missing else array

    @staticmethod
    def _run(program: Program, count: int) -> Iterator[Tensor]:
        """What a program gives for the first `count` of its batch."""
        return (paddle.to_tensor(array[:count]) for array in program.run())


def loaded_models(models: Models | StoredModels) -> Models:
    return models.load() if isinstance(models, StoredModels) else models


def _identity(models: Models | StoredModels) -> str:
    if isinstance(models, StoredModels):
        return f'file {models.identity()}'
    return weights_hash(models)


Made = tuple[nn.Layer, list[list[int]]]  # a layer, and the shapes of its inputs


class _Store:
    """Programs that depend on the same things, from the cache or made."""

    def __init__(self, parts: Mapping[str, str], gpu: int | None = None):
        self.parts = parts
        self.gpu = gpu
        self.cache = ProgramCache()
        self._bar: Any = None  # of the programs, once one has to be made

    def program(self, name: str, *forms: Callable[[], Made], bf16: bool = False) -> Program:
        """The program of this name, from the cache or made.

        Args:
            forms: give layers that compute the same; the fastest is kept.
        """
        key = key_of({**self.parts, 'program': name})
        entry = self.cache.find(key)
        if entry is not None:
            # A run that trims the cache may take it away meanwhile; what was compiled may not run
            # any more. A new one is made then, or if that fails, too, the networks are used.
            try:
                program = Program(entry, bf16, gpu=self.gpu)
                if self.gpu is not None:  # whose drivers change; the key knows all that a CPU needs
                    program.try_out()
                return program
            except (*COMPILER_ERRORS, OSError):
                self.cache.drop(key)
        first, *others = forms
        with self.cache.fill(key) as folder, paddle.no_grad():
            program = self._compile(first, folder, bf16)
            for form in others:
                # One that this machine can't compile is no loss.
                with (
                    tempfile.TemporaryDirectory() as scratch,
                    contextlib.suppress(*COMPILER_ERRORS),
                ):
                    rival = self._compile(form, Path(scratch), bf16)
                    if rival.seconds() < program.seconds():
                        program = rival
                        shutil.copytree(scratch, folder, dirs_exist_ok=True)
        if self._bar is not None:
            self._bar.update()
        return program

    def _compile(self, make: Callable[[], Made], folder: Path, bf16: bool) -> Program:
        layer, shapes = make()  # which raises where the weights don't fit
        self._tell_wait()
        random = np.random.default_rng(0)
        noise = [random.random(shape, np.float32) for shape in shapes]
        # A layer that has been compiled computes by its program, which takes half a gigabyte more.
        # Before that, though, it has no bfloat16 on CPUs.
        expected = [] if bf16 else _arrays(layer, noise)
        compile_program(layer, shapes, folder)
        expected = expected or _arrays(layer, noise)
        del layer  # memory holds either its weights or the program's
        gc.collect()
        release_freed_memory()
        program = Program(folder, bf16, gpu=self.gpu)
        _verify(program, noise, expected, _bar(bf16, self.gpu is not None))
        return program

    def _tell_wait(self) -> None:
        """Says, at the first of the programs, what takes so long."""
        if self._bar is None:
            size = self.parts['size']
            print(f'compiling for frames of {size}, once: it takes up to a minute', flush=True)
            self._bar = tqdm(total=_PROGRAMS, desc='compiling', unit='program', disable=None)

    def close(self) -> None:
        """Ends the bar: no more programs are wanted."""
        if self._bar is not None:
            self._bar.close()


def _arrays(layer: nn.Layer, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a layer makes of its inputs."""
    return [tensor.numpy() for tensor in layer(*map(paddle.to_tensor, inputs))]


def _bar(bf16: bool, on_gpu: bool) -> float:
    """The largest error of a program that is right, relative to the root mean square."""
    if bf16:
        return 0.05
    return 5e-3 if on_gpu else 1e-3  # GPUs may round factors to 11 significant bits (TF32)


def _verify(
    program: Program,
    arrays: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    bar: float,
) -> None:
    """Raises RuntimeError if a new program doesn't compute of arrays what is expected.

    Compilers have defects, and one of wrong pictures would stay in the cache. The first run
    prepares what all others use, so one of these is looked at, too.
    """
    for position, array in enumerate(arrays):
        program.set(position, array)
    for _ in range(2):
        for found, wanted in zip(program.run(), expected):
            error = np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean())
            if not error <= bar:  # nor for NaN
                raise RuntimeError(f'a compiled program is wrong by {error:.1e}')


def _decoder_inputs(
    decoder: FrameDecoder,
    generator: OcclusionAwareGenerator,
    common: Mapping[str, Any],
    size: Sequence[int],
    batch: int,
) -> list[list[int]]:
    """The shapes of what a decoder takes for so many frames."""
    reduced = reduced_size(generator.dense_motion_network, size)
    features = decoder.features_size
    count = common['num_kp']
    kinds = [[count, 2], [count, 2, 2]] if common['estimate_jacobian'] else [[count, 2]]
    return [
        [1, common['num_channels'], *reduced],
        [features[0] * features[1], decoder.num_features],
        [1, count, *reduced],
        *([number, *kind] for kind in kinds for number in (batch, 1)),  # driving, source
    ]


def _hash_of_sources() -> str:
    """Of what programs are made of: the networks, the operations, and what compiles them."""
    modules = Path(__file__).parents[1]
    networks = [modules / f'{name}.py' for name in _NETWORK_SOURCES]
    rooms = [*modules.glob('ops/[!.]*.py'), *modules.glob('inference/[!.]*.py')]
    digest = hashlib.sha256()
    for path in sorted([*networks, *rooms]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
