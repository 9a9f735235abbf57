"""The process that reads cases, and tells what came of each."""

import contextlib
import importlib
import io
import os
import re
import resource
import shutil
import signal
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import NamedTuple
from unicodedata import category

from modules.runtime.commands import _exit_status, show_warnings_in_lines
from tests.fuzz.cases import Reader, make_case, seeds_of, write_case
from tests.fuzz.watch import Watch

READ, REFUSED, FIND = 'read', 'refused', 'find'
MEMORY = 2 * 2**30  # bytes that a reader may take
_ADDRESSES = 3 * MEMORY  # that it can't take more than, whatever it tries
_CONTROL = {'Cc', 'Cs', 'Zl', 'Zp'}  # characters that a terminal may take for orders
_LINE = 1000  # characters of what is told, beside paths
_TOLD = re.compile(r'(note|warning): .*')


class Outcome(NamedTuple):
    """What came of a case."""

    number: int
    kind: str  # READ, REFUSED or FIND
    text: str  # the line it was refused in; what is wrong
    seconds: float  # of the processors, for others may be at work
    memory: int  # bytes


class Worker:
    """Args: `scratch`, a folder of its own."""

    def __init__(self, readers: str, scratch: Path, seed: int):
        module, _, name = readers.partition(':')
        self._readers: dict[str, Reader] = getattr(importlib.import_module(module), name)
        self._scratch, self._seed = scratch, seed
        self._around = scratch / 'around'
        self._case = self._around / 'case'
        self._temporary = scratch / 'temporary'
        for folder in (self._around, self._temporary):
            folder.mkdir(parents=True)
        (self._around / 'canary').write_text('sings')
        tempfile.tempdir = str(self._temporary)
        os.chdir(self._around)
        self._printed = os.open(scratch / 'printed', os.O_RDWR | os.O_CREAT | os.O_APPEND)
        self._watch = Watch(self._case, self._temporary)
        self._warm: set[str] = set()
        show_warnings_in_lines()

    def warm_up(self, name: str) -> None:
        """Reads the sound files, which imports what is imported on the way.

        Raises:
            AssertionError: one of them is read in none of the reader's ways.
        """
        reader = self._readers[name]
        if name in self._warm or reader.is_process:
            return
        self._warm.add(name)
        for key, seed in seeds_of(reader).items():
            ways = range(1, 13 if seed.is_sound else 2)
            outcomes = [self.read(reader, -way, seed.files, watched=False) for way in ways]
            kinds = {outcome.kind for outcome in outcomes}
            texts = {outcome.text for outcome in outcomes}
            assert FIND not in kinds, f'{name}: {key}: {texts}'
            assert READ in kinds or not seed.is_sound, f'{name}: {key}, which is sound: {texts}'
        limits = resource.getrlimit(resource.RLIMIT_AS)
        taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + _ADDRESSES, limits[1]))

    def run(self, name: str, number: int) -> Outcome:
        reader = self._readers[name]
        return self.read(reader, number, make_case(reader, number, self._seed))

    def read(
        self, reader: Reader, number: int, files: dict[str, bytes], watched: bool = True
    ) -> Outcome:
        shutil.rmtree(self._case, ignore_errors=True)
        self._case.mkdir()
        path = write_case(files, self._case)
        rng = Random(f'{self._seed}/{reader.name}/{number}/read')
        os.ftruncate(self._printed, 0)
        start, before = _used(), _reset_peak()
        watched = watched and not reader.is_process
        if watched:
            self._watch.start()
        with _limited(reader.seconds), self._outputs() as printed:
            kind, text = _try(reader, path, rng, printed)
        faults = self._watch.stop() if watched else []
        seconds, memory = _used() - start, _peak() - before
        faults += self._traces(files, memory)
        if faults:
            kind, text = (
                FIND,
                '; '.join([*([text] if kind == FIND else []), *dict.fromkeys(faults)]),
            )
        return Outcome(number, kind, text.replace(str(self._case), 'case'), seconds, max(0, memory))

    @contextlib.contextmanager
    def _outputs(self) -> Iterator[io.StringIO]:
        """Python's stdout and stderr in a text, those of libraries in a file."""
        text, kept = io.StringIO(), [os.dup(1), os.dup(2)]
        for number in (1, 2):
            os.dup2(self._printed, number)
        try:
            with contextlib.redirect_stdout(text), contextlib.redirect_stderr(text):
                yield text
        finally:
            for number, copy in zip((1, 2), kept):
                os.dup2(copy, number)
                os.close(copy)

    def _traces(self, files: dict[str, bytes], memory: int) -> Iterator[str]:
        if memory > MEMORY and max(map(len, files.values())) < 10 * 2**20:
            yield f'takes {memory / 2**30:.1f} GiB'
        size = os.fstat(self._printed).st_size
        if size:
            yield f'a library prints {os.pread(self._printed, 100, 0)!r}'
        left = {entry.name for entry in os.scandir(self._around)} - {'case', 'canary'}
        if left or (self._around / 'canary').read_text() != 'sings':
            yield f'writes {sorted(left) or "the canary"}'
            for name in left:
                shutil.rmtree(self._around / name, ignore_errors=True)
                (self._around / name).unlink(missing_ok=True)
        for entry in list(os.scandir(self._temporary)):
            yield f'leaves {entry.name[:3]}... in the temporary folder'
            shutil.rmtree(entry.path, ignore_errors=True)
            Path(entry.path).unlink(missing_ok=True)


