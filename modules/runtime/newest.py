"""A place for one item between two threads, where the newest replaces what nobody has taken."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar('T')


class Newest(Generic[T]):
    """Holds the newest item that was put there, until it is taken.

    One that is slower than the other loses items, and never falls behind.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: list[T] = []  # one at most
        self._closed = False

    def put(self, item: T) -> bool:
        """Leaves an item; whether an older one had to give way. Ignored once this is closed."""
        with self._changed:
            replaced = bool(self._items)
            if not self._closed:
                self._items = [item]
                self._changed.notify()
            return replaced

    def take(self, timeout: float | None = None) -> T | None:
        """Waits for an item and takes it; None once this is closed, or after `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._closed, timeout)
            return self._items.pop() if self._items else None

    def close(self) -> None:
        """Nothing more comes; what waits is dropped."""
        with self._changed:
            self._closed, self._items = True, []
            self._changed.notify_all()
