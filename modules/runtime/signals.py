"""Signals that end a process as an exception does, so that nothing half written stays behind."""

import signal
import sys
import time
from typing import Any

# Seconds in which a signal that is sent again, as by an impatient Ctrl+C, changes nothing: it would
# end in the middle what the first one has begun to clean up.
GRACE = 5.0

_asked: float | None = None


def end(number: int, frame: Any = None) -> None:
    """Ends the process, as the handler of a signal: SIGINT as in any Python program, others with
    the status that a shell gives for them.
    """
    if number != signal.SIGINT:
        leave_once(number)
    elif _is_news():
        raise KeyboardInterrupt


def leave_once(number: int) -> None:
    """Ends the process with the status that a shell gives for a signal, unless it does so now."""
    if _is_news():
        sys.exit(128 + number)


def _is_news() -> bool:
    global _asked
    now = time.monotonic()
    if _asked is not None and now - _asked < GRACE:
        return False
    _asked = now
    return True


def end_by_interrupt() -> None:
    """SIGINT ends this process as `end` says, unless it is ignored (nohup) or in other hands."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL):
        signal.signal(signal.SIGINT, end)
