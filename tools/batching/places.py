"""Where the rows of a table read and write: nothing is written over, or twice."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from modules.animation.job_options import INPUTS, OUTPUTS
from modules.checkpoints.download import KNOWN_WEIGHTS
from modules.runtime.errors import UserError
from modules.video import IMAGE_SUFFIXES
from tools.batching.table import Row

RECORDS = '.batch'  # within the folder: what is there, see tools/batching/records.py
REPORTS = ('report.csv', 'report.json')


def place_rows(rows: Sequence[Row], table: Path, folder: Path) -> list[Row]:
    """The rows with absolute paths: what they read is looked for beside the table, what they write
    lies in the folder. A result without a name has one of both of its inputs.

    Raises:
        UserError: what is written would replace what any row is made from, or what another row
            writes, or lies outside the folder.
    """
    placed = [Row(row.number, _placed(row, table, folder)) for row in rows]
    _check(placed, table, folder)
    return placed


def outputs_of(row: Row, folder: Path) -> list[str]:
    """What a placed row writes, as paths within the folder, with slashes; its result is first."""
    written = (row.values[name] for name in OUTPUTS if name in row.values)
    return [Path(os.path.relpath(path, os.path.realpath(folder))).as_posix() for path in written]


def _placed(row: Row, table: Path, folder: Path) -> dict[str, str]:
    values = dict(row.values)
    for name in INPUTS:
        if name in values and not (name == 'checkpoint' and _is_known(values[name], table)):
            values[name] = os.path.join(os.path.abspath(table.parent), values[name])
    values.setdefault('result_video', _default_name(values))
    for name in OUTPUTS:
        if name in values:
            values[name] = _within(folder, row.number, values[name])
    return values


def _is_known(checkpoint: str, table: Path) -> bool:
    return checkpoint in KNOWN_WEIGHTS and not os.path.exists(table.parent / checkpoint)


def _default_name(values: dict[str, str]) -> str:
    of = (values.get('source_image'), values.get('driving_video') or values.get('motion'))
    return '-'.join(Path(path).stem for path in of if path) + '.mp4'


def _within(folder: Path, number: int, name: str) -> str:
    """The absolute path of what a row writes."""
    root = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(root, name))
    if Path(root) not in Path(path).parents:
        raise UserError(f'row {number}: {name}: lies outside of --out {folder}; give a name in it')
    if os.path.relpath(path, root).split(os.sep)[0] in (RECORDS, *REPORTS):
        raise UserError(f"row {number}: {name}: is the batch's own; give another name")
    return path


def _read(row: Row) -> Iterator[str]:
    """What a row reads, there or not: it might be what another row makes."""
    for name in INPUTS:
        if os.path.isabs(row.values.get(name, '')):  # else a known name
            yield os.path.realpath(row.values[name])


def _check(rows: Sequence[Row], table: Path, folder: Path) -> None:
    readers = {path: row.number for row in reversed(rows) for path in _read(row)}
    if os.path.realpath(table) in {os.path.realpath(folder / name) for name in REPORTS}:
        raise UserError(f'{table}: the report of --out {folder} would replace it; rename the table')
    frames = {
        os.path.realpath(row.values[name])
        for row in rows
        for name in ('source_image', 'driving_video')
        if os.path.isdir(row.values.get(name, ''))
    }
    writers: dict[str, int] = {}
    for row in rows:
        for name in OUTPUTS:
            path = row.values.get(name)
            if path is None:
                continue
            what = f'row {row.number}: {os.path.relpath(path, os.path.realpath(folder))}'
            if path in writers:
                other = writers[path]
                of = 'twice' if other == row.number else f'by row {other}, too'
                raise UserError(f'{what}: would be written {of}; give each a result of its own')
            if path in readers or path == os.path.realpath(table):
                reader = 'the table' if path not in readers else f'what row {readers[path]} reads'
                mend = 'give another name, or make it in a batch of its own'
                raise UserError(f'{what}: would replace {reader}; {mend}')
            if os.path.dirname(path) in frames and path.lower().endswith(IMAGE_SUFFIXES):
                raise UserError(f'{what}: would become a frame of what is read; give another name')
            writers[path] = row.number
    for path, number in writers.items():
        for parent in map(str, Path(path).parents):
            if parent in writers:
                raise UserError(
                    f'row {number}: {os.path.relpath(path, os.path.realpath(folder))}: would lie '
                    f'in the result of row {writers[parent]}; give another name'
                )
