"""What the work tells its user on the way: lines, and how far it is.

On the terminal, where a command is run; to a listener, where the work is a part of a program that
shows such things in its own way.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Protocol, TypeVar

from tqdm import tqdm

Item = TypeVar('Item')


class Listener(Protocol):
    """What hears, in place of the terminal."""

    def said(self, message: str) -> None:
        """What a user asked for."""

    def noted(self, message: str) -> None:
        """What a user may want to know, or should look at."""

    def watched(self, items: Iterable[Item], title: str, total: int | None) -> Iterator[Item]:
        """The items, one by one, as a bar of this title would show them."""


class Lines(Listener):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.lines: list[str] = []  # that were asked for
        self.notes: list[str] = []

    def said(self, message: str) -> None:
        self.lines.append(message)

    def noted(self, message: str) -> None:
        self.notes.append(message)

    def watched(self, items: Iterable[Item], title: str, total: int | None) -> Iterator[Item]:
        return iter(items)


_listener: ContextVar[Listener | None] = ContextVar('listener', default=None)


@contextlib.contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Within the block nothing of this thread's work is printed; the listener hears it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def say(message: str) -> None:
    """Something that was asked for; to stdout, at once."""
    listener = _listener.get()
    if listener is None:
        print(message, flush=True)
    else:
        listener.said(message)


def note(message: str) -> None:
    """Something that the user may want to know; to stderr."""
    _tell('note', message)


def warn(message: str) -> None:
    """Something that the user should look at; the work goes on. To stderr."""
    _tell('warning', message)


def _tell(kind: str, message: str) -> None:
    listener = _listener.get()
    if listener is None:
        print(f'{kind}: {message}', file=sys.stderr)
    else:
        listener.noted(message)


def watched(frames: Iterable[Item], title: str, total: int | None) -> Iterator[Item]:
    """Frames, with a bar on the terminal; where nobody watches, as in a log file, it stays away."""
    listener = _listener.get()
    if listener is None:
        return iter(tqdm(frames, title, total, unit='frame', disable=None))
    return listener.watched(frames, title, total)
