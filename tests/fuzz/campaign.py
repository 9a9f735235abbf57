"""All cases, by processes that may die of them. What came of each block is kept, not done again."""

import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.cases import Reader, make_case, write_case
from tests.fuzz.worker import FIND, READ, Outcome, serve

READERS = 'tests.fuzz.readers:READERS'
BLOCK = 250  # cases of a reader that a process does at a time
_SMALL = 5  # likewise where each is a process of its own
_STARTING = 300  # seconds that a process may take until its first case
_PATIENCE = 10  # times a reader's limit: others may be at work
_PROGRESS = 'progress.jsonl'


class Block(NamedTuple):
    reader: str
    numbers: range


def counts(readers: Mapping[str, Reader], cases: int) -> dict[str, int]:
    """How many cases each reader gets."""
    total = sum(reader.share for reader in readers.values())
    shares = {name: max(1, round(cases * r.share / total)) for name, r in readers.items()}
    largest = max(shares, key=lambda name: shares[name])
    shares[largest] += cases - sum(shares.values())
    return shares


def blocks(readers: Mapping[str, Reader], shares: Mapping[str, int]) -> list[Block]:
    """Such that at any time about the same part of every reader's cases is done."""
    found = []
    for name, count in shares.items():
        size = _SMALL if readers[name].is_process else BLOCK
        for start in range(0, count, size):
            found.append((start / count, Block(name, range(start, min(start + size, count)))))
    return [block for _, block in sorted(found, key=lambda item: item[0])]


class Process:
    """One that does blocks, and another one when it died."""

    def __init__(self, source: str, readers: Mapping[str, Reader], seed: int):
        self._source, self._readers, self._seed = source, readers, seed
        self._process: Any = None

    def _start(self) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix='fuzz-'))
        context = multiprocessing.get_context('spawn')
        self._connection, theirs = context.Pipe()
        arguments = (theirs, self._source, self._scratch / 'worker', self._seed)
        self._process = context.Process(target=serve, args=arguments)
        self._process.start()
        theirs.close()

    def run(self, block: Block) -> Iterator[Outcome]:
        numbers = list(block.numbers)
        while numbers:
            if self._process is None:
                self._start()
            self._connection.send((block.reader, numbers))
            if not self._answers_within(_STARTING) or not self._is_ready():
                self.close()
                raise RuntimeError(f'{block.reader}: the process does not begin, see above')
            yield from self._answers(block.reader, numbers)

    def _is_ready(self) -> bool:
        with contextlib.suppress(EOFError):
            self._connection.recv()
            return True
        return False

    def _answers(self, name: str, numbers: list[int]) -> Iterator[Outcome]:
        """Those to `numbers`, which are taken out; up to one that ends the process."""
        patience = _PATIENCE * self._readers[name].seconds
        while numbers:
            try:
                outcome = self._connection.recv() if self._answers_within(patience) else None
            except EOFError:
                outcome = Outcome(numbers[0], FIND, self._how_it_ended(name), 0, 0)
                self.close()
            if outcome is None:
                outcome = Outcome(numbers[0], FIND, f'no answer for {patience} s', patience, 0)
                self.close()
            numbers.remove(outcome.number)
            yield outcome
            if self._process is None:
                return

    def _answers_within(self, seconds: int) -> bool:
        """Seconds in which both processes were let run: a stop (SIGSTOP) of both counts for one."""
        return any(self._connection.poll(1) for _ in range(seconds))

    def _how_it_ended(self, name: str) -> str:
        self._process.join()
        status = self._process.exitcode
        if status == -signal.SIGPROF:
            return f'takes more than {self._readers[name].seconds} s'
        return f'ends the process by {signal.Signals(-status).name if status < 0 else status}'

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._process = None


class Campaign:
    """Args: `source`, where the readers are, 'module:name'; `only`, the names of some of them."""

    def __init__(self, out: Path, readers: Mapping[str, Reader], source: str = READERS,
                 seed: int = 0, only: Sequence[str] = ()):  # fmt: skip
        self.out, self._source, self._seed = out, source, seed
        self._readers = {k: r for k, r in readers.items() if not only or k in only}
        self._lock = threading.Lock()

    def run(
        self, cases: int, processes: int = 1, tell: Callable[[str], None] = print
    ) -> list[dict[str, Any]]:
        """Does what is not done yet -> a record for each block."""
        self.out.mkdir(parents=True, exist_ok=True)
        shares = counts(self._readers, cases)
        done = self._done(cases)
        known = {(record['reader'], record['start']) for record in done}
        todo = [
            b for b in blocks(self._readers, shares) if (b.reader, b.numbers.start) not in known
        ]
        waiting = iter(todo)

        def work(_: int) -> None:
            process = Process(self._source, self._readers, self._seed)
            with contextlib.closing(process):
                while (block := self._next(waiting)) is not None:
                    record = self._do(process, block, cases)
                    done.append(record)
                    finished = sum(r['cases'] for r in done)
                    tell(f'{finished} of {cases}: {block.reader}, {len(record["finds"])} finds')

        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(work, range(processes)))
        return done

    def _next(self, waiting: Iterator[Block]) -> Block | None:
        with self._lock:
            return next(waiting, None)

    def _do(self, process: Process, block: Block, cases: int) -> dict[str, Any]:
        start = time.monotonic()
        record: dict[str, Any] = {'of': [cases, self._seed], 'reader': block.reader,
            'start': block.numbers.start,
                                  'cases': len(block.numbers), READ: 0, 'finds': [],
                                  'slowest': 0.0, 'memory': 0}  # fmt: skip
        for outcome in process.run(block):
            record['slowest'] = max(record['slowest'], outcome.seconds)
            record['memory'] = max(record['memory'], outcome.memory)
            record[READ] += outcome.kind == READ
            if outcome.kind == FIND:
                record['finds'].append([outcome.number, outcome.text])
                self._keep(block.reader, outcome)
        record['seconds'] = time.monotonic() - start
        with self._lock, open(self.out / _PROGRESS, 'a', encoding='utf-8') as file:
            file.write(json.dumps(record) + '\n')
        return record

    def _done(self, cases: int) -> list[dict[str, Any]]:
        """The records of an earlier run of the same cases; a line cut short is left out."""
        records = []
        with contextlib.suppress(FileNotFoundError):
            for line in (self.out / _PROGRESS).read_text(encoding='utf-8').splitlines():
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if record['of'] == [cases, self._seed] and record['reader'] in self._readers:
                        records.append(record)
        return records

    def _keep(self, name: str, outcome: Outcome) -> None:
        folder = self.out / 'finds' / f'{name}-{outcome.number}'
        shutil.rmtree(folder, ignore_errors=True)
        write_case(make_case(self._readers[name], outcome.number, self._seed), folder)
        (folder / 'what.txt').write_text(
            outcome.text + '\n', encoding='utf-8', errors='backslashreplace'
        )


def environment() -> None:
    """For the processes: one thread, and no colours or bars."""
    os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1', NO_COLOR='1')
