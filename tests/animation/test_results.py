"""The folder of an animated test set: interrupted, taken up, of one run alone."""

import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from modules.animation.results import AnimationFolder
from modules.checkpoints.writing import save_checkpoint
from modules.runtime.errors import UserError
from modules.video import VideoWriter
from tests.support.animation_runs import files_of, run, write_config
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import LEGACY, TINY


@pytest.mark.parametrize('after', range(1, 26, 6))
def test_interrupted_and_restarted_equals_uninterrupted(
    whole, tmp_path, monkeypatch, capsys, after
):
    config, complete = whole
    folder = tmp_path / 'run'
    original, count = VideoWriter.write, []

    def write(self, frame):
        count.append(1)
        if len(count) == after:
            raise KeyboardInterrupt
        original(self, frame)

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, 'write', write)
        with pytest.raises(KeyboardInterrupt):
            run(config, folder)
    present, expected = files_of(folder), files_of(complete)
    assert all(expected[path] == data for path, data in present.items())  # whole or not at all
    assert len(present) % 3 == 1 and len(present) < len(expected)
    times = {path: (folder / path).stat().st_mtime_ns for path in present}
    capsys.readouterr()
    run(config, folder)
    assert files_of(folder) == expected
    assert all((folder / path).stat().st_mtime_ns == time for path, time in times.items())
    done = len(present) // 3
    said = f'{done} of 4 pairs are finished already: skipped\n' if done else ''
    out = capsys.readouterr().out
    assert out == f'{said}written: {4 - done} of 4 pairs into {folder}\n'


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_restarted(whole, tmp_path, number):
    config, _ = whole
    complete, folder = tmp_path / 'complete', tmp_path / 'run'
    command = [sys.executable, ROOT / 'animate.py', '--cpu', '--engine', 'eager']
    command += ['--config', config, '--checkpoint', LEGACY, '--save_dir']
    command = [*map(str, command)]
    # Matrix libraries may round otherwise in this process than in a fresh one.
    subprocess.run([*command, str(complete)], check=True, capture_output=True)
    command += [str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob('.*.unfinished/grid.mp4')):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=300)
    if process.returncode == 0:
        pytest.skip('the run was over before the signal came')
    status = -number if number == signal.SIGKILL else 128 + number
    assert process.returncode == status, said
    (folder / '.left.unfinished').mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    assert files_of(folder) == files_of(complete)
    assert not list(folder.glob('.*'))


def test_a_pair_that_lacks_an_output_is_made_again(whole, tmp_path):
    config, complete = whole
    folder = tmp_path / 'run'
    shutil.copytree(complete, folder)
    next((folder / 'result').iterdir()).unlink()
    run(config, folder)
    assert files_of(folder) == files_of(complete)


def test_another_run_is_not_mixed_in(whole, dataset, tmp_path, models):
    config, complete = whole
    before = files_of(complete)
    changed = write_config(tmp_path / 'changed.yaml', dataset, num_pairs=5)
    with pytest.raises(UserError, match=r'animate_params\.num_pairs is 4 there and 5 now'):
        run(changed, complete)
    changed = write_config(tmp_path / 'changed.yaml', dataset, {})
    with pytest.raises(UserError, match='use_relative_movement is True there and False now'):
        run(changed, complete)
    with pytest.raises(UserError, match=r'pairs is .* there and .* now'):
        run(config, complete, '--seed', 1)
    bias = models.generator.final.bias
    weights = bias.numpy().copy()
    other = tmp_path / 'other.safetensors'
    try:
        bias.set_value(weights + np.float32(1e-3))
        save_checkpoint(other, models._asdict())
    finally:
        bias.set_value(weights)
    with pytest.raises(UserError, match='weights_sha256 is'):
        run(config, complete, checkpoint=other)
    assert files_of(complete) == before


def test_weights_are_the_same_in_any_file(whole, tmp_path):
    config, complete = whole
    run(config, complete, checkpoint=TINY)  # a folder of .npz files of the same weights


def test_folders_that_are_no_runs(whole, tmp_path):
    config, _ = whole
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file: is no folder'):
        run(config, tmp_path / 'file')
    with pytest.raises(UserError, match='holds something else'):
        run(config, tmp_path)
    (tmp_path / 'run').mkdir()
    for damaged in ('{', '[' * 100_000, '{"a":' * 100_000, '1' * 10_000):
        (tmp_path / 'run' / 'run.json').write_text(damaged)
        with pytest.raises(UserError, match=r'run\.json: damaged'):
            run(config, tmp_path / 'run')
    (tmp_path / 'run' / 'run.json').write_text('{"a": null}')
    with pytest.raises(UserError, match=r'a is None there and .left out. now'):
        AnimationFolder(tmp_path / 'run', ['png'], '.mp4')._check({})
    (tmp_path / 'run' / 'run.json').write_text('{"' + 'a' * 9000 + '": 1}')
    with pytest.raises(UserError, match='holds another run') as caught:
        AnimationFolder(tmp_path / 'run', ['png'], '.mp4')._check({})
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_two_runs_do_not_share_a_folder(whole, tmp_path):
    config, _ = whole
    folder = AnimationFolder(tmp_path / 'run', ['png'], '.mp4')
    with folder.open({}), pytest.raises(UserError, match='another run is writing there'):
        run(config, tmp_path / 'run')
    with pytest.raises(UserError, match='holds another run'):  # the lock is gone
        run(config, tmp_path / 'run')


@pytest.mark.parametrize('written', [False, True])
def test_a_folder_that_is_removed_meanwhile_is_named(tmp_path, monkeypatch, written):
    folder = AnimationFolder(tmp_path / 'run', ['result'], '.mp4')
    folder.path.mkdir()
    leave = VideoWriter.__exit__

    def remove(writer, *raised):
        leave(writer, *raised)
        shutil.rmtree(folder.path)

    if written:
        monkeypatch.setattr(VideoWriter, '__exit__', remove)
    with pytest.raises(UserError, match='run'), folder.pair('a-b', 25) as writers:
        writers['result'].write(np.zeros((16, 16, 3), np.uint8))
        if not written:
            shutil.rmtree(folder.path)
