"""The lines that tell a user more than was asked for; they go to stderr."""

import sys
import unicodedata

# Control characters, halves of characters, and what breaks a line or turns its direction. A
# terminal may take them for orders, and names in files of others may hold any.
_UNPRINTABLE = ('Cc', 'Cs', 'Zl', 'Zp')
_TURNING = frozenset('\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')


def printable(text: str) -> str:
    """The same text on one line, with control characters as escapes such as \\x1b."""
    if text.isascii() and text.isprintable():
        return text
    return ''.join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE and character not in _TURNING:
        return character
    return character.encode('unicode_escape').decode()


def shortened(text: str) -> str:
    """A text of somebody else's file, as long as a message bears."""
    return text if len(text) <= 80 else f'{text[:40]}...{text[-37:]}'


def note(message: str) -> None:
    """Something that the user may want to know."""
    print(f'note: {printable(message)}', file=sys.stderr)


def warn(message: str) -> None:
    """Something that the user should look at; the work goes on."""
    print(f'warning: {printable(message)}', file=sys.stderr)
