"""The process that computes the page's jobs, one after another; tools/page/jobs.py starts it.

Orders come as lines of JSON on stdin, and {'cancel': NUMBER} for the one at work; what happens goes
to stdout, likewise. It ends when stdin does.

    {'kind': 'progress', 'done': 3, 'total': 32}         total is null where it is not known
    {'kind': 'done', 'result': PATH, 'beside': PATH, 'frames': 32, 'seconds': 1.5, 'lines': [...]}
    {'kind': 'done', 'drawing': PATH, 'lines': [...]}
    {'kind': 'failed', 'field': 'picture', 'text': NAME OF A SENTENCE, 'values': {...}}
    {'kind': 'cancelled'}
"""

import json
import os
import queue
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:] = [str(ROOT), *(path for path in sys.path if Path(path or '.') != ROOT / 'tools/page')]

from modules.runtime.process import prepare_process

_OFTEN = 0.15  # seconds between two messages of progress


class Orders:
    """What comes on stdin, read by a thread of its own."""

    def __init__(self) -> None:
        self._orders: queue.Queue[dict[str, Any]] = queue.Queue()
        self._cancelled: set[int] = set()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin.buffer:
            order = json.loads(line)
            if 'cancel' in order:
                self._cancelled.add(order['cancel'])
            else:
                self._orders.put(order)
        os._exit(0)  # the page is gone, and its folder with it

    def next(self) -> dict[str, Any]:
        return self._orders.get()

    def is_cancelled(self, number: int) -> bool:
        return number in self._cancelled


def serve() -> None:
    """Computes orders, without end."""
    answers = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)  # what a library prints would disturb the answers
    orders = Orders()
    prepare_process('--cpu' in sys.argv[1:])
    from tools.page.work import Work

    work = Work()
    while True:
        order = orders.next()
        number = order['number']
        last = 0.0

        def tell(message: dict[str, Any], number: int = number) -> None:
            answers.write(json.dumps({**message, 'number': number}).encode() + b'\n')
            answers.flush()

        def progress(done: int, total: int | None) -> None:
            nonlocal last
            if time.monotonic() - last >= _OFTEN or done == total:
                last = time.monotonic()
                tell({'kind': 'progress', 'done': done, 'total': total})

        tell(work.do(order, progress, partial(orders.is_cancelled, number)))


if __name__ == '__main__':
    serve()
