"""What demo.py and tools/compare.py animate where options are left out, and what they note."""

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.animation.inputs import (
    BUNDLED,
    add_animation_options,
    add_frames_option,
    choose_config,
    note_squeezed,
    read_config_and_source,
)
from modules.animation.inputs import read_config_and_source as read
from modules.checkpoints.download import CONFIGS, KNOWN_WEIGHTS
from modules.config import load_config
from modules.runtime.errors import UserError
from modules.video import write_picture
from tests.support.places import ROOT


def chosen(*arguments):
    parser = argparse.ArgumentParser()
    add_animation_options(parser)
    add_frames_option(parser)
    options = parser.parse_args(list(map(str, arguments)))
    choose_config(options)
    return options


@pytest.mark.quick
def test_a_known_name_brings_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert CONFIGS.keys() == KNOWN_WEIGHTS.keys()
    for name, size in (('vox', 256), ('vox-512', 512)):
        options = chosen('--checkpoint', name)
        assert options.checkpoint == name
        assert load_config(options.config)['dataset_params']['frame_shape'][:2] == [size, size]
    assert chosen('--checkpoint', 'vox', '--config', 'a.yaml').config == Path('a.yaml')
    (tmp_path / 'vox').touch()  # a file goes before the name
    assert chosen('--checkpoint', 'vox').config.name == 'demo-128.yaml'


def test_the_512_networks_are_those_of_256():
    small, large = (load_config(ROOT / 'config' / f'vox-{size}.yaml') for size in (256, 512))
    assert small['model_params'] == large['model_params']


def test_a_run_brings_its_config(tmp_path):
    (tmp_path / 'config.yaml').touch()
    for checkpoint in (tmp_path, tmp_path / '00000001-00000000-checkpoint.safetensors'):
        assert chosen('--checkpoint', checkpoint).config == tmp_path / 'config.yaml'


def test_weights_without_a_config_are_told_which_is_taken(tmp_path, capsys):
    (tmp_path / 'a.pth.tar').touch()
    assert chosen('--checkpoint', tmp_path / 'a.pth.tar').config.name == 'demo-128.yaml'
    assert (
        capsys.readouterr().err
        == f'note: {tmp_path}/a.pth.tar: without --config, demo-128.yaml is taken\n'
    )
    chosen('--checkpoint', tmp_path / 'a.pth.tar', '--config', 'a.yaml')
    chosen('--checkpoint', 'nowhere')
    assert capsys.readouterr().err == ''


def test_nothing_given_is_what_is_bundled(capsys):
    options = chosen()
    assert options.checkpoint == BUNDLED / 'demo-128.safetensors'
    assert options.config.name == 'demo-128.yaml'
    chosen('--source_image', f'{BUNDLED}/../demo/source.png', '--driving_video', 'other.mp4')
    chosen('--source_image', 'me.jpg', '--checkpoint', 'vox')
    chosen('--source_image', 'me.jpg', '--config', 'own.yaml')
    assert capsys.readouterr().err == ''


def test_the_bundled_networks_know_creatures_alone(tmp_path, capsys):
    """Which is said of a picture that there is, and not of the bundled one."""
    picture = tmp_path / 'me.png'
    write_picture(picture, np.zeros((8, 8, 3), np.uint8))
    read_config_and_source(chosen('--source_image', picture))
    err = capsys.readouterr().err
    assert err.startswith('note: the bundled networks') and 'give --checkpoint vox' in err
    read_config_and_source(chosen())
    assert capsys.readouterr().err == ''
    with pytest.raises(UserError, match='no such file'):
        read_config_and_source(chosen('--source_image', tmp_path / 'you.png'))
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('count', ['0', '-1'])
def test_frames_are_at_least_one(count):
    with pytest.raises(UserError, match=f'--frames {count}: give a number of at least 1'):
        chosen('--frames', count)


@pytest.mark.parametrize(
    'shape, squeezed',
    [((128, 128), 0), ((500, 509), 0), ((500, 511), 1), ((511, 500, 3), 1), ((480, 640), 1)],
)
def test_what_is_squeezed_is_noted(shape, squeezed, capsys):
    note_squeezed(Path('me.jpg'), shape, (128, 128))
    err = capsys.readouterr().err
    assert err.count('note: me.jpg: ') == squeezed
    if squeezed:
        assert f'{shape[1]} x {shape[0]} is squeezed to 128 x 128' in err


def test_the_picture_is_looked_at(tmp_path, capsys):
    Image.fromarray(np.zeros((30, 40, 3), 'uint8')).save(tmp_path / 'a.png')
    read(chosen('--source_image', tmp_path / 'a.png', '--config', ROOT / 'config/demo-64.yaml'))
    assert 'a.png: 40 x 30 is squeezed to 64 x 64' in capsys.readouterr().err
