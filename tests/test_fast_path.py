"""The fast path of training against the plain one, on small networks with every setting.

tests/test_published_configs.py has the configs of the repository.
"""

import contextlib
import copy

import numpy as np
import pytest

from modules.config import check_config, load_config
from modules.parity import sets as parity_sets
from tests.support.marks import needs_onednn
from tests.support.one_step import (
    BATCH,
    assert_agrees,
    double_precision,
    errors,
    gradient_errors,
    plain,
    take_step,
)
from tests.support.places import ROOT
from tests.support.tiny import TINY
from tools import parity

NEED = ('train_params', 'dataset_params')
TRAJECTORIES = sorted((ROOT / 'tests' / 'support' / 'data' / 'golden').glob('trajectory_*.npz'))


def discriminator(**params):
    return {'model_params': {'discriminator_params': params}}


ZERO_ORDER = {
    'model_params': {'common_params': {'estimate_jacobian': False}},
    'train_params': {'loss_weights': {'equivariance_jacobian': 0}},
}
SETTINGS = {
    'sn': discriminator(sn=True, use_kp=False),
    'sn, use_kp': discriminator(sn=True, use_kp=True),
    'no sn': discriminator(sn=False, use_kp=False),
    'no sn, use_kp': discriminator(sn=False, use_kp=True),
    'several scales': discriminator(sn=False, scales=[1, 0.5]),
    'single_jacobian_map': {'model_params': {'kp_detector_params': {'single_jacobian_map': True}}},
    'zero order': ZERO_ORDER,
    'no occlusion map': {'model_params': {'generator_params': {'estimate_occlusion_map': False}}},
    'PyTorch 1.3 and later': {'model_params': {'common_params': {'align_corners': False}}},
    'frozen detector': {'train_params': {'lr_kp_detector': 0}, **discriminator(sn=False)},
    'frozen discriminator': {'train_params': {'lr_discriminator': 0}, **discriminator(sn=False)},
    'accumulation': {'train_params': {'accumulation_steps': 2}, **discriminator(sn=False)},
    'running statistics': {'train_params': {'freeze_batch_norm': 0}, **discriminator(sn=False)},
}


def changed(section, change):
    """A section of a config with some of its keys, at any depth, changed."""
    section = dict(section)
    for key, value in change.items():
        section[key] = changed(section[key], value) if isinstance(value, dict) else value
    return section


@needs_onednn
@pytest.mark.parametrize('setting', SETTINGS)
def test_a_step_with(setting):
    config = changed(copy.deepcopy(TINY), {'train_params': {'batch_size': BATCH}})
    config = check_config(changed(config, SETTINGS[setting]), need=NEED)
    assert_same_step(config, network_bar=1e-4)


@needs_onednn
def test_a_step_with_every_loss():
    """The perceptual one, too, and networks deep enough for float32 to be rough (1e-2)."""
    config = load_config(ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml', need=NEED)
    config['train_params']['batch_size'] = BATCH
    reference = assert_same_step(config, network_bar=0.05)
    assert len(reference.losses) == 6


def assert_same_step(config, network_bar):
    """In float64 all; in float32 the losses, and the gradients as far as they aren't roundings."""
    step = take_step(config, 'float32')
    with plain():
        reference = take_step(config, 'float64')
    with double_precision():
        assert_agrees(take_step(config, 'float64'), reference, 1e-6)
    of_all = errors(step, reference)
    of_losses = {name: of_all[name] for name in reference.losses}
    assert max(of_losses.values()) <= 1e-5, of_losses
    for network, (together, worst) in gradient_errors(step, reference).items():
        assert together <= network_bar, network
        assert worst <= 0.4, network  # an array of roundings: by the plain path 0.22
    return reference


@needs_onednn
@pytest.mark.parametrize('path', TRAJECTORIES, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    ('path_taken', 'dtype', 'bars'),
    [
        # Adam's first step turns every gradient into +-1 times the rate, roundings included: the
        # second loss is off by up to 1e-4 by the plain path as well.
        (contextlib.nullcontext, 'float32', (1e-5, 5e-4)),
        (double_precision, 'float64', (1e-9, 1e-9)),
    ],
)
def test_the_first_steps_of_a_trajectory(path, path_taken, dtype, bars):
    meta, golden = parity.read_golden(path)
    meta['config']['model_params']['common_params']['align_corners'] = meta['align_corners']
    config = check_config(meta['config'])
    with path_taken():
        ours = parity_sets.compute_trajectory(config, meta, golden, dtype, steps=2)['losses']
    wanted = golden['losses'][:2]
    found = np.abs(ours - wanted).max(axis=1) / np.abs(wanted).max()
    assert (found <= bars).all(), found
