"""TEST_MODE: every number can be compared with PyTorch's.

The one switch is the environment variable TEST_MODE=1. The code marks what can be compared with
`tap` (a named result) and `tap_op` (a grid sample or an interpolation, numbered in the order of the
calls); with no tape running both return their argument and do nothing else.

Weights come from names, not from files: see seed_networks in modules/parity/record.py.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import paddle

from modules.runtime.errors import UserError

ENABLED = os.environ.get('TEST_MODE') == '1'
PIN_FILE = os.environ.get('TEST_MODE_PIN') or None

_tape: Tape | None = None


class Pins(NamedTuple):
    """What TEST_MODE_PIN's file holds; None where nothing is pinned."""

    inputs: dict[str, np.ndarray] | None  # frames and noise of the step
    results: dict[str, np.ndarray] | None  # by tap name


def read_pins() -> Pins:
    """Reads the file of the environment variable TEST_MODE_PIN, in the `nets` format.

    Raises:
        UserError: it can't be read.
    """
    if PIN_FILE is None:
        return Pins(None, None)
    try:
        with np.load(PIN_FILE, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f'TEST_MODE_PIN: {PIN_FILE}: not a readable .npz file ({error})') from error
    return Pins(arrays if 'source' in arrays else None, results_of_step(arrays))


def results_of_step(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of a `nets` file, what can be pinned in a training step, by tap name."""
    step = {name[len('train.') :]: a for name, a in arrays.items() if name.startswith('train.')}
    return {n: a for n, a in step.items() if not n.startswith(('loss.', 'grad.', 'buffer.'))}


class Tape:
    """Records tapped tensors by name and replaces those that have a pin.

    Args:
        pins: recorded arrays by name; a tapped tensor of that name takes the array's values.

    Attributes:
        values: what the computation found, by name, in its order and before any replacement.
    """

    def __init__(self, pins: Mapping[str, np.ndarray] | None = None):
        self.pins = pins or {}
        self.values: dict[str, paddle.Tensor] = {}
        self._num_ops = 0

    def take(self, name: str, tensor: paddle.Tensor) -> paddle.Tensor:
        self.values[name] = tensor.detach()
        if name not in self.pins:
            return tensor
        pin = paddle.to_tensor(self.pins[name], dtype=tensor.dtype).reshape(tensor.shape)
        return tensor + (pin - tensor).detach()  # the gradient still flows through our own op

    def take_op(self, kind: str, tensor: paddle.Tensor) -> paddle.Tensor:
        self._num_ops += 1
        return self.take(op_name(self._num_ops - 1, kind), tensor)


def op_name(index: int, kind: str) -> str:
    """The name of the index-th tapped op of a step: `op.007.grid_sample`."""
    return f'op.{index:03d}.{kind}'


def recording() -> bool:
    """Whether a tape runs."""
    return _tape is not None


def tap(name: str, tensor: paddle.Tensor) -> paddle.Tensor:
    """Marks a named result; returns it, or its pinned values under a tape that has them."""
    return tensor if _tape is None else _tape.take(name, tensor)


def tap_op(kind: str, tensor: paddle.Tensor) -> paddle.Tensor:
    """Marks the result of an op that frameworks are known to disagree on."""
    return tensor if _tape is None else _tape.take_op(kind, tensor)


@contextlib.contextmanager
def record(pins: Mapping[str, np.ndarray] | None = None) -> Iterator[Tape]:
    """Runs a tape for the block."""
    global _tape
    previous, _tape = _tape, Tape(pins)
    try:
        yield _tape
    finally:
        _tape = previous
