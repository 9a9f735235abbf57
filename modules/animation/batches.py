"""Frames of a clip put together into batches."""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

S = TypeVar('S')
T = TypeVar('T')


def twice(items: Iterable[T]) -> tuple[Iterator[T], Iterator[T]]:
    """The items for two, who may be apart; one that both have had is not kept.

    itertools.tee keeps up to 57 of them, which frames are too large for.
    """
    iterator = iter(items)
    waiting: tuple[deque[T], deque[T]] = (deque(), deque())

    def follow(own: deque[T], other: deque[T]) -> Iterator[T]:
        while True:
            if not own:
                try:
                    item = next(iterator)
                except StopIteration:
                    return
                own.append(item)
                other.append(item)
                del item
            yield own.popleft()

    return follow(*waiting), follow(*reversed(waiting))


def map_batches(
    function: Callable[[list[S]], Sequence[T]], items: Iterable[S], size: int
) -> Iterator[T]:
    """`map_repeated` by a function of up to `size` items at once, which gives a result for each.

    Results come in the order of the items. One that comes again takes no place in a batch. The next
    item is asked for when all results that there are have been taken, so that no more than a batch
    is held. Where the items break off with an error, the results of those before come first.
    """
    waiting: list[S] = []
    counts: list[int] = []  # how often each comes
    last: Any = object()
    result: Any = None  # of the last one, unless it waits

    def results() -> Iterator[T]:
        nonlocal result
        for result, count in zip(function(waiting), counts, strict=True):
            yield from itertools.repeat(result, count)
        waiting.clear()
        counts.clear()

    iterator = iter(items)
    failure: Exception | None = None
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            break
        except Exception as error:
            failure = error
            break
        if item is not last:
            last = item
            waiting.append(item)
            counts.append(1)
        elif waiting:
            counts[-1] += 1
        else:
            yield result
        if len(waiting) == size:
            yield from results()
    if waiting:
        yield from results()
    if failure is not None:
        raise failure
