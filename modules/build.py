"""The one place where networks are built from a config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from paddle import nn

from modules.discriminator import MultiScaleDiscriminator
from modules.generator import OcclusionAwareGenerator
from modules.keypoint_detector import KPDetector


class Models(NamedTuple):
    """The three networks; the fields bear the names of official checkpoints."""

    generator: OcclusionAwareGenerator
    kp_detector: KPDetector
    discriminator: MultiScaleDiscriminator

    def eval(self) -> Models:
        for network in self:
            network.eval()
        return self

    def train(self) -> Models:
        for network in self:
            network.train()
        return self


def build_network(name: str, params: Mapping[str, Any]) -> nn.Layer:
    """One network of a checked config's model_params, with PyTorch's initial values.

    Args:
        name: 'generator', 'kp_detector' or 'discriminator'.
    """
    common = params['common_params']
    shape = {'num_kp': common['num_kp'], 'num_channels': common['num_channels']}
    if name == 'generator':
        return OcclusionAwareGenerator(
            **params['generator_params'], **shape, align_corners=common['align_corners']
        )
    if name == 'kp_detector':
        return KPDetector(
            **params['kp_detector_params'], **shape, estimate_jacobian=common['estimate_jacobian']
        )
    return MultiScaleDiscriminator(**params['discriminator_params'], **shape)


def build_models(config: Mapping[str, Any]) -> Models:
    """Networks of a checked config (modules/config/loading.py), with PyTorch's initial values."""
    return Models(*(build_network(name, config['model_params']) for name in Models._fields))
