"""A config so small that training it takes milliseconds."""

import copy

import paddle

from modules.build import build_models
from modules.config import check_config

HOURGLASS = {'block_expansion': 4, 'max_features': 16, 'num_blocks': 2, 'scale_factor': 0.5}
TINY = {
    'dataset_params': {'root_dir': 'data', 'frame_shape': [32, 32, 3]},
    'model_params': {
        'common_params': {'num_kp': 4, 'num_channels': 3, 'estimate_jacobian': True},
        'kp_detector_params': {'temperature': 0.1, **HOURGLASS},
        'generator_params': {
            'block_expansion': 4,
            'max_features': 16,
            'num_down_blocks': 2,
            'num_bottleneck_blocks': 1,
            'estimate_occlusion_map': True,
            'dense_motion_params': HOURGLASS,
        },
        'discriminator_params': {
            'scales': [1],
            'block_expansion': 4,
            'max_features': 16,
            'num_blocks': 2,
            'sn': True,
        },
    },
    'train_params': {
        'num_epochs': 3,
        'epoch_milestones': [2],
        'lr_generator': 2.0e-4,
        'lr_discriminator': 2.0e-4,
        'lr_kp_detector': 2.0e-4,
        'batch_size': 4,
        'scales': [1, 0.5],
        'checkpoint_freq': 1,
        'num_workers': 0,
        'vgg19_weights': 'random',
        'transform_params': {'sigma_affine': 0.05, 'sigma_tps': 0.005, 'points_tps': 5},
        'loss_weights': {
            'generator_gan': 1,
            'discriminator_gan': 1,
            'feature_matching': [10, 10],
            'perceptual': [0, 0, 0, 0, 0],
            'pixel': 10,
            'equivariance_value': 10,
            'equivariance_jacobian': 10,
        },
    },
}


def tiny_config(loss_weights=None, **train_params):
    """The config above, checked, with some of its train_params changed."""
    config = copy.deepcopy(TINY)
    config['train_params'].update(train_params)
    config['train_params']['loss_weights'].update(loss_weights or {})
    return check_config(config, need=('train_params', 'dataset_params'))


def small_config(**changes):
    """Networks alone; `changes` by section of model_params."""
    params = copy.deepcopy(TINY['model_params'])
    for section, values in changes.items():
        params[section].update(values)
    return check_config({'model_params': params})


def small_models():
    """Networks of `small_config`, with random weights that are always the same."""
    paddle.seed(0)
    return build_models(small_config())
