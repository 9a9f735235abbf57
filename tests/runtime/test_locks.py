"""Locks between processes."""

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys

import pytest

from modules.runtime.errors import UserError
from modules.runtime.locks import folder_of_one_run, taking_turns
from tests.support.places import ROOT

HOLDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from modules.runtime.locks import folder_of_one_run, taking_turns
with {lock}:
    print('locked', flush=True)
    time.sleep({seconds})
"""


def hold(lock, seconds):
    script = HOLDER.format(root=str(ROOT), lock=lock, seconds=seconds)
    run = subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == 'locked\n'
    return run


def test_a_folder_is_of_one_run_until_that_ends(tmp_path):
    folder = tmp_path / 'new' / 'run'
    with hold(f'folder_of_one_run(Path({str(folder)!r}))', 600) as run:
        for _ in range(2):
            with pytest.raises(UserError, match='run: another run is writing there'):
                folder_of_one_run(folder).__enter__()
        run.send_signal(signal.SIGKILL)
    with folder_of_one_run(folder), pytest.raises(UserError, match='another run'):
        folder_of_one_run(folder).__enter__()
    with folder_of_one_run(folder):  # given back
        pass
    assert list(folder.iterdir()) == []


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / 'file').touch()
    for path in (tmp_path / 'file', tmp_path / 'file' / 'run'):
        with pytest.raises(UserError, match='is no folder'):
            folder_of_one_run(path).__enter__()


def test_who_comes_second_waits_and_is_told(tmp_path, capsys):
    run = hold(f'taking_turns(Path({str(tmp_path / "lock")!r}), "works")', 0.5)
    with run, taking_turns(tmp_path / 'lock', 'works'):
        assert run.wait(20) == 0
    assert capsys.readouterr().err == 'note: waiting for another process that works\n'
    with taking_turns(tmp_path / 'lock', 'works'):
        pass
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_network_disks_without_locks(tmp_path, monkeypatch, capsys, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', flock)
    done = []
    with folder_of_one_run(tmp_path), taking_turns(tmp_path / 'lock', 'works'):
        done.append('work')
    assert done == ['work']
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all('nothing keeps a second process out' in line for line in lines)


def test_what_fails_inside_is_raised_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), taking_turns(tmp_path / 'lock', 'works'):
        (tmp_path / 'absent').read_text()


def test_a_folder_that_is_removed_meanwhile(tmp_path):
    folder = tmp_path / 'run'
    with pytest.raises(UserError, match='run: was removed while it was being written to'):  # noqa: SIM117
        with folder_of_one_run(folder):
            shutil.rmtree(folder)
            (folder / 'log.txt').write_text('')
    with pytest.raises(FileNotFoundError), folder_of_one_run(folder):
        (folder / 'absent').read_text()
