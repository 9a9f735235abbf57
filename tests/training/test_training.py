"""Training: one step, whole runs, interruption, several processes."""

import shlex
import shutil
import signal
import time

import numpy as np
import pytest
import yaml
from PIL import Image

from modules.build import build_models
from modules.checkpoints.places import find_checkpoints
from modules.checkpoints.reading import read_checkpoint
from modules.checkpoints.writing import save_checkpoint
from modules.parity import record
from modules.runtime.locks import folder_of_one_run
from tests.support.places import ROOT
from tests.support.tiny import tiny_config
from tests.support.training_runs import kill_and_resume, run, start, write_clips, write_config


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('data'))


def final_weights(folder):
    newest = sorted(folder.glob('*-checkpoint.safetensors'))[-1]
    checkpoint = read_checkpoint(newest, training_state=True)
    arrays = {f'{n}.{k}': a for n, s in checkpoint.networks.items() for k, a in s.items()}
    return {**arrays, **checkpoint.tensors}


def assert_same_run(folder, other):
    ours, theirs = final_weights(folder), final_weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert (folder / 'log.txt').read_text() == (other / 'log.txt').read_text()


@pytest.fixture(scope='module')
def whole_run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    config = write_config(folder / 'c.yaml', dataset)
    run('--config', config, '--save_dir', folder / 'run', '--seed', 3)
    return config, folder / 'run'


def test_a_run_leaves_what_it_promises(whole_run):
    _, folder = whole_run
    log = (folder / 'log.txt').read_text().splitlines()
    assert [line.split(')')[0] for line in log] == ['00000000', '00000001', '00000002']
    assert log[0].startswith('00000000) pixel - ') and '; disc_gan - ' in log[0]
    names = sorted(p.name for p in folder.glob('*.safetensors'))
    assert names == [f'0000000{e}-00000000-checkpoint.safetensors' for e in (1, 2, 3)]
    assert yaml.safe_load((folder / 'config.yaml').read_text())['train_params']['amp'] is None
    picture = np.array(Image.open(folder / 'train-vis' / '00000002-rec.png'))
    # source, transformed, driving, deformed, prediction, occlusion, 5 images and masks, their sum
    assert picture.shape == (4 * 32, (6 + 2 * 5 + 1) * 32, 3)


def test_a_run_is_repeatable_and_depends_on_its_seed(whole_run, tmp_path):
    config, folder = whole_run
    run('--config', config, '--save_dir', tmp_path / 'again', '--seed', 3)
    assert_same_run(tmp_path / 'again', folder)
    newest, others = (find_checkpoints(run)[-1] for run in (tmp_path / 'again', folder))
    assert newest.read_bytes() == others.read_bytes()
    run('--config', config, '--save_dir', tmp_path / 'other', '--seed', 4)
    other, ours = final_weights(tmp_path / 'other'), final_weights(folder)
    assert any((other[name] != ours[name]).any() for name in ours)


def test_preloading_changes_nothing(whole_run, tmp_path):
    config, folder = whole_run
    run('--config', config, '--save_dir', tmp_path / 'run', '--seed', 3, '--preload')
    assert_same_run(tmp_path / 'run', folder)


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(whole_run, dataset, tmp_path):
    """SIGKILL may fall anywhere: in a step, while a checkpoint is written, between epochs."""
    config = write_config(tmp_path / 'c.yaml', dataset, checkpoint_minutes=1e-6)

    def compare(folder):
        run('--config', config, '--save_dir', folder, '--resume')
        assert_same_run(folder, whole_run[1])
        assert not [p for p in folder.iterdir() if p.name.startswith('.')]

    assert kill_and_resume(config, tmp_path, 20, compare)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_stops(interruptible, whole_run, dataset, tmp_path, number):
    config = write_config(tmp_path / 'c.yaml', dataset)
    folder = tmp_path / 'run'
    process = start('--config', config, '--save_dir', folder, '--seed', 3)
    while 'steps an epoch' not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip('the run was over before the signal came')
    assert process.returncode == 128 + number
    assert 'stopping after this step, with a checkpoint' in out
    saved = find_checkpoints(folder)
    assert f'interrupted; the newest checkpoint is {saved[-1]}\n' in out
    command = f'next: python train.py --config {config} --cpu --resume {folder}\n'
    assert command in out
    run(*shlex.split(command)[3:])
    assert_same_run(folder, whole_run[1])


