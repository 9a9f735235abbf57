"""The one place where networks are built from a config."""

from typing import Any, Mapping, NamedTuple

from modules.discriminator import MultiScaleDiscriminator
from modules.generator import OcclusionAwareGenerator
from modules.keypoint_detector import KPDetector


class Models(NamedTuple):
    """The three networks; the fields bear the names of official checkpoints."""

    generator: OcclusionAwareGenerator
    kp_detector: KPDetector
    discriminator: MultiScaleDiscriminator

    def eval(self) -> 'Models':
        for network in self:
            network.eval()
        return self

    def train(self) -> 'Models':
        for network in self:
            network.train()
        return self


def build_models(config: Mapping[str, Any]) -> Models:
    """Networks of a checked config (modules/config/loading.py), with PyTorch's initial values."""
    params = config['model_params']
    common = params['common_params']
    shape = {'num_kp': common['num_kp'], 'num_channels': common['num_channels']}
    return Models(
        generator=OcclusionAwareGenerator(
            **params['generator_params'], **shape, align_corners=common['align_corners']
        ),
        kp_detector=KPDetector(
            **params['kp_detector_params'], **shape, estimate_jacobian=common['estimate_jacobian']
        ),
        discriminator=MultiScaleDiscriminator(**params['discriminator_params'], **shape),
    )
