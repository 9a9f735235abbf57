"""train.py --data: a config that fits the clips and the machine, kept in the run's folder."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from modules.config import load_config
from modules.runtime.errors import UserError
from modules.training import made_config
from modules.training.made_config import Data, Device, look_at_data, make_config
from tests.support.clips import write
from tests.support.configs import CONFIGS
from tests.support.places import ROOT
from tests.support.training_runs import run, write_clips, write_config

GB = 1e9
GPU = Device('gpu', 24 * GB, 1, 8)
CPU = Device('cpu', 16 * GB, 1, 2)


def data(clips=100, ids=100, size=(256, 256), is_one_size=True):
    return Data(Path('data/mine'), clips, ids, size, is_one_size)


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    """Each test says whether VGG19's weights can be had; here they can't."""
    monkeypatch.setattr(made_config, 'find_imagenet', lambda download: None)


@pytest.mark.parametrize(
    ('device', 'size', 'shape'),
    [
        (GPU, (256, 256), [256, 256]),
        (GPU, (512, 512), [256, 256]),
        (GPU, (200, 200), [256, 256]),
        (GPU, (128, 128), [128, 128]),
        (GPU, (64, 64), [64, 64]),
        (GPU, (40, 40), [64, 64]),
        (GPU, (1080, 1920), [256, 512]),
        (GPU, (1920, 1080), [512, 256]),
        (CPU, (256, 256), [64, 64]),
        (CPU, (640, 360), [128, 64]),
        (CPU, (250, 256), [64, 64]),
        (CPU._replace(cores=32), (256, 256), [128, 128]),
        (CPU._replace(cores=32), (4000, 128), [256, 128]),
    ],
)
def test_frames_fit_clips_and_device(device, size, shape):
    config = make_config(data(size=size), device)['dataset_params']
    assert config['frame_shape'] == [*shape, 3]
    assert config['resize'] == ('exact' if list(size) == shape else 'crop')


def test_clips_of_several_sizes_are_cropped():
    assert make_config(data(is_one_size=False), GPU)['dataset_params']['resize'] == 'crop'


@pytest.mark.parametrize(
    ('memory', 'processes', 'batch', 'parts'),
    [(6, 1, 8, 4), (12, 1, 8, 2), (24, 1, 8, 1), (48, 1, 16, 1), (140, 1, 32, 1), (24, 4, 32, 1),
     (6, 4, 8, 1), (24, 64, 64, 1), (1, 1, 8, 8)],
)  # fmt: skip
def test_batch_fits_memory(memory, processes, batch, parts):
    config = make_config(data(), Device('gpu', memory * GB, processes, 8))
    params = config['train_params']
    assert (params['batch_size'], params['accumulation_steps']) == (batch, parts)
    assert batch % (processes * parts) == 0


@pytest.mark.parametrize('samples', [1, 3, 8, 100, 5000])
@pytest.mark.parametrize('steps', [1, 2, 7, 200, 3000, 25000])
def test_steps_are_what_was_asked_for(samples, steps):
    """At least so many, and less than an epoch more."""
    for device in (CPU, GPU):
        params = make_config(data(samples, samples), device, steps)['train_params']
        each = samples * params['num_repeats'] // params['batch_size']
        assert each >= 1 and steps <= each * params['num_epochs'] < steps + each
        assert all(1 <= drop < params['num_epochs'] for drop in params['epoch_milestones'])


@pytest.mark.parametrize(
    ('clips', 'ids', 'sampled'), [(10, 10, False), (10, 4, True), (10, 1, False), (1, 1, False)]
)
def test_ids_are_sampled_where_some_have_more_clips(clips, ids, sampled):
    config = make_config(data(clips, ids), CPU)
    assert config['dataset_params']['id_sampling'] is sampled


def test_vgg_of_imagenet_where_it_can_be_had(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(made_config, 'find_imagenet', lambda download: asked.append(download))
    for device in (GPU, CPU):
        params = make_config(data(), device)['train_params']
        assert params['vgg19_weights'] == 'random' and params['loss_weights']['pixel'] > 0
    assert asked == [True, False]  # a CPU is not worth the download
    assert 'weights of ImageNet are not here' in capsys.readouterr().err
    monkeypatch.setattr(made_config, 'find_imagenet', lambda download: Path('vgg19.pdparams'))
    for device in (GPU, CPU):
        params = make_config(data(), device)['train_params']
        assert params['vgg19_weights'] == 'imagenet' and params['loss_weights']['pixel'] == 0
        assert params['loss_weights']['perceptual'] == [10] * 5


def test_weights_bring_their_networks_and_frames():
    config = make_config(data(size=(300, 300)), GPU, weights=CONFIGS / 'demo-128.yaml')
    demo = load_config(CONFIGS / 'demo-128.yaml')
    assert config['model_params'] == demo['model_params']
    assert config['train_params']['loss_weights'] == demo['train_params']['loss_weights']
    assert config['dataset_params']['frame_shape'] == [128, 128, 3]
    assert config['dataset_params']['root_dir'] == 'data/mine'
    assert not any(config['ckpt_model'].values())


@pytest.mark.parametrize(
    ('device', 'steps', 'samples', 'every'),
    [(CPU, 200, 8, 8), (CPU, 3000, 8, 10), (GPU, 25000, 100, 10), (GPU, 25000, 5000, 4),
     (CPU, 1, 8, 1)],
)  # fmt: skip
def test_test_clips_validate_some_ten_times(device, steps, samples, every):
    clips = data(samples, samples)._replace(test_clips=3)
    params = make_config(clips, device, steps)['train_params']
    each = samples * params['num_repeats'] // params['batch_size']
    assert params['validation']['every'] == every <= params['num_epochs']
    assert every * each >= min(300, steps) and params['num_epochs'] / every <= 10
    assert params['validation']['best_by'] == 'l1' and params['validation']['patience'] is None
    assert make_config(data(), device)['train_params']['validation'] is None


def test_data_is_looked_at(tmp_path):
    clips = tmp_path / 'clips' / 'train'
    clips.mkdir(parents=True)
    (tmp_path / 'clips' / 'test').mkdir()
    for name, shape in (('a#1', (48, 64)), ('a#2', (48, 64)), ('b#1', (32, 32))):
        write(clips / f'{name}.mp4', np.zeros((3, *shape, 3), np.uint8))
    (clips / 'broken.mp4').write_bytes(b'x')
    assert look_at_data(tmp_path / 'clips') == Data(tmp_path / 'clips', 4, 3, (48, 64), False, 0)
    write(clips.parent / 'test' / 'c.mp4', np.zeros((3, 48, 64, 3), np.uint8))
    assert look_at_data(tmp_path / 'clips').test_clips == 1
    (tmp_path / 'only').mkdir()
    for name in ('a.mp4', 'b.mp4', 'c.mp4'):
        (tmp_path / 'only' / name).write_bytes(b'x')
    with pytest.raises(UserError, match='no clip can be read'):
        look_at_data(tmp_path / 'only')


@pytest.mark.slow
def test_a_run_by_data_alone(tmp_path):
    """Made, trained, stopped short of more, gone on with, and used by --config."""
    clips = write_clips(tmp_path / 'data', clips=2, size=64)
    place = tmp_path / 'run'
    out, err = run('--data', clips, '--save_dir', place, '--steps', 1)
    assert 'a config is made: 2 clips on cpu: frames of 64x64, batches of 8' in err
    assert 'finished: 1 epochs' in out
    made = load_config(place / 'config.yaml', ('dataset_params', 'train_params'))
    assert made['dataset_params']['root_dir'] == str(clips)
    out, _ = run('--data', clips, '--save_dir', place, '--resume')
    assert 'finished already' in out and f'--checkpoint {place}' in out
    assert '--config' not in out  # demo.py finds the run's own by itself
    out, _ = run('--config', place / 'config.yaml', '--dry_run')
    assert yaml.safe_load(out) == made
    _, err = run('--data', tmp_path, '--save_dir', place, '--resume', status=2)
    assert f'trains on {clips}; give that' in err
    out, err = run('--data', clips, '--checkpoint', place, '--steps', 1, '--dry_run')
    assert yaml.safe_load(out)['model_params'] == made['model_params']


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--config', 'c.yaml', '--data', 'd'], '--data: not allowed with argument --config'),
        ([], 'one of the arguments --config --data is required'),
        (['--config', 'c.yaml', '--steps', '5'], '--steps goes with --data'),
        (['--data', '.', '--steps', '5', '--resume', 'run'], '--steps goes with --data, in a new'),
        (['--data', 'd', '--steps', '0'], '0: give a whole number of at least 1'),
        (['--data', 'absent'], '--data absent: no such folder'),
        (
            ['--data', '.', '--resume', 'nowhere'],
            '--resume nowhere: holds no run; give the folder of one',
        ),
    ],
)
def test_what_contradicts_is_one_line(arguments, said, tmp_path):
    command = [sys.executable, ROOT / 'train.py', '--cpu', *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2 and said in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not any(tmp_path.iterdir())


def test_a_config_is_needed_as_before(tmp_path):
    """A run by --config is what it was."""
    config = write_config(tmp_path / 'c.yaml', write_clips(tmp_path / 'data', clips=4))
    out, err = run('--config', config, '--dry_run')
    assert 'a config is made' not in err
    assert yaml.safe_load(out)['train_params']['batch_size'] == 4
