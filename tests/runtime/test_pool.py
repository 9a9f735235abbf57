"""Processes that take orders: what they are told, and what becomes of them."""

import os
import signal
import time
from typing import NamedTuple

import pytest

from modules.runtime import process
from modules.runtime.errors import UserError
from modules.runtime.messages import note
from modules.runtime.pool import Alone, InTurn, Pool, gpu_of
from tests.support.processes import PATIENCE, wait_until


class Order(NamedTuple):
    name: str
    does: str = ''


class Work:
    """Does what an order says; stands for networks."""

    def __init__(self, place):
        note('made')
        self._place = place

    def __call__(self, order, tell):
        if order.does == 'die' or (order.does == 'die once' and not self._place.exists()):
            self._place.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if order.does == 'mistake':
            raise UserError('a mistake')
        if order.does == 'defect':
            raise ValueError('a defect')
        if order.does == 'meet':
            (self._place.parent / f'{os.getpid()}.met').touch()
            wait_until(lambda: len([*self._place.parent.glob('*.met')]) > 1)
        if order.does == 'wait':
            time.sleep(PATIENCE)
        return order.name, os.getpid(), process.num_threads()


def failing():
    raise UserError('no networks')


def orders(*does):
    return InTurn([Order(str(number), what) for number, what in enumerate(does)])


def answers(tmp_path, waiting, processes=2):
    with Pool(Work, (tmp_path / 'died',), processes, paddle=False) as pool:
        return sorted(answer for _, answer in pool.run(waiting))


def test_each_order_is_answered_once(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv('PADDLE_LOCAL_SIZE', raising=False)
    found = answers(tmp_path, orders('meet', 'meet', *[''] * 3))
    assert [name for name, *_ in found] == ['0', '1', '2', '3', '4']
    assert len({os.getpid(), *(pid for _, pid, _ in found)}) == 3
    assert capsys.readouterr().err == 'note: made\n'  # by both


def test_the_cores_are_shared(tmp_path, monkeypatch):
    """Whatever Paddle has made of OMP_NUM_THREADS here."""
    cores = process.available_cores()
    for chosen, processes, threads in (
        (None, 1, cores),
        (None, 2, max(1, cores // 2)),
        ('3', 1, 3),
    ):
        monkeypatch.setattr(process, '_CHOSEN_THREADS', chosen)
        monkeypatch.setenv('OMP_NUM_THREADS', chosen or '1')
        found = answers(tmp_path, orders('', ''), processes)
        assert {count for *_, count in found} == {threads}
        assert os.environ['OMP_NUM_THREADS'] == (chosen or '1')
    assert [gpu_of(number, ['0', '2']) for number in range(3)] == ['0', '2', '0']
    assert gpu_of(1, []) is None


def test_an_order_whose_process_dies_is_given_once_more(tmp_path, capsys):
    found = answers(tmp_path, orders('', 'die once', ''))
    assert [name for name, *_ in found] == ['0', '1', '2']
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith('warning')]
    assert told == [
        'warning: 1: its process ended by SIGKILL; if memory was short, take fewer --processes; '
        'it is tried once more'
    ]


def test_an_order_that_kills_twice_ends_all(tmp_path):
    with pytest.raises(UserError, match=r'^1: its process ended by SIGKILL; .*; it did so before$'):
        answers(tmp_path, orders('', 'die', *[''] * 40), processes=1)


@pytest.mark.parametrize(
    ('does', 'kind', 'words'),
    [('mistake', UserError, '^a mistake$'), ('defect', RuntimeError, '(?s)in __call__.*a defect')],
)
def test_what_is_raised_there_is_raised_here(tmp_path, does, kind, words):
    """And nobody is waited for."""
    start = time.monotonic()
    with pytest.raises(kind, match=words):
        answers(tmp_path, orders('wait', does))
    assert time.monotonic() - start < PATIENCE


def test_what_is_wrong_from_the_start_is_told_once():
    with pytest.raises(UserError, match='no networks'), Pool(failing, (), 3, paddle=False) as pool:
        pool.start()
    assert len(pool._running) == 0


@pytest.mark.parametrize('processes', [1, 2, 3])
@pytest.mark.parametrize('bad', ['', '0', '03', '245'])
def test_orders_given_are_those_of_one_process(bad, processes):
    """Three good answers of six are wanted: the first that there are, whoever is how quick."""
    one = InTurn([Order(str(number)) for number in range(6)], wanted=3)
    expected = []
    for order, _ in Alone(lambda order, tell: None).run(one):
        expected.append(order.name)
        one.count(order.name not in bad)
    several, given = InTurn([Order(str(number)) for number in range(6)], wanted=3), []
    under_way = {}
    while True:
        for number in range(processes):
            if number not in under_way and (order := several.take(number)):
                under_way[number] = order
        if not under_way:
            break
        order = under_way.pop(max(under_way))  # the last one is the first to answer
        given.append(order.name)
        several.count(order.name not in bad)
    assert sorted(given) == expected and not several


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    """Whatever it does then: it may have nothing to tell for a long time."""
    running = Pool(Work, (tmp_path,), 1, paddle=False)._start(0)
    running.pipe.close()
    running.process.join(PATIENCE)
    assert running.process.exitcode == 143
