"""Faults while the page, which tools/webui.py serves, is at work."""

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.commands import Ended, Material, Place, ended, write_rows
from tests.faults.damage import damage
from tests.faults.machine import Clock, change_disk, small_disk
from tests.faults.trials import SkippedError, family, survivors
from tests.support.page_server import PageServer, Reader
from tests.support.places import ROOT

_RESULT = re.compile(r'/files/out/[0-9a-f]{32}/[\w./-]+\.mp4')
_OLD = 3600  # seconds; what a page has left goes with the next one, once it is a minute old


class PageTrial(NamedTuple):
    """A page, and one fault that is to be made while it works."""

    material: Material
    expected: bytes  # the result of a job to which nothing happens
    place: Place
    chance: Any


class Page:
    """A page that is served, and somebody who uses it by HTTP alone."""

    def __init__(self, server: PageServer) -> None:
        import httpx

        logging.getLogger('httpx').setLevel(logging.WARNING)
        self.server = server
        self.client = httpx.Client(base_url=server.address, timeout=180)
        self._sessions = 0

    def job(self, material: Material, on_work: Callable[[], object] | None = None) -> 'Told':
        """A job from its uploads to its end.

        Args:
            on_work: called once frames are made.
        """
        self._sessions += 1
        reader = Reader(self.client, f'session{self._sessions}')
        paths = []
        for path in (material.picture, material.clip):
            answer = reader.upload(path.name, path.read_bytes())
            if answer.status_code != 200:
                return Told(str(answer.status_code), b'')
            paths += answer.json()
        answer = reader.click('run', reader.choices(*paths, model='own'))
        if answer.status_code != 200:
            return Told(str(answer.status_code), b'')
        text = ''
        for message in reader.messages():
            text += str(message.get('output', ''))
            if on_work is not None and 'Frame' in text:
                on_work()
                on_work = None
        made = _RESULT.findall(text)
        if not made:
            return Told(text, b'')
        return Told(text, self.client.get(f'/en/gradio_api/file={made[0]}').content)


class Told(NamedTuple):
    """What the page says of a job, and its result."""

    text: str
    result: bytes

    def wrong(self, trial: PageTrial, when: str) -> list[str]:
        if self.result == trial.expected:
            return []
        return [f'{when}: other bytes'] if self.result else [f'{when}: {self.sentence}']

    @property
    def sentence(self) -> str:
        """The last that the page said, as far as a reader sees it."""
        told = re.findall(r'class="sentence"[^>]*>([^<]*)<|role="alert">([^<]*)<', self.text)
        return ' / '.join(a or b for a, b in told[-3:]) or self.text[-300:]


@contextlib.contextmanager
def served(material: Material, place: Place, **environment: str) -> Iterator[Page]:
    own = {'XDG_CACHE_HOME': str(place.cache), 'OMP_NUM_THREADS': '1', **environment}
    weights = '--config', str(material.config), '--checkpoint', str(material.run)
    with PageServer(place.folder, *weights, **own) as server:
        page = Page(server)
        with contextlib.closing(page.client):
            yield page


def undisturbed(material: Material, place: Place) -> bytes:
    """The result of a job; it has one."""
    try:
        import gradio  # noqa: F401
        import httpx  # noqa: F401
    except ImportError as error:
        raise SkippedError('the page needs the packages of requirements-web.txt') from error
    with served(material, place) as page:
        told = page.job(material)
        assert told.result, told.text[-2000:]
        assert page.job(material).result == told.result, 'the page: other bytes'
    return told.result


def _job_that_breaks_off(page: Page, material: Material, fault: Callable[[], object]) -> Told:
    import httpx

    try:
        return page.job(material, fault)
    except httpx.HTTPError as error:
        return Told(f'broken off: {error}', b'')


