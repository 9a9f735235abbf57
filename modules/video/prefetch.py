"""Items computed ahead of their use, by a thread."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar('T')
_END = object()


def prefetch(items: Iterable[T], ahead: int = 2) -> Iterator[T]:
    """The items, of which up to `ahead` are got ready while the last one is being used.

    What the iteration raises is raised here, in its place. A consumer that stops early stops it,
    be it by a signal: locks written in C can't be left closed by one, as those of queue.Queue can.
    """
    wishes: queue.SimpleQueue[bool] = queue.SimpleQueue()  # for one item each
    ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
    stopped = False

    def work() -> None:
        iterator: Any = None
        item: Any = None
        try:
            iterator = iter(items)
            while item is not _END and wishes.get() and not stopped:
                item = next(iterator, _END)
                ready.put((item, None))
        except BaseException as error:  # for the consumer
            ready.put((_END, error))
        finally:
            close = getattr(iterator, 'close', None)
            if close is not None:
                close()

    worker = threading.Thread(target=work, name='prefetch', daemon=True)
    try:
        worker.start()
        for _ in range(ahead):
            wishes.put(True)
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            wishes.put(True)
            yield item
    finally:
        stopped = True
        wishes.put(False)
        if worker.is_alive():  # else it has ended, or will at once
            worker.join()
