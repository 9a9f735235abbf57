"""The configs for clips of one's own, and the way there from a published one."""

import copy

import pytest
import yaml

from modules.config import check_config, load_config
from modules.runtime.errors import UserError
from tests.support.configs import CONFIGS
from tests.support.training_runs import run, write_clips

NEED = ('dataset_params', 'train_params')


def vox(side):
    config = yaml.safe_load((CONFIGS / 'vox-256.yaml').read_text(encoding='utf-8'))
    config['dataset_params']['frame_shape'] = [side, side, 3]
    return config


def test_small_frames_under_a_published_config_name_every_key_that_helps():
    with pytest.raises(UserError) as refused:
        check_config(vox(64), 'c.yaml', NEED)
    message = str(refused.value)
    for key in ('dense_motion_params', 'kp_detector_params', 'num_blocks', 'scale_factor'):
        assert key in message
    assert 'train_params.scales: 64x64 at scale 0.125 is 8 pixels' in message
    mended = vox(64)
    model = mended['model_params']
    model['kp_detector_params']['scale_factor'] = 0.5
    model['generator_params']['dense_motion_params']['scale_factor'] = 0.5
    mended['train_params']['scales'] = [1, 0.5, 0.25]
    check_config(mended, 'c.yaml', NEED)


@pytest.mark.parametrize('side', [64, 128])
def test_nothing_is_downloaded(side):
    config = load_config(CONFIGS / f'own-{side}.yaml', NEED)
    params = config['train_params']
    assert params['vgg19_weights'] == 'random' and params['loss_weights']['pixel'] > 0
    assert config['dataset_params']['frame_shape'] == [side, side, 3]
    assert 5 * side / 256 <= config['visualizer_params']['kp_size'] <= 10 * side / 256


@pytest.mark.parametrize('side', [64, 128])
def test_few_clips_are_evaluated_without_a_warning(side):
    assert load_config(CONFIGS / f'own-{side}.yaml')['reconstruction_params']['num_videos'] is None


def test_a_run_says_that_features_are_random(tmp_path):
    config = copy.deepcopy(load_config(CONFIGS / 'own-64.yaml', NEED))
    config['dataset_params']['root_dir'] = str(write_clips(tmp_path / 'data', clips=2, size=64))
    config['train_params'].update(num_epochs=1, epoch_milestones=[], num_repeats=1, batch_size=2)
    (tmp_path / 'c.yaml').write_text(yaml.safe_dump(config))
    out, err = run('--config', tmp_path / 'c.yaml', '--save_dir', tmp_path / 'run')
    assert 'features of a random VGG19' in err and 'finished: 1 epochs' in out
    assert (tmp_path / 'run' / 'log.txt').read_text().startswith('00000000) perceptual - ')