def _next_page(trial: PageTrial) -> list[str]:
    """What is wrong with the next page, which has to work, and to leave nothing."""
    for left in (trial.place.folder / 'temporary').iterdir():
        then = time.time() - _OLD
        os.utime(left, (then, then))
    with served(trial.material, trial.place) as page:
        folders = list(page.server.temporary.iterdir())
        wrong = [] if len(folders) == 1 else [f'{len(folders)} folders of pages']
        wrong += page.job(trial.material).wrong(trial, 'the next page')
        page.server.end(signal.SIGTERM)
        return wrong + _left(page)


def _left(page: Page) -> list[str]:
    found = [path.name for path in page.server.temporary.iterdir()]
    return [f'{name} is left in TMPDIR' for name in found]


def killed(trial: PageTrial) -> list[str]:
    with served(trial.material, trial.place) as page:
        process, others = page.server.process, []

        def fault() -> None:
            others.extend(family(process))
            process.kill()

        _job_that_breaks_off(page, trial.material, fault)
        wrong = survivors(others)
    return wrong + _next_page(trial)


def asked_to_end(trial: PageTrial, number: int = signal.SIGTERM, times: int = 1) -> list[str]:
    with served(trial.material, trial.place) as page:
        process, others = page.server.process, []

        def fault() -> None:
            others.extend(family(process))
            for _ in range(times):
                process.send_signal(number)
                time.sleep(0.1)

        _job_that_breaks_off(page, trial.material, fault)
        status = page.server.end(number)
        wrong = [] if status in (128 + number, -number) else [f'it ended with {status}']
        errors = page.server.told()
        wrong += [f'a traceback: {errors[-300:]}'] if 'Traceback' in errors else []
        wrong += survivors(others) + _left(page)
    return wrong + _next_page(trial)


def interrupted_twice(trial: PageTrial) -> list[str]:
    return asked_to_end(trial, signal.SIGINT, 2)


def full_disk(trial: PageTrial) -> list[str]:
    folder = trial.place.folder / 'temporary'
    folder.mkdir()
    with small_disk(folder, 400 * 2**20), served(trial.material, trial.place) as page:
        wrong = page.job(trial.material).wrong(trial, 'before')
        ballast = folder / 'ballast'

        def fill() -> None:
            with contextlib.suppress(OSError), open(ballast, 'wb', buffering=0) as file:
                while file.write(bytes(4096)):
                    pass

        told = page.job(trial.material, fill)
        if told.result:  # it was done before the disk was full
            wrong += told.wrong(trial, 'while the disk fills')
        elif 'o space left' not in told.text:
            wrong.append(f'it says nothing of the disk: {told.sentence}')
        fill()
        told = page.job(trial.material)
        if told.text != '507':
            wrong.append(f'uploads on a full disk: {told.sentence}')
        ballast.unlink()
        wrong += page.job(trial.material).wrong(trial, 'with room again')
        page.server.end(signal.SIGTERM)
        return wrong + _left(page)


def vanished(trial: PageTrial) -> list[str]:
    with served(trial.material, trial.place) as page:
        folder = next(page.server.temporary.iterdir())
        told = _job_that_breaks_off(page, trial.material, lambda: shutil.rmtree(folder))
        wrong = told.wrong(trial, 'it') if told.result else []
        if page.server.process.poll() is not None:
            wrong.append(f'the page ended: {page.server.told()[-300:]}')
        elif page.client.get('/en/').status_code != 200:
            wrong.append('the page does not answer any more')
        status = page.server.end(signal.SIGTERM)
        wrong += [] if status in (143, -signal.SIGTERM) else [f'it ended with {status}']
        wrong += _left(page)
    return wrong + _next_page(trial)


def helper_died(trial: PageTrial) -> list[str]:
    with served(trial.material, trial.place) as page:

        def fault() -> None:
            for pid in family(page.server.process):
                if b'worker.py' in Path(f'/proc/{pid}/cmdline').read_bytes():
                    os.kill(pid, signal.SIGKILL)
                    survivors([pid])

        told = page.job(trial.material, fault)
        wrong = told.wrong(trial, 'it') if told.result else []
        if not told.result and 'SIGKILL' not in told.text:
            wrong.append(f'it tells something else: {told.sentence}')
        return wrong + page.job(trial.material).wrong(trial, 'the next job')


