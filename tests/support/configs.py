"""The configs that are shipped, the published values, and small changes of configs."""

import yaml

from modules.config.schema import SCHEMA
from tests.support.places import ROOT

# What the eight published configs hold, written down from the official ones (nemo's values) ...
JITTER = {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'hue': 0.1}
PUBLISHED = {
    'dataset_params': {
        'root_dir': 'data/nemo-png',
        'frame_shape': [256, 256, 3],
        'id_sampling': False,
        'augmentation_params': {'flip_param': {'horizontal_flip': True, 'time_flip': True}},
    },
    'model_params': {
        'common_params': {'num_kp': 10, 'num_channels': 3, 'estimate_jacobian': True},
        'kp_detector_params': {
            'temperature': 0.1,
            'block_expansion': 32,
            'max_features': 1024,
            'scale_factor': 0.25,
            'num_blocks': 5,
        },
        'generator_params': {
            'block_expansion': 64,
            'max_features': 512,
            'num_down_blocks': 2,
            'num_bottleneck_blocks': 6,
            'estimate_occlusion_map': True,
            'dense_motion_params': {
                'block_expansion': 64,
                'max_features': 1024,
                'num_blocks': 5,
                'scale_factor': 0.25,
            },
        },
        'discriminator_params': {
            'scales': [1],
            'block_expansion': 32,
            'max_features': 512,
            'num_blocks': 4,
        },
    },
    'train_params': {
        'num_epochs': 100,
        'num_repeats': 8,
        'epoch_milestones': [60, 90],
        'lr_generator': 2e-4,
        'lr_discriminator': 2e-4,
        'lr_kp_detector': 2e-4,
        'batch_size': 36,
        'scales': [1, 0.5, 0.25, 0.125],
        'checkpoint_freq': 50,
        'transform_params': {'sigma_affine': 0.05, 'sigma_tps': 0.005, 'points_tps': 5},
        'loss_weights': {
            'generator_gan': 1,
            'discriminator_gan': 1,
            'feature_matching': [10, 10, 10, 10],
            'perceptual': [10, 10, 10, 10, 10],
            'equivariance_value': 10,
            'equivariance_jacobian': 10,
        },
    },
    'reconstruction_params': {'num_videos': 1000, 'format': '.mp4'},
    'animate_params': {
        'num_pairs': 50,
        'format': '.mp4',
        'normalization_params': {
            'adapt_movement_scale': False,
            'use_relative_movement': True,
            'use_relative_jacobian': True,
        },
    },
    'visualizer_params': {'kp_size': 5, 'draw_border': True, 'colormap': 'gist_rainbow'},
}
# ... and where each differs from that.
AUGMENTATION = 'dataset_params.augmentation_params'
DISCRIMINATOR = 'model_params.discriminator_params'
CONFIGS = ROOT / 'config'
FACES = ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml'
SECTIONS = tuple(SCHEMA)


def put(config, path, value):
    """Sets (or with `...` removes) the value at a dotted path."""
    *sections, key = path.split('.')
    for section in sections:
        config = config[section]
    if value is ...:
        del config[key]
    else:
        config[key] = value


def valid():
    return yaml.safe_load((CONFIGS / 'mgif-256.yaml').read_text(encoding='utf-8'))
