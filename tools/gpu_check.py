"""Checks on this machine's GPU all that this project relies on, in some ten minutes.

    python tools/gpu_check.py --out gpu.json

Prints a line per check: ok, FAIL, or why it is not run. Writes FILE with all figures, and beside it
one page (FILE with .md) to read or to send. doc/gpu.md says which line of it each check proves.
Without a GPU what has a meaning on the CPU is checked there. Each check runs in a process of its
own; exit status 1 if one fails.
"""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.files import atomic_output, check_output
from tools.gpu_checking.catalogue import chosen
from tools.gpu_checking.findings import FAIL, Outcome
from tools.gpu_checking.report import page, verdict
from tools.gpu_checking.running import run_check
from tools.provenance import describe_machine


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    add = parser.add_argument
    add('--out', type=Path, metavar='FILE', help='.json to write, with a page .md beside it')
    add('--only', nargs='+', default=[], metavar='NAME', help='checks to run; all if left out')
    add('--list', action='store_true', help='name the checks and what each proves')
    add('--cpu', action='store_true', help='check on the CPU even if there is a GPU')
    options = parser.parse_args()
    if options.out is None and not options.list:
        parser.error('--out FILE is missing: where the report goes')
    if options.out is not None and options.out.suffix != '.json':
        parser.error(f'--out {options.out}: give a name that ends in .json; a .md comes beside it')
    return options


def show(outcome: Outcome) -> None:
    print(f'{outcome.status:8s} {outcome.name:14s} {outcome.line} ({outcome.seconds:.0f} s)')
    sys.stdout.flush()


def page_path(out: Path) -> Path:
    return out.with_suffix('.md')


def write(report: dict[str, Any], out: Path) -> None:
    """Writes the figures and the page, each of them whole."""
    with atomic_output(out) as path:
        path.write_text(json.dumps(report, indent=1) + '\n', encoding='utf-8')
    with atomic_output(page_path(out)) as path:
        path.write_text(page(report), encoding='utf-8')


def main() -> None:
    options = parse_arguments()
    entries = chosen(options.only)
    if options.list:
        for entry in entries:
            print(f'{entry.name:14s} {entry.proves}')
        return
    check_output(options.out)
    report: dict[str, Any] = {
        'format': 1,
        'date': datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC'),
        'seconds': 0.0,
        'complete': False,
        'machine': describe_machine(),
        'checks': [],
    }
    start = time.monotonic()
    for entry in entries:
        outcome = run_check(entry, options.cpu)
        show(outcome)
        report['checks'].append({**outcome.as_json(), 'proves': entry.proves})
        report['seconds'] = time.monotonic() - start
        report['complete'] = entry is entries[-1]
        write(report, options.out)  # anew each time: a GPU may take the machine down with it
    print(f'{verdict(report)}; written: {options.out} and {page_path(options.out)}')
    if any(check['status'] == FAIL for check in report['checks']):
        sys.exit(1)


if __name__ == '__main__':
    run_command(main)
