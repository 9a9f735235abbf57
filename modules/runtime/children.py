"""Functions called in processes of their own, so that a crash of theirs is an error here.

What C libraries do with broken files may end the process that calls them. There is no way back from
that, but for another process to notice.
"""

import atexit
import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar, cast

from modules.runtime.errors import UserError

Result = TypeVar('Result')
# Such a process takes the modules from where this one has them, wherever it is started.
_START = (
    'import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); '
    'from modules.runtime.children import serve; serve()'
)


class ChildDiedError(Exception):
    """The process ended while it was at work; the message says how."""


class _Child:
    """A process that computes one call after another."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, '-c', _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._orders = cast(BinaryIO, self._process.stdin)
        self._answers = cast(BinaryIO, self._process.stdout)
        self._send(sys.path)
        pickle.load(self._answers)  # it is ready

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            self._send((function, arguments))
            error, answer = pickle.load(self._answers)
        except (EOFError, OSError, pickle.UnpicklingError) as problem:
            self.close()
            raise ChildDiedError(_describe(self._process.wait())) from problem
        if error is not None:
            raise error
        return answer

    def _send(self, order: Any) -> None:
        self._orders.write(pickle.dumps(order))
        self._orders.flush()

    def close(self) -> None:
        """Ends the process, in the middle of its work if need be."""
        self._process.kill()
        self._process.wait()
        self.forget()

    def forget(self) -> None:
        """Closes the pipes; that it has no more orders ends the process."""
        for pipe in (self._orders, self._answers):
            with contextlib.suppress(OSError):  # what could not be sent
                pipe.close()


def _describe(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f'status {status}'


_idle: queue.LifoQueue[_Child] = queue.LifoQueue()
_all: list[_Child] = []


def call_apart(function: Callable[..., Result], *arguments: Any) -> Result:
    """`function(*arguments)`, computed by another process, of which as many run as calls at a time.

    It starts with the first call, and stays for the next ones. Function, arguments and result are
    pickled; the function must stand in a module. Where no process can be started, it runs in this
    one. A process that somebody kills, as systems do that are short of memory, is replaced once.

    Raises:
        ChildDiedError: the process ended.
        RuntimeError: what was raised there, with its traceback; errors of the user and of the
            operating system are raised as they are.
    """
    try:
        return _call(function, *arguments)
    except ChildDiedError as error:
        if str(error) != signal.Signals.SIGKILL.name:  # no library ends itself so
            raise
    result: Result = _call(function, *arguments)
    return result


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    child = _take()
    if child is None:
        return function(*arguments)
    try:
        result = child.call(function, *arguments)
    except ChildDiedError:
        _all.remove(child)
        raise
    except BaseException as error:
        if isinstance(error, Exception):
            _idle.put(child)
        else:  # interrupted: its answer is still to come
            _all.remove(child)
            child.close()
        raise
    _idle.put(child)
    return result


def _take() -> _Child | None:
    """An idle process, or a new one."""
    try:
        return _idle.get_nowait()
    except queue.Empty:
        pass
    try:
        child = _Child()
    except (OSError, EOFError, pickle.UnpicklingError):
        return None
    _all.append(child)
    return child


def close_children() -> None:
    """Ends all processes; the next call starts anew."""
    while True:
        with contextlib.suppress(queue.Empty):
            _idle.get_nowait()
            continue
        break
    while _all:
        _all.pop().close()


def _forget_children() -> None:
    """A fork of this process has copies of the pipes, which would keep the others waiting."""
    global _idle
    _idle = queue.LifoQueue()
    while _all:
        _all.pop().forget()


atexit.register(close_children)
if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=_forget_children)


def serve() -> None:
    """What such a process does, until there are no more orders."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the other process decides when to end
    answers = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # what a library prints would disturb the answers
    pickle.dump(None, answers)
    answers.flush()
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answers.write(_answer(function, arguments))
        answers.flush()


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    """(exception or None, result), pickled."""
    try:
        return pickle.dumps((None, function(*arguments)))
    except (UserError, OSError) as problem:
        return pickle.dumps((problem, None))
    except Exception:  # of any kind: not every one can be pickled
        error = RuntimeError(f'in another process:\n{traceback.format_exc()}')
        return pickle.dumps((error, None))
