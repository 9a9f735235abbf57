"""What a process of a batch does: it takes one row after another."""

import contextlib
import time
import traceback
from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

from modules.runtime.errors import OUTPUT_ERRORS, UserError, output_error_text
from modules.runtime.locks import taking_turns
from modules.runtime.messages import Lines, heard_by
from modules.runtime.pool_process import Tell, end_once
from modules.runtime.process import prepare_process
from tools.batching.places import RECORDS
from tools.batching.records import Fingerprints, Record

DONE, THERE, FAILED, NOT_RUN = 'done', 'there', 'failed', 'not run'  # what became of a row
_OFTEN = 0.2  # seconds from one message about frames to the next


class Order(NamedTuple):
    """A row to be animated."""

    number: int  # of the row, counted from 0
    options: Namespace
    outputs: list[str]  # within the folder; the result is first
    notes: list[str]  # that its options gave rise to


class Outcome(NamedTuple):
    """What became of a row."""

    status: str
    seconds: float = 0.0
    frames: int = 0
    message: str = ''  # the mistake, or notes
    trace: str = ''  # of a defect of ours


class RowMaker:
    """Animates rows; the Work of a pool's process.

    Args:
        folder: of the batch.
        cpu: whatever a row says, it is computed on the CPU.
    """

    def __init__(self, folder: Path, cpu: bool):
        self._folder, self._cpu = folder, cpu
        self._fingerprints = Fingerprints()
        self._worker: Any = None  # from the first row that is not there already

    def __call__(self, order: Order, tell: Tell) -> Outcome:
        """What becomes of a row.

        Args:
            tell: now and then is told how much of it is done, from 0 to 1.
        """
        record = Record(self._folder, order.outputs)
        try:
            return self._outcome(order, record, tell)
        except UserError as error:
            failed = Outcome(FAILED, message=str(error))
        except OSError as error:
            if error.errno not in OUTPUT_ERRORS:
                failed = _defect(error)
            else:
                failed = Outcome(FAILED, message=output_error_text(error))
        except Exception as error:  # of any kind: the other rows are none the worse for it
            failed = _defect(error)
        with contextlib.suppress(OSError):
            record.drop()
        return failed

    def _outcome(self, order: Order, record: Record, tell: Tell) -> Outcome:
        fingerprint = None
        with contextlib.suppress(OSError, UserError), heard_by(Lines()):
            # What is wrong the job says.
            fingerprint = self._fingerprints.of_row(order.options)
        there = record.finished(fingerprint)
        if there is not None:
            return Outcome(THERE, there['seconds'], there['frames'], there['message'])
        record.begin(fingerprint)
        last = 0.0

        def progress(done: int, total: int | None) -> None:
            nonlocal last
            if total and time.monotonic() - last > _OFTEN:
                last = time.monotonic()
                tell(done / total)

        options = order.options
        if self._cpu:
            options = Namespace(**{**vars(options), 'cpu': True})
        done = self._start().run(options, progress)
        known = {'seconds': round(done.seconds, 2), 'frames': done.frame_count}
        message = '; '.join(dict.fromkeys((*order.notes, *done.notes)))
        record.finish(fingerprint, **known, message=message)
        return Outcome(DONE, **known, message=message)

    def _start(self) -> Any:
        if self._worker is None:
            prepare_process(self._cpu)
            end_once()
            from modules.animation.job import Worker

            # Of several that want the same programs the first one makes them.
            turns = self._folder / RECORDS / 'engine.lock'
            self._worker = Worker(lambda: taking_turns(turns))
        return self._worker


def _defect(error: Exception) -> Outcome:
    """What should not happen, with its traceback."""
    text = ' '.join(f'{type(error).__name__}: {error}'.split())
    return Outcome(FAILED, message=text, trace=traceback.format_exc())
