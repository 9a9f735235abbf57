"""Which process of a batch takes which row, and what becomes of one whose process dies."""

import contextlib
from argparse import Namespace
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from pathlib import Path

from modules.runtime.pool import Orders
from tools.batching.processes import FAILED, Order, Outcome
from tools.batching.records import sweep_row

OnShare = Callable[[int, float], None]


def engine_settings(options: Namespace) -> tuple[Hashable, ...]:
    """What rows have in common that can use the same engine."""
    names = ('config', 'checkpoint', 'engine', 'precision', 'batch', 'cpu')
    return tuple(str(getattr(options, name)) for name in names)


class Waiting(Orders):
    """Orders that nobody has taken, those of the same engine together.

    A process goes on with what its engine can do; then it takes what no other one is at, in the
    order of the table; then it helps where most is left.

    Args:
        folder: of the batch.
        on_share: called now and then with the number of an order that is under way, and how much of
            it is done, from 0 to 1.
    """

    def __init__(
        self,
        orders: Iterable[Order],
        folder: Path,
        on_share: OnShare = lambda number, share: None,
    ):
        self._folder, self._on_share = folder, on_share
        self._left: dict[Hashable, deque[Order]] = {}
        for order in orders:
            self._left.setdefault(engine_settings(order.options), deque()).append(order)
        self._at: dict[int, Hashable] = {}
        self._taken: dict[int, Order] = {}  # the last one of each process

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
        self._taken[process] = self._left[settings].popleft()
        return self._taken[process]

    def lost(self, order: Order, how: str) -> Outcome:
        """Its row has failed."""
        sweep_row(self._folder, order.outputs)
        return Outcome(FAILED, message=f'its process {how}')

    def told(self, order: Order, what: float) -> None:
        self._on_share(order.number, what)

    @contextlib.contextmanager
    def swept(self) -> Iterator[None]:
        """Nothing half written stays behind when the block has ended, and all processes with it."""
        try:
            yield
        finally:
            for order in self._taken.values():
                sweep_row(self._folder, order.outputs)
