"""What the work tells its user on the way: lines, and how far it is.

On the terminal, where a command is run; to a listener, where the work is a part of a program that
shows such things in its own way.
"""

import contextlib
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Protocol, TypeVar

from tqdm import tqdm

Item = TypeVar('Item')

# Control characters, halves of characters, and what breaks a line or turns its direction. A
# terminal may take them for orders, and names in files of others may hold any.
_UNPRINTABLE = ('Cc', 'Cs', 'Zl', 'Zp')
_TURNING = frozenset('\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')


def printable(text: str) -> str:
    """The same text on one line, with control characters as escapes such as \\x1b."""
    if text.isascii() and text.isprintable():
        return text
    return ''.join(_escaped(character) for character in text)


def counted(number: int, noun: str) -> str:
    """1 clip, 2 clips."""
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE and character not in _TURNING:
        return character
    return character.encode('unicode_escape').decode()


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
        print(printable(message), flush=True)
    else:
        listener.said(printable(message))


def note(message: str) -> None:
    """Something that the user may want to know; to stderr."""
    _tell('note', message)


def warn(message: str) -> None:
    """Something that the user should look at; the work goes on. To stderr."""
    _tell('warning', message)


@contextlib.contextmanager
def above_bars() -> Iterator[None]:
    """What is told within the block stands above the bars that are on the terminal."""
    with tqdm.external_write_mode(file=sys.stderr):
        yield


def _tell(kind: str, message: str) -> None:
    listener = _listener.get()
    if listener is None:
        print(f'{kind}: {printable(message)}', file=sys.stderr)
    else:
        listener.noted(printable(message))


def watched(frames: Iterable[Item], title: str, total: int | None) -> Iterator[Item]:
    """Frames, with a bar on the terminal; where nobody watches, as in a log file, it stays away."""
    listener = _listener.get()
    if listener is None:
        return iter(tqdm(frames, title, total, unit='frame', disable=None))
    return listener.watched(frames, title, total)