def wrong_clock(trial: PageTrial) -> list[str]:
    clock = Clock(trial.place.folder)
    days = [trial.chance.choice((-9000, -1, 1, 9000)) for _ in range(2)]
    clock.jump(days[0])
    with served(trial.material, trial.place, **clock.environment(str(ROOT))) as page:
        told = page.job(trial.material, lambda: clock.jump(days[1]))
        wrong = told.wrong(trial, f'days {days}')
        wrong += page.job(trial.material).wrong(trial, f'days {days}, the next job')
        page.server.end(signal.SIGTERM)
        return wrong + _left(page)


_before: list[bytes] = []


def torn_checkpoint(trial: PageTrial) -> list[str]:
    place = trial.material.folder / 'torn-page'
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(trial.material.run, place)
    material = trial.material._replace(run=place)
    write_rows(material)
    newest = sorted(place.glob('*-checkpoint.safetensors'))[-1]
    held = newest.read_bytes()
    with served(material, trial.place) as page:
        if not _before:
            newest.unlink()
            _before.append(page.job(material).result)
            newest.write_bytes(held)
        what = damage(newest, trial.chance)
        told = page.job(material)
    if 'before is taken' in told.text:
        return [] if told.result == _before[0] else [f'{what}: other bytes']
    return told.wrong(trial, f'{what}, and nothing is said')


def two_at_once(trial: PageTrial) -> list[str]:
    """Of two pages that want one port the second is refused."""
    with served(trial.material, trial.place) as page:
        port = page.server.address.rpartition(':')[2]
        other = Place(trial.place.folder / 'other', trial.place.cache)
        second: Ended = ended(
            subprocess.Popen(
                [sys.executable, str(ROOT / 'tools' / 'webui.py'), '--port', port, '--cpu'],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=other.environment(),
            )
        )
        problem = second.wrong_line()
        wrong = [] if second.status == 2 else [f'the second ends with {second.status}']
        wrong += [problem] if problem else []
        wrong += [f'{path.name} is left' for path in other.temporary.iterdir()]
        return wrong + page.job(trial.material).wrong(trial, 'the first')


def damaged_cache(trial: PageTrial) -> list[str]:
    with served(trial.material, trial.place) as page:
        wrong = page.job(trial.material).wrong(trial, 'before')
    kept = trial.place.cache / 'first-order-model'
    files = sorted(path for path in kept.rglob('*') if path.is_file() and path.stat().st_size)
    what = damage(trial.chance.choice(files), trial.chance)
    with served(trial.material, trial.place) as page:
        return wrong + page.job(trial.material).wrong(trial, what)


def bad_cache(trial: PageTrial, spoil: Callable[[Path], object]) -> list[str]:
    with small_disk(trial.place.cache, 2**17):
        spoil(trial.place.cache)
        with served(trial.material, trial.place) as page:
            told = page.job(trial.material)
            wrong = told.wrong(trial, 'it')
            return wrong + ([] if 'not kept' in told.text else ['nothing is said of the cache'])


def full_cache(trial: PageTrial) -> list[str]:
    return bad_cache(trial, lambda place: (place / 'ballast').write_bytes(bytes(2**16)))


def read_only_cache(trial: PageTrial) -> list[str]:
    return bad_cache(trial, lambda place: change_disk(place, 'ro'))


TRIALS: dict[str, Callable[[PageTrial], list[str]]] = {
    'kill': killed,
    'term': asked_to_end,
    'int': interrupted_twice,
    'full': full_disk,
    'vanish': vanished,
    'helper': helper_died,
    'clock': wrong_clock,
    'torn': torn_checkpoint,
    'two': two_at_once,
    'cache': damaged_cache,
    'full-cache': full_cache,
    'read-only-cache': read_only_cache,
}
