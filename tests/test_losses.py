"""The losses' weights and VGG19's weights."""

import numpy as np
import paddle
import pytest

from modules.build import build_models
from modules.checkpoints import frozen
from modules.checkpoints.frozen import build_vgg
from modules.model import TrainingLosses
from modules.runtime.errors import UserError
from modules.transform import Transform
from modules.vgg import Vgg19
from tests.support.tiny import tiny_config

NOTHING = {
    'generator_gan': 0,
    'discriminator_gan': 0,
    'feature_matching': [0, 0],
    'perceptual': [0, 0, 0, 0, 0],
    'pixel': 0,
    'equivariance_value': 0,
    'equivariance_jacobian': 0,
}


@pytest.fixture(scope='module')
def models():
    paddle.seed(0)
    return build_models(tiny_config()).eval()


@pytest.fixture(scope='module')
def frames():
    arrays = np.random.RandomState(0).rand(2, 2, 3, 32, 32).astype('float32')
    return paddle.to_tensor(arrays[0]), paddle.to_tensor(arrays[1])


@pytest.fixture(scope='module')
def seeded_vgg():
    return build_vgg('random')


def step(models, frames, weights, features=None):
    """(the losses object, the outcome of its generator step)."""
    losses = TrainingLosses(tiny_config({**NOTHING, **weights}), features)
    transform = losses.random_transform(np.random.default_rng(0), 2)
    with paddle.no_grad():
        return losses, losses.generator_step(models, *frames, transform)


def test_pixel_loss_is_the_weighted_difference_over_the_pyramid(models, frames):
    losses, found = step(models, frames, {'pixel': 3})
    assert list(found.losses) == ['pixel']
    expected = 0
    for scale in (1, 0.5):
        ours, theirs = (
            losses.pyramid(image, [scale])[scale].numpy().astype('float64')
            for image in (found.generated.prediction, frames[1])
        )
        assert ours.shape[-1] == 32 * scale
        expected += 3 * np.abs(ours - theirs).mean()
    assert found.losses['pixel'].item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    'name, weight',
    [
        ('generator_gan', 1),
        ('feature_matching', [10, 5]),
        ('perceptual', [1, 2, 0, 0, 0]),
        ('pixel', 10),
        ('equivariance_value', 10),
        ('equivariance_jacobian', 10),
    ],
)
def test_losses_grow_with_their_weights(models, frames, seeded_vgg, name, weight):
    # Feature matching compares the discriminator's maps, which the adversarial loss asks for.
    base = {'generator_gan': 1} if name == 'feature_matching' else {}
    loss = 'gen_gan' if name == 'generator_gan' else name
    features = seeded_vgg if name == 'perceptual' else None
    _, once = step(models, frames, {**base, name: weight}, features)
    thrice = (np.array(weight) * 3).tolist()
    _, more = step(models, frames, {**base, name: thrice}, features)
    assert once.losses[loss].item() > 0
    assert more.losses[loss].item() == pytest.approx(3 * once.losses[loss].item(), rel=1e-4)


def test_what_weighs_nothing_is_neither_listed_nor_computed(models, frames, monkeypatch):
    """The discriminator, VGG19 and the transform aren't even there to be asked."""
    losses, found = step(models._replace(discriminator=None), frames, {'pixel': 1})
    assert list(found.losses) == ['pixel']
    assert found.transformed_frame is None and found.transformed_kp is None
    assert losses.random_transform(np.random.default_rng(0), 2) is None
    assert losses.discriminator_step(None, None, None, None) == {}

    def fail(*arguments):
        raise AssertionError('computed')

    with monkeypatch.context() as patch:
        patch.setattr(Transform, 'jacobian', fail)
        _, found = step(models, frames, {'equivariance_value': 1})
        assert list(found.losses) == ['equivariance_value']
    with monkeypatch.context() as patch:
        patch.setattr(Transform, 'warp_coordinates', fail)  # the frame is still to be warped
        patch.setattr(Transform, 'transform_frame', lambda self, frame, align_corners: frame)
        _, found = step(models, frames, {'equivariance_jacobian': 1})
        assert list(found.losses) == ['equivariance_jacobian']
    _, found = step(models, frames, {'generator_gan': 1})
    assert list(found.losses) == ['gen_gan']


def test_features_that_weigh_nothing_are_not_computed(models, frames, seeded_vgg, monkeypatch):
    """VGG19 ends at the last level that counts."""
    asked = []
    forward = seeded_vgg.forward
    monkeypatch.setattr(seeded_vgg, 'forward', lambda x, n: asked.append(n) or forward(x, n))
    step(models, frames, {'perceptual': [0, 1, 0, 0, 0]}, seeded_vgg)
    assert asked == [2] * 8  # both samples of both images at both scales


# ---- VGG19's weights ----


def weights_file(path, change=None):
    """An .npz file of VGG19's weights under torchvision's names, drawn at random."""
    rng = np.random.RandomState(0)
    state = {
        name: rng.randn(*parameter.shape).astype('float32') * 0.01
        for name, parameter in Vgg19().named_parameters()
    }
    state['classifier.0.weight'] = np.zeros((2, 2), 'float32')  # what isn't needed is passed over
    if change is not None:
        change(state)
    np.savez(path, **state)
    return state


def test_vgg_takes_its_weights_from_a_file(tmp_path, monkeypatch):
    path = tmp_path / 'vgg.npz'
    state = weights_file(path)
    monkeypatch.setattr(frozen, 'fetch', lambda url: path if url == frozen.IMAGENET_URL else None)
    for weights in (str(path), 'imagenet'):
        network = build_vgg(weights)
        for name, parameter in network.named_parameters():
            np.testing.assert_array_equal(parameter, state[name], err_msg=name)
            assert parameter.stop_gradient
        assert not network.training


def test_a_file_that_is_no_vgg_is_refused(tmp_path):
    name = 'features.28.weight'
    changes = {
        'missing': (lambda state: state.pop(name), 'is missing'),
        'shape': (lambda state: state.update({name: np.zeros((512, 3, 3, 3))}), 'has shape'),
    }
    for kind, (change, reason) in changes.items():
        path = tmp_path / f'{kind}.npz'
        weights_file(path, change)
        with pytest.raises(UserError, match=f'{name} {reason}.*wanted') as error:
            build_vgg(str(path))
        assert str(error.value).startswith(f'{path}: no VGG19 weights: ')
    with pytest.raises(UserError, match='no such file'):
        build_vgg(str(tmp_path / 'nowhere'))


def test_where_vgg_can_not_be_had_the_mend_is_named(monkeypatch):
    def fetch(url):
        raise UserError(f'{url}: the download failed')

    monkeypatch.setattr(frozen, 'fetch', fetch)
    with pytest.raises(UserError, match='failed; vgg19_weights: random, with a pixel loss'):
        build_vgg('imagenet')


def test_random_vgg_is_the_same_everywhere(seeded_vgg):
    again = build_vgg('random')
    for one, other in zip(seeded_vgg.parameters(), again.parameters()):
        np.testing.assert_array_equal(one, other)
    # He-scaled: features keep their size with depth.
    with paddle.no_grad():
        features = again(paddle.uniform([1, 3, 32, 32], min=0.0, max=1.0, seed=1))
    sizes = [float(feature.numpy().std()) for feature in features]
    assert len(sizes) == 5 and 0.3 < sizes[-1] / sizes[0] < 3
    assert [feature.shape[1] for feature in features] == [64, 128, 256, 512, 512]
