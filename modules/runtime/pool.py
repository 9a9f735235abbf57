"""Processes that compute side by side, each an order at a time.

    with Pool(partial(make_work, settings), processes=4) as pool:
        for order, answer in pool.run(InTurn(orders)):
            ...

One that dies takes no other with it; all end when the `with` statement does, or this process.
"""

import contextlib
import multiprocessing
import pickle
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol

from modules.runtime.errors import UserError
from modules.runtime.messages import above_bars, note, say, warn
from modules.runtime.pool_process import Answer, Failure, Ready, Setup, Told, Work, died, serve
from modules.runtime.process import users_environment

_PATIENCE = 10  # seconds for the processes to end when they are asked to
_SPAWN = multiprocessing.get_context('spawn')  # a fork would share what Paddle must not share


class Orders(Protocol):
    """What there is to do. Orders and answers are pickled."""

    def take(self, process: int) -> Any:
        """The next order for the process of this number; None: none, or not yet."""

    def __bool__(self) -> bool:
        """Whether one is left, be it that it can't be given yet."""

    def lost(self, order: Any, how: str) -> Any:
        """A process has died over an order: what is answered instead; None: it is still to do.

        Args:
            how: it died, such as 'ended by SIGKILL'.
        """

    def told(self, order: Any, what: Any) -> None:
        """What a process tells on the way to its answer."""


class InTurn:
    """Orders, one after another, that have a `name`; one whose process dies is given once more.

    Args:
        wanted: how many good answers are enough, as `count` tells of them; None: all there can be.
            No order is given before it is known that it is needed, so that the orders given are
            those of any number of processes.
    """

    def __init__(self, orders: Iterable[Any], wanted: int | None = None):
        self._left = deque(orders)
        self._wanted = wanted
        self._under_way = self._good = 0
        self._once: list[str] = []

    def __bool__(self) -> bool:
        return bool(self._left) and (self._wanted is None or self._good < self._wanted)

    def take(self, process: int) -> Any:
        if not self or (self._wanted is not None and self._good + self._under_way >= self._wanted):
            return None
        self._under_way += 1
        return self._left.popleft()

    def count(self, good: bool) -> None:
        """Whoever gets the answers says of each whether it is one of those that are wanted."""
        self._under_way -= 1
        self._good += good

    def lost(self, order: Any, how: str) -> None:
        if order.name in self._once:
            raise UserError(f'{order.name}: its process {how}; it did so before')
        self._once.append(order.name)
        self._under_way -= 1
        self._left.appendleft(order)
        with above_bars():
            warn(f'{order.name}: its process {how}; it is tried once more')

    def told(self, order: Any, what: Any) -> None:
        """Nothing is."""


class Alone:
    """Does in this process what a pool does in others."""

    def __init__(self, work: Work):
        self._work = work

    def run(self, orders: Orders) -> Iterator[tuple[Any, Any]]:
        """Goes through the orders: each, and the answer to it."""
        while (order := orders.take(0)) is not None:
            yield order, self._work(order, lambda what: None)

    def close(self) -> None:
        """There is nothing to end."""


class _Running:
    """A process, and what it is at."""

    def __init__(self, process: SpawnProcess, pipe: Connection, number: int):
        self.process, self.pipe, self.number = process, pipe, number
        self.ready = False
        self.order: Any = None


