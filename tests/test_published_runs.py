"""train.py as users start it, with the networks and losses of a published adversarial config."""

import signal

import numpy as np
import pytest
import yaml

from modules.checkpoints.reading import read_checkpoint
from tests.support.places import ROOT
from tests.support.training_runs import run, start, write_clips

SIZE = 128  # the smallest frames that these networks take


@pytest.mark.slow
@pytest.mark.parametrize('name', ['vox-adv-256', 'vox-256'])
def test_a_run_is_interrupted_and_goes_on(interruptible, tmp_path, name):
    """One without spectral norm, and one that without VGG19 has no loss for its generator."""
    config = write_config(tmp_path, name)
    folder = tmp_path / 'run'
    process = start('--config', config, '--save_dir', folder)
    while ', step 2/2: ' not in process.stdout.readline():
        assert process.poll() is None, process.stderr.read()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 128 + signal.SIGINT, err
    assert len(list(folder.glob('*-checkpoint.safetensors'))) == 1

    run('--config', config, '--save_dir', folder, '--resume')
    log = (folder / 'log.txt').read_text().splitlines()
    assert len(log) == 2
    assert ('disc_gan - ' in log[1]) == ('adv' in name)
    saved = folder / '00000002-00000000-checkpoint.safetensors'
    checkpoint = read_checkpoint(saved, training_state=True)
    assert checkpoint.meta['trainer']['step_count'] == 4
    for network in checkpoint.networks.values():
        assert all(np.isfinite(array).all() for array in network.values())


def write_config(folder, name):
    """The config of this name: two epochs of two steps, two small clips, without VGG19."""
    write_clips(folder / 'data', clips=2, size=SIZE)
    config = yaml.safe_load((ROOT / 'config' / f'{name}.yaml').read_text())
    config['dataset_params'].update(
        root_dir=str(folder / 'data'), frame_shape=[SIZE, SIZE, 3], pairs_list=None
    )
    params = config['train_params']
    params.update(
        num_epochs=2, num_repeats=2, epoch_milestones=[], batch_size=2, keep_checkpoints=1
    )
    params['loss_weights']['perceptual'] = [0] * 5
    path = folder / 'c.yaml'
    path.write_text(yaml.safe_dump(config))
    return path
