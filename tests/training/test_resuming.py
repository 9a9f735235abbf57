"""`--resume` with another config, and from an older checkpoint."""

import copy

import pytest
import yaml

from modules.build import build_models
from modules.checkpoints.reading import read_run_state
from modules.checkpoints.writing import save_checkpoint
from modules.config import check_config, load_config
from modules.model import TrainingLosses
from modules.runtime.errors import UserError
from modules.training.resuming import changes_of_run
from modules.training.run_folder import RunFolder
from modules.training.trainer import Trainer
from tests.support.configs import put
from tests.support.tiny import TINY
from tests.support.training_runs import run, write_clips, write_config

NEED = ('dataset_params', 'train_params')


def config_with(changes):
    config = copy.deepcopy(TINY)
    for path, value in changes.items():
        put(config, path, value)
    return check_config(config, need=NEED)


@pytest.fixture
def checkpoint(tmp_path):
    """That of a run of TINY, in the middle of epoch 2; its weights do not matter."""
    path = tmp_path / '00000002-00000001-checkpoint.safetensors'
    networks = {'generator': {'weight': [0.0]}}
    progress = {'epoch': 2, 'batch': 1, 'loss_sums': {}}
    meta = {'progress': progress, 'changes': ['earlier']}
    save_checkpoint(path, networks, config_with({}), extra_meta=meta)
    return path


@pytest.mark.parametrize(
    'key, value',
    [
        ('train_params.num_epochs', 9),
        ('train_params.epoch_milestones', []),
        ('train_params.lr_generator', 1e-3),
        ('train_params.checkpoint_freq', 5),
        ('train_params.num_workers', 1),
        ('train_params.scalars', 'visualdl'),
        ('train_params.ema_decay', 0.99),
        ('train_params.clip_grad_norm', 1.0),
        ('train_params.warmup_steps', 10),
        ('dataset_params.root_dir', 'elsewhere'),
        ('dataset_params.augmentation_params', {'flip_param': {'time_flip': True}}),
    ],
)
def test_what_may_change_is_taken_and_named(checkpoint, capsys, key, value):
    config, lines = changes_of_run(config_with({key: value}), checkpoint, NEED)
    section, name = key.split('.')
    assert config[section][name] == config_with({key: value})[section][name]
    first, *new = lines
    assert first == 'earlier' and len(new) == 1
    assert new[0].startswith(f'from epoch 2 on (its batch 1): {key}: ')
    assert capsys.readouterr().err == f'note: {new[0]}\n'


@pytest.mark.parametrize(
    'key, value',
    [
        ('train_params.loss_weights.pixel', 11),
        ('train_params.transform_params.sigma_affine', 0.1),
        ('train_params.scales', [1]),
        ('train_params.batch_size', 2),
        ('train_params.lr_generator', 0),
        ('train_params.vgg19_weights', 'imagenet'),
        ('dataset_params.frame_shape', [64, 64, 3]),
        ('dataset_params.id_sampling', True),
        ('model_params.kp_detector_params.temperature', 0.2),
        ('model_params.discriminator_params.max_features', 8),
    ],
)
def test_what_may_not_change_is_refused(checkpoint, key, value):
    with pytest.raises(UserError) as refused:
        changes_of_run(config_with({key: value}), checkpoint, NEED)
    message = str(refused.value)
    assert (
        message.startswith(f'{key}: {value}, before ') and f'--checkpoint {checkpoint}' in message
    )


def test_nothing_changed(checkpoint, capsys):
    assert changes_of_run(config_with({}), checkpoint, NEED) == (config_with({}), ['earlier'])
    assert capsys.readouterr().err == ''


def test_weights_to_start_from_have_no_effect(checkpoint, capsys):
    config, lines = changes_of_run(config_with({'ckpt_model': {'kp': 'x'}}), checkpoint, NEED)
    assert config == config_with({}) and lines == ['earlier']
    assert 'ckpt_model has no effect' in capsys.readouterr().err


