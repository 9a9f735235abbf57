"""Runs each check in a process of its own, so that none can end, block or disturb another."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tools.gpu_checking.catalogue import Entry
from tools.gpu_checking.findings import FAIL, Finding, Outcome

ROOT = Path(__file__).resolve().parent.parent.parent
WORKER = ('-m', 'tools.gpu_checking.worker')
_LOG_KEPT = 4000  # characters, of the end


def run_check(entry: Entry, cpu: bool, worker: Sequence[str] = WORKER) -> Outcome:
    """Runs a check until it ends, at most as long as it may take; whatever happens, an outcome.

    Args:
        cpu: on the CPU, even if there is a GPU.
        worker: what the Python interpreter is told to run.
    """
    with tempfile.TemporaryDirectory(prefix='gpu_check.') as folder:
        result, log = Path(folder) / 'result.json', Path(folder) / 'log.txt'
        command = [sys.executable, *worker, entry.name, str(result), *(['--cpu'] if cpu else [])]
        start = time.monotonic()
        with open(log, 'wb') as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that it can be ended with all that it started
                env={**os.environ, 'TMPDIR': folder},
            )
            late = _wait(process, entry.seconds)
        seconds = time.monotonic() - start
        if late:
            why = f'took more than {entry.seconds} s'
        elif result.exists():
            outcome = _read(result)
            said = outcome.log + tail(log) if outcome.status == FAIL else ''
            return outcome._replace(seconds=seconds, log=said)
        else:
            why = _end_of(process.returncode)
        return Outcome(entry.name, FAIL, why, seconds=seconds, log=tail(log))


def _wait(process: subprocess.Popen, seconds: float) -> bool:
    """Waits for a process; ends it and its children if it takes longer. Returns whether it did."""
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:  # also where we are interrupted: nothing is left behind
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _read(path: Path) -> Outcome:
    values = json.loads(anonymous(path.read_text(encoding='utf-8')))
    rows = tuple(Finding(**row) for row in values.pop('rows'))
    return Outcome(**values, rows=rows)


def _end_of(status: int) -> str:
    """How a process ended that left no result."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return f'was ended by {signal.Signals(-status).name}'
    return f'ended with status {status} and no result'


def tail(log: Path) -> str:
    """The end of a log, without the paths of this machine."""
    text = log.read_text(encoding='utf-8', errors='replace')[-_LOG_KEPT:]
    return anonymous(text)


def anonymous(text: str) -> str:
    """A text without the user's folders."""
    text = text.replace(str(ROOT), '.')
    home = os.path.expanduser('~')
    return text.replace(home, '~') if len(home) > 1 else text
