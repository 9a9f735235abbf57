"""How much of modules/ the tests reach, room by room, by what `coverage json` has written.

    python tools/coverage_table.py .coverage/figures.json

`make coverage` does so, after a run of all tests. A branch is a way out of an `if`, a loop or
another place where there are two; of these at least 92 of a hundred have to be taken.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError, reason_of
from tools.markdown import table

_COUNTS = ('num_statements', 'covered_lines', 'num_branches', 'covered_branches')


def main() -> None:
    options = parse_arguments()
    try:
        files = json.loads(options.figures.read_text(encoding='utf-8'))['files']
    except (OSError, ValueError, KeyError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else 'is not of `coverage json`'
        raise UserError(f'{options.figures}: {reason}; run `make coverage`') from error
    rooms = counts_by_room(files)
    print('\n'.join(table(('room', 'lines', 'reached, %', 'branches', 'taken, %'), rows(rooms))))
    taken = _percent(sum(rooms.values(), Counter()), 'branches')
    if taken < options.least:
        raise UserError(f'{taken:.1f} % of the branches are taken, not {options.least:g} %')


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        'figures', type=Path, metavar='FILE.json', help='what `coverage json` has written'
    )
    parser.add_argument(
        '--least', type=float, default=92, metavar='N', help='percent of branches to be reached'
    )
    return parser.parse_args()


def counts_by_room(files: Mapping[str, Any]) -> dict[str, Counter[str]]:
    """{folder: counts}; the files of modules/ itself, the networks, are a room, too."""
    rooms: dict[str, Counter[str]] = defaultdict(Counter)
    for name, told in files.items():
        room = PurePath(name.replace('\\', '/')).parent.as_posix()
        rooms[room].update({key: told['summary'][key] for key in _COUNTS})
    return dict(sorted(rooms.items()))


def rows(rooms: Mapping[str, Counter[str]]) -> Iterator[tuple[str, ...]]:
    for name, counts in (*rooms.items(), ('all', sum(rooms.values(), Counter()))):
        lines, branches = (str(counts[f'num_{what}']) for what in ('statements', 'branches'))
        reached, taken = (f'{_percent(counts, what):.1f}' for what in ('lines', 'branches'))
        yield f'`{name}/`' if name != 'all' else name, lines, reached, branches, taken


def _percent(counts: Mapping[str, int], what: str) -> float:
    of = counts.get('num_statements' if what == 'lines' else 'num_branches', 0)
    return 100 * counts.get(f'covered_{what}', 0) / of if of else 100


if __name__ == '__main__':
    run_command(main)
