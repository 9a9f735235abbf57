"""A command started by a Python without the packages says so, and names one that has them."""

import shutil
import subprocess
import sys

import pytest

from modules.runtime import packages
from tests.support.places import ROOT

DOORS = ('demo.py', 'animate.py', 'train.py')
COMMANDS = [
    *DOORS,
    *sorted(
        f'tools/{path.name}'
        for path in (ROOT / 'tools').glob('*.py')
        if 'run_command(main)' in path.read_text(encoding='utf-8')
    ),
]


def run_bare(command, folder, root=ROOT):
    """A command, run by this Python without any installed package (-S)."""
    done = subprocess.run(
        [sys.executable, '-S', '-s', str(root / command), '--help'],
        cwd=folder, env={'PATH': '/usr/bin:/bin'}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.quick
@pytest.mark.parametrize('command', COMMANDS)
def test_each_command_says_in_a_line_what_is_missing(command, tmp_path):
    status, out, err = run_bare(command, tmp_path)
    assert (status, out, err.count('\n')) == (2, '', 1)
    assert err.startswith(f'error: {sys.executable} has no numpy, scipy and ')


def small_project(folder):
    """The part of the project that looks for packages."""
    (folder / 'modules' / 'runtime').mkdir(parents=True)
    for name in ('modules/__init__.py', 'modules/runtime/__init__.py', 'demo.py'):
        shutil.copy(ROOT / name, folder / name)
    shutil.copy(packages.__file__, folder / 'modules' / 'runtime')


@pytest.mark.parametrize('python', ['bin/python', 'Scripts/python.exe'])
def test_the_environment_of_make_is_named_where_it_is_there(python, tmp_path):
    small_project(tmp_path)
    assert '-m pip install -r requirements-cpu.txt' in run_bare('demo.py', tmp_path, tmp_path)[2]
    path = tmp_path / '.venv' / python
    path.parent.mkdir(parents=True)
    path.touch()
    _, _, err = run_bare('demo.py', tmp_path, tmp_path)
    assert err.endswith(f': run it by .venv/{python}\n')
    _, _, err = run_bare('demo.py', tmp_path.parent, tmp_path)
    assert err.endswith(f': run it by {tmp_path.name}/.venv/{python}\n')


def test_other_versions_of_python_are_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'version_info', (3, 9, 1))
    with pytest.raises(SystemExit, match='2'):
        packages.require_packages()
    assert 'is Python 3.9, and this project needs 3.10 to 3.13' in capsys.readouterr().err


def test_paddle_alone_may_be_missing(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'paddle', None)  # find_spec knows none then
    monkeypatch.setattr(
        'importlib.util.find_spec', lambda name: None if name == 'paddle' else object()
    )
    packages.require_packages(paddle=False)
    with pytest.raises(SystemExit):
        packages.require_packages()
    assert ' has no paddle: ' in capsys.readouterr().err


def test_the_packages_are_those_that_are_installed():
    """Each one that the requirements name is looked for, but those that come for others' sake."""
    names = {'scikit-image': 'skimage', 'pillow': 'PIL', 'pyyaml': 'yaml'}
    lines = (ROOT / 'requirements-common.txt').read_text(encoding='utf-8').splitlines()
    wanted = {line.partition('==')[0].strip() for line in lines if '==' in line}
    found = {names.get(name, name.replace('-', '_')) for name in wanted}
    assert set(packages.PACKAGES) == found - {'protobuf'}
