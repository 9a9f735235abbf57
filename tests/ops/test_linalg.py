"""The inverse of the local affine maps, and what a singular one leads to."""

import numpy as np
import paddle
import pytest

from modules.animation.animator import explained_animation
from modules.animation.normalization import Normalization
from modules.build import build_models
from modules.inference.choice import build_engine
from modules.model import TrainingLosses
from modules.ops.linalg import inverse_2x2
from modules.training.trainer import Trainer
from modules.util import Keypoints
from tests.support.marks import needs_onednn
from tests.support.tiny import tiny_config

SINGULAR = np.array([[[1.0, 2], [2, 4]], [[0, 0], [0, 0]], [[3, 0], [0, 0]]])


def matrices(dtype):
    random = np.random.RandomState(0).randn(60, 2, 2) + 2 * np.eye(2)
    return paddle.to_tensor(random[np.linalg.cond(random) < 100].reshape(-1, 4, 2, 2), dtype)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_it_is_the_inverse(dtype):
    given = matrices(dtype)
    found = inverse_2x2(given)
    assert found.dtype == given.dtype and found.shape == given.shape
    expected = np.linalg.inv(given.numpy().astype('float64'))
    relative = np.abs(found.numpy() - expected).max((2, 3)) / np.abs(expected).max((2, 3))
    # In float32 nothing but the last rounding is lost, however close to singular.
    assert relative.max() < {'float32': 1e-7, 'float64': 1e-13}[dtype]


def test_its_gradient_is_that_of_paddles_inverse():
    given, weights = matrices('float64'), np.random.RandomState(1).randn(4, 2, 2)
    given.stop_gradient = False
    gradients = []
    for inverse in (inverse_2x2, paddle.inverse):
        (inverse(given) * paddle.to_tensor(weights)).sum().backward()
        gradients.append(given.grad.numpy())
        given.clear_gradient()
    np.testing.assert_allclose(*gradients, rtol=1e-10)


@pytest.mark.parametrize('dtype', ['float32', 'float64'])
def test_a_singular_matrix_gets_its_pseudo_inverse(dtype):
    regular = [[2.0, 0.0], [1.0, 4.0]]
    given = paddle.to_tensor(np.concatenate([SINGULAR, [regular]]), dtype, stop_gradient=False)
    found = inverse_2x2(given)
    found.sum().backward()
    np.testing.assert_allclose(found.numpy()[:3], np.linalg.pinv(SINGULAR), atol=1e-7)
    np.testing.assert_allclose(found.numpy()[3], np.linalg.inv(regular), atol=1e-7)
    assert np.isfinite(given.grad.numpy()).all()


def test_what_is_almost_singular_stays_finite_and_what_is_not_finite_does_not():
    almost = [[[1, 1], [1, np.nextafter(np.float32(1), 2)]], [[0.1, 0.3], [0.2, 0.6]]]
    assert np.isfinite(inverse_2x2(paddle.to_tensor(almost, 'float32')).numpy()).all()
    nan = inverse_2x2(paddle.to_tensor([[np.nan, 1.0], [1.0, 1.0]]))
    assert np.isnan(nan.numpy()).any()


class Collapsing(paddle.nn.Layer):
    """A keypoint detector whose Jacobians are singular for images that begin with white."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, image):
        kp = self.detector(image)
        white = (image[:, :1, :1, :1] == 1).astype('float32')
        return Keypoints(kp.value, kp.jacobian * (1 - white))


@pytest.mark.parametrize('name', ['eager', pytest.param('onednn', marks=needs_onednn)])
def test_an_animation_goes_on_past_a_frame_with_singular_jacobians(name):
    config = tiny_config()
    paddle.seed(0)
    models = build_models(config)
    engine = build_engine(models, config['model_params'], (32, 32), name)
    detect = engine.detect
    engine.detect = lambda image: Collapsing(detect)(image)
    clip = np.random.RandomState(0).rand(4, 32, 32, 3).astype('float32') * 0.9
    clip[2, 0, 0] = 1
    steps = list(explained_animation(engine, clip[0], clip, Normalization(True, True), None, False))
    assert not steps[2].kp_driving.jacobian.any() and steps[3].kp_driving.jacobian.any()
    frames = np.stack([step.frame for step in steps])
    assert np.isfinite(frames).all() and frames.min() >= 0 and frames.max() <= 1


def test_a_training_step_with_singular_jacobians_goes_on():
    config = tiny_config({'generator_gan': 0})
    paddle.seed(0)
    models = build_models(config)
    trainer = Trainer(config, models, TrainingLosses(config))
    detect = models.kp_detector.forward
    models.kp_detector.forward = lambda image: Collapsing(detect)(image)
    source, driving = paddle.to_tensor(np.random.RandomState(0).rand(2, 4, 3, 32, 32), 'float32')
    driving[1, :, 0, 0] = 1
    for _ in range(2):
        losses = trainer.step(source, driving).losses
        assert all(np.isfinite(loss.item()) for loss in losses.values())
    assert trainer.has_finite_weights()


def test_no_rounding_of_the_masks_moves_the_background():
    """The masks sum to 1, in float32 but almost; a part that all others leave alone stays."""
    network = build_models(tiny_config()).generator.dense_motion_network.eval()
    image = paddle.rand([1, 3, 16, 16])
    kp = Keypoints(paddle.zeros([1, 4, 2]), paddle.eye(2).expand([1, 4, 2, 2]))
    still = network(image, kp, kp)
    identity = network.sparse_motions([16, 16], kp, kp)[:, 0]
    assert (still.mask.sum(axis=1) != 1).any()  # or nothing is tried here
    np.testing.assert_array_equal(still.deformation, identity)