def test_only_later_checkpoints_of_the_same_folder_are_set_aside(tmp_path, capsys):
    folder = RunFolder(tmp_path, config_with({}), keep=5)
    for number in (1, 2, 3):
        (tmp_path / f'{number:08d}-00000000-checkpoint.safetensors').write_text(str(number))
    first, second, third = folder.checkpoints()
    with folder.open(tmp_path.parent / first.name):
        assert folder.checkpoints() == [first, second, third]
    with folder.open(second):
        assert folder.checkpoints() == [first, second]
    with folder.open(first):
        assert folder.checkpoints() == [first]
    assert (tmp_path / 'set-aside-1' / third.name).read_text() == '3'
    assert (tmp_path / 'set-aside-2' / second.name).read_text() == '2'
    assert '1 later checkpoints are set aside in' in capsys.readouterr().err


def test_a_new_rate_holds_at_once():
    trainers = []
    for rate in (2e-4, 5e-5):
        config = config_with({'train_params.lr_generator': rate})
        trainers.append(Trainer(config, build_models(config), TrainingLosses(config)))
    before, now = trainers
    before.end_epoch()
    assert now.load_state(*before.state()) == []
    assert now.learning_rates() == {**before.learning_rates(), 'generator': 5e-5}


def test_a_run_goes_on_with_more_epochs_and_another_rate(tmp_path):
    data, folder = write_clips(tmp_path / 'data', clips=4), tmp_path / 'run'
    config = write_config(tmp_path / 'c.yaml', data, num_epochs=2, epoch_milestones=[])
    out, _ = run('--config', config, '--save_dir', folder)
    newest = folder / '00000002-00000000-checkpoint.safetensors'
    assert f'finished: 2 epochs; the checkpoint is {newest}\n' in out
    written = folder / 'config.yaml'
    assert f'next: python demo.py --checkpoint {newest} --source' in out
    assert f'config with all defaults: {written}\n' in out and 'model_params' not in out
    out, _ = run('--config', config, '--save_dir', folder, '--resume')
    assert f'finished already: 2 epochs; the checkpoint is {newest}\n' in out
    write_config(config, data, num_epochs=3, epoch_milestones=[], lr_generator=5e-5)
    first = folder / '00000001-00000000-checkpoint.safetensors'
    _, err = run('--config', config, '--resume', first)
    assert '1 later checkpoints are set aside' in err
    lines = [
        'from epoch 1 on: train_params.num_epochs: 3, before 2',
        'from epoch 1 on: train_params.lr_generator: 5e-05, before 0.0002',
    ]
    assert [f'note: {line}' in err for line in lines] == [True, True]
    text = (folder / 'config.yaml').read_text()
    assert text.splitlines()[:2] == [f'# {line}' for line in lines]
    assert load_config(folder / 'config.yaml', NEED)['train_params']['num_epochs'] == 3
    held, meta = read_run_state(folder / '00000003-00000000-checkpoint.safetensors')
    assert held['train_params']['lr_generator'] == 5e-5 and meta['changes'] == lines
    assert meta['trainer']['schedules']['generator']['last_lr'] == 5e-5

    write_config(config, data, num_epochs=3, epoch_milestones=[], batch_size=2)
    _, err = run('--config', config, '--save_dir', folder, '--resume', status=2)
    assert 'train_params.batch_size: 2, before 4' in err and err.count('\n') == 1
    write_config(config, write_clips(tmp_path / 'more', clips=8), num_epochs=9)
    kept = yaml.safe_load(config.read_text())
    kept['train_params'].update(epoch_milestones=[], lr_generator=5e-5)
    config.write_text(yaml.safe_dump(kept))
    _, err = run('--config', config, '--save_dir', folder, '--resume', status=2)
    assert '2 steps an epoch, but the run had 1' in err
    assert (folder / 'config.yaml').read_text() == text
