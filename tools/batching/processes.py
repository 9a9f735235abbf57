"""The processes of a batch: each takes a row at a time, and keeps the engine of its last one."""

import contextlib
import io
import os
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from argparse import Namespace
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from modules.runtime.commands import show_warnings_in_lines
from modules.runtime.errors import OUTPUT_ERRORS, UserError, output_error_text
from modules.runtime.locks import taking_turns
from modules.runtime.messages import Lines, heard_by
from modules.runtime.process import prepare_process
from tools.batching.places import RECORDS
from tools.batching.records import Fingerprints, Record

DONE, THERE, FAILED, NOT_RUN = 'done', 'there', 'failed', 'not run'  # what became of a row
_OFTEN = 0.2  # seconds from one message about frames to the next
_GRACE = 30  # seconds for a process without orders to end on its own


class Order(NamedTuple):
    """A row to be animated."""

    number: int  # of the row, counted from 0
    options: Namespace
    outputs: list[str]  # within the folder; the result is first
    notes: list[str]  # that its options gave rise to


class Outcome(NamedTuple):
    """What became of a row."""

    status: str
    seconds: float = 0.0
    frames: int = 0
    message: str = ''  # the mistake, or notes
    trace: str = ''  # of a defect of ours


class Setup(NamedTuple):
    """What a process is told before it starts."""

    folder: Path
    processes: int  # that share the cores
    gpu: str | None  # as CUDA_VISIBLE_DEVICES calls it; None: the CPU


def serve(pipe: Connection, setup: Setup) -> None:
    """What such a process does until there are no more orders, or nobody is there to give any.

    It takes orders, and answers each by (number, Outcome) after any number of (number, share done).
    """
    for number in (signal.SIGINT, getattr(signal, 'SIGHUP', None)):
        if number is not None:  # the other process decides when to end
            signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    show_warnings_in_lines()
    warnings.simplefilter('always', UserWarning)  # of each row, not of the first one alone
    os.environ['PADDLE_LOCAL_SIZE'] = str(setup.processes)
    if setup.gpu is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = setup.gpu
    sys.stdout = sys.stderr = _Plain(sys.stderr)
    orders: queue.SimpleQueue[Order | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, orders), daemon=True).start()
    process = _Process(pipe, setup)
    while (order := orders.get()) is not None:
        process.send(order, process.outcome(order))


def _end(number: int, frame: object) -> None:
    """Ends this process as an exception does; once: what is cleaned up then is not disturbed."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _listen(pipe: Connection, orders: 'queue.SimpleQueue[Order | None]') -> None:
    """Passes orders on; ends this process as by SIGTERM when whoever gave them is gone."""
    try:
        order = True
        while order is not None:
            order = pipe.recv()
            orders.put(order)
        return
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE)
    os._exit(1)


class _Plain(io.TextIOWrapper):
    """stderr, where lines of several processes come together: no place for bars."""

    def __init__(self, stream: Any) -> None:
        raw = os.fdopen(os.dup(stream.fileno()), 'wb', buffering=0)
        super().__init__(raw, stream.encoding, 'backslashreplace', write_through=True)

    def isatty(self) -> bool:
        return False


class _Process:
    """One that computes."""

    def __init__(self, pipe: Connection, setup: Setup):
        self._pipe, self._setup = pipe, setup
        self._fingerprints = Fingerprints()
        self._worker: Any = None  # from the first row that is not there already

    def send(self, order: Order, what: Outcome | float) -> None:
        try:
            self._pipe.send((order.number, what))
        except OSError:  # nobody is there any more
            sys.exit(1)

    def outcome(self, order: Order) -> Outcome:
        record = Record(self._setup.folder, order.outputs)
        try:
            return self._outcome(order, record)
        except UserError as error:
            failed = Outcome(FAILED, message=str(error))
        except OSError as error:
            if error.errno not in OUTPUT_ERRORS:
                failed = _defect(error)
            else:
                failed = Outcome(FAILED, message=output_error_text(error))
        except Exception as error:  # of any kind: the other rows are none the worse for it
            failed = _defect(error)
        with contextlib.suppress(OSError):
            record.drop()
        return failed

    def _outcome(self, order: Order, record: Record) -> Outcome:
        fingerprint = None
        with contextlib.suppress(OSError, UserError), heard_by(Lines()):
            # What is wrong the job says.
            fingerprint = self._fingerprints.of_row(order.options)
        there = record.finished(fingerprint)
        if there is not None:
            return Outcome(THERE, there['seconds'], there['frames'], there['message'])
        record.begin(fingerprint)
        last = 0.0

        def progress(done: int, total: int | None) -> None:
            nonlocal last
            if total and time.monotonic() - last > _OFTEN:
                last = time.monotonic()
                self.send(order, done / total)

        options = order.options
        if self._setup.gpu is None:
            options = Namespace(**{**vars(options), 'cpu': True})
        done = self._start().run(options, progress)
        known = {'seconds': round(done.seconds, 2), 'frames': done.frame_count}
        message = '; '.join(dict.fromkeys((*order.notes, *done.notes)))
        record.finish(fingerprint, **known, message=message)
        return Outcome(DONE, **known, message=message)

    def _start(self) -> Any:
        if self._worker is None:
            prepare_process(self._setup.gpu is None)
            signal.signal(signal.SIGTERM, _end)
            from modules.animation.job import Worker

            # Of several that want the same programs the first one makes them.
            turns = self._setup.folder / RECORDS / 'engine.lock'
            self._worker = Worker(lambda: taking_turns(turns))
        return self._worker


def _defect(error: Exception) -> Outcome:
    """What should not happen, with its traceback."""
    text = ' '.join(f'{type(error).__name__}: {error}'.split())
    return Outcome(FAILED, message=text, trace=traceback.format_exc())


def died(exit_code: int | None) -> str:
    """What is told of a row whose process ended."""
    how = f'with status {exit_code}'
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            how = f'by {signal.Signals(-exit_code).name}'
    mend = 'if memory was short, take fewer --processes'
    return f'its process ended {how}; {mend}'


def gpu_of(number: int, gpus: Sequence[str]) -> str | None:
    """The GPU of the process of a number: they take turns."""
    return gpus[number % len(gpus)] if gpus else None
