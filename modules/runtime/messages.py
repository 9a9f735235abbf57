"""The lines that tell a user more than was asked for; they go to stderr."""

import sys


def note(message: str) -> None:
    """Something that the user may want to know."""
    print(f'note: {message}', file=sys.stderr)


def warn(message: str) -> None:
    """Something that the user should look at; the work goes on."""
    print(f'warning: {message}', file=sys.stderr)
