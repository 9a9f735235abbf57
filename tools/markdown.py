"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The lines of a table."""
    return tuple(f'| {" | ".join(row)} |' for row in (header, ['---'] * len(header), *rows))
