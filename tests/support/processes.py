"""Processes that tests watch."""

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE = 20  # seconds after which something hangs


def alive(pid: int | str) -> bool:
    """Whether the process runs; an ended one that nobody waits for does not."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Waits for what comes soon, on a busy machine not at once."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, 'waited in vain'
        time.sleep(0.02)
