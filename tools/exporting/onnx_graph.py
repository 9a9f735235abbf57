"""ONNX models, written from the operations that Paddle has traced.

Only what tools/exporting/programs.py needs is there; another operation is refused by its name, so
that nothing is left out silently. float64 becomes float32: not every runtime has it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import paddle
from onnx import TensorProto, helper, numpy_helper

from modules.runtime.errors import UserError

OPSET = 16  # the first with GridSample
IR_VERSION = 8  # that of opset 16: older runtimes read it, too
_TYPES = {
    'FLOAT32': TensorProto.FLOAT,
    'FLOAT64': TensorProto.FLOAT,
    'INT32': TensorProto.INT64,
    'INT64': TensorProto.INT64,
    'BOOL': TensorProto.BOOL,
}
_SAME = {  # operations that differ by their name alone
    'relu': 'Relu',
    'abs': 'Abs',
    'exp': 'Exp',
    'sigmoid': 'Sigmoid',
    'add': 'Add',
    'subtract': 'Sub',
    'multiply': 'Mul',
    'divide': 'Div',
    'equal': 'Equal',
    'where': 'Where',
    'bitwise_or': 'Or',
    'logical_or': 'Or',
}


def to_onnx(traced: Any, outputs: Sequence[str]) -> onnx.ModelProto:
    """
    Args:
        traced: Paddle's concrete program of a layer, whose inputs have names. Where a length is
            free, it is the number N of items.
        outputs: their names.

    Raises:
        UserError: an operation that has no form in ONNX here.
    """
    graph = Graph(traced)
    for operation in traced.main_program.global_block().ops:
        graph.add(operation)
    for name, value in zip(outputs, paddle.utils.flatten(traced.outputs)):
        graph.end(name, value)
    made = helper.make_graph(
        graph.nodes, 'program', graph.inputs, graph.outputs, initializer=graph.weights()
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid('', OPSET)],
        ir_version=IR_VERSION,
        producer_name='first-order-model-paddle',
    )
    onnx.checker.check_model(model, full_check=True)
    return model


class Graph:
    """The nodes of a model as they come.

    Paddle's values are known by their hash, which is their address: each look at one makes another
    object of Python.
    """

    def __init__(self, traced: Any):
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self._names: dict[int, str] = {}  # in ONNX, of Paddle's values
        self._lists: dict[int, list[str]] = {}  # of values that are several
        self._constants: dict[str, np.ndarray] = {}
        self._count = 0
        for tensor, value in zip(*traced.parameters):
            self._let(value, self.constant(tensor.numpy()))

    def add(self, operation: Any) -> None:
        """Takes the next operation.

        Raises:
            UserError: it has no form in ONNX here.
        """
        dialect, name = operation.name().split('.', 1)
        if dialect == 'builtin' and name == 'parameter':
            return
        if name == 'combine':
            self._lists[operation.result(0).hash()] = self._operands(operation)
            return
        if name == 'split':
            for result, part in zip(operation.results(), self._parts(operation)):
                self._let(result, part)
            return
        write = getattr(self, f'_{name}', None)
        if name in _SAME:
            self._emit(operation, _SAME[name], self._operands(operation))
        elif write is not None:
            write(operation, operation.attrs())
        else:
            raise UserError(f'the operation {operation.name()} has no form in ONNX here')

    def end(self, name: str, value: Any) -> None:
        """Makes a value an output of this name."""
        self.nodes.append(helper.make_node('Identity', [self.name(value)], [name]))
        self.outputs.append(self._described(name, value))

    def weights(self) -> list[onnx.TensorProto]:
        """The constants that a node reads."""
        read = {name for node in self.nodes for name in node.input}
        return [
            numpy_helper.from_array(array, name)
            for name, array in self._constants.items()
            if name in read
        ]

    def name(self, value: Any) -> str:
        return self._names[value.hash()]

    def constant(self, array: Any) -> str:
        """The name of a value that is written into the model."""
        array = np.asarray(array, order='C')
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        elif np.issubdtype(array.dtype, np.integer):
            array = array.astype(np.int64)
        name = self._fresh('constant')
        self._constants[name] = array
        return name

    def value_of(self, value: Any) -> np.ndarray:
        """What a value is that is known beforehand."""
        return self._constants[self.name(value)]

    def node(
        self, kind: str, inputs: Sequence[str], count: int = 1, **attributes: Any
    ) -> list[str]:
        names = [self._fresh(kind) for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, names[0], **attributes))
        return names

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f'{kind.lower()}_{self._count}'

    def _emit(self, operation: Any, kind: str, inputs: Sequence[str], **attributes: Any) -> None:
        (name,) = self.node(kind, inputs, **attributes)
        self._let(operation.result(0), name)

    def _let(self, value: Any, name: str) -> None:
        self._names[value.hash()] = name

    def _operands(self, operation: Any) -> list[str]:
        return [self.name(value) for value in operation.operands_source()]

    def _operand(self, operation: Any) -> str:
        return self.name(operation.operand_source(0))

    def _parts(self, operation: Any) -> list[str]:
        """What a first operand that is several stands for."""
        return self._lists[operation.operand_source(0).hash()]

    @staticmethod
    def _described(name: str, value: Any) -> onnx.ValueInfoProto:
        shape = ['N' if length < 0 else length for length in value.shape]
        return helper.make_tensor_value_info(name, _type(value.dtype), shape)

    # One method an operation of Paddle's, by its name. Operands that Paddle passes as tensors and
    # ONNX as attributes are known beforehand.

    def _data(self, operation: Any, attrs: dict[str, Any]) -> None:
        value = operation.result(0)
        self._let(value, attrs['name'])
        self.inputs.append(self._described(attrs['name'], value))

    def _full(self, operation: Any, attrs: dict[str, Any]) -> None:
        dtype = helper.tensor_dtype_to_np_dtype(_type(attrs['dtype']))
        filled = np.full(attrs['shape'], attrs['value'], dtype)
        self._let(operation.result(0), self.constant(filled))

    def _full_int_array(self, operation: Any, attrs: dict[str, Any]) -> None:
        self._let(operation.result(0), self.constant(np.array(attrs['value'], np.int64)))

    def _full_like(self, operation: Any, attrs: dict[str, Any]) -> None:
        like, value = operation.operands_source()
        dtype = helper.tensor_dtype_to_np_dtype(_type(attrs['dtype']))
        (shape,) = self.node('Shape', [self.name(like)])
        filled = numpy_helper.from_array(self.value_of(value).astype(dtype).reshape(1))
        self._emit(operation, 'ConstantOfShape', [shape], value=filled)

    def _conv2d(self, operation: Any, attrs: dict[str, Any]) -> None:
        if attrs['padding_algorithm'] != 'EXPLICIT' or attrs['data_format'] != 'NCHW':
            raise UserError(f'a convolution with {attrs["padding_algorithm"]} has no form here')
        self._emit(
            operation,
            'Conv',
            self._operands(operation),
            strides=attrs['strides'],
            pads=_both_ends(attrs['paddings']),
            dilations=attrs['dilations'],
            group=attrs['groups'],
        )

    _depthwise_conv2d = _conv2d

    def _pool2d(self, operation: Any, attrs: dict[str, Any]) -> None:
        image, kernel = operation.operands_source()
        plain = not (attrs['ceil_mode'] or attrs['adaptive'] or attrs['global_pooling'])
        if attrs['pooling_type'] != 'avg' or not attrs['exclusive'] or not plain:
            raise UserError('only means over windows have a form in ONNX here')
        self._emit(
            operation,
            'AveragePool',
            [self.name(image)],
            kernel_shape=self.value_of(kernel).tolist(),
            strides=attrs['strides'],
            pads=_both_ends(attrs['paddings']),
        )

    def _grid_sample(self, operation: Any, attrs: dict[str, Any]) -> None:
        self._emit(
            operation,
            'GridSample',
            self._operands(operation),
            mode=attrs['mode'],
            padding_mode=attrs['padding_mode'],
            align_corners=int(attrs['align_corners']),
        )

    def _matmul(self, operation: Any, attrs: dict[str, Any]) -> None:
        if attrs['transpose_x'] or attrs['transpose_y']:
            raise UserError('a product with a transposed factor has no form in ONNX here')
        self._emit(operation, 'MatMul', self._operands(operation))

    def _scale(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, factor = operation.operands_source()
        bias = np.float32(attrs['bias'])
        if bias and not attrs['bias_after_scale']:
            bias = bias * self.value_of(factor)
        (product,) = self.node('Mul', [self.name(x), self._scalar(self.value_of(factor))])
        if bias:
            (product,) = self.node('Add', [product, self._scalar(bias)])
        self._let(operation.result(0), product)

    def _scalar(self, value: Any) -> str:
        return self.constant(np.float32(value).reshape([]))

    def _softmax(self, operation: Any, attrs: dict[str, Any]) -> None:
        self._emit(operation, 'Softmax', [self._operand(operation)], axis=attrs['axis'])

    def _clip(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, *bounds = operation.operands_source()
        scalars = [self._scalar(self.value_of(bound)) for bound in bounds]
        self._emit(operation, 'Clip', [self.name(x), *scalars])

    def _arange(self, operation: Any, attrs: dict[str, Any]) -> None:
        bounds = [self.value_of(bound).item() for bound in operation.operands_source()]
        self._let(operation.result(0), self.constant(np.arange(*bounds)))

    def _expand(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, shape = operation.operands_source()
        wanted = np.maximum(self.value_of(shape), 1)  # -1 keeps a length, as 1 does in ONNX
        self._emit(operation, 'Expand', [self.name(x), self.constant(wanted)])

    def _transpose(self, operation: Any, attrs: dict[str, Any]) -> None:
        self._emit(operation, 'Transpose', [self._operand(operation)], perm=attrs['perm'])

    def _cast(self, operation: Any, attrs: dict[str, Any]) -> None:
        self._emit(operation, 'Cast', [self._operand(operation)], to=_type(attrs['dtype']))

    def _assign(self, operation: Any, attrs: dict[str, Any]) -> None:
        self._let(operation.result(0), self._operand(operation))

    def _reshape(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, shape = operation.operands_source()
        known = self._constants.get(self.name(x))
        if known is not None and self.name(shape) in self._constants:
            self._let(operation.result(0), self.constant(known.reshape(self.value_of(shape))))
        else:
            self._emit(operation, 'Reshape', [self.name(x), self.name(shape)])

    def _flatten(self, operation: Any, attrs: dict[str, Any]) -> None:
        shape = operation.operand_source(0).shape
        first, last = attrs['start_axis'], attrs['stop_axis']
        kept = [0] * first + [int(np.prod(shape[first : last + 1]))] + [0] * (len(shape) - last - 1)
        if min(shape[first : last + 1]) < 0 or last + 1 < len(shape):
            raise UserError(f'the shape {shape}, flattened there, has no form in ONNX here')
        self._emit(
            operation,
            'Reshape',
            [self._operand(operation), self.constant(np.array(kept, np.int64))],
        )

    def _unsqueeze(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, axes = operation.operands_source()
        self._emit(operation, 'Unsqueeze', [self.name(x), self.name(axes)])

    def _concat(self, operation: Any, attrs: dict[str, Any]) -> None:
        axis = int(self.value_of(operation.operand_source(1)).item())
        self._emit(operation, 'Concat', self._parts(operation), axis=axis)

    def _stack(self, operation: Any, attrs: dict[str, Any]) -> None:
        axis = self.constant(np.array([attrs['axis']], np.int64))
        names = [self.node('Unsqueeze', [part, axis])[0] for part in self._parts(operation)]
        self._emit(operation, 'Concat', names, axis=attrs['axis'])

    def _split_with_num(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, axis = operation.operands_source()
        number = int(self.value_of(axis).item())
        parts = self.node('Split', [self.name(x)], attrs['num'], axis=number)
        self._lists[operation.result(0).hash()] = parts

    def _slice(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, starts, ends = self._operands(operation)
        axes = self.constant(np.array(attrs['axes'], np.int64))
        (part,) = self.node('Slice', [x, starts, ends, axes])
        if attrs['decrease_axis']:
            (part,) = self.node(
                'Squeeze', [part, self.constant(np.array(attrs['decrease_axis'], np.int64))]
            )
        self._let(operation.result(0), part)

    def _sum(self, operation: Any, attrs: dict[str, Any]) -> None:
        x, axes = operation.operands_source()
        kept = int(attrs['keepdim'])
        self._emit(operation, 'ReduceSum', [self.name(x), self.name(axes)], keepdims=kept)

    def _shape64(self, operation: Any, attrs: dict[str, Any]) -> None:
        self._emit(operation, 'Shape', [self._operand(operation)])


def _type(dtype: Any) -> int:
    """Paddle's data type -> ONNX's."""
    return _TYPES[dtype.name]


def _both_ends(paddings: Sequence[int]) -> list[int]:
    """(rows, columns), the same before and after, or (top, bottom, left, right) -> ONNX's order."""
    if len(paddings) == 2:
        return [*paddings, *paddings]
    top, bottom, left, right = paddings
    return [top, left, bottom, right]
