"""What a process of a pool does (modules/runtime/pool.py): an order at a time, until none is left.

Nothing here imports Paddle; what a pool makes of its arguments may.
"""

import contextlib
import io
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from modules.runtime.commands import show_warnings_in_lines
from modules.runtime.errors import OUTPUT_ERRORS, UserError
from modules.runtime.messages import Lines, heard_by
from modules.runtime.process import choose_device, prepare_process

_GRACE = 30  # seconds for a process without orders to end on its own

Tell = Callable[[Any], None]
Work = Callable[[Any, Tell], Any]  # (order, what tells of it on the way) -> answer


class Setup(NamedTuple):
    """What a process is told before it starts."""

    processes: int  # that share the cores
    gpu: str | None  # as CUDA_VISIBLE_DEVICES calls it; None: the CPU
    paddle: bool  # whether Paddle is set up, on that device, before the work is made


class Ready(NamedTuple):
    """A process takes orders; what was said until then."""

    lines: list[str]
    notes: list[str]


class Told(NamedTuple):
    """On the way to an answer."""

    what: Any


class Answer(NamedTuple):
    """To an order."""

    what: Any


class Failure(NamedTuple):
    """What ended the work of a process: of the user or of the operating system as it was raised,
    else a RuntimeError with the traceback.
    """

    error: Exception


def serve(pipe: Connection, setup: Setup, make: bytes) -> None:
    """Takes orders, and answers each, until there are none, or nobody is there to give any.

    Args:
        make: (function, arguments), pickled, which give the `Work`: this is made first.
    """
    for number in (signal.SIGINT, getattr(signal, 'SIGHUP', None)):
        if number is not None:  # the other process decides when to end
            signal.signal(number, signal.SIG_IGN)
    end_once()
    show_warnings_in_lines()
    warnings.simplefilter('always', UserWarning)  # of each order, not of the first one alone
    os.environ['PADDLE_LOCAL_SIZE'] = str(setup.processes)
    if setup.gpu is not None:
        os.environ['CUDA_VISIBLE_DEVICES'] = setup.gpu
    sys.stdout = sys.stderr = _Plain(sys.stderr)
    orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, orders), daemon=True).start()
    try:
        heard = Lines()
        with heard_by(heard):
            work = _made(setup, make)
        end_once()  # again: Paddle's set-up ends in another way
        _send(pipe, Ready(heard.lines, heard.notes))
        while (order := orders.get()) is not None:
            _send(pipe, Answer(work(order, lambda what: _send(pipe, Told(what)))))
    except Exception as error:
        _send(pipe, Failure(_carried(error)))


def _made(setup: Setup, make: bytes) -> Work:
    if setup.paddle:
        prepare_process(setup.gpu is None)
        choose_device(setup.gpu is None)
    function, arguments = pickle.loads(make)  # whose module may import Paddle
    work: Work = function(*arguments)
    return work


def _carried(error: Exception) -> Exception:
    """What can be pickled, and keeps its traceback where it is a defect of ours."""
    of_user = isinstance(error, UserError)
    if of_user or (isinstance(error, OSError) and error.errno in OUTPUT_ERRORS):
        return error
    return RuntimeError(f'in another process:\n{traceback.format_exc()}')


def _send(pipe: Connection, what: Any) -> None:
    try:
        pipe.send(what)
    except OSError:  # nobody is there any more
        sys.exit(1)


def end_once() -> None:
    """SIGTERM ends this process as an exception does; once: what is cleaned up then is not
    disturbed.
    """
    signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def _listen(pipe: Connection, orders: 'queue.SimpleQueue[Any]') -> None:
    """Passes orders on; ends this process as by SIGTERM when whoever gave them is gone."""
    try:
        order: Any = True
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


def died(exit_code: int | None) -> str:
    """How a process ended, in the middle of a sentence."""
    how = f'with status {exit_code}'
    if exit_code is not None and exit_code < 0:
        with contextlib.suppress(ValueError):
            how = f'by {signal.Signals(-exit_code).name}'
    return f'ended {how}; if memory was short, take fewer --processes'
