"""python -m tests.fuzz --cases 100000 --out FOLDER

Exit status: 0, or 1 if there are finds. A run that was killed goes on where it was.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import report
from tests.fuzz.campaign import Campaign, environment
from tests.fuzz.readers import READERS


def main() -> int:
    parser = argparse.ArgumentParser(
        'python -m tests.fuzz', description='Files that lie, read as commands do.'
    )
    parser.add_argument('--cases', type=int, default=100_000, help='how many (default: 100000)')
    parser.add_argument('--seed', type=int, default=0, help='of the cases; others with another one')
    parser.add_argument(
        '--reader', action='append', choices=READERS, help='only this one; may be repeated'
    )
    parser.add_argument('--processes', type=int, default=1, help='at a time (default: 1)')
    parser.add_argument(
        '--out', type=Path, help='folder of finds and summary (default: a temporary one)'
    )
    options = parser.parse_args()
    out = options.out or Path(tempfile.mkdtemp(prefix='fuzz-out-'))
    environment()
    start = time.monotonic()
    campaign = Campaign(out, READERS, seed=options.seed, only=options.reader or ())
    records = campaign.run(options.cases, options.processes, lambda line: print(line, flush=True))
    print(f'\n{report.write(out, READERS, records)}\n{time.monotonic() - start:.0f} s, in {out}')
    return 1 if any(record['finds'] for record in records) else 0


if __name__ == '__main__':
    sys.exit(main())
