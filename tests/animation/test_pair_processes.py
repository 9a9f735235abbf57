"""animate.py by several processes: the files of one, whatever happens on the way."""

import os
import signal
import subprocess
import sys

import paddle
import pytest

from modules.runtime import process
from tests.support.animation_runs import driving_frames, files_of, run, write_config
from tests.support.batches import workers
from tests.support.dataset_files import write_folder, write_strip, write_video
from tests.support.places import ROOT
from tests.support.processes import PATIENCE, alive, wait_until
from tests.support.tiny_checkpoint import LEGACY

linux = pytest.mark.skipif(not os.path.isdir('/proc/self'), reason='looks into /proc')


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """A test part of clips of all kinds; `late` breaks off midway, `never` can't be opened."""
    test = tmp_path_factory.mktemp('data') / 'test'
    frames = driving_frames()
    write_video(test / 'a.mp4', frames[[*range(8), *range(8)]])
    write_folder(test / 'b', frames[5:2:-1])
    write_strip(test / 'c.png', frames[2:6, :, ::-1])
    write_folder(test / 'late', frames[:3])
    picture = test / 'late' / '2.png'
    picture.write_bytes(picture.read_bytes()[:-400])
    (test / 'never.mp4').touch()
    return test.parent


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """How many share the work of an operation decides on the last bits of its sums."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr(process, '_CHOSEN_THREADS', '1')
    paddle.base.core.set_num_threads(1)
    yield
    paddle.base.core.set_num_threads(process.available_cores())


@pytest.fixture(scope='module')
def config(dataset, tmp_path_factory):
    return write_config(tmp_path_factory.mktemp('config') / 'c.yaml', dataset, num_pairs=16)


def run_captured(capfd, config, folder, *arguments):
    """The files of a run, and what it said: to stdout, and to stderr in any order."""
    capfd.readouterr()
    run(config, folder, *arguments)
    said = capfd.readouterr()
    return files_of(folder), said.out, sorted(said.err.splitlines())


def test_files_and_messages_are_those_of_one_process(tmp_path, config, capfd):
    one, said, complained = run_captured(capfd, config, tmp_path / 'run')
    (tmp_path / 'run').rename(tmp_path / 'one')
    three, *others = run_captured(capfd, config, tmp_path / 'run', '--processes', 3)
    assert list(three) and three == one
    assert others == [said, complained]
    assert len(one) == 3 * 12 + 1
    assert said.endswith(f'written: 12 of 16 pairs into {tmp_path / "run"}, 4 left out\n')
    assert len([line for line in complained if line.startswith('warning: late-')]) == 4
    assert len([line for line in complained if 'never.mp4' in line]) == 1


@linux
def test_killed_in_part_and_as_a_whole(tmp_path, config):
    """A process, which nobody misses; then the command, whose processes end by themselves."""
    out = tmp_path / 'out'
    finished = lambda: len(list(out.glob('png/*.png')))  # noqa: E731
    command = [sys.executable, ROOT / 'animate.py', '--config', config, '--checkpoint', LEGACY]
    command += ['--cpu', '--engine', 'eager', '--outputs', 'png']
    command += ['--processes', 2, '--save_dir', out]
    with (
        open(tmp_path / 'said', 'wb') as said,
        subprocess.Popen(list(map(str, command)), stdout=said, stderr=said) as parent,
    ):
        wait_until(lambda: finished() and len(workers(parent)) == 2, 10 * PATIENCE)
        os.kill(workers(parent)[0], signal.SIGKILL)
        before = finished()
        wait_until(lambda: b'tried once more' in (tmp_path / 'said').read_bytes(), PATIENCE)
        wait_until(lambda: finished() > before, 10 * PATIENCE)
        children = workers(parent)
        parent.kill()
    wait_until(lambda: not any(map(alive, children)))
    lines = (tmp_path / 'said').read_text().splitlines()
    assert len([line for line in lines if 'its process ended by SIGKILL' in line]) == 1
    assert parent.returncode == -signal.SIGKILL and finished() < 12
    run(config, out, '--outputs', 'png', '--processes', 2)
    assert files_of(out) == files_of(run(config, tmp_path / 'one', '--outputs', 'png'))
    assert not list(out.glob('.*'))


def test_the_launcher_is_for_training(tmp_path, config):
    launch = ['-m', 'paddle.distributed.launch', '--nproc_per_node', '2', '--log_dir', 'logs']
    command = [sys.executable, *launch, ROOT / 'animate.py', '--config', config]
    done = subprocess.run(
        [*map(str, command), '--save_dir', 'run'], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 2
    for number in (0, 1):
        assert (tmp_path / 'logs' / f'workerlog.{number}').read_text() == (
            'error: paddle.distributed.launch is for train.py; start animate.py by itself, with '
            '--processes 2\n'
        )
    assert not (tmp_path / 'run').exists()
