"""Tables in Markdown."""

from typing import Iterable, Sequence, Tuple


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Tuple[str, ...]:
    """The lines of a table."""
    return tuple(f'| {" | ".join(row)} |' for row in (header, ['---'] * len(header), *rows))
