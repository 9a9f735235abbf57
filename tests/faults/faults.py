"""The faults: each makes one while a command works, and tells what did not survive it."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from modules.inference.program_cache import SUMS, _sums
from tests.faults.commands import COMMANDS, Place, children, ended, entries, write_rows
from tests.faults.damage import damage
from tests.faults.machine import Clock, change_disk, dated, small_disk
from tests.faults.trials import (
    Trial,
    family,
    send,
    survivors,
    wrong_refusal,
)
from tests.support.places import ROOT

ALL = tuple(COMMANDS)
ANIMATING = tuple(name for name in ALL if name != 'train')


class Fault(NamedTuple):
    """A fault, and the commands that it is tried on."""

    name: str
    title: str
    make: Callable[[Trial], list[str]]  # -> what is wrong; nothing: it survived
    commands: tuple[str, ...] = ALL


def killed(trial: Trial) -> list[str]:
    process = trial.start()
    trial.wait_for_a_moment(process)
    others = family(process)
    send(trial, process, signal.SIGKILL)
    ended(process)
    wrong = survivors(others) + trial.half_written()
    return wrong + trial.go_on()


def asked_to_end(trial: Trial, number: int = signal.SIGTERM, times: int = 1) -> list[str]:
    process = trial.start()
    trial.wait_for_a_moment(process)
    others = family(process)
    for _ in range(times):
        send(trial, process, number)
        time.sleep(trial.chance.choice((0, 0.01, 0.05, 0.3)))
    done = ended(process)
    wrong = survivors(others)
    if done.status == 0:
        wrong += trial.wrong_results('it was done, and')
    elif done.status not in (128 + number, -number):
        wrong.append(f'it ended with {done.status}: {done.errors[-300:]}')
    wrong += ['a traceback: ' + done.errors[-200:]] if 'Traceback' in done.errors else []
    wrong += trial.half_written() + trial.left_behind('at once') + trial.left_in_temporary()
    return wrong + trial.go_on()


def interrupted_twice(trial: Trial) -> list[str]:
    return asked_to_end(trial, signal.SIGINT, 2)


def full_disk(trial: Trial) -> list[str]:
    size = max(2 * 4096, int(trial.chance.uniform(0.02, 0.9) * trial.expected.size))
    with small_disk(trial.place.out, size):
        done = ended(trial.start())
        wrong = wrong_refusal(trial, done, 'pace left')
        wrong += trial.half_written() + trial.left_behind('at once') + trial.left_in_temporary()
        change_disk(trial.place.out, 'size=100m')
        return wrong + trial.go_on()


def read_only(trial: Trial) -> list[str]:
    with small_disk(trial.place.out, 100 * 2**20):
        change_disk(trial.place.out, 'ro')
        done = ended(trial.start())
        wrong = [] if done.status == 2 else [f'it ended with {done.status}: {done.errors[-300:]}']
        wrong += wrong_refusal(trial, done, 'ead-only', 'ermission')
        change_disk(trial.place.out, 'rw')
        return wrong + trial.go_on()


def vanished(trial: Trial) -> list[str]:
    process = trial.start()
    trial.wait_for_a_moment(process)
    place = trial.place.out / trial.command.output
    shutil.rmtree(place if place.is_dir() else trial.place.out, ignore_errors=True)
    done = ended(process)
    wrong = []
    if done.status or trial.command.results(trial.place):  # it may have been done by then
        wrong = wrong_refusal(trial, done)
    shutil.rmtree(trial.place.out, ignore_errors=True)
    trial.place.out.mkdir()
    return wrong + trial.left_in_temporary() + trial.go_on()


def helper_died(trial: Trial) -> list[str]:
    process = trial.start()
    trial.wait_for_a_moment(process)
    while process.poll() is None:
        found = [pid for pid in children(process.pid) if _computes(pid)]
        if found:
            try:
                os.kill(trial.chance.choice(found), signal.SIGKILL)
            except ProcessLookupError:
                continue
            break
        time.sleep(0.005)
    done = ended(process)
    wrong = wrong_refusal(trial, done)
    wrong += trial.half_written() + trial.left_behind('at once') + trial.left_in_temporary()
    return wrong + trial.go_on()


def _computes(pid: int) -> bool:
    """Whether a process is more than the watch of Python's own over what processes share."""
    try:
        return b'resource_tracker' not in Path(f'/proc/{pid}/cmdline').read_bytes()
    except OSError:
        return False


