"""The report of a batch: report.csv for spreadsheets, report.json for programs."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.runtime.files import atomic_output
from tools.batching.places import REPORTS
from tools.batching.processes import DONE, FAILED, NOT_RUN, THERE, Outcome
from tools.batching.table import Row

COLUMNS = ('row', 'picture', 'clip', 'result', 'status', 'seconds', 'frames', 'message')
_COUNTED = ((DONE, 'done'), (THERE, 'there already'), (FAILED, 'failed'), (NOT_RUN, 'not run'))


def write_report(
    folder: Path,
    rows: Sequence[Row],
    results: Sequence[str],
    outcomes: Mapping[int, Outcome],
    about: Mapping[str, Any],
) -> None:
    """Writes both, in the order of the table.

    Args:
        rows: as the table has them.
        results: their names within the folder.
        outcomes: by the rows' numbers, counted from 0; what has none was not run.
        about: the batch as a whole, for the JSON file.
    """
    lines = []
    for number, (row, result) in enumerate(zip(rows, results)):
        outcome = outcomes.get(number, Outcome(NOT_RUN))
        clip = row.values.get('driving_video') or row.values.get('motion', '')
        picture = row.values.get('source_image', '')
        made = (round(outcome.seconds, 2), outcome.frames, outcome.message)
        lines.append((row.number, picture, clip, result, outcome.status, *made))
    table = io.StringIO(newline='')
    csv.writer(table).writerows([COLUMNS, *lines])
    report = {'format': 1, **about, 'rows': [dict(zip(COLUMNS, line)) for line in lines]}
    texts = table.getvalue(), json.dumps(report, indent=1, ensure_ascii=False) + '\n'
    # The mark tells spreadsheets that it is UTF-8.
    for name, text, encoding in zip(REPORTS, texts, ('utf-8-sig', 'utf-8')):
        with atomic_output(folder / name) as path:
            path.write_bytes(text.encode(encoding, 'replace'))


def summary(count: int, outcomes: Mapping[int, Outcome]) -> str:
    """One line: how many rows became what."""
    counts = Counter(outcome.status for outcome in outcomes.values())
    counts[NOT_RUN] = count - len(outcomes)
    told = ', '.join(f'{counts[status]} {text}' for status, text in _COUNTED if counts[status])
    noted = sum(bool(o.message) for o in outcomes.values() if o.status in (DONE, THERE))
    notes = f' ({noted} with notes in the report)' if noted else ''
    return f'{count} row{"s" if count != 1 else ""}: {told}{notes}'
