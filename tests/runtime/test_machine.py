"""What the machine grants: cores within a container's quota; no home folder."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from modules.data.frame_cache import FrameCache
from modules.runtime import cgroups, process, user_cache
from modules.runtime.errors import UserError
from tests.support.marks import needs_onednn
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import LEGACY, TINY


def write_files(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + '\n')
    return folder


V1 = '11:memory:/docker/a1\n4:cpu,cpuacct:/docker/a1\n0::/docker/a1'


@pytest.mark.parametrize(
    ('files', 'cores'),
    [
        ({}, None),
        ({'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': 'max 100000'}, None),
        ({'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': '200000 100000'}, 2),
        ({'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': '150000 100000'}, 2),
        ({'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': '10000 100000'}, 1),
        ({'proc/self/cgroup': '0::/', 'sys/fs/cgroup/cpu.max': 'odd'}, None),
        (
            {
                'proc/self/cgroup': '0::/pod/box',
                'sys/fs/cgroup/pod/cpu.max': '300000 100000',
                'sys/fs/cgroup/pod/box/cpu.max': '800000 100000',
            },
            3,
        ),
        (
            {
                'proc/self/cgroup': V1,
                'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '250000',
                'sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000',
            },
            3,
        ),
        (
            {
                'proc/self/cgroup': V1,
                'sys/fs/cgroup/cpu/docker/a1/cpu.cfs_quota_us': '50000',
                'sys/fs/cgroup/cpu/docker/a1/cpu.cfs_period_us': '50000',
                'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1',
                'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000',
            },
            1,
        ),
        ({'proc/self/cgroup': '0::/../..', 'sys/fs/cgroup/cpu.max': '400000 100000'}, 4),
    ],
)  # fmt: skip
def test_quota_of_a_container(tmp_path, files, cores):
    assert cgroups.cpu_quota(write_files(tmp_path, files)) == cores


@pytest.mark.parametrize(('quota', 'cores'), [(None, 3), (2, 2), (8, 3)])
def test_cores_are_the_lesser_of_mask_and_quota(monkeypatch, quota, cores):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: {0, 1, 2}, raising=False)
    monkeypatch.setattr(process, 'cpu_quota', lambda: quota)
    assert process.available_cores() == cores


# ---- no home folder ----


@pytest.fixture
def homeless(monkeypatch):
    """HOME is unset, and nobody knows the user."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.delenv('HOME')
    monkeypatch.setattr(pwd, 'getpwuid', unknown)
    monkeypatch.setattr(user_cache, '_lent_home', None)


def test_no_home_no_cache(homeless, tmp_path, monkeypatch, capsys):
    assert user_cache.private_folder('programs') is None
    note = capsys.readouterr().err
    assert note.startswith('note: no home folder') and note.count('\n') == 1
    with pytest.raises(UserError, match='set XDG_CACHE_HOME'):
        FrameCache()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert user_cache.private_folder('programs') == tmp_path / 'first-order-model' / 'programs'


def test_paddle_gets_a_home_and_the_cache_does_not(homeless, monkeypatch):
    monkeypatch.setenv('HOME', 'to be put back')
    monkeypatch.delenv('HOME')
    user_cache.lend_home()
    assert Path(os.environ['HOME']).is_dir()
    with pytest.raises(UserError, match='no home folder'):
        user_cache.user_cache()


def test_a_home_that_may_not_be_written_is_none(tmp_path, monkeypatch):
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    monkeypatch.setattr(user_cache, '_lent_home', None)
    user_cache.lend_home()
    assert os.environ['HOME'] == str(tmp_path)
    monkeypatch.setattr(os, 'access', lambda place, mode: Path(place) != tmp_path)
    user_cache.lend_home()
    assert os.environ['HOME'] != str(tmp_path)
    with pytest.raises(UserError, match='no home folder'):
        user_cache.user_cache()


@needs_onednn
def test_the_fast_engine_without_a_home(tmp_path):
    code = (
        'import pwd, runpy, sys\n'
        'def unknown(number): raise KeyError(number)\n'
        'pwd.getpwuid = unknown\n'
        'sys.argv = sys.argv[1:]\n'
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    for name in ('HOME', 'XDG_CACHE_HOME'):
        environment.pop(name, None)
    script = [ROOT / 'demo.py', '--config', TINY / 'tiny.yaml', '--checkpoint', LEGACY, '--cpu']
    driving = ['--driving_video', ROOT / 'doc' / 'demo' / 'driving.mp4']
    done = subprocess.run(
        [sys.executable, '-c', code, *script, *driving, '--result_video', 'out.mp4'],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    notes = [line for line in done.stderr.splitlines() if line.startswith('note: ')]
    assert len(notes) == 1 and 'no home folder' in notes[0]
    assert os.listdir(tmp_path) == ['out.mp4']


@pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks into /proc')
@pytest.mark.parametrize(('chosen', 'threads'), [(None, 'all'), ('1', '1'), ('3', '3')])
def test_threads_are_the_users_not_the_launchers(monkeypatch, chosen, threads):
    """Paddle's launcher imports Paddle, which sets OMP_NUM_THREADS, and hands that on."""
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    if chosen is not None:
        monkeypatch.setenv('OMP_NUM_THREADS', chosen)
    show = 'from modules.runtime import process as p; print(p.num_threads(), p.available_cores())'
    launch = (
        'import os, subprocess, sys; os.environ.setdefault("OMP_NUM_THREADS", "1"); '
        f'os.environ["PADDLE_LOCAL_SIZE"] = "1"; subprocess.run([sys.executable, "-c", {show!r}])'
    )
    done = subprocess.run(
        [sys.executable, '-c', launch], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found, cores = done.stdout.split()
    assert found == (cores if threads == 'all' else threads)
