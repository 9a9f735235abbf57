"""Programs for Paddle's own predictor, which runs them by oneDNN on CPUs, by cuDNN on GPUs."""

import contextlib
import functools
import json
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.inference import Config, create_predictor
from paddle.static import InputSpec

from modules.runtime.chatter import without_chatter
from modules.runtime.heap import large_tensors_mapped
from modules.runtime.process import num_threads

_TIMED = 5  # runs; busy neighbours disturb some of them
_NAME = 'program'
_SHAPES = 'shapes.json'  # of the inputs
# Those of Paddle's passes for oneDNN, in its order, that do our programs good. Only what they fuse
# goes to oneDNN. Others give wrong numbers (3.3.1) where a transposition meets a reshape, or put on
# oneDNN what fails there or takes longer; and each of them takes time for nothing.
_PASSES = (
    'depthwise_conv_onednn_pass',
    'conv2d_bias_fuse_pass',
    'conv_elementwise_add_onednn_fuse_pass',
    'conv_activation_onednn_fuse_pass',
    'matmul_elementwise_add_fuse_pass',
    'matmul_activation_fuse_pass',
    'elementwise_act_onednn_fuse_pass',
)
_BF16_PASSES = (
    'cpu_bfloat16_placement_pass',
    'cpu_bfloat16_pass',
    'cpu_bfloat16_type_placement_pass',
    'cpu_special_ops_bf16_pass',
    'cpu_bf16_quantize_squash_pass',
)


def compile_program(layer: nn.Layer, shapes: Sequence[Sequence[int]], folder: Path) -> None:
    """Writes a layer's `forward` for float32 inputs of these shapes into a folder.

    What is the same in each run has to be a buffer of the layer's, in the shape in which it is
    used, unless it holds one value alone: what `forward` makes of constants is computed in each
    run, and oneDNN would go on to read a bias where the first run had it.
    """
    layer.eval()
    specs = [InputSpec(list(shape), 'float32') for shape in shapes]
    with _quiet():
        static = paddle.jit.to_static(layer, full_graph=True, input_spec=specs)
        paddle.jit.save(static, str(folder / _NAME))
    (folder / _SHAPES).write_text(json.dumps([list(shape) for shape in shapes]), encoding='utf-8')


class Program:
    """A compiled program, loaded.

    Args:
        folder: where `compile_program` wrote it; not needed any more afterwards.
        bf16: compute convolutions and fused matrix products in bfloat16.
        shapes_kept: of how many shapes of its inputs oneDNN keeps what it has prepared.
        gpu: number of the GPU that runs it; the CPU if None.
    """

    def __init__(
        self,
        folder: Path,
        bf16: bool = False,
        shapes_kept: int = 10,
        gpu: int | None = None,
    ):
        weights = folder / f'{_NAME}.pdiparams'
        config = Config(str(folder / f'{_NAME}.json'), str(weights) if weights.exists() else '')
        config.disable_glog_info()
        if gpu is None:
            with _first:
                _run_first_executor()
            _use_onednn(config, shapes_kept, bf16)
        else:
            _use_gpu(config, gpu)
        with _quiet(), large_tensors_mapped():
            self._predictor = create_predictor(config)
        names = self._predictor.get_input_names(), self._predictor.get_output_names()
        self._shapes: list[list[int]] = json.loads((folder / _SHAPES).read_text(encoding='utf-8'))
        self._inputs = [self._predictor.get_input_handle(name) for name in names[0]]
        self._outputs = [self._predictor.get_output_handle(name) for name in names[1]]
        self._has_run = False

    def try_out(self) -> None:
        """Runs once, on zeros: what is wrong with a program shows at its first run, if not before.

        Whatever Paddle raises then is raised. Most of the time goes into what the first run would
        do anyway.
        """
        for position, shape in enumerate(self._shapes):
            self.set(position, np.zeros([max(1, length) for length in shape]))
        self.run()

    def seconds(self) -> float:
        """The best time of some runs, on what the inputs are."""
        times = []
        for _ in range(1 + _TIMED):  # the first prepares
            start = time.perf_counter()
            self.run()
            times.append(time.perf_counter() - start)
        return min(times)

    def set(self, position: int, array: np.ndarray) -> None:
        """Gives an input, which stays for all runs to come."""
        self._inputs[position].copy_from_cpu(np.ascontiguousarray(array, np.float32))

    def run(self) -> list[np.ndarray]:
        if self._has_run:
            self._predictor.run()
        else:
            with large_tensors_mapped():  # oneDNN's copies of weights
                self._predictor.run()
            self._has_run = True
        paddle.base.core.set_num_threads(num_threads())  # the predictor leaves a single one
        return [handle.copy_to_cpu() for handle in self._outputs]


_first = threading.Lock()


@functools.cache
def _run_first_executor() -> Any:
    """Runs an executor of nothing, before those of all programs, which then are not the first.

    The copies of weights that oneDNN makes for a program bear the name of its executor. Those of a
    process' first executor bear that of the one that ran before it (3.3.1): they would be made once
    more, and kept, whenever that was another one; 14 MB for the keypoint detector of vox-256.

    Returns:
        the executor, to be kept with its five threads, which wait: another one at its address
        would be taken for the first. None where Paddle has no such thing; then only memory is lost.
    """
    core = paddle.base.core
    failures = AttributeError, TypeError, ValueError, RuntimeError
    with contextlib.suppress(*failures), without_chatter(shown_on_failure=False):
        plan = core.Plan([core.Job('default')], {'default': paddle.static.Program()})
        executor = core.StandaloneExecutor(core.CPUPlace(), plan, core.Scope())
        executor.run([], False)
        return executor


def _use_onednn(config: Config, shapes_kept: int, bf16: bool) -> None:
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_mkldnn_cache_capacity(shapes_kept)
    config.enable_custom_passes([*_PASSES, *(_BF16_PASSES if bf16 else ())], True)
    # It computes each constant, if only the shape of a reshape, by a program with threads of its
    # own, which took most of the time of making a predictor.
    config.delete_pass('constant_folding_pass')
    # Overwrites what is still needed where a reshaped tensor has another reader.
    config.delete_pass('inplace_pass')
    config.set_cpu_math_library_num_threads(num_threads())


def _use_gpu(config: Config, number: int) -> None:
    config.enable_use_gpu(100, number)  # MB of its memory to begin with
    if not config.use_gpu():
        raise RuntimeError('Paddle can use no GPU')
    config.delete_pass('inplace_pass')  # is wrong on CPUs, see above, and the same on GPUs


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps away what Paddle says on stderr about its passes, unless they fail."""
    with warnings.catch_warnings(), without_chatter(shown_on_failure=True):
        warnings.simplefilter('ignore')
        yield
