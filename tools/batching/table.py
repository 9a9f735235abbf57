"""The table of a batch: a row for each animation, as spreadsheets and people write it."""

import contextlib
import csv
import difflib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from modules.animation.job_options import option_actions
from modules.runtime.errors import UserError, reason_of, shortened

# Columns with names of their own; all others have those of demo.py's options.
ALIASES = {'picture': 'source_image', 'clip': 'driving_video', 'result': 'result_video'}
_DELIMITERS = ',;\t'
_LARGEST = 2**26  # bytes of a table


class Row(NamedTuple):
    """What a row asks for."""

    number: int  # as a spreadsheet counts rows, the names of the columns being row 1
    values: dict[str, str]  # by demo.py's options; empty cells are left out


def read_table(path: Path) -> list[Row]:
    """The rows of a CSV file; empty ones are passed over.

    Separated by commas, semicolons or tabs; UTF-8, with or without a byte order mark, or UTF-16
    with one; lines may end in any way.

    Raises:
        UserError: it can't be read, is no such table, has no rows, or columns that mean nothing.
    """
    lines = _records(path, _text(path))
    head = next(((i, cells) for i, cells in enumerate(lines) if any(cells)), None)
    if head is None:
        raise UserError(f'{path}: is empty; give columns such as picture, clip, result')
    start, cells = head
    names = _column_names(path, cells)
    rows = []
    for number, line in enumerate(lines[start + 1 :], start + 2):
        values = _values(path, number, names, line)
        if values:
            rows.append(Row(number, values))
    if not rows:
        raise UserError(f'{path}: has columns and no rows')
    return rows


def _text(path: Path) -> str:
    try:
        with open(path, 'rb') as file:
            data = file.read(_LARGEST + 1)
    except OSError as error:
        raise UserError(f'{path}: {reason_of(error)}; give a table, a CSV file') from error
    if data[:4] in (b'PK\x03\x04', b'\xd0\xcf\x11\xe0'):
        raise UserError(f'{path}: is a workbook; save its sheet as CSV (UTF-8)')
    if len(data) > _LARGEST:
        raise UserError(f'{path}: is larger than {_LARGEST >> 20} MB, and no table of jobs')
    utf_16 = data[:2] in (b'\xff\xfe', b'\xfe\xff')
    try:
        text = data.decode('utf-16' if utf_16 else 'utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'{path}: is not UTF-8; save it as CSV UTF-8') from error
    if '\0' in text:
        raise UserError(f'{path}: is no text; give a table, a CSV file')
    return text


def _records(path: Path, text: str) -> list[list[str]]:
    """The cells of each row, without space around; an empty list for an empty line."""
    first, _, rest = text.partition('\n')
    if first.strip().lower().startswith('sep='):  # Excel's own, which it does not show
        return _split(path, rest, first.strip()[4:5] or '\t')
    head = next((line for line in text.splitlines() if line.strip()), '')
    known = _known_names()

    def understood(delimiter: str) -> int:
        with contextlib.suppress(csv.Error):  # which is told when all of it is read
            cells = next(csv.reader([head], delimiter=delimiter), [])
            return sum(_normal(cell) in known for cell in cells)
        return 0

    return _split(path, text, max(_DELIMITERS, key=understood))


def _split(path: Path, text: str, delimiter: str) -> list[list[str]]:
    reader = csv.reader(io.StringIO(text, newline=''), delimiter=delimiter, strict=True)
    lines = []
    try:
        for cells in reader:
            lines.append([cell.strip() for cell in cells])
    except csv.Error as error:
        raise UserError(
            f'{path}: line {reader.line_num}: {error}; a quote within a cell in quotes is doubled'
        ) from error
    return lines


def _known_names() -> list[str]:
    return [*ALIASES, *option_actions()]


def _normal(name: str) -> str:
    return name.strip().lstrip('-').lower().replace('-', '_').replace(' ', '_')


def _column_names(path: Path, cells: Sequence[str]) -> list[str | None]:
    """The option of each column; None where it has no name.

    Raises:
        UserError: a name that means nothing, or what another column means already.
    """
    known = _known_names()
    names: list[str | None] = []
    for cell in cells:
        name = _normal(cell)
        if not name:
            names.append(None)
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f'did you mean {near[0]}? ' if near else ''
            raise UserError(
                f'{path}: no column {shortened(repr(cell))}; {meant}columns are picture, clip, '
                'result, and options of demo.py by their names'
            )
        option = ALIASES.get(name, name)
        if option in names:
            raise UserError(f'{path}: two columns for {option}; leave one of them out')
        names.append(option)
    if 'source_image' not in names:
        raise UserError(f'{path}: has no column picture; the first row names the columns')
    if not {'driving_video', 'motion'} & set(names):
        raise UserError(f'{path}: has no column clip; the first row names the columns')
    return names


def _values(
    path: Path, number: int, names: Sequence[str | None], cells: Sequence[str]
) -> dict[str, str]:
    values = {}
    for position, cell in enumerate(cells):
        name = names[position] if position < len(names) else None
        if cell and name is None:
            raise UserError(
                f'{path}: row {number}: {shortened(repr(cell))} is in a column without a name; '
                'name it, or quote a cell that holds a separator, such as "1280,720"'
            )
        if cell and name is not None:
            values[name] = cell
    return values