def wrong_clock(trial: Trial) -> list[str]:
    clock = Clock(trial.place.folder)
    environment = clock.environment(str(ROOT))
    days = [trial.chance.choice((-9000, -400, -1, 1, 400, 9000)) for _ in range(3)]
    clock.jump(days[0])
    inputs = [path for path in trial.material.folder.rglob('*') if path.is_file()]
    with dated(inputs, days[1]):
        process = trial.start(**environment)
        trial.wait_for_a_moment(process)
        clock.jump(days[2])
        done = ended(process)
    if done.status:
        return [f'it ended with {done.status}: {done.errors[-300:]}']
    return trial.wrong_results(f'days {days}') + trial.left_behind('at once')


_before: dict[str, dict[str, bytes]] = {}


def torn_checkpoint(trial: Trial) -> list[str]:
    """Of the weights that are taken from a run's folder; of the run that is to go on."""
    if trial.command.name == 'train':
        return _torn_run(trial)
    place = trial.material.folder / 'torn'
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(trial.material.run, place)
    material = trial.material._replace(run=place)
    write_rows(material)
    newest = sorted(place.glob('*-checkpoint.safetensors'))[-1]
    if trial.command.name not in _before:  # what the checkpoint before gives
        held = newest.read_bytes()
        newest.unlink()
        other = Place(trial.place.folder / 'before')
        done = trial.command.run(material, other)
        if done.status:
            return [f'without the newest it ends with {done.status}: {done.errors[-300:]}']
        _before[trial.command.name] = trial.command.results(other)
        newest.write_bytes(held)
    what = damage(newest, trial.chance)
    torn = trial._replace(
        material=material, expected=trial.expected._replace(results=_before[trial.command.name])
    )
    done = ended(torn.start())
    if done.status:
        return [f'{what}: it ends with {done.status}: {done.errors[-300:]}']
    told = done.errors
    if trial.command.name == 'batch':  # notes stand in the report
        told += (trial.place.out / 'batch' / 'report.csv').read_text(encoding='utf-8-sig')
    if 'before is taken' in told:
        return torn.wrong_results(what) + torn.left_behind('at once')
    # Its optimizers are hit, for which nobody asks here, or a place that means nothing.
    there, here = os.fsencode(trial.material.run), os.fsencode(place)  # as summaries name it
    results = {name: data.replace(there, here) for name, data in trial.expected.results.items()}
    hit = trial._replace(expected=trial.expected._replace(results=results))
    return [f'{line}, and nothing is said' for line in hit.wrong_results(what)]


def _torn_run(trial: Trial) -> list[str]:
    run = trial.place.out / 'run'
    shutil.copytree(trial.material.run, run)
    checkpoints = sorted(run.glob('*-checkpoint.safetensors'))
    newest = trial.chance.randrange(1, len(checkpoints))
    for later in checkpoints[newest + 1 :]:
        later.unlink()
    what = damage(checkpoints[newest], trial.chance)
    done = trial.command.run(trial.material, trial.place, again=True)
    if done.status:
        return [f'{what}: it ends with {done.status}: {done.errors[-300:]}']
    wrong = trial.wrong_results(what) + trial.left_behind('at once')
    return wrong + ([] if 'before is taken' in done.errors else [f'{what}: nothing is said of it'])


def two_at_once(trial: Trial) -> list[str]:
    """The second is refused; of two that write one file both may, each of them a whole one."""
    first = trial.start()
    while first.poll() is None and not entries(trial.place.out):
        time.sleep(0.01)
    time.sleep(trial.chance.uniform(0, 0.5))
    os.killpg(first.pid, signal.SIGSTOP)  # else it might be done before the second begins
    try:
        second = trial.command.run(trial.material, trial.place, again=True)
    finally:
        os.killpg(first.pid, signal.SIGCONT)
    done = ended(first)
    wrong = [] if done.status == 0 else [f'the first ends with {done.status}: {done.errors[-300:]}']
    if trial.command.name != 'demo':
        if second.status != 2:
            wrong.append(f'the second ends with {second.status}: {second.errors[-300:]}')
        wrong += wrong_refusal(trial, second, 'another run is writing')
    elif second.status:
        wrong.append(f'the second ends with {second.status}: {second.errors[-300:]}')
    return wrong + trial.wrong_results('both done') + trial.left_behind('both done')


