"""Curves and pictures of a training run for VisualDL or TensorBoard, where its config asks.

The packages are optional: they are imported here only, and only for a run that writes with them.
Steps that a run repeats after a crash take the place of those before it.
"""

import importlib
import math
import struct
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from paddle import Tensor

from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.training.progress_bar import Speed

PACKAGES = {'visualdl': 'visualdl', 'tensorboard': 'tensorboardX'}  # by train_params.scalars
POINTS = 100  # of a curve in an epoch, at least; a point for each step of a shorter one
FLUSH_SECONDS = 10  # most that a crash can lose


class Scalars:
    """Where the numbers and pictures of a run go. This one keeps nothing."""

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Notes values of a step by name; a slash in a name makes a group."""

    def picture(self, step: int, image: np.ndarray, name: str = 'picture') -> None:
        """Notes a picture of the run, (H, W, 3) uint8, at a step."""

    def close(self) -> None:
        """Writes what is not written yet."""


class VisualDL(Scalars):
    """One file that grows, since VisualDL shows only the newest of a folder.

    A VisualDL that is looking on while a run resumes after a crash must be started anew.
    """

    def __init__(self, folder: Path, step: int):
        from visualdl import LogWriter

        path = folder / 'vdlrecords.log'
        if path.exists():
            _cut_records(path, step)
        self._writer = LogWriter(str(folder), file_name=path.name)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def picture(self, step: int, image: np.ndarray, name: str = 'picture') -> None:
        self._writer.add_image(name, image.copy(), step)  # it may write into the array

    def close(self) -> None:
        self._writer.close()


def _cut_records(path: Path, step: int) -> None:
    """Takes from VisualDL's file what is later than `step`, and a last record cut short by a crash.

    A record is its size in 8 bytes, then a message whose values bear their step as `id`.
    """
    from google.protobuf.message import DecodeError
    from visualdl.proto.record_pb2 import Record

    data, kept, at = path.read_bytes(), [], 0
    while at + 8 <= len(data):
        begin, end = at, at + 8 + struct.unpack_from('<Q', data, at)[0]
        if end > len(data):
            break
        try:
            values = Record.FromString(data[begin + 8 : end]).values
        except DecodeError as error:
            raise UserError(f'{path}: damaged; remove it, the run does not need it') from error
        if all(value.id <= step for value in values):
            kept.append(data[begin:end])
        at = end
    if sum(map(len, kept)) < len(data):
        with atomic_output(path) as new:
            new.write_bytes(b''.join(kept))


class TensorBoard(Scalars):
    """Event files, one for each start of the run; TensorBoard drops what a later one repeats.

    tensorboardX's SummaryWriter is not used: the thread in which it writes ends when the disk is
    full, and the process then waits for it for ever. What it writes with gives an OSError.
    """

    def __init__(self, folder: Path, step: int):
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._summary, self._event = summary, Event
        # Files are read in the order of their names, which tell when each was begun.
        self._events = EventsWriter(str(folder / 'events'), f'.{time.time_ns()}')
        self._flush_due = 0.0
        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))  # drop from there on

    def add(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._write(step, summary=self._summary.scalar(name, value))

    def picture(self, step: int, image: np.ndarray, name: str = 'picture') -> None:
        self._write(step, summary=self._summary.image(name, image, dataformats='HWC'))

    def _write(self, step: int, **content: Any) -> None:
        self._events.write_event(self._event(wall_time=time.time(), step=step, **content))
        if time.monotonic() >= self._flush_due:
            self._events.flush()
            self._flush_due = time.monotonic() + FLUSH_SECONDS

    def close(self) -> None:
        self._events.close()


def check_package(kind: str | None) -> None:
    """Finds out before a run starts whether its curves can be written.

    Raises:
        UserError: the package is not installed, or does not work.
    """
    if kind is None:
        return
    try:
        importlib.import_module(PACKAGES[kind])
    except ImportError as error:
        raise UserError(
            f'train_params.scalars: {kind} needs a package ({error}): '
            f'pip install {PACKAGES[kind]}, or set it to null'
        ) from error


def open_scalars(kind: str | None, folder: Path, step: int) -> Scalars:
    """
    Args:
        kind: train_params.scalars; None keeps nothing.
        folder: for the files; made if need be.
        step: the last one that counts; a run that is resumed may have written later ones before.
    """
    if kind is None:
        return Scalars()
    folder.mkdir(parents=True, exist_ok=True)
    return {'visualdl': VisualDL, 'tensorboard': TensorBoard}[kind](folder, step)


class Curves:
    """What a run shows of itself, and at which steps: these depend on its length only.

    Args:
        scalars: where it goes.
        steps: of an epoch.
        batch_size: samples in a step.
    """

    def __init__(self, scalars: Scalars, steps: int, batch_size: int):
        self._scalars, self._batch_size = scalars, batch_size
        self._interval = max(1, steps // POINTS)
        self._speed = Speed()

    def step(self, step: int, settings: Mapping[str, float | Tensor]) -> None:
        """Counts a step that is done; `settings`: what it was taken with, such as its rates."""
        self._speed.add(self._batch_size)
        if step % self._interval == 0:
            # A tensor is waited for, so at few steps alone.
            values = {name: float(value) for name, value in settings.items()}
            self._scalars.add(step, {'samples_per_second': self._speed.take(), **values})

    def losses(self, step: int, losses: Mapping[str, float]) -> None:
        """Takes the losses of a step; they may come later than the step."""
        if step % self._interval == 0:
            values = {f'loss/{name}': value for name, value in losses.items()}
            self._scalars.add(step, {**values, 'loss/total': sum(losses.values())})

    def epoch(self, step: int, picture: np.ndarray) -> None:
        """Takes the picture of an epoch that ended with `step`."""
        self._scalars.picture(step, picture)

    def validation(
        self, step: int, figures: Mapping[str, float], picture: np.ndarray | None
    ) -> None:
        """Takes the figures of a validation after `step`, but NaN, and its picture."""
        values = {name: value for name, value in figures.items() if not math.isnan(value)}
        self._scalars.add(step, {f'validation/{name}': value for name, value in values.items()})
        if picture is not None:
            self._scalars.picture(step, picture, 'validation/picture')
