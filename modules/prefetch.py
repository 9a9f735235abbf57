"""Items computed ahead of their use, by a thread."""

import queue
import threading
from typing import Iterable, Iterator, TypeVar

T = TypeVar('T')
_END = object()


def prefetch(items: Iterable[T], ahead: int = 2) -> Iterator[T]:
    """The items, of which up to `ahead` are got ready while the last one is being used.

    What the iteration raises is raised here, in its place. A consumer that stops early stops it.
    """
    ready: queue.Queue = queue.Queue(ahead)
    stopped = threading.Event()

    def put(entry: object) -> None:
        while not stopped.is_set():
            try:
                return ready.put(entry, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        iterator = iter(items)
        try:
            while not stopped.is_set():
                try:
                    item = next(iterator)
                except StopIteration:
                    return put((_END, None))
                except BaseException as error:  # for the consumer
                    return put((_END, error))
                put((item, None))
        finally:
            close = getattr(iterator, 'close', None)
            if close is not None:
                close()

    worker = threading.Thread(target=work, name='prefetch', daemon=True)
    worker.start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        worker.join()
