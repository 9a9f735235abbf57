"""The order of training samples, and the processes that prepare them.

All randomness of a sample is a function of its key (index, (seed, epoch, position)). So nothing
depends on the number of workers, and a run that starts again in the middle sees what it would have.

The workers are our own, since those of paddle.io.DataLoader (3.3.1) copy a batch more often on its
way: a sample of 256x256, two workers, batches of 8, cost 5.7 ms of CPU time there and 3.8 ms here,
or 8.8 ms and 7.0 ms with vox-256's augmentation. They also outlive a run that is killed.
"""

import gc
import itertools
import math
import mmap
import multiprocessing
import signal
import traceback
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol

import numpy as np

from modules.runtime.errors import UserError

# Which sample, before the number of samples of a pass is taken off, and what its randomness is
# made of: the run's seed, the epoch, and the place in it.
Key = tuple[int, tuple[int, int, int]]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Batch(NamedTuple):
    """B samples: arrays (B, 3, H, W) of float32 in [0, 1], and the names of their clips."""

    source: np.ndarray
    driving: np.ndarray
    names: tuple[str, ...]


def share_of_batch(batch_size: int, processes: int, accumulation_steps: int = 1) -> int:
    """The samples of a joint batch that one of the processes has.

    Raises:
        UserError: the batch does not divide among the processes and into the parts that each of
            them computes one after the other.
    """
    unit = processes * accumulation_steps
    if batch_size % unit:
        among = f'{processes} processes' if processes > 1 else ''
        parts = f'{accumulation_steps} accumulation_steps' if accumulation_steps > 1 else ''
        below = batch_size // unit * unit
        fitting = [str(size) for size in (below, below + unit) if size]
        raise UserError(
            f'train_params.batch_size: {batch_size} does not divide among '
            f'{" x ".join(filter(None, (among, parts)))}; take {" or ".join(fitting)}'
        )
    return batch_size // processes


class TrainingOrder:
    """In which order an epoch passes over the samples, batch by batch.

    Several processes that train together see the batches of one: each takes its part of every
    joint batch. A last batch that would not be full is left out.
    """

    def __init__(
        self, num_samples: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ):
        """
        Args:
            num_samples: of an epoch: size of the dataset times num_repeats.
            batch_size: of the joint batch.
            seed: of the run, at least 0.
            rank, world_size: number of this process, and how many there are.

        Raises:
            UserError: the batch does not divide among the processes, or there are fewer samples.
        """
        self._share = share_of_batch(batch_size, world_size)
        if num_samples < batch_size:
            raise UserError(
                f'train_params.batch_size: {batch_size} is more than the {num_samples} samples of '
                'an epoch; lower it or raise train_params.num_repeats'
            )
        self.num_samples, self.batch_size, self.seed = num_samples, batch_size, seed
        self._first = rank * self._share

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.num_samples // self.batch_size

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[list[Key]]:
        """Yields the keys of this process's part of each batch, from batch `start_batch` on."""
        shuffle = np.random.default_rng(np.random.SeedSequence([self.seed, epoch]))
        indices = shuffle.permutation(self.num_samples)
        for batch in range(start_batch, len(self)):
            begin = batch * self.batch_size + self._first
            yield [
                (int(indices[position]), (self.seed, epoch, position))
                for position in range(begin, begin + self._share)
            ]


class Samples(Protocol):
    """What samples are drawn from: a FramesDataset for training."""

    frame_shape: tuple[int, ...]  # (height, width, 3)

    def __getitem__(self, key: Key) -> Any:
        """The sample of this key."""

    def draw(self, key: Key) -> tuple[Any, list[Any]]:
        """The sample of this key, and what could not be read on the way to it."""

    def report(self, damage: list[Any]) -> None:
        """Says what could not be read."""


def make_loader(dataset: Samples, keys: Iterable[list[Key]], num_workers: int) -> Iterator[Batch]:
    """Prepares the samples of each list of keys, in order and a few batches ahead.

    Args:
        dataset: a FramesDataset for training; the workers share its memory.
        keys: one list for each batch, such as `TrainingOrder.epoch` gives.
        num_workers: processes beside this one; 0: everything is done here.

    Raises:
        UserError: too many samples in a row can't be read, or a worker was killed.
        RuntimeError: anything else that happened in a worker, with the traceback there.
    """
    if num_workers == 0 or 'fork' not in multiprocessing.get_all_start_methods():
        for batch in keys:
            samples = [dataset[key] for key in batch]
            yield Batch(
                np.stack([sample.source for sample in samples]),
                np.stack([sample.driving for sample in samples]),
                tuple(sample.name for sample in samples),
            )
        return
    keys = iter(keys)
    first = next(keys, None)
    if first is not None:
        workers = _Workers(dataset, len(first), num_workers)
        try:
            yield from workers.run(itertools.chain([first], keys))
        finally:
            workers.close()


class _Failure(NamedTuple):
    """An exception of a worker, in words: not every exception passes through a pipe."""

    message: str
    traceback: str  # empty for a user's error


