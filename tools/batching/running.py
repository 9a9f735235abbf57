"""Gives rows to processes, and takes what becomes of them."""

import contextlib
import multiprocessing
import signal
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

from tools.batching.processes import FAILED, Order, Outcome, Setup, died, gpu_of, serve
from tools.batching.records import sweep_row

_PATIENCE = 10  # seconds for the processes to end when they are asked to
_SPAWN = multiprocessing.get_context('spawn')  # a fork would share what Paddle must not share

OnOutcome = Callable[[int, Outcome], None]
OnShare = Callable[[int, float], None]


def engine_settings(options: Namespace) -> tuple[Hashable, ...]:
    """What rows have in common that can use the same engine."""
    names = ('config', 'checkpoint', 'engine', 'precision', 'batch', 'cpu')
    return tuple(str(getattr(options, name)) for name in names)


class Waiting:
    """Orders that nobody has taken, those of the same engine together.

    A process goes on with what its engine can do; then it takes what no other one is at, in the
    order of the table; then it helps where most is left.
    """

    def __init__(self, orders: Iterable[Order]):
        self._left: dict[Hashable, deque[Order]] = {}
        for order in orders:
            self._left.setdefault(engine_settings(order.options), deque()).append(order)
        self._at: dict[int, Hashable] = {}

    def __bool__(self) -> bool:
        return any(self._left.values())

    def take(self, process: int) -> Order | None:
        """The next order for the process of this number; None when there are no more."""
        settings = self._at.get(process)
        if not self._left.get(settings):
            open_ones = [key for key, orders in self._left.items() if orders]
            if not open_ones:
                return None
            others = {key for number, key in self._at.items() if number != process}
            free = [key for key in open_ones if key not in others]
            settings = free[0] if free else max(open_ones, key=lambda key: len(self._left[key]))
            self._at[process] = settings
        return self._left[settings].popleft()


class _Running(NamedTuple):
    process: SpawnProcess
    pipe: Connection
    number: int


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


class Pool:
    """Processes that go through the rows. Used in a `with` statement, which ends them.

    Args:
        processes: how many, at most.
        gpus: among which they are spread; none: the CPU.
    """

    def __init__(self, folder: Path, processes: int, gpus: Sequence[str]):
        self._folder, self._processes, self._gpus = folder, processes, gpus
        self._running: list[_Running] = []
        self._ending: list[_Running] = []  # without orders
        self._at_work: dict[int, Order] = {}

    def __enter__(self) -> 'Pool':
        return self

    def run(self, orders: Sequence[Order], on_outcome: OnOutcome, on_share: OnShare) -> None:
        """Goes through the orders.

        Args:
            on_outcome: called with the number of each order, and what became of it, as they end.
            on_share: called now and then with the number of one that is under way, and how much of
                it is done, from 0 to 1.
        """
        waiting = Waiting(orders)
        self._processes = min(self._processes, len(orders))
        for number in range(self._processes):
            self._give(self._start(number), waiting)
        while self._running:
            by_pipe = {running.pipe: running for running in self._running}
            for pipe in wait(list(by_pipe)):
                assert isinstance(pipe, Connection)
                self._hear(by_pipe[pipe], waiting, on_outcome, on_share)

    def _start(self, number: int) -> _Running:
        ours, its = _SPAWN.Pipe()
        setup = Setup(self._folder, self._processes, gpu_of(number, self._gpus))
        process = _SPAWN.Process(target=serve, args=(its, setup), daemon=True)
        running = _Running(process, ours, number)
        self._running.append(running)
        with _uninterrupted():
            process.start()
        its.close()
        return running

    def _give(self, running: _Running, waiting: Waiting) -> None:
        order = waiting.take(running.number)
        with contextlib.suppress(OSError):  # it is dead, which is heard next
            running.pipe.send(order)
        if order is not None:
            self._at_work[running.number] = order
        else:
            self._running.remove(running)
            self._ending.append(running)

    def _hear(
        self, running: _Running, waiting: Waiting, on_outcome: OnOutcome, on_share: OnShare
    ) -> None:
        try:
            number, what = running.pipe.recv()
        except (EOFError, OSError):
            self._bury(running, on_outcome)
            if waiting:
                self._give(self._start(running.number), waiting)
            return
        if isinstance(what, Outcome):
            del self._at_work[running.number]
            on_outcome(number, what)
            self._give(running, waiting)
        else:
            on_share(number, what)

    def _bury(self, running: _Running, on_outcome: OnOutcome) -> None:
        """A process has died, and its row with it."""
        running.process.join()
        running.pipe.close()
        self._running.remove(running)
        order = self._at_work.pop(running.number)
        sweep_row(self._folder, order.outputs)
        on_outcome(order.number, Outcome(FAILED, message=died(running.process.exitcode)))

    def __exit__(self, *exception: object) -> None:
        """Ends what runs; nothing half written stays behind."""
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
        for order in self._at_work.values():
            sweep_row(self._folder, order.outputs)
        self._running.clear()
