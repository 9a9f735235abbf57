"""A data set with an odd file of each kind among good clips, through the doors that read it."""

import sys

import av
import pytest
import yaml

import animate
from modules.config import load_config
from tests.support import training_runs
from tests.support.animation_runs import RELATIVE
from tests.support.clips import drawn, encode
from tests.support.dataset_files import cut_short, frames, write_folder, write_strip, write_video
from tests.support.tiny import TINY as QUICK
from tests.support.tiny_checkpoint import LEGACY, TINY
from tools import check_dataset, evaluate

GOOD = ('a.mp4', 'b.gif', 'pictures', 'd.mov')
ODD = ('codec.mkv', 'cut.mp4', 'empty.webm', 'frameless.avi', 'strip.png', 'text.mp4')
MIDWAY = 'midway'  # a folder whose third picture is broken: found when it is read


def write_clips(folder):
    for number, name in enumerate(GOOD):
        clip = frames(4, number, 64)
        write_folder(folder / name, clip) if name == 'pictures' else write_video(
            folder / name, clip
        )
    unknown = encode(folder / 'codec.mkv', drawn(4, 64, 64), 'mpeg4')
    unknown.write_bytes(unknown.read_bytes().replace(b'V_MPEG4/ISO/ASP', b'V_MPEG9/ISO/ASP'))
    cut_short(write_video(folder / 'cut.mp4', frames(20, 0, 64)))
    (folder / 'empty.webm').touch()
    with av.open(str(folder / 'frameless.avi'), 'w') as clip:
        track = clip.add_stream('mpeg4', rate=25)
        track.height, track.width, track.pix_fmt = 64, 64, 'yuv420p'
        clip.start_encoding()
    cut_short(write_strip(folder / 'strip.png', frames(4, 0, 64)))
    (folder / 'text.mp4').write_text('version https://git-lfs.github.com/spec/v1\n')
    cut_short(write_folder(folder / MIDWAY, frames(4, 0, 64)) / '2.png')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp('odd')
    for part in ('train', 'test'):
        write_clips(root / 'data' / part)
    content = yaml.safe_load((TINY / 'tiny.yaml').read_text())
    content['dataset_params'].update(root_dir=str(root / 'data'), cache_dir=str(root / 'cache'))
    losses = {**content['train_params']['loss_weights'], 'perceptual': [0] * 5}
    steps = {'num_epochs': 1, 'epoch_milestones': [], 'num_repeats': 3}
    content['train_params'] = {**QUICK['train_params'], **steps, 'loss_weights': losses}
    content['animate_params'] = {
        'num_pairs': 100,
        'format': '.mp4',
        'normalization_params': RELATIVE,
    }
    content['visualizer_params'] = {'kp_size': 2, 'draw_border': False}
    content['reconstruction_params'] = {'num_videos': 5, 'format': '.mp4'}
    path = root / 'config.yaml'
    path.write_text(yaml.safe_dump(content))
    assert load_config(path)
    return path


@pytest.fixture
def run(config, monkeypatch, capsys):
    """Runs a door -> its lines on stderr."""

    def run(door, *arguments):
        given = [door.__name__, '--config', str(config), *map(str, arguments)]
        monkeypatch.setattr(sys, 'argv', given)
        door.main()
        return capsys.readouterr().err

    return run


def assert_told_once(text, names):
    """Each in a line of its own."""
    lines = text.splitlines()
    for name in names:
        assert len([line for line in lines if f'/{name}' in line]) == 1, name
    assert not any(f'/{name}' in line for line in lines for name in GOOD)


def test_check_dataset(config, monkeypatch, capsys):
    root = config.parent / 'data'
    monkeypatch.setattr(sys, 'argv', ['check', str(root), '--config', str(config)])
    check_dataset.main()
    out = capsys.readouterr().out
    train, test = out.split('test: 11 clips')
    for part in (train, test):
        assert_told_once(part, (*ODD, MIDWAY))
        assert f'warning: {len(ODD)} clips are broken, left out:' in part
        assert 'warning: 1 clips are damaged midway:' in part
    assert out.endswith('ready for training\n')


def test_training(config, tmp_path):
    out, err = training_runs.run('--config', config, '--save_dir', tmp_path / 'run')
    assert_told_once(err, ODD)
    assert 'warning: 6 of 11 clips' in err and 'finished: 1 epochs' in out


def test_animating(run, tmp_path):
    common = ('--cpu', '--engine', 'eager', '--checkpoint', LEGACY)
    err = run(animate, *common, '--save_dir', tmp_path / 'pairs')
    assert_told_once(err, ODD)
    assert 'warning: 6 of 11 clips' in err and MIDWAY in err
    written = sorted(path.name for path in (tmp_path / 'pairs').glob('*-*.mp4'))
    assert len(written) == len(GOOD) ** 2 + len(GOOD)  # as a source, the broken folder is of use


def test_evaluating(run, tmp_path):
    common = ('--cpu', '--engine', 'eager', '--checkpoint', LEGACY, '--metrics', 'l1')
    err = run(evaluate, *common, '--out', tmp_path / 'figures')
    assert_told_once(err, (*ODD, MIDWAY))
    assert 'warning: 5 clips were wanted, only 4 could be reconstructed' in err