class _Workers:
    """Worker processes, each with a pipe for orders and answers; frames go through shared memory.

    The samples of a batch are dealt out in turn, each to the worker whose turn it is, so that a
    batch is ready soon and all have the same amount to do whatever the size of a batch.
    """

    def __init__(self, dataset: Samples, batch_size: int, num_workers: int):
        self._dataset, self._batch_size = dataset, batch_size
        # Batches under way: one that is handed over, one in preparation, more if they are small.
        self._ahead = 2 + math.ceil(num_workers / batch_size)
        height, width = dataset.frame_shape[:2]
        shape = (self._ahead, 2, batch_size, 3, height, width)
        # Anonymous memory that forked processes share: no limit of /dev/shm, nothing to clean up.
        memory = mmap.mmap(-1, 4 * math.prod(shape))
        self._frames = np.frombuffer(memory, np.float32).reshape(shape)
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        # Workers must not free what they inherit: a decoder waits for its threads, and only this
        # process has them. So the garbage collector of a worker overlooks all that is there now.
        gc.freeze()
        try:
            for _ in range(num_workers):
                self._start()
        finally:
            gc.unfreeze()

    def _start(self) -> None:
        context = multiprocessing.get_context('fork')
        ours, theirs = context.Pipe()
        arguments = self._dataset, self._frames, theirs, [*self._pipes, ours]
        process = context.Process(target=_work, args=arguments, daemon=True)
        # A signal must not find a worker that is not set up: Paddle's handler may lock up in it.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            with warnings.catch_warnings():
                # Python 3.12 warns of forking where there are threads; workers use none of theirs.
                warnings.simplefilter('ignore', DeprecationWarning)
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        theirs.close()  # so that the end of a worker ends its pipe
        self._pipes.append(ours)
        self._processes.append(process)

    def run(self, keys: Iterator[list[Key]]) -> Iterator[Batch]:
        turn = itertools.cycle(range(len(self._processes)))
        under_way: deque[tuple[int, list[int]]] = deque()  # slot, worker of each sample
        for number in itertools.count():
            while len(under_way) < self._ahead:
                batch = next(keys, None)
                if batch is None:
                    break
                slot = (number + len(under_way)) % self._ahead
                under_way.append((slot, self._order(batch, slot, turn)))
            if not under_way:
                return
            yield self._collect(*under_way.popleft())

    def _order(self, batch: list[Key], slot: int, turn: Iterator[int]) -> list[int]:
        assert len(batch) <= self._batch_size, 'a batch larger than the first one'
        chosen = [next(turn) for _ in batch]
        orders: dict[int, list[tuple[int, Key]]] = {}
        for place, (worker, key) in enumerate(zip(chosen, batch)):
            orders.setdefault(worker, []).append((place, key))
        for worker, order in orders.items():
            try:
                self._pipes[worker].send((slot, order))
            except OSError as error:
                raise self._died(worker) from error
        return chosen

    def _collect(self, slot: int, chosen: list[int]) -> Batch:
        names: dict[int, str] = {}
        for worker in dict.fromkeys(chosen):
            try:
                answer = self._pipes[worker].recv()
            except (EOFError, OSError) as error:
                raise self._died(worker) from error
            if isinstance(answer, _Failure) and answer.traceback:
                raise RuntimeError(f'{answer.message}, in a data worker:\n{answer.traceback}')
            if isinstance(answer, _Failure):
                raise UserError(answer.message)
            named, damage = answer
            names.update(named)
            self._dataset.report(damage)
        count = len(chosen)
        source, driving = self._frames[slot, :, :count].copy()
        return Batch(source, driving, tuple(names[place] for place in range(count)))

    def _died(self, worker: int) -> UserError:
        process = self._processes[worker]
        process.join(5)
        return UserError(
            f'data worker {process.pid} ended with status {process.exitcode}; if it was killed for '
            'memory, take fewer workers, smaller batches, or leave out --preload'
        )

    def close(self) -> None:
        """Ends the workers, in the middle of their work if need be."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.join()


def _work(dataset: Samples, frames: np.ndarray, pipe: Connection, others: list[Connection]) -> None:
    """What a worker does until the other end of its pipe is closed, as it is when the run ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    for other in others:  # copies of the main process's ends, which would keep pipes open
        other.close()
    while True:
        try:
            slot, order = pipe.recv()
        except (EOFError, OSError):
            return
        names, damage = [], []
        answer: Any
        try:
            for place, key in order:
                sample, problems = dataset.draw(key)
                frames[slot, 0, place], frames[slot, 1, place] = sample.source, sample.driving
                names.append((place, sample.name))
                damage += problems
            answer = names, damage
        except UserError as error:
            answer = _Failure(str(error), '')
        except Exception as error:  # every kind: the main process raises it
            answer = _Failure(repr(error), traceback.format_exc())
        try:
            pipe.send(answer)
        except BrokenPipeError:
            return
