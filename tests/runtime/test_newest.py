"""The place for the newest item."""

import threading

from modules.runtime.newest import Newest


def test_the_newest_replaces_what_waits():
    place = Newest()
    assert [place.put(item) for item in 'abc'] == [False, True, True]
    assert place.take() == 'c'
    assert place.take(timeout=0) is None
    assert not place.put('d')


def test_take_waits():
    place, found = Newest(), []
    thread = threading.Thread(target=lambda: found.append(place.take()))
    thread.start()
    place.put('a')
    thread.join(10)
    assert found == ['a']


def test_close_ends_all_waiting():
    place, found = Newest(), []
    threads = [threading.Thread(target=lambda: found.append(place.take())) for _ in range(2)]
    for thread in threads:
        thread.start()
    place.close()
    for thread in threads:
        thread.join(10)
    assert found == [None, None]
    place.put('a')
    assert place.take() is None


def test_what_waits_is_dropped_by_close():
    place = Newest()
    place.put('a')
    place.close()
    assert place.take() is None
