"""What users train: a step with each config of the repository, by the fast path and by the plain.

Frames are 128 x 128, the smallest that the published networks take: 2^5 halvings of a quarter.
"""

import contextlib
import json
from typing import NamedTuple

import paddle
import pytest

from modules.config import check_config, load_config
from modules.ops import onednn
from tests.support.marks import needs_onednn
from tests.support.one_step import (
    BATCH,
    assert_agrees,
    convolution,
    double_precision,
    errors,
    gradient_errors,
    image_gradient,
    network_of,
    plain,
    take_step,
    weight_gradient,
)
from tests.support.places import ROOT
from tools.parity import error

NEED = ('train_params', 'dataset_params')
SIZE = 128
# Those that ask for the same networks and losses stand side by side: they share a reference.
PUBLISHED = (
    *('vox-256', 'taichi-256', 'bair-256', 'nemo-256', 'mgif-256'),
    *('fashion-256', 'vox-adv-256', 'taichi-adv-256'),
)
DEMO = ('demo-64', 'demo-128', 'demo-adv-128')
OWN = ('own-64', 'own-128')  # for clips of users

BAR = 1e-4
KERNEL_BAR = 5e-5  # of one convolution in float32; 2e-5 is reached
DOUBLE_BAR = 1e-6  # of a step in float64; 1e-11 is reached but by biases, whose gradient is 0


class GradientBars(NamedTuple):
    """What float32 may be off float64 in gradients, as a share of their norm."""

    generator: float  # all gradients of the network together
    kp_detector: float
    discriminator: float
    array: float  # a single one


# Batch norm over two samples, ReLUs and warps turn a rounding into some hundredths of a gradient,
# whichever path computes it. Worst of all configs, in the order of the bars: plain path 0.02, 0.02,
# 0.003, 0.05; fast path 0.07, 0.09, 0.004, 0.15, for oneDNN sums up in longer rows. A gradient that
# is missing, doubled or another's is off by 0.5 or more.
BATCH_BARS = GradientBars(0.25, 0.25, 0.02, 0.4)
# With running statistics: plain path 8e-5, 6e-5, 7e-7, 7e-3; fast path 2e-4, 3e-3, 1e-5, 2e-2, as
# oneDNN's roundings turn some signs of ReLUs and of absolute differences.
FIXED_BARS = GradientBars(1e-3, 1e-2, 1e-4, 5e-2)


def config_of(name, **train_params):
    """A file's config with small frames and batches, without VGG19; the pixel loss is on."""
    config = load_config(ROOT / 'config' / f'{name}.yaml', need=NEED)
    config['ckpt_model'] = dict.fromkeys(config['ckpt_model'])
    data, params = config['dataset_params'], config['train_params']
    if name in PUBLISHED:
        data['frame_shape'][:2] = [SIZE, SIZE]
        if data['augmentation_params']['crop_param']:
            data['augmentation_params']['crop_param']['size'] = [SIZE, SIZE]
    params.update(batch_size=BATCH, **train_params)
    params['loss_weights'].update(perceptual=[0] * 5, pixel=10)
    return check_config(config, need=NEED)


def what_counts(config):
    """All of a config that its first step depends on, as text."""
    params, model = dict(config['train_params']), dict(config['model_params'])
    for name in ('num_epochs', 'num_repeats', 'epoch_milestones', 'checkpoint_freq'):
        del params[name]
    if not params['loss_weights']['generator_gan']:
        del model['discriminator_params']
    return json.dumps([config['dataset_params']['frame_shape'], model, params])


_steps = {}  # in float64, of the last config


def steps_in_double(config):
    """The step by the plain path and by the fast one, both in float64."""
    key = what_counts(config)
    if key not in _steps:
        _steps.clear()
        with plain():
            reference = take_step(config, 'float64')
        with double_precision():
            _steps[key] = reference, take_step(config, 'float64')
    return _steps[key]


@contextlib.contextmanager
def compared_kernels(shapes):
    """Compares every convolution of a new shape, and its gradients, with Paddle's in float64.

    Args:
        shapes: the set of what has been compared.
    """

    def compared(name, reference):
        own = getattr(onednn, name)

        def run(*arguments, **options):
            result = own(*arguments, **options)
            key = (
                name,
                *(
                    tuple(value.shape) if isinstance(value, paddle.Tensor) else str(value)
                    for value in arguments
                ),
            )
            if key not in shapes:
                shapes.add(key)
                exact = [
                    value.astype('float64') if isinstance(value, paddle.Tensor) else value
                    for value in arguments
                ]
                wanted = reference(*exact, **options)
                assert error(result.numpy(), wanted.numpy(), 0) <= KERNEL_BAR, key
            return result

        return run

    with pytest.MonkeyPatch.context() as patch:
        for name, reference in (
            ('_convolution', convolution),
            ('_gradient_of_image', image_gradient),
            ('_weight_gradient', weight_gradient),
        ):
            patch.setattr(onednn, name, compared(name, reference))
        yield


_shapes = set()


def check_step(config, bars):
    """A step in float32 and one in float64 by the fast path, against float64 by the plain path."""
    with compared_kernels(_shapes):
        step = take_step(config, 'float32')
    reference, in_double = steps_in_double(config)
    assert_agrees(in_double, reference, DOUBLE_BAR)
    of_all = errors(step, reference)
    of_losses = {name: of_all[name] for name in reference.losses}
    assert max(of_losses.values()) <= BAR, of_losses
    for network, (together, worst) in gradient_errors(step, reference).items():
        assert together <= getattr(bars, network), network
        assert worst <= bars.array, network
    return reference


def test_all_configs_are_here():
    names = {path.stem for path in (ROOT / 'config').glob('*.yaml')}
    assert names == {*PUBLISHED, *DEMO, *OWN, 'vox-512'}
    same, other = (load_config(ROOT / 'config' / f'{name}.yaml') for name in ('vox-256', 'vox-512'))
    assert same['model_params'] == other['model_params']  # the same networks on larger frames


@needs_onednn
@pytest.mark.parametrize(
    'name',
    [
        *(pytest.param(name, marks=pytest.mark.slow) for name in PUBLISHED),
        *DEMO,
        'own-64',
        pytest.param('own-128', marks=pytest.mark.slow),
    ],
)
def test_a_step_of_training(name):
    """In float64 to 1e-6, in float32 the losses to 1e-4 and the gradients as float32 allows."""
    config = config_of(name)
    reference = check_step(config, BATCH_BARS)
    params = config['train_params']
    adversarial = params['loss_weights']['generator_gan'] > 0
    assert set(reference.losses) == {
        *('pixel', 'equivariance_value', 'equivariance_jacobian'),
        *(('gen_gan', 'feature_matching', 'disc_gan') if adversarial else ()),
    }
    trained = {'generator', 'kp_detector', *(['discriminator'] if adversarial else [])}
    trained = {network for network in trained if params[f'lr_{network}']}
    assert set(map(network_of, reference.gradients)) == trained


@needs_onednn
@pytest.mark.slow
def test_a_step_with_fixed_statistics():
    """Batch norm over two samples is what magnifies roundings; without, float32 shows gradients."""
    check_step(config_of('vox-adv-256', freeze_batch_norm=0), FIXED_BARS)
