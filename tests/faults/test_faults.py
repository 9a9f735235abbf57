"""Some faults, once each; `python -m tests.faults` makes all, at other moments each time."""

import random

import pytest

from tests.faults.commands import COMMANDS
from tests.faults.damage import damage
from tests.faults.faults import FAULTS
from tests.faults.running import Faults, Result, chosen, markdown

# Which need neither root nor long; none of their kind is left out.
SOME = ('demo:kill', 'demo:torn', 'demo:cache', 'evaluate:term', 'train:helper')


@pytest.mark.slow
def test_some_faults_are_survived(tmp_path):
    results = Faults(folder=tmp_path).run(1, SOME)
    assert [result.wrong for result in results if result.wrong] == []
    assert [result.tried for result in results] == [1] * len(SOME)


def test_faults_and_commands_are_chosen_by_name():
    everything = list(chosen([]))
    assert len(everything) > len(FAULTS) * len(COMMANDS)
    assert list(chosen(['demo:kill'])) == [('kill', 'demo')]
    assert [fault for fault, _ in chosen(['evaluate'])] == list(FAULTS)
    assert {command for _, command in chosen(['torn'])} == {*COMMANDS, 'page'}


def test_damage_changes_a_file(tmp_path):
    path, chance = tmp_path / 'file', random.Random(0)
    for content in (b'a', bytes(9000), bytes(range(256)) * 40):
        for _ in range(20):
            path.write_bytes(content)
            assert path.name in damage(path, chance)
            assert path.read_bytes() != content


def test_table():
    results = [
        Result('kill', 'train', 3, 3, []),
        Result('kill', 'page', 3, 2, ['the next page: other bytes']),
        Result('full', 'train', 0, 0, [], 'only root mounts file systems'),
    ]
    lines = markdown(results).splitlines()
    assert lines[0] == '| fault | train | page |'
    assert lines[2:4] == [
        '| killed by SIGKILL | 3 of 3 | 2 of 3 |',
        '| the disk of the output is full | skipped |  |',
    ]
    assert lines[5].startswith('5 of 6 survived. ')
    assert lines[6] == 'Skipped: only root mounts file systems.'
