"""Animates all rows of a table: a picture, a clip, options and a result each.

    python tools/batch.py jobs.csv --out results

The table is a CSV file with the columns picture, clip, result (which may be left out) and any
options of demo.py by their names. What it names is looked for beside it; results go into the
folder. A batch that was stopped goes on where it was: a result that is there whole, for the same
row, is not made again. See doc/batch.md.

Exit status: 0 if all results are there, 1 if rows failed, which report.csv in the folder explains.
"""

import argparse
import contextlib
import datetime
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

from tqdm import tqdm

from modules.animation.job_options import JobError, job_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import check_output
from modules.runtime.gpu_choice import find_gpus
from modules.runtime.locks import folder_of_one_run
from modules.runtime.messages import Lines, heard_by
from modules.runtime.pool import Pool
from modules.runtime.process import end_by_exception
from tools.batching.places import RECORDS, REPORTS, outputs_of, place_rows
from tools.batching.processes import FAILED, THERE, Order, Outcome, RowMaker
from tools.batching.records import sweep
from tools.batching.report import summary, write_report
from tools.batching.running import Waiting
from tools.batching.table import Row, read_table


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        'table',
        type=Path,
        metavar='JOBS.csv',
        help='table of the animations: picture, clip, result and options of demo.py',
    )
    parser.add_argument(
        '--out',
        type=Path,
        required=True,
        metavar='FOLDER',
        help='folder of the results and the report',
    )
    parser.add_argument(
        '--processes',
        type=_count,
        metavar='N',
        help='processes side by side, each with a row at a time; they share the cores (default: 1, '
        'or one for each GPU)',
    )
    parser.add_argument(
        '--device',
        default='auto',
        metavar='NAME',
        help='cpu, gpu (all of them), or some of them, such as gpu:0,1; auto (the default): the '
        'GPUs, if there are any',
    )
    return parser.parse_args()


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: give a whole number of at least 1')
    return int(text)


class Batch:
    """The rows of a table, and what becomes of them.

    Args:
        rows: as the table has them.
        placed: the same with absolute paths.
    """

    def __init__(self, rows: Sequence[Row], placed: Sequence[Row], folder: Path):
        self.rows, self.folder = rows, folder
        self._placed = placed
        self._outputs = [outputs_of(row, folder) for row in placed]
        self.outcomes: dict[int, Outcome] = {}
        self._shares: dict[int, float] = {}
        self._bar: Any = None

    def orders(self) -> list[Order]:
        """What is to be done; a row that can't be is told of at once."""
        orders = []
        for number, row in enumerate(self._placed):
            heard = Lines()
            try:
                with heard_by(heard):
                    options = _options(row, self.folder)
                orders.append(Order(number, options, self._outputs[number], heard.notes))
            except UserError as error:
                self.on_outcome(number, Outcome(FAILED, message=str(error)))
        return orders

    def run(self, processes: int, gpus: Sequence[str]) -> None:
        orders = self.orders()
        waiting = Waiting(orders, self.folder, self.on_share)
        count = min(processes, len(orders))
        form = '{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}]'
        with (
            contextlib.closing(tqdm(total=len(self.rows), bar_format=form, disable=None)) as bar,
            waiting.swept(),
            Pool(RowMaker, (self.folder, not gpus), count, gpus, paddle=False) as pool,
        ):
            self._bar = bar
            self._draw()
            for order, outcome in pool.run(waiting):
                self.on_outcome(order.number, outcome)

    def on_share(self, number: int, share: float) -> None:
        self._shares[number] = share
        self._draw()

    def on_outcome(self, number: int, outcome: Outcome) -> None:
        self._shares.pop(number, None)
        self.outcomes[number] = outcome
        row, result = self.rows[number], self._outputs[number][0]
        if outcome.status == FAILED:
            tqdm.write(f'row {row.number}: {result}: FAILED: {outcome.message}', file=sys.stderr)
            if outcome.trace:
                tqdm.write(outcome.trace, file=sys.stderr)
        elif outcome.status != THERE:
            seconds = f'{outcome.frames} frames, {outcome.seconds:.1f} s'
            tqdm.write(f'row {row.number}: {result} ({seconds})', file=sys.stdout)
        sys.stdout.flush()
        self._draw()

    def _draw(self) -> None:
        if self._bar is not None:
            self._bar.n = len(self.outcomes) + sum(self._shares.values())
            self._bar.set_description_str(f'{len(self.outcomes)} of {len(self.rows)} rows')

    def report(self, about: dict[str, Any]) -> str:
        """Writes the report -> a line about it."""
        results = [outputs[0] for outputs in self._outputs]
        write_report(self.folder, self.rows, results, self.outcomes, about)
        return f'{summary(len(self.rows), self.outcomes)}; report: {self.folder / REPORTS[0]}'


def _options(row: Row, folder: Path) -> argparse.Namespace:
    """A row's options, checked; folders of its results are made."""
    values = row.values
    if 'source_image' not in values:
        raise JobError('it has no picture')
    if not {'driving_video', 'motion'} & set(values):
        raise JobError('it has no clip')
    for name in outputs_of(row, folder):
        try:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise UserError(f'{name}: lies in what is no folder; give another name') from error
    return job_options(values)


def main() -> None:
    options = parse_arguments()
    rows = read_table(options.table)
    placed = place_rows(rows, options.table, options.out)
    gpus = find_gpus(options.device)
    processes = options.processes or len(gpus) or 1
    end_by_exception()
    with folder_of_one_run(options.out, '--out'):
        (options.out / RECORDS).mkdir(exist_ok=True)
        for name in REPORTS:
            check_output(options.out / name)
        sweep(options.out)
        batch = Batch(rows, placed, options.out)
        began, start = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
        try:
            batch.run(processes, gpus)
        finally:
            print(batch.report({
                'table': str(options.table),
                'began': began.strftime('%Y-%m-%d %H:%M:%S UTC'),
                'seconds': round(time.monotonic() - start, 2),
                'processes': processes,
                'gpus': gpus,
            }))  # fmt: skip
    if any(outcome.status == FAILED for outcome in batch.outcomes.values()):
        sys.exit(1)


if __name__ == '__main__':
    run_command(main)
