"""Signals that end a process as an exception does, so that nothing half written stays behind."""

import signal
import sys
import time
from typing import Any

# Seconds in which a signal that is sent again, as by an impatient Ctrl+C, changes nothing: it would
# end in the middle what the first one has begun to clean up.
GRACE = 5.0

_asked: float | None = None
_leaving: int | None = None  # the signal that `leave_once` was for


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
    global _leaving
    if _is_news():
        _leaving = number
        sys.exit(128 + number)


def leave_if_asked() -> None:
    """Ends the process where `leave_once` should have: what is raised while Paddle's C++ calls
    Python, as for a gradient, comes out of it as another exception.
    """
    if _leaving is not None:
        sys.exit(128 + _leaving)


def _is_news() -> bool:
    global _asked
    now = time.monotonic()
    if _asked is not None and now - _asked < GRACE:
        return False
    _asked = now
    # What the signal came upon half made may complain when it is destroyed, which nobody can mend.
    sys.unraisablehook = lambda unraisable: None
    return True


def end_by_interrupt() -> None:
    """SIGINT ends this process as `end` says, unless it is ignored (nohup) or in other hands."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, signal.SIG_DFL):
        signal.signal(signal.SIGINT, end)
