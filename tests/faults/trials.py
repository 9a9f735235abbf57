"""What is common to all trials: a command at work, a moment, and what is right after it."""

import os
import random
import signal
import subprocess
import time
from typing import NamedTuple

from tests.faults.commands import Command, Ended, Material, Place, Undisturbed, children, entries
from tests.support.processes import PATIENCE, alive

_EARLY = 0.2  # part of the moments that lie before anything is written


class SkippedError(Exception):
    """Why a fault can't be made here."""


class Trial(NamedTuple):
    """A command, and one fault that is to be made while it works."""

    command: Command
    material: Material
    expected: Undisturbed
    place: Place
    chance: random.Random

    def start(self, **environment: str) -> subprocess.Popen[str]:
        return self.command.start(self.material, self.place, **environment)

    def wait_for_a_moment(self, process: subprocess.Popen[str]) -> None:
        """Until any moment of its work, most of them after it has begun to write."""
        first, seconds = self.expected.first, self.expected.seconds
        begun = time.monotonic()
        if self.chance.random() < _EARLY:
            _sleep(process, self.chance.uniform(0.1, max(first, 0.5)))
            return
        while process.poll() is None and not entries(self.place.out):
            if time.monotonic() - begun > 2 * PATIENCE:
                return
            time.sleep(0.01)
        _sleep(process, self.chance.uniform(0, max(0.2, 0.95 * (seconds - first))))

    def go_on(self, **environment: str) -> list[str]:
        """What is wrong with the next run of the command, which has to bring all to its end."""
        if self.command.once and self.command.results(self.place) == self.expected.results:
            return self.left_behind('it was done')  # which the next run says, with status 2
        done = self.command.run(self.material, self.place, again=True, **environment)
        if done.status:
            return [f'the next run ends with {done.status}: {done.errors[-300:]}']
        return self.wrong_results('the next run') + self.left_behind('after the next run')

    def wrong_results(self, when: str) -> list[str]:
        found, expected = self.command.results(self.place), self.expected.results
        wrong = [f'{when}: lacks {name}' for name in sorted(expected.keys() - found.keys())]
        wrong += [f'{when}: {name} is too many' for name in sorted(found.keys() - expected.keys())]
        both = sorted(expected.keys() & found.keys())
        return wrong + [
            f'{when}: {name} has other bytes' for name in both if found[name] != expected[name]
        ]

    def half_written(self) -> list[str]:
        """Outputs under their final names that are not whole."""
        wrong = []
        for name, data in self.command.results(self.place).items():
            whole = self.expected.results.get(name)
            grows = self.command.growing(name)
            if not (whole == data or (grows and whole is not None and whole.startswith(data))):
                wrong.append(f'{name} is not whole')
        return wrong

    def left_behind(self, when: str) -> list[str]:
        return [f'{when}: {name} is left' for name in self.place.hidden()]

    def left_in_temporary(self) -> list[str]:
        """Of a command that had time to clean up."""
        return [f'{path.name} is left in TMPDIR' for path in self.place.temporary.iterdir()]


def _sleep(process: subprocess.Popen[str], seconds: float) -> None:
    """Unless it ends."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def family(process: subprocess.Popen[str]) -> list[int]:
    """The processes that it has started, and they, and so on."""
    return list(children(process.pid))


def survivors(pids: list[int], patience: float = PATIENCE) -> list[str]:
    """Those that should have ended with the one that started them."""
    end = time.monotonic() + patience
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    left = [pid for pid in pids if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return [f'process {pid} lives on' for pid in left]


def send(trial: Trial, process: subprocess.Popen[str], number: int) -> None:
    """A signal to the command alone, or to all of its processes, as Ctrl+C gives it."""
    try:
        if trial.chance.random() < 0.5:
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
    except ProcessLookupError:
        return


def wrong_refusal(trial: Trial, done: Ended, *words: str) -> list[str]:
    """What is wrong with an end that a fault of the machine made necessary.

    Args:
        words: one of which the line has to hold.
    """
    if done.status == 0:
        return trial.wrong_results('it ended with 0, and')
    if trial.command.ends_with and done.status == trial.command.ends_with:
        return ['a traceback'] if 'Traceback' in done.errors else []
    if done.status != 2:
        return [f'it ended with {done.status}: {done.errors[-300:]}']
    wrong = done.wrong_line()
    if wrong is None and words and not any(word in done.errors for word in words):
        wrong = f'the line tells something else: {done.errors[-300:]}'
    return [wrong] if wrong else []
