"""Items ahead of their use: the same ones, the same failures, no thread left behind."""

import faulthandler
import itertools
import signal
import sys
import threading
import time

import pytest

from modules.video.prefetch import prefetch


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


@pytest.mark.skipif(not hasattr(signal, 'setitimer'), reason='no interval timers on this system')
@pytest.mark.skipif('coverage' in sys.modules, reason="it would leave coverage's own lock closed")
def test_a_signal_at_any_moment_stops_it():
    """Each round is interrupted a little later; a lock left closed would hang the end of one."""

    def interrupt(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    faulthandler.dump_traceback_later(600, exit=True)  # a hanging thread can't be ended otherwise
    try:
        for round_number in range(3000):
            items = prefetch(itertools.count())
            next(items)
            with pytest.raises(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 1e-5 + round_number * 1e-7)
                for _ in items:
                    pass
            del items
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.signal(signal.SIGALRM, before)
    assert not threads()
