"""How far a training run is and how fast it goes, on a screen or in a log."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 60

Clock = Callable[[], float]  # seconds since any moment
T = TypeVar('T')


class Speed:
    """How many samples a second there were since it was last asked."""

    def __init__(self, clock: Clock = time.monotonic):
        self._clock = clock
        self._samples, self._since = 0, clock()

    def add(self, samples: int) -> None:
        self._samples += samples

    def take(self) -> float:
        now = self._clock()
        rate = self._samples / max(now - self._since, 1e-9)
        self._samples, self._since = 0, now
        return rate


class ProgressBar:
    """A bar for each epoch on a terminal; elsewhere a line on stdout, once a minute at most.

    Args:
        epochs, steps: of the run, and of each epoch.
        batch_size: samples in a step.
        shown: False for nothing at all, as in all processes but one.
        clock: for tests.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        batch_size: int,
        shown: bool = True,
        clock: Clock = time.monotonic,
    ):
        self._epochs, self._steps, self._batch_size = epochs, steps, batch_size
        terminal = sys.stderr.isatty()
        self._bar_shown, self._lines_shown = shown and terminal, shown and not terminal
        self._clock, self._speed = clock, Speed(clock)
        self._line_due = clock()  # the first as soon as there is something to say
        self._epoch = self._step = 0

    def start(self, epoch: int, step: int) -> None:
        """Begins an epoch, counted from 0, of which `step` steps are done."""
        self._epoch, self._step = epoch, step
        self._bar = tqdm(
            total=self._steps * self._batch_size,
            initial=step * self._batch_size,
            desc=f'epoch {epoch + 1}/{self._epochs}',
            unit='sample',
            disable=not self._bar_shown,
        )

    def shown_over(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches; the bar ends with them, or with the loop over them, however that ends."""
        try:
            yield from batches
        finally:
            self.close()

    def update(self, losses: Mapping[str, float]) -> None:
        """Counts a step; `losses` are the latest known, or empty."""
        self._step += 1
        self._speed.add(self._batch_size)
        self._bar.set_postfix({name: f'{value:.3f}' for name, value in losses.items()})
        self._bar.update(self._batch_size)
        if self._lines_shown and losses and self._clock() >= self._line_due:
            self._line_due = self._clock() + SECONDS_BETWEEN_LINES
            self._print(self._line(losses))

    def close(self) -> None:
        """Ends the epoch."""
        self._bar.close()

    def _line(self, losses: Mapping[str, float]) -> str:
        speed = self._speed.take()
        steps_left = (self._epochs - self._epoch) * self._steps - self._step
        left = tqdm.format_interval(steps_left * self._batch_size / speed)
        values = ', '.join(f'{name} {value:.3f}' for name, value in losses.items())
        return (
            f'epoch {self._epoch + 1}/{self._epochs}, step {self._step}/{self._steps}: '
            f'{values}; {speed:.3g} samples/s, {left} left'
        )

    def _print(self, line: str) -> None:
        """No reason to end a run: a reader that has gone, or a full disk under its log."""
        try:
            print(line, flush=True)
        except OSError:
            self._lines_shown = False
