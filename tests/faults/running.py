"""Goes through faults and commands, and counts."""

import datetime
import os
import platform
import random
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.faults.commands import (
    COMMANDS,
    Material,
    Place,
    Undisturbed,
    measure,
    to_json,
    write_material,
)
from tests.faults.faults import FAULTS
from tests.faults.page import TRIALS as OF_PAGE
from tests.faults.page import PageTrial, undisturbed
from tests.faults.trials import SkippedError, Trial
from tools.markdown import table


class Result(NamedTuple):
    """What came of a fault in a command."""

    fault: str
    command: str
    tried: int
    survived: int
    wrong: list[str]  # of the trials that did not
    skipped: str = ''  # why it was not tried

    @property
    def text(self) -> str:
        if self.skipped:
            return 'skipped'
        return f'{self.survived} of {self.tried}'


class Faults:
    """Trials, which share what the commands read and the programs compiled for it.

    Args:
        seed: of moments and damages.
        folder: for all of it; a temporary one, which is removed, if left out.
    """

    def __init__(self, seed: int = 0, folder: Path | None = None) -> None:
        self._seed = seed
        self._folder = folder
        self._expected: dict[str, Undisturbed] = {}
        self._of_page = b''

    def run(self, rounds: int, only: Sequence[str] = ()) -> list[Result]:
        folder = self._folder or Path(tempfile.mkdtemp(prefix='faults-'))
        try:
            material = write_material(folder / 'material')
            return [self._tried(*pair, rounds, material, folder) for pair in chosen(only)]
        finally:
            if self._folder is None:
                shutil.rmtree(folder, ignore_errors=True)

    def _tried(
        self, fault: str, command: str, rounds: int, material: Material, folder: Path
    ) -> Result:
        survived, wrong = 0, []
        for number in range(rounds):
            place = folder / f'{command}-{fault}-{number}'
            begun = time.monotonic()
            try:
                told = self._try(fault, command, material, place, folder / 'cache')
            except SkippedError as error:
                print(f'{command}:{fault}: skipped: {error}', flush=True)
                return Result(fault, command, 0, 0, [], str(error))
            except Exception:  # of the trial itself: as bad as what it looks for
                told = [traceback.format_exc()]
            seconds = time.monotonic() - begun
            how = 'WRONG: ' + '; '.join(told) if told else 'survived'
            print(f'{command}:{fault} {number + 1}/{rounds} ({seconds:.0f} s): {how}', flush=True)
            survived += not told
            wrong += told
            shutil.rmtree(place, ignore_errors=True)
        return Result(fault, command, rounds, survived, wrong)

    def _try(
        self, fault: str, command: str, material: Material, place: Path, cache: Path
    ) -> list[str]:
        if command == PAGE:
            return self._try_page(fault, material, place, cache)
        if command not in self._expected:
            first = Place(cache.parent / command, cache)
            self._expected[command] = measure(COMMANDS[command], material, first)
        own = None if fault in OWN_CACHE else cache
        trial = Trial(
            COMMANDS[command],
            material,
            self._expected[command],
            Place(place, own),
            self._chance(place),
        )
        return FAULTS[fault].make(trial)

    def _try_page(self, fault: str, material: Material, place: Path, cache: Path) -> list[str]:
        if not self._of_page:
            self._of_page = undisturbed(material, Place(cache.parent / PAGE, cache))
        own = Place(place, None if fault in OWN_CACHE else cache)
        return OF_PAGE[fault](PageTrial(material, self._of_page, own, self._chance(place)))

    def _chance(self, place: Path) -> random.Random:
        return random.Random(f'{self._seed} {place.name}')


PAGE = 'page'
# Faults for which programs are compiled anew, and frames decoded.
OWN_CACHE = ('one-cache', 'cache', 'full-cache', 'read-only-cache', 'clock')


def chosen(only: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of fault and command; `only` as on the command line."""
    for fault in FAULTS.values():
        for command in (*fault.commands, *([PAGE] if fault.name in OF_PAGE else ())):
            names = (fault.name, command, f'{command}:{fault.name}')
            if not only or any(name in only for name in names):
                yield fault.name, command


def markdown(results: Sequence[Result]) -> str:
    """The table: faults by commands."""
    commands = [name for name in (*COMMANDS, PAGE) if name in {r.command for r in results}]
    found = {(result.fault, result.command): result.text for result in results}
    rows = [
        [FAULTS[fault].title, *(found.get((fault, command), '') for command in commands)]
        for fault in dict.fromkeys(result.fault for result in results)
    ]
    lines = table(['fault', *commands], rows)
    tried = sum(result.tried for result in results)
    survived = sum(result.survived for result in results)
    where = f'{datetime.date.today():%d %B %Y}, {os.cpu_count()} CPU cores, Python '
    where += platform.python_version()
    skipped = sorted({result.skipped for result in results if result.skipped})
    told = [f'Skipped: {reason}.' for reason in skipped]
    return '\n'.join([*lines, '', f'{survived} of {tried} survived. {where}.', *told])


def write(results: Sequence[Result], folder: Path, rounds: int, seed: int) -> None:
    """faults.md and faults.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'faults.md').write_text(markdown(results) + '\n', encoding='utf-8')
    held = {
        'date': datetime.date.today().isoformat(),
        'rounds': rounds,
        'seed': seed,
        'results': [result._asdict() for result in results],
    }
    (folder / 'faults.json').write_text(to_json(held), encoding='utf-8')
