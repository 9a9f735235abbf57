"""Makes faults while the commands work, and counts what survives; the long form takes an hour.

python -m tests.faults --rounds 3 --out FOLDER
python -m tests.faults --only demo:kill --only torn
"""

import argparse
import sys
from pathlib import Path

from tests.faults.commands import COMMANDS
from tests.faults.faults import FAULTS
from tests.faults.running import Faults, markdown, write


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=1, help='trials of each fault and command')
    parser.add_argument(
        '--only',
        action='append',
        default=[],
        metavar='NAME',
        help=f'a command ({", ".join(COMMANDS)}, page), a fault ({", ".join(FAULTS)}), or both, '
        'as in demo:kill; may be given several times',
    )
    parser.add_argument('--seed', type=int, default=0, help='of moments and damages')
    parser.add_argument('--out', type=Path, help='folder for faults.md and faults.json')
    options = parser.parse_args()
    faults = Faults(options.seed)
    results = faults.run(options.rounds, options.only)
    print(markdown(results))
    if options.out:
        write(results, options.out, options.rounds, options.seed)
    return 1 if any(result.wrong for result in results) else 0


if __name__ == '__main__':
    sys.exit(main())
