"""The shipped configs hold the published values, and the defaults are the constructors'."""

import copy
import re

import pytest
import yaml

from modules.config import check_config, load_config
from modules.config.schema import SCHEMA, Field
from tests.support.configs import (
    AUGMENTATION,
    CONFIGS,
    DISCRIMINATOR,
    JITTER,
    PUBLISHED,
    SECTIONS,
    put,
    valid,
)

TAICHI = {
    'dataset_params.root_dir': 'data/taichi-png',
    'dataset_params.id_sampling': True,
    'dataset_params.pairs_list': 'data/taichi256.csv',
    f'{AUGMENTATION}.jitter_param': JITTER,
    'train_params.num_repeats': 150,
}
VOX = {
    'dataset_params.root_dir': 'data/vox-png',
    'dataset_params.id_sampling': True,
    'dataset_params.pairs_list': 'data/vox256.csv',
    f'{AUGMENTATION}.jitter_param': JITTER,
    'train_params.num_repeats': 75,
}
ADVERSARIAL = {
    f'{DISCRIMINATOR}.use_kp': True,
    'train_params.num_epochs': 150,
    'train_params.epoch_milestones': [],
}
DIFFERENCES = {
    'bair': {
        'dataset_params.root_dir': 'data/bair',
        f'{AUGMENTATION}.jitter_param': JITTER,
        f'{DISCRIMINATOR}.sn': True,
        'train_params.num_epochs': 20,
        'train_params.num_repeats': 1,
        'train_params.epoch_milestones': [12, 18],
        'train_params.checkpoint_freq': 10,
    },
    'fashion': {
        'dataset_params.root_dir': 'data/fashion-png',
        f'{AUGMENTATION}.jitter_param': {'hue': 0.1},
        'train_params.num_repeats': 50,
        'train_params.batch_size': 27,
    },
    'mgif': {
        'dataset_params.root_dir': 'data/moving-gif',
        f'{AUGMENTATION}.crop_param': {'size': [256, 256]},
        f'{AUGMENTATION}.resize_param': {'ratio': [0.9, 1.1]},
        f'{AUGMENTATION}.jitter_param': {'hue': 0.5},
        'model_params.kp_detector_params.single_jacobian_map': True,
        f'{DISCRIMINATOR}.sn': True,
        'train_params.num_repeats': 25,
        'train_params.checkpoint_freq': 100,
    },
    'nemo': {f'{DISCRIMINATOR}.sn': True},
    'taichi': {
        **TAICHI,
        'train_params.batch_size': 30,
        'train_params.loss_weights.generator_gan': 0,
    },
    'taichi-adv': {
        **TAICHI,
        **ADVERSARIAL,
        'train_params.batch_size': 27,
        'train_params.lr_kp_detector': 0,
    },
    'vox': {
        **VOX,
        f'{DISCRIMINATOR}.sn': True,
        'train_params.batch_size': 40,
        'train_params.loss_weights.generator_gan': 0,
    },
    'vox-adv': {**VOX, **ADVERSARIAL},
}


@pytest.mark.parametrize('name', DIFFERENCES)
def test_published_values(name):
    expected = copy.deepcopy(PUBLISHED)
    expected['ckpt_model'] = {'generator': None, 'kp': None, 'discriminator': None}
    expected['model_params']['common_params']['align_corners'] = True
    for path, value in DIFFERENCES[name].items():
        put(expected, path, value)
    path = CONFIGS / f'{name}-256.yaml'
    assert yaml.safe_load(path.read_text(encoding='utf-8')) == expected


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.yaml')), ids=lambda path: path.stem)
def test_shipped_configs_are_complete(path):
    config = load_config(path, need=SECTIONS)
    assert tuple(config) == SECTIONS
    assert check_config(config, need=SECTIONS) == config  # what was filled in is valid itself


def test_one_config_names_every_key():
    """mgif-256.yaml is the manual: a key of the schema that it does not mention has no other."""
    text = (CONFIGS / 'mgif-256.yaml').read_text(encoding='utf-8')

    def keys(section):
        for key, entry in section.items():
            yield key
            if not isinstance(entry, Field):
                yield from keys(entry)

    assert [key for key in keys(SCHEMA) if not re.search(rf'\b{key}\b', text)] == []


def test_defaults_are_the_constructors():
    config = valid()
    for path in (
        'ckpt_model',
        'dataset_params.augmentation_params.jitter_param',
        'dataset_params.augmentation_params.resize_param.ratio',
        'dataset_params.augmentation_params.flip_param.time_flip',
        'dataset_params.frame_shape',
        'dataset_params.id_sampling',
        'model_params.common_params.align_corners',
        'model_params.common_params.estimate_jacobian',
        'model_params.kp_detector_params.scale_factor',
        'model_params.kp_detector_params.single_jacobian_map',
        'model_params.generator_params.estimate_occlusion_map',
        'model_params.discriminator_params.block_expansion',
        'model_params.discriminator_params.max_features',
        'model_params.discriminator_params.num_blocks',
        'model_params.discriminator_params.sn',
        'train_params.num_repeats',
        'train_params.transform_params.sigma_tps',
        'train_params.transform_params.points_tps',
        'animate_params.normalization_params.use_relative_movement',
        'visualizer_params',
    ):
        put(config, path, ...)
    config['train_params']['loss_weights']['equivariance_jacobian'] = 0
    before = copy.deepcopy(config)
    resolved = check_config(config, need=SECTIONS)
    assert config == before
    assert resolved['ckpt_model'] == {'generator': None, 'kp': None, 'discriminator': None}
    assert resolved['dataset_params'] == {
        'root_dir': 'data/moving-gif',
        'frame_shape': [256, 256, 3],
        'id_sampling': False,
        'pairs_list': None,
        'resize': 'exact',
        'cache_dir': None,
        'cache_gb': 100,
        'augmentation_params': {
            'flip_param': {'horizontal_flip': True, 'time_flip': False},
            'rotation_param': None,
            'resize_param': {'ratio': [0.75, 4 / 3], 'interpolation': 'nearest'},
            'crop_param': {'size': [256, 256]},
            'jitter_param': None,
        },
    }
    model = resolved['model_params']
    assert model['common_params']['align_corners'] is True
    assert model['common_params']['estimate_jacobian'] is False
    assert model['kp_detector_params']['scale_factor'] == 1
    assert model['kp_detector_params']['single_jacobian_map'] is False
    assert model['kp_detector_params']['pad'] == 0
    assert model['generator_params']['estimate_occlusion_map'] is False
    assert model['generator_params']['dense_motion_params']['kp_variance'] == 0.01
    assert model['discriminator_params'] == {
        'scales': [1],
        'block_expansion': 64,
        'max_features': 512,
        'num_blocks': 4,
        'sn': False,
        'use_kp': False,
        'kp_variance': 0.01,
    }
    assert resolved['train_params']['num_repeats'] == 1
    assert resolved['train_params']['transform_params'] == {
        'sigma_affine': 0.05,
        'sigma_tps': None,
        'points_tps': None,
    }
    normalization = resolved['animate_params']['normalization_params']
    assert normalization['use_relative_movement'] is False
    assert resolved['visualizer_params'] == {
        'kp_size': 5,
        'draw_border': False,
        'colormap': 'gist_rainbow',
    }
