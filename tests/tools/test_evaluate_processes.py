"""tools/evaluate.py by several processes: the files of one, whatever happens on the way."""

import sys

import paddle
import pytest
import yaml

from modules.data.clips import open_clip
from modules.runtime import process
from modules.runtime.errors import UserError
from tests.support.animation_runs import driving_frames, files_of
from tests.support.dataset_files import cut_short, write_folder, write_strip, write_video
from tests.support.tiny_checkpoint import LEGACY, TINY
from tools import evaluate
from tools.evaluation import clips

# Finds a point in the picture; in the third frame that it sees, its process is killed, once.
DYING = """
import os, pathlib, signal
DIED, seen = pathlib.Path(__file__).parent / 'died', []
def build():
    return find
def find(frame):
    seen.append(frame)
    if len(seen) == 3 and not DIED.exists():
        DIED.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return frame.mean(axis=0)[:1, :2]
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs the tool -> its files, and what it said to stderr; within the folder of DYING."""
    test = tmp_path / 'data' / 'test'
    frames = driving_frames()
    write_folder(test / 'a', frames[:4])
    cut_short(write_folder(test / 'b', frames[:3]) / '2.png')
    write_video(test / 'c.mp4', frames[:5])
    write_strip(test / 'd.png', frames[:2])
    write_folder(test / 'e', frames[5:])
    (test / 'never.mp4').touch()
    config = yaml.safe_load((TINY / 'tiny.yaml').read_text())
    config['dataset_params']['root_dir'] = str(test.parent)
    (tmp_path / 'c.yaml').write_text(yaml.safe_dump(config))
    (tmp_path / 'dying.py').write_text(DYING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    # How many share the work of an operation decides on the last bits of its sums.
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    monkeypatch.setattr(process, '_CHOSEN_THREADS', '1')
    paddle.base.core.set_num_threads(1)

    def run(out, *options):
        fixed = ('--config', 'c.yaml', '--checkpoint', LEGACY, '--cpu', '--engine', 'eager')
        arguments = [*fixed, '--detector', 'dying:build', '--out', out, *options]
        monkeypatch.setattr(sys, 'argv', ['evaluate.py', *map(str, arguments)])
        capfd.readouterr()
        evaluate.main()
        return files_of(tmp_path / out), capfd.readouterr().err.splitlines()

    yield run
    paddle.base.core.set_num_threads(process.available_cores())


def test_files_are_those_of_one_process_though_one_is_killed(tmp_path, run):
    """Three clips are wanted; the second is broken, so that the fourth takes its place."""
    several, told = run('several', '--processes', 3, '--save_frames', '--num_videos', 3)
    assert (tmp_path / 'died').exists()
    assert len([line for line in told if 'its process ended by SIGKILL' in line]) == 1
    one, told_by_one = run('one', '--save_frames', '--num_videos', 3)
    assert several == one
    assert sorted(line for line in told if 'SIGKILL' not in line) == sorted(told_by_one)
    assert len([line for line in told_by_one if 'b/2.png' in line and '(left out)' in line]) == 1
    folders = sorted({name.split('/')[1] for name in one if name.startswith('frames/')})
    assert folders == ['0000_a', '0001_c_mp4', '0002_d_png']


def test_the_launcher_is_for_training(tmp_path, run, monkeypatch):
    (tmp_path / 'died').touch()
    monkeypatch.setenv('PADDLE_TRAINERS_NUM', '4')
    with pytest.raises(UserError, match=r'start tools/evaluate.py by itself, with --processes 4'):
        run('out')
    assert not (tmp_path / 'out').exists()


def test_what_a_dead_process_has_left_is_no_result(tmp_path):
    clip = open_clip(write_folder(tmp_path / 'a.b', driving_frames()[:1]))
    frames = tmp_path / 'frames'
    for name in ('000007', '.000007.abcdefgh'):
        (frames / name).mkdir(parents=True)
    clips._name_frames(frames, [clips.Task(7, clip)])
    assert [path.name for path in frames.iterdir()] == ['0000_a_b']
