"""Items ahead of their use: the same ones, the same failures, no thread left behind."""

import threading
import time

import pytest

from modules.prefetch import prefetch


def threads():
    return [thread for thread in threading.enumerate() if thread.name == 'prefetch']


def test_items_come_in_order():
    assert list(prefetch(range(100))) == list(range(100)) and list(prefetch([])) == []
    assert not threads()


def test_only_a_few_are_got_ready():
    taken = []
    items = prefetch((taken.append(n) or n for n in range(100)), ahead=2)
    assert next(items) == 0
    time.sleep(0.3)
    assert 3 <= len(taken) <= 4
    items.close()
    assert not threads()


def test_a_failure_comes_in_its_place():
    def failing():
        yield 1
        raise ValueError('broken')

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match='broken'):
        next(items)
    assert not threads()


def test_the_source_is_closed_by_its_own_thread():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread().name)

    ahead = prefetch(items())
    next(ahead)
    ahead.close()
    assert closed == ['prefetch']