def _try(reader: Reader, path: Path, rng: Random, printed: io.StringIO) -> tuple[str, str]:
    """What a command would end with: by its own handling of errors."""
    accepted: list[bool] = []
    try:
        status = _exit_status(lambda: accepted.append(reader.read(path, rng)))
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f'{Path(where.filename).name}:{where.lineno}'
        return FIND, f'{type(error).__name__} at {place}: {str(error)[:300]}'
    lines = printed.getvalue().splitlines()
    errors = [line for line in lines if line.startswith('error: ')]
    odd = [line for line in lines if line not in errors and not _TOLD.fullmatch(line)]
    if odd or len(errors) != (status == 2) or status not in (0, 2):
        return FIND, f'status {status} with {len(errors)} lines of errors, others {odd[:2]}'
    short = [line.replace(str(path.parent), '') for line in lines]
    if any(len(line) > _LINE or _CONTROL & set(map(category, line)) for line in short):
        return FIND, f'a line of {max(map(len, short))} characters: {max(short, key=len)[:300]!r}'
    if errors:
        return REFUSED, errors[0]
    return (READ if accepted[0] else REFUSED), ''


@contextlib.contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Ends this process by SIGPROF after so many seconds of its processors' time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _used() -> float:
    """Seconds of the processors, with those of the processes that were waited for."""
    return sum(os.times()[:4])


def _status(key: str) -> int:
    text = Path('/proc/self/status').read_text()
    return int(re.search(rf'{key}:\s+(\d+)', text)[1]) * 1024  # type: ignore[index]


def _reset_peak() -> int:
    """Begins to watch for the most memory; what is taken now."""
    Path('/proc/self/clear_refs').write_text('5')
    return _status('VmRSS')


def _peak() -> int:
    return _status('VmHWM')


def serve(connection: Connection, readers: str, scratch: Path, seed: int) -> None:
    """Answers (reader, numbers) with an Outcome for each number."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks decides when to end
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    worker = Worker(readers, scratch, seed)
    while True:
        try:
            name, numbers = connection.recv()
        except EOFError:
            return
        worker.warm_up(name)
        connection.send(None)
        _answer(connection, worker, name, numbers)


def _answer(connection: Connection, worker: Worker, name: str, numbers: Sequence[int]) -> None:
    for number in numbers:
        connection.send(worker.run(name, number))
