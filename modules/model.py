"""The losses of the generator step and of the discriminator step (paper Sec. 3.3)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn

from modules import test_mode
from modules.build import Models
from modules.discriminator import Judgement, scale_name
from modules.generator import Generated
from modules.ops.linalg import inverse_2x2
from modules.ops.recomputing import mean_over_samples
from modules.test_mode import tap
from modules.transform import Transform
from modules.util import AntiAliasInterpolation2d, Keypoints
from modules.vgg import Vgg19

Losses = dict[str, Tensor]
Pyramid = dict[float, Tensor]


class GeneratorStep(NamedTuple):
    """The outcome of one generator loss."""

    losses: Losses  # weighted scalars by name, in the order they are summed
    generated: Generated
    kp_source: Keypoints
    kp_driving: Keypoints
    transformed_frame: Tensor | None  # (B, C, H, W); None without equivariance losses
    transformed_kp: Keypoints | None

    def detach(self) -> GeneratorStep:
        """The values alone, without what backward needs."""
        return _detach(self)


def _detach(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, dict):
        return {name: _detach(part) for name, part in value.items()}
    return value if value is None else type(value)(*map(_detach, value))


class ImagePyramid(nn.Layer):
    """The image at several scales: (B, C, H, W) -> {scale: (B, C, H * scale, W * scale)}."""

    def __init__(self, scales: Sequence[float], num_channels: int):
        super().__init__()
        self.downs = nn.LayerDict(
            {scale_name(scale): AntiAliasInterpolation2d(num_channels, scale) for scale in scales}
        )

    def forward(self, image: Tensor, scales: Sequence[float]) -> Pyramid:
        return {scale: self.downs[scale_name(scale)](image) for scale in scales}


@contextlib.contextmanager
def frozen(network: nn.Layer) -> Iterator[None]:
    """Inside the block the network passes gradients on but collects none for its weights."""
    trained = [p for p in network.parameters() if not p.stop_gradient]
    for parameter in trained:
        parameter.stop_gradient = True
    try:
        yield
    finally:
        for parameter in trained:
            parameter.stop_gradient = False


def total_loss(losses: Losses) -> Tensor:
    """The sum of the losses; under TEST_MODE each is printed here."""
    if test_mode.ENABLED:
        for name, value in losses.items():
            print(f'{name} {value.item():.17g}')
    return sum(losses.values())


def tap_keypoints(name: str, kp: Keypoints) -> Keypoints:
    """`test_mode.tap` for both parts of keypoints."""
    value = tap(f'{name}.value', kp.value)
    jacobian = None if kp.jacobian is None else tap(f'{name}.jacobian', kp.jacobian)
    return Keypoints(value, jacobian)


class TrainingLosses(nn.Layer):
    """Computes the losses of both steps. A part whose weight is 0 is neither computed nor listed.

    Args:
        config: a checked config with `model_params` and `train_params`.
        vgg: needed where a perceptual weight is not 0.
    """

    def __init__(self, config: Mapping[str, Any], vgg: Vgg19 | None = None):
        super().__init__()
        common = config['model_params']['common_params']
        self.align_corners = common['align_corners']
        self.weights = config['train_params']['loss_weights']
        self.transform_params = config['train_params']['transform_params']
        self.scales = list(config['train_params']['scales'])
        self.disc_scales = list(config['model_params']['discriminator_params']['scales'])
        all_scales = dict.fromkeys(self.scales + self.disc_scales)
        self.pyramid = ImagePyramid(list(all_scales), common['num_channels'])
        self.vgg = vgg

    @property
    def adversarial(self) -> bool:
        return self.weights['generator_gan'] != 0

    @property
    def equivariant(self) -> bool:
        return bool(self.weights['equivariance_value'] or self.weights['equivariance_jacobian'])

    def random_transform(self, rng: np.random.Generator, batch_size: int) -> Transform | None:
        """The transforms of one batch; None where no loss needs them."""
        if not self.equivariant:
            return None
        return Transform.random(rng, batch_size, **self.transform_params)

    def generator_step(
        self, models: Models, source: Tensor, driving: Tensor, transform: Transform | None
    ) -> GeneratorStep:
        """Losses for the generator and the keypoint detector; call backward on their sum.

        Args:
            source, driving: (B, C, H, W) in [0, 1], two frames of one clip.
            transform: from `random_transform`.
        """
        kp_source = tap_keypoints('kp_source', models.kp_detector(source))
        kp_driving = tap_keypoints('kp_driving', models.kp_detector(driving))
        generated = models.generator(source, kp_driving=kp_driving, kp_source=kp_source)
        generated = generated._replace(prediction=tap('prediction', generated.prediction))

        losses: Losses = {}
        real = self.pyramid(driving, self.scales)
        fake = self.pyramid(generated.prediction, self.scales)
        if any(self.weights['perceptual']):
            losses['perceptual'] = self.perceptual(fake, real)
        if self.weights['pixel']:
            differences = [(fake[scale] - real[scale]).abs().mean() for scale in self.scales]
            losses['pixel'] = self.weights['pixel'] * sum(differences)
        if self.adversarial:
            real.update(self._missing_scales(driving, real))
            fake.update(self._missing_scales(generated.prediction, fake))
            losses.update(self.adversarial_losses(models, fake, real, kp_driving.detach()))
        transformed_frame = transformed_kp = None
        if transform is not None:
            transformed_frame = transform.transform_frame(driving, self.align_corners)
            transformed_kp = models.kp_detector(transformed_frame)
            transformed_kp = tap_keypoints('transformed_kp', transformed_kp)
            losses.update(self.equivariance_losses(kp_driving, transformed_kp, transform))
        losses = {name: tap(f'loss.{name}', value) for name, value in losses.items()}
        return GeneratorStep(
            losses, generated, kp_source, kp_driving, transformed_frame, transformed_kp
        )

    def discriminator_step(
        self, models: Models, driving: Tensor, prediction: Tensor, kp_driving: Keypoints
    ) -> Losses:
        """Losses for the discriminator (LSGAN); nothing flows into the other networks."""
        if not self.adversarial:
            return {}
        kp = kp_driving.detach()
        fake = self.pyramid(prediction.detach(), self.disc_scales)
        fake = models.discriminator(fake, kp)
        real = models.discriminator(self.pyramid(driving, self.disc_scales), kp)
        total = 0
        for scale in self.disc_scales:
            error = (1 - real[scale].prediction_map) ** 2 + fake[scale].prediction_map ** 2
            total += self.weights['discriminator_gan'] * error.mean()
        return {'disc_gan': tap('loss.disc_gan', total)}

    def perceptual(self, fake: Pyramid, real: Pyramid) -> Tensor:
        """Mean absolute differences of VGG19 features over the pyramid."""
        vgg = self.vgg
        assert vgg is not None, 'perceptual weights need a VGG19'
        weights = self.weights['perceptual']
        levels = max(i + 1 for i, weight in enumerate(weights) if weight)

        def difference(fake_image: Tensor, real_image: Tensor) -> Tensor:
            with paddle.no_grad():
                real_features = vgg(real_image, levels)
            return _weighted_l1(weights, vgg(fake_image, levels), real_features)

        total = 0
        for scale in self.scales:
            total += mean_over_samples(difference, fake[scale], real[scale])
        return total

    def adversarial_losses(
        self, models: Models, fake: Pyramid, real: Pyramid, kp: Keypoints
    ) -> Losses:
        """LSGAN and feature matching; the discriminator's weights get no gradient here."""
        with frozen(models.discriminator):
            fake_judgements: dict[float, Judgement] = models.discriminator(fake, kp)
            with paddle.no_grad():
                real_judgements = models.discriminator(real, kp)
        gan = matching = 0
        for scale in self.disc_scales:
            judgement = fake_judgements[scale]
            error = ((1 - judgement.prediction_map) ** 2).mean()
            gan += self.weights['generator_gan'] * error
            matching += _weighted_l1(
                self.weights['feature_matching'],
                judgement.feature_maps,
                real_judgements[scale].feature_maps,
            )
        losses = {'gen_gan': gan}
        if any(self.weights['feature_matching']):
            losses['feature_matching'] = matching
        return losses

    def equivariance_losses(
        self, kp_driving: Keypoints, transformed_kp: Keypoints, transform: Transform
    ) -> Losses:
        """Keypoints found in the transformed frame, mapped back, against those of the frame."""
        losses = {}
        if self.weights['equivariance_value']:
            mapped = transform.warp_coordinates(transformed_kp.value)
            error = (kp_driving.value - mapped).abs().mean()
            losses['equivariance_value'] = self.weights['equivariance_value'] * error
        if self.weights['equivariance_jacobian']:
            mapped = transform.jacobian(transformed_kp.value) @ transformed_kp.jacobian
            product = inverse_2x2(kp_driving.jacobian) @ mapped
            error = (paddle.eye(2, dtype=product.dtype) - product).abs().mean()
            losses['equivariance_jacobian'] = self.weights['equivariance_jacobian'] * error
        return losses

    def _missing_scales(self, image: Tensor, pyramid: Pyramid) -> Pyramid:
        return self.pyramid(image, [s for s in self.disc_scales if s not in pyramid])


def _weighted_l1(weights: Sequence[float], a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Sum over feature maps of weight * mean |a - b|; a map that weighs 0 costs nothing."""
    total = 0
    for weight, x, y in zip(weights, a, b):
        if weight:
            total += weight * (x - y).abs().mean()
    return total
