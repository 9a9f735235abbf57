"""What an animation needs of a checkpoint, and where it is taken from."""

import copy
import json
import shutil

import numpy as np
import pytest

from modules.build import build_models, build_network
from modules.checkpoints.fitting import fitting_configs, shapes_of
from modules.checkpoints.models import StoredModels, load_checkpoint, load_models
from modules.checkpoints.places import find_weights
from modules.checkpoints.reading import read_checkpoint
from modules.checkpoints.writing import save_checkpoint
from modules.config import load_config
from modules.runtime.errors import UserError
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import CONFIG, LEGACY, assert_same, values

BUNDLED = ROOT / 'doc' / 'demo' / 'demo-128.safetensors'


def with_keypoints():
    """The tiny config with a discriminator that also sees keypoints, as the adversarial ones."""
    config = copy.deepcopy(CONFIG)
    config['model_params']['discriminator_params'].update(use_kp=True, sn=False)
    return config


@pytest.mark.quick
def test_a_discriminator_that_does_not_fit_is_not_looked_at():
    """Weights of vox-adv under vox-256, for one."""
    config = with_keypoints()
    loaded = StoredModels(config, LEGACY).load()
    expected = StoredModels(CONFIG, LEGACY).load()
    for name in ('generator', 'kp_detector'):
        assert_same(values(getattr(loaded, name)), values(getattr(expected, name)))
    with pytest.raises(UserError, match='its discriminator does not fit'):  # to train with it
        load_models(config, build_models(config), LEGACY)


def test_nor_is_one_that_the_config_names():
    config = {**with_keypoints(), 'ckpt_model': dict.fromkeys(('generator', 'kp'), str(LEGACY))}
    config['ckpt_model']['discriminator'] = 'missing.npz'
    StoredModels(config).load()


def test_the_newest_checkpoint_of_a_run(tmp_path, capsys):
    """By its folder. What belongs to no run stays as it is."""
    models = build_models(CONFIG)
    for name in ('00000001-00000000', '00000010-00000000', '00000009-00000003'):
        models.kp_detector.kp.bias.set_value(np.full(10, int(name[:8]), 'float32'))
        save_checkpoint(tmp_path / f'{name}-checkpoint.safetensors', models._asdict(), CONFIG)
    (tmp_path / 'zzz.safetensors').touch()
    loaded = StoredModels(CONFIG, tmp_path).load()
    assert loaded.kp_detector.kp.bias.numpy()[0] == 10
    assert capsys.readouterr().err == (
        f'note: {tmp_path}: its newest checkpoint is taken, '
        '00000010-00000000-checkpoint.safetensors\n'
    )
    assert load_checkpoint(tmp_path, generator=models.generator).path.name.startswith('00000010')
    assert find_weights(LEGACY.parent) == LEGACY.parent


@pytest.fixture
def run(tmp_path):
    """The folder of a run with three checkpoints, the oldest first among them."""
    models = build_models(CONFIG)
    for number in (1, 2, 3):
        models.kp_detector.kp.bias.set_value(np.full(10, number, 'float32'))
        place = tmp_path / f'{number:08d}-00000000-checkpoint.safetensors'
        moments = {'optimizer.moment': np.ones(64, 'float32')}
        save_checkpoint(place, models._asdict(), CONFIG, moments)
    return tmp_path


def damage(path, tensor):
    """Flips a bit of a tensor."""
    held = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(held[:8], 'little')
    held[start + json.loads(held[8:start])[tensor]['data_offsets'][0]] ^= 1
    path.write_bytes(held)


def torn(path):
    path.write_bytes(path.read_bytes()[:-1000])


def bias_of(run):
    return StoredModels(CONFIG, run).load().kp_detector.kp.bias.numpy()[0]


def test_where_the_newest_of_a_run_is_damaged_the_one_before_is_taken(run, capsys):
    newest = sorted(run.iterdir())[::-1]
    torn(newest[0])
    assert bias_of(run) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f'warning: {newest[0]}: the safetensors file is damaged or cut off')
    assert told[0].endswith('; the checkpoint before is taken')
    assert told[1:] == [f'note: {run}: its newest checkpoint is taken, {newest[1].name}']
    newest[1].write_bytes(b'')
    assert bias_of(run) == 1
    assert capsys.readouterr().err.count('the checkpoint before is taken') == 2
    newest[2].write_bytes(b'')
    with pytest.raises(UserError, match=r'00000003-\S+: the safetensors file is damaged'):
        bias_of(run)


def test_weights_are_whole_though_an_optimizer_is_not(run, capsys):
    newest = sorted(run.iterdir())[-1]
    damage(newest, 'optimizer.moment')
    assert bias_of(run) == 3
    assert 'before' not in capsys.readouterr().err
    with pytest.raises(UserError, match='damaged'):
        read_checkpoint(newest, training_state=True)
    damage(newest, 'generator.final.weight')
    assert bias_of(run) == 2


@pytest.mark.parametrize('config', ['demo-64.yaml', 'vox-256.yaml'])
def test_the_config_that_fits_is_named(config):
    with pytest.raises(UserError, match='does not fit the config') as error:
        StoredModels(load_config(ROOT / 'config' / config), BUNDLED).load()
    message = str(error.value)
    assert message.endswith(
        '; give --config config/demo-128.yaml or config/demo-adv-128.yaml, which it fits'
    )
    assert len(message.replace(str(ROOT), '')) < 300


def test_of_many_that_fit_those_of_its_name_come_first(tmp_path):
    params = load_config(ROOT / 'config' / 'vox-256.yaml')['model_params']
    shapes = {'kp_detector': shapes_of(values(build_network('kp_detector', params)))}
    for name in ('vox-cpk.pth.tar', 'taichi-cpk.pth.tar', 'x.npz'):
        first = {'x.npz': 'bair'}.get(name, name.split('-')[0])
        text = fitting_configs(shapes, tmp_path / name)
        assert text.startswith(f'give --config config/{first}-')
        assert text.endswith(' more, which it fits')


def test_a_run_has_its_config_beside_the_checkpoint(tmp_path):
    shutil.copy(BUNDLED, tmp_path / 'a.safetensors')
    (tmp_path / 'config.yaml').touch()
    with pytest.raises(UserError) as error:
        StoredModels(CONFIG, tmp_path / 'a.safetensors').load()
    assert str(error.value).endswith(
        f'; give --config {tmp_path / "config.yaml"}, with which it was trained'
    )