class Pool:
    """Processes that go through orders. Used in a `with` statement, which ends them.

    Args:
        make: makes the Work of each process, in it; is pickled, and must stand in a module.
        arguments: of `make`.
        processes: how many.
        gpus: among which they are spread; none: the CPU.
        paddle: whether Paddle is set up, on that device, before `make` is looked for.
    """

    def __init__(
        self,
        make: Callable[..., Work],
        arguments: Sequence[Any],
        processes: int,
        gpus: Sequence[str] = (),
        paddle: bool = True,
    ):
        self._make = pickle.dumps((make, tuple(arguments)))
        self._processes, self._gpus, self._paddle = processes, gpus, paddle
        self._running: list[_Running] = []
        self._ending: list[_Running] = []  # without orders
        self._said: set[str] = set()

    def __enter__(self) -> 'Pool':
        return self

    def start(self) -> None:
        """Starts a process and, when it is ready for orders, the others: these find what the first
        one has made, such as compiled programs, and what is wrong is told once.

        Raises:
            UserError: as `make` does; or it died.
        """
        first = self._start(0)
        while not first.ready:
            self._hear(first, InTurn(()))
        self._start_others()

    def run(self, orders: Orders) -> Iterator[tuple[Any, Any]]:
        """Goes through the orders: each, and the answer to it, as the answers come.

        Raises:
            UserError, OSError, RuntimeError: what a Work raises; all end then.
        """
        self._start_others()
        while True:
            for running in [one for one in self._running if one.ready and one.order is None]:
                self._give(running, orders)
            if orders and not self._running:
                self._start(0)
            if not orders and not any(running.order for running in self._running):
                return
            by_pipe = {running.pipe: running for running in self._running}
            for pipe in wait(list(by_pipe)):
                assert isinstance(pipe, Connection)
                yield from self._hear(by_pipe[pipe], orders)

    def _start_others(self) -> None:
        there = {running.number for running in self._running}
        for number in sorted({*range(self._processes)} - there):
            self._start(number)

    def _start(self, number: int) -> _Running:
        ours, its = _SPAWN.Pipe()
        setup = Setup(self._processes, gpu_of(number, self._gpus), self._paddle)
        process = _SPAWN.Process(target=serve, args=(its, setup, self._make), daemon=True)
        running = _Running(process, ours, number)
        self._running.append(running)
        with _uninterrupted(), users_environment():
            process.start()
        its.close()
        return running

    def _give(self, running: _Running, orders: Orders) -> None:
        order = orders.take(running.number)
        if order is None and orders:
            return  # it may be needed yet
        with contextlib.suppress(OSError):  # it is dead, which is heard next
            running.pipe.send(order)
        running.order = order
        if order is None:
            self._running.remove(running)
            self._ending.append(running)

    def _hear(self, running: _Running, orders: Orders) -> list[tuple[Any, Any]]:
        """Takes what a process says -> the order and its answer, if it is one."""
        try:
            said = running.pipe.recv()
        except (EOFError, OSError):
            return self._bury(running, orders)
        if isinstance(said, Failure):
            raise said.error
        if isinstance(said, Ready):
            running.ready = True
            self._repeat(said)
        elif isinstance(said, Told):
            orders.told(running.order, said.what)
        elif isinstance(said, Answer):
            order, running.order = running.order, None
            return [(order, said.what)]
        return []

    def _repeat(self, said: Ready) -> None:
        """Tells what a process has said, unless another one said it before."""
        for line, tell in [*((line, say) for line in said.lines), *((n, note) for n in said.notes)]:
            if line not in self._said:
                with above_bars():
                    tell(line)
            self._said.add(line)

    def _bury(self, running: _Running, orders: Orders) -> list[tuple[Any, Any]]:
        """A process has died; another takes its place if there is something to do."""
        running.process.join()
        running.pipe.close()
        self._running.remove(running)
        how, order = died(running.process.exitcode), running.order
        if order is None:  # it would go on like this
            raise UserError(f'a process {how}')
        answer = orders.lost(order, how)
        if orders:
            self._start(running.number)
        return [] if answer is None else [(order, answer)]

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends what runs."""
        started = [*self._running, *self._ending]
        for running in started:
            running.pipe.close()  # by which it knows
        for running in started:
            if running.process.pid is None:  # interrupted before it was there
                continue
            running.process.join(_PATIENCE)
            if running.process.is_alive():
                running.process.kill()
                running.process.join()
        self._running.clear()
        self._ending.clear()


@contextlib.contextmanager
def workers(
    make: Callable[..., Work], arguments: Sequence[Any], processes: int, gpus: Sequence[str] = ()
) -> Iterator[Alone | Pool]:
    """What goes through orders: this process, where it is to be one, or as many others, ready.

    Args:
        make, arguments, processes, gpus: as for Pool.
    """
    if processes == 1:
        yield Alone(make(*arguments))
        return
    with Pool(make, arguments, processes, gpus) as pool:
        pool.start()
        yield pool


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started within the block does not hear of Ctrl+C; this process does, after it."""
    if not hasattr(signal, 'pthread_sigmask'):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def gpu_of(number: int, gpus: Sequence[str]) -> str | None:
    """The GPU of the process of a number: they take turns."""
    return gpus[number % len(gpus)] if gpus else None