def one_cache_for_two(trial: Trial) -> list[str]:
    """Programs, or the frames of clips, are made by two commands at the same time."""
    other = trial._replace(place=Place(trial.place.folder / 'other', trial.place.cache))
    wrong = []
    for number, (one, process) in enumerate([(one, one.start()) for one in (trial, other)]):
        done = ended(process)
        if done.status:
            wrong.append(f'number {number} ends with {done.status}: {done.errors[-300:]}')
        wrong += one.wrong_results(f'number {number}') + one.left_behind('both done')
    return wrong + _wrong_programs(trial.place.cache)


def damaged_cache(trial: Trial) -> list[str]:
    """A program, or frames of a clip, as they lie on the disk."""
    with_both = ended(trial.start())
    if with_both.status:
        return [f'it ended with {with_both.status}: {with_both.errors[-300:]}']
    kept = trial.place.cache / 'first-order-model'
    files = sorted(path for path in kept.rglob('*') if path.is_file() and path.stat().st_size)
    what = damage(trial.chance.choice(files), trial.chance)
    shutil.rmtree(trial.place.out)
    trial.place.out.mkdir()
    done = ended(trial.start())
    if done.status:
        return [f'{what}: it ended with {done.status}: {done.errors[-300:]}']
    return [*trial.wrong_results(what), *trial.left_behind(what), *_wrong_programs(kept.parent)]


def _wrong_programs(cache: Path) -> list[str]:
    """Entries of the cache of programs that are not whole."""
    wrong = []
    programs = cache / 'first-order-model' / 'programs'
    for entry in programs.iterdir() if programs.exists() else ():
        try:
            whole = json.loads((entry / SUMS).read_text()) == _sums(entry)
        except (OSError, ValueError):
            whole = False
        if not whole:
            wrong.append(f'{entry.name} of the cache is not whole')
    return wrong


def cache_without_room(trial: Trial) -> list[str]:
    return _with_bad_cache(trial, lambda place: (place / 'ballast').write_bytes(bytes(2**16)))


def read_only_cache(trial: Trial) -> list[str]:
    return _with_bad_cache(trial, lambda place: change_disk(place, 'ro'))


def _with_bad_cache(trial: Trial, spoil: Callable[[Path], object]) -> list[str]:
    """The command works all the same, and says once why nothing is kept."""
    with small_disk(trial.place.cache, 2**16 + trial.chance.randrange(1, 5) * 4096):
        spoil(trial.place.cache)
        done = ended(trial.start())
    if done.status:
        return [f'it ended with {done.status}: {done.errors[-300:]}']
    wrong = trial.wrong_results('it') + trial.left_behind('it') + trial.left_in_temporary()
    told = done.errors
    if trial.command.name == 'batch':
        told += (trial.place.out / 'batch' / 'report.csv').read_text(encoding='utf-8-sig')
    if str(trial.place.cache) not in told:
        wrong.append(f'nothing is said of the cache: {done.errors[-300:]!r}')
    return wrong + ([f'a traceback: {told[-300:]}'] if 'Traceback' in told else [])


FAULTS = {
    fault.name: fault
    for fault in (
        Fault('kill', 'killed by SIGKILL', killed),
        Fault('term', 'ended by SIGTERM', asked_to_end),
        Fault('int', 'Ctrl+C, twice', interrupted_twice),
        Fault('full', 'the disk of the output is full', full_disk),
        Fault('read-only', 'the disk of the output is read-only', read_only),
        Fault('vanish', 'the output folder is removed', vanished),
        Fault('helper', 'a process that helps is killed', helper_died),
        Fault('clock', 'the clock jumps by days; inputs of other days', wrong_clock),
        Fault('torn', 'the newest checkpoint is torn or flipped', torn_checkpoint),
        Fault('two', 'two runs with one output', two_at_once),
        Fault('one-cache', 'two commands fill one cache', one_cache_for_two),
        Fault('cache', 'programs or frames in the cache are damaged', damaged_cache),
        Fault('full-cache', 'the disk of the cache is full', cache_without_room),
        Fault('read-only-cache', 'the disk of the cache is read-only', read_only_cache),
    )
}
