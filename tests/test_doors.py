"""Where the doors write if no folder is given; that all packages of the project are installed."""

import sys
from pathlib import Path

import pytest

import animate
import demo
import train
from tests.support.places import ROOT
from tools import evaluate


@pytest.mark.quick
def test_a_run_has_a_folder_without_spaces_that_sorts_by_time(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['train.py', '--config', 'config/own.yaml'])
    folder = str(train.run_folder_of(train.parse_arguments()))
    name, date, time = folder.split('_')
    assert Path(name) == Path('log/own') and ' ' not in folder
    assert list(map(len, date.split('-'))) == [4, 2, 2]
    assert list(map(len, time.split('.'))) == [2, 2, 2]


@pytest.mark.quick
def test_animations_of_a_run_lie_in_its_folder(tmp_path, monkeypatch):
    checkpoint = tmp_path / '00000001-00000000-checkpoint.safetensors'
    checkpoint.touch()
    for given in (tmp_path, checkpoint):
        arguments = ['animate.py', '--config', 'a.yaml', '--checkpoint', str(given)]
        monkeypatch.setattr(sys, 'argv', arguments)
        assert animate.parse_arguments().save_dir == tmp_path / 'animation'


@pytest.mark.quick
@pytest.mark.parametrize('door', [animate, demo, train, evaluate])
def test_help_says_which_weights_of_a_run_are_taken(door, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['door', '--help'])
    with pytest.raises(SystemExit):
        door.parse_arguments()
    assert 'folder of a run (its newest' in ' '.join(capsys.readouterr().out.split())


@pytest.mark.quick
@pytest.mark.parametrize('room', ['modules', 'tools'])
def test_every_folder_is_a_package(room):
    """Else `pip install` leaves it out."""
    folders = {path.parent for path in (ROOT / room).rglob('*.py')}
    assert len(folders) > 3
    assert [folder for folder in folders if not (folder / '__init__.py').is_file()] == []