def test_only_the_newest_checkpoints_are_kept(dataset, tmp_path):
    config = write_config(tmp_path / 'c.yaml', dataset, keep_checkpoints=2)
    run('--config', config, '--save_dir', tmp_path / 'run')
    names = sorted(p.name[:8] for p in (tmp_path / 'run').glob('*.safetensors'))
    assert names == ['00000002', '00000003']


def test_fine_tuning_says_what_it_did_not_find(dataset, tmp_path):
    """And goes on from networks that shrank their images by another scale factor."""
    config = write_config(tmp_path / 'c.yaml', dataset, num_epochs=1)
    other = tiny_config()
    other['model_params']['kp_detector_params']['scale_factor'] = 0.25
    models = build_models(other)
    networks = {'generator': models.generator, 'kp_detector': models.kp_detector}
    save_checkpoint(tmp_path / 'start.safetensors', networks)
    out, _ = run(
        '--config', config, '--save_dir', tmp_path / 'run', '--checkpoint',
        tmp_path / 'start.safetensors',
    )  # fmt: skip
    assert 'discriminator: not in the checkpoint' in out
    kernel = final_weights(tmp_path / 'run')['kp_detector.down.weight']
    assert kernel.shape == (3, 1, 5, 5)  # of the config's scale, 0.5


def test_mistakes(whole_run, dataset, tmp_path):
    config, folder = whole_run
    for arguments, message in (
        (['--save_dir', folder], 'holds a run'),
        (['--save_dir', tmp_path, '--resume'], 'no checkpoint'),
        (['--resume'], '--save_dir'),
        (['--resume', ROOT / 'doc' / 'demo' / 'demo-128.safetensors'], 'generator'),
    ):
        _, err = run('--config', config, *arguments, status=2)
        assert message in err and err.count('\n') == 1
    unfinished = tmp_path / 'unfinished'
    shutil.copytree(folder, unfinished)
    find_checkpoints(unfinished)[-1].unlink()
    with folder_of_one_run(unfinished):
        _, err = run('--config', config, '--save_dir', unfinished, '--resume', status=2)
    assert 'another run is writing there' in err and err.count('\n') == 1


def test_test_mode_prints_losses_and_writes_what_parity_checks(tmp_path):
    from tools import parity

    config = ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml'
    out, _ = run('--config', config, '--save_dir', tmp_path, TEST_MODE='1')
    printed = dict(
        line.split() for line in out.splitlines() if ' ' in line.strip()[3:] and ':' not in line
    )
    file = tmp_path / 'faces-64-test-mode.npz'
    with np.load(file) as arrays:
        assert float(printed['perceptual']) == arrays['train.loss.perceptual']
        assert float(printed['disc_gan']) == arrays['train.loss.disc_gan']
        prediction = arrays['train.prediction']
    assert parity.check([file])
    # Pinned to other keypoints, everything behind them follows.
    with np.load(file) as arrays:
        pins = {n: arrays[n] for n in ('meta', *record.STEP_INPUTS, 'train.kp_driving.value')}
    pins['train.kp_driving.value'] = pins['train.kp_driving.value'] + 0.1
    np.savez(tmp_path / 'pin.npz', **pins)
    run(
        '--config',
        config,
        '--save_dir',
        tmp_path,
        TEST_MODE='1',
        TEST_MODE_PIN=tmp_path / 'pin.npz',
    )
    with np.load(file) as arrays:
        assert np.abs(arrays['train.prediction'] - prediction).max() > 1e-3
