"""What came of all cases, as a table and as JSON."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.cases import Reader
from tools.markdown import table

_HEADER = (
    'reader',
    'cases',
    'read',
    'refused in a line',
    'anything else',
    'slowest',
    'most memory',
)


def summary(
    readers: Mapping[str, Reader], records: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """A row for each reader, and one for all."""
    rows = []
    for name, reader in readers.items():
        row = _row(reader.title, [r for r in records if r['reader'] == name])
        if reader.is_process:  # it watches the memory of what it starts by itself
            row['most_memory_mb'] = None
        rows.append(row)
    return [*(row for row in rows if row['cases']), _row('all', records)]


def _row(title: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    cases, read = (sum(record[key] for record in records) for key in ('cases', 'read'))
    finds = sum(len(record['finds']) for record in records)
    return {
        'reader': title, 'cases': cases, 'read': read, 'refused': cases - read - finds,
        'finds': finds,
        'slowest_s': round(max((r['slowest'] for r in records), default=0.0), 2),
        'most_memory_mb': round(max((r['memory'] for r in records), default=0) / 1e6),
        'seconds': round(sum(r['seconds'] for r in records)),
    }  # fmt: skip


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = (
        (
            row['reader'], *(f'{row[key]:,}' for key in ('cases', 'read', 'refused', 'finds')),
            f'{row["slowest_s"]:.1f} s', _megabytes(row['most_memory_mb']),
        )
        for row in rows
    )  # fmt: skip
    return '\n'.join(table(_HEADER, cells)) + '\n'


def _megabytes(number: int | None) -> str:
    if number is None:
        return ''
    return f'{number:,} MB' if number else 'under 1 MB'


def write(out: Path, readers: Mapping[str, Reader], records: Sequence[Mapping[str, Any]]) -> str:
    """summary.md and summary.json in a folder -> the table."""
    rows = summary(readers, records)
    text = markdown(rows)
    (out / 'summary.md').write_text(text, encoding='utf-8')
    (out / 'summary.json').write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
    return text
