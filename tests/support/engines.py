"""Configs, frames and caches for tests of engines."""

import copy

import numpy as np

from modules.animation.animator import animate
from modules.animation.normalization import Normalization
from modules.config import check_config
from tests.support.tiny import TINY

RELATIVE = Normalization(True, True)


def config_of(common=None, detector=None, motion=None, **generator):
    config = {key: copy.deepcopy(TINY[key]) for key in ('dataset_params', 'model_params')}
    params = config['model_params']
    params['common_params'].update(common or {})
    params['kp_detector_params'].update(detector or {})
    params['generator_params'].update(generator)
    params['generator_params']['dense_motion_params'].update(motion or {})
    return check_config(config, need=('dataset_params',))


CONFIGS = {
    'tiny': (config_of(), (32, 32)),
    'winograd': (config_of(block_expansion=16, max_features=64), (32, 48)),
    'winograd, one halving': (
        config_of(block_expansion=32, max_features=64, num_down_blocks=1), (32, 32)
    ),
    'winograd, none': (config_of(block_expansion=64, num_down_blocks=0, max_features=64), (32, 32)),
    'no whole tiles': (config_of(block_expansion=16, max_features=64), (40, 24)),
    'nothing halved, odd': (config_of(num_down_blocks=0), (31, 39)),
    'three halvings': (config_of(num_down_blocks=3), (32, 48)),
    'no bottleneck': (config_of(num_bottleneck_blocks=0), (32, 32)),
    'no occlusion, corners of pixels': (
        config_of({'align_corners': False}, estimate_occlusion_map=False), (32, 32)
    ),
    'zero order': (config_of({'estimate_jacobian': False}), (32, 32)),
    'full scale, one Jacobian': (
        config_of(
            None,
            {'scale_factor': 1, 'single_jacobian_map': True, 'pad': 3},
            {'scale_factor': 1},
        ),
        (32, 32),
    ),
}  # fmt: skip


def clip(size, count=3, seed=0):
    """Smooth pictures, as keypoints of noise would be nowhere."""
    random = np.random.RandomState(seed)
    coarse = random.rand(count, 5, 5, 3)
    rows, columns = (np.linspace(0, 3.99, n) for n in size)
    i, j = (x.astype(int) for x in (rows, columns))
    a, b = (rows - i)[:, None, None], (columns - j)[:, None]
    top = coarse[:, i][:, :, j] * (1 - b) + coarse[:, i][:, :, j + 1] * b
    bottom = coarse[:, i + 1][:, :, j] * (1 - b) + coarse[:, i + 1][:, :, j + 1] * b
    return (top * (1 - a) + bottom * a).astype(np.float32)


def frames_of(engine, frames, normalization=RELATIVE):
    return np.stack(list(animate(engine, frames[0], frames, normalization)))


def entries(cache):
    return sorted(path.name for path in cache.iterdir())
