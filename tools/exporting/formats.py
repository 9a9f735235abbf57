"""The formats of an export: how its programs are written, and what runs them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import nn
from paddle.inference import Config, create_predictor
from paddle.static import InputSpec

from tools.exporting.programs import INPUTS, OUTPUTS

# Of Paddle's predictor: one overwrites what is still needed, one is wrong for several items, one
# enlarges motion by the slowest of oneDNN's products.
UNWANTED_PASSES = ('inplace_pass', 'onednn_placement_pass', 'reshape_transpose_matmul_fuse_pass')

# Arrays by the names of a program's inputs -> its results, in the order of OUTPUTS.
Program = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


class Traced(NamedTuple):
    """A program as Paddle has traced it."""

    static: Any  # what paddle.jit.save takes
    inputs: dict[str, list[int | str]]  # their shapes; 'N': of any length
    outputs: tuple[str, ...]

    @property
    def program(self) -> Any:
        return self.static.forward.concrete_program


def trace(
    programs: Mapping[str, nn.Layer], shapes: Mapping[str, Sequence[int]], batch: int | None
) -> dict[str, Traced]:
    """
    Args:
        shapes: of an item, without N, of each input of INPUTS that there is.
        batch: N; None: free.
    """
    traced = {}
    for name, layer in programs.items():
        inputs = {part: [batch or 'N', *shapes[part]] for part in INPUTS[name] if part in shapes}
        specs = [InputSpec([batch, *shapes[part]], 'float32', name=part) for part in inputs]
        static = paddle.jit.to_static(layer, full_graph=True, input_spec=specs)
        made = paddle.utils.flatten(static.forward.concrete_program.outputs)
        outputs = OUTPUTS[name][: len(made)]
        traced[name] = Traced(static, inputs, outputs)
    return traced


def write_paddle(folder: Path, name: str, traced: Traced) -> None:
    paddle.jit.save(traced.static, str(folder / name))


def write_onnx(folder: Path, name: str, traced: Traced) -> None:
    from tools.exporting.onnx_graph import to_onnx

    model = to_onnx(traced.program, traced.outputs)
    (folder / f'{name}.onnx').write_bytes(model.SerializeToString())


def run_paddle(folder: Path, name: str) -> Program:
    """By paddle.inference, as doc/export.md has it set up."""
    config = Config(str(folder / f'{name}.json'), str(folder / f'{name}.pdiparams'))
    config.disable_gpu()
    config.disable_glog_info()
    for name in UNWANTED_PASSES:
        config.delete_pass(name)
    predictor = create_predictor(config)

    def run(inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        for key in predictor.get_input_names():
            predictor.get_input_handle(key).copy_from_cpu(inputs[key])
        predictor.run()
        outputs = predictor.get_output_names()
        return [predictor.get_output_handle(key).copy_to_cpu() for key in outputs]

    return run


def run_onnx_runtime(folder: Path, name: str) -> Program:
    import onnxruntime

    path = str(folder / f'{name}.onnx')
    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    return lambda inputs: session.run(None, dict(inputs))


def run_openvino(folder: Path, name: str) -> Program:
    """In float32: on processors with AMX it would take bfloat16 by itself."""
    import openvino

    hints = {'INFERENCE_PRECISION_HINT': 'f32'}
    model = openvino.Core().compile_model(str(folder / f'{name}.onnx'), 'CPU', hints)
    outputs = model.outputs
    return lambda inputs: [model(dict(inputs))[output] for output in outputs]


class Runtime(NamedTuple):
    """What runs exported programs."""

    name: str
    load: Callable[[Path, str], Program]  # folder, name of the program
    package: str  # that Python imports


class Format(NamedTuple):
    """A form of an export."""

    write: Callable[[Path, str, Traced], None]
    runtimes: tuple[Runtime, ...]


FORMATS = {
    'paddle': Format(write_paddle, (Runtime('paddle.inference', run_paddle, 'paddle'),)),
    'onnx': Format(
        write_onnx,
        (
            Runtime('ONNX Runtime', run_onnx_runtime, 'onnxruntime'),
            Runtime('OpenVINO', run_openvino, 'openvino'),
        ),
    ),
}
