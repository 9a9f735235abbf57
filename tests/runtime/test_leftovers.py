"""What a killed process leaves of an output goes with the next one; that of a live one stays."""

import os
import shutil
import subprocess
import sys

import pytest

from modules.runtime import files
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output, check_output, remove_leftovers
from tests.support.places import ROOT

WRITER = """
import os, pathlib, signal, sys
from modules.runtime.files import atomic_output
with atomic_output(sys.argv[1], folder=sys.argv[2] == 'folder') as path:
    if sys.argv[2] != 'folder':
        path.write_text('half')
    print('writing', flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def hidden(folder):
    return [name for name in os.listdir(folder) if name.startswith('.')]


@pytest.mark.parametrize('kind', ['file', 'folder'])
@pytest.mark.parametrize('name', ['a.mp4', 'a' * 60, 'ü [1].mp4', 'a\nb'])
def test_the_next_output_of_that_name_removes_them(tmp_path, kind, name):
    (tmp_path / '.other').mkdir()
    (tmp_path / f'.{name[:40]}.kept').mkdir()
    writer = subprocess.Popen(
        [sys.executable, '-c', WRITER, str(tmp_path / name), kind],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )  # fmt: skip
    assert writer.stdout.readline() == 'writing\n'
    for clean in (lambda: check_output(tmp_path / name), lambda: remove_leftovers(tmp_path)):
        clean()
        assert len(hidden(tmp_path)) == 3  # it is at work
    writer.communicate('end\n')
    check_output(tmp_path / 'b.mp4')
    assert len(hidden(tmp_path)) == 3  # of another output
    check_output(tmp_path / name)
    assert sorted(hidden(tmp_path)) == sorted(['.other', f'.{name[:40]}.kept'])


def test_where_there_are_no_locks_they_go_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setattr(files.FileLock, 'acquire', lambda self, **options: 1 / 0)
    scratch = tmp_path / '.a.mp4.abcdefgh'
    scratch.mkdir()
    check_output(tmp_path / 'a.mp4')
    assert scratch.exists()
    os.utime(scratch, (0, 0))
    check_output(tmp_path / 'a.mp4')
    assert not scratch.exists()


def test_an_output_without_locks(tmp_path, monkeypatch):
    def refuse(self, **options):
        raise OSError('no locks here')

    monkeypatch.setattr(files.FileLock, 'acquire', refuse)
    with atomic_output(tmp_path / 'a') as path:
        path.touch()
    assert os.listdir(tmp_path) == ['a']


def test_one_run_at_a_time_writes_a_folder(tmp_path):
    """The next one removes what it has left when it was killed."""
    place = tmp_path / 'figures'
    writer = subprocess.Popen(
        [sys.executable, '-c', WRITER, str(place), 'folder'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )  # fmt: skip
    assert writer.stdout.readline() == 'writing\n'
    with pytest.raises(UserError, match='figures: another run is writing it'):
        atomic_output(place, folder=True).__enter__()
    with atomic_output(tmp_path / 'others', folder=True):
        pass
    assert len(hidden(tmp_path)) == 1
    writer.communicate('end\n')
    with atomic_output(place, folder=True) as folder:
        (folder / 'whole').touch()
    assert sorted(os.listdir(tmp_path)) == ['figures', 'others']
    assert os.listdir(place) == ['whole']


def test_of_two_that_begin_at_the_same_moment_one_is_told(tmp_path):
    with pytest.raises(UserError, match='figures: exists already; remove it'):  # noqa: SIM117
        with atomic_output(tmp_path / 'figures', folder=True) as folder:
            (folder / 'mine').touch()
            (tmp_path / 'figures').mkdir()
            (tmp_path / 'figures' / 'whole').touch()
    assert os.listdir(tmp_path) == ['figures'] and os.listdir(tmp_path / 'figures') == ['whole']


@pytest.mark.parametrize('folder', [False, True])
def test_a_place_that_is_removed_meanwhile(tmp_path, folder):
    place = tmp_path / 'results' / 'a.mp4'
    place.parent.mkdir()
    with pytest.raises(UserError) as error, atomic_output(place, folder):
        shutil.rmtree(place.parent)
    assert str(error.value) == (
        f'{place.parent}: was removed while a.mp4 was being written; start again'
    )
    assert os.listdir(tmp_path) == []
