"""Occlusion-aware generator (paper Sec. 3.2), after Johnson et al."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.dense_motion import DenseMotionNetwork
from modules.ops.sampling import grid_sample, resize_bilinear
from modules.util import (
    Conv2D,
    DownBlock2d,
    Keypoints,
    ResBlock2d,
    SameBlock2d,
    UpBlock2d,
)


class EncodedSource(NamedTuple):
    """All that depends on the source image alone."""

    image: Tensor  # (B, C, H, W)
    reduced: Tensor  # (B, C, h, w), what the dense motion network sees
    features: Tensor  # (B, features, H / 2^n, W / 2^n)


class Generated(NamedTuple):
    """The frame in the driving pose, and what explains it."""

    prediction: Tensor  # (B, C, H, W) in [0, 1]
    deformed: Tensor | None  # (B, C, H, W), the source image warped; None if not asked for
    mask: Tensor  # (B, K + 1, h, w)
    sparse_deformed: Tensor | None  # (B, K + 1, C, h, w); None: not to be shown
    occlusion_map: Tensor | None  # (B, 1, h, w)


def deform(x: Tensor, deformation: Tensor, align_corners: bool) -> Tensor:
    """Warps (B, C, H, W) by a deformation (B, h, w, 2) of any size."""
    if deformation.shape[1:3] != x.shape[2:]:
        deformation = resize_bilinear(deformation.transpose([0, 3, 1, 2]), x.shape[2:])
        deformation = deformation.transpose([0, 2, 3, 1])
    return grid_sample(x, deformation, align_corners)


class OcclusionAwareGenerator(nn.Layer):
    """Encodes the source, warps its features by the dense motion, inpaints, decodes.

    Args:
        num_channels: C of the image.
        num_kp: K.
        block_expansion, max_features: widths are min(max_features, block_expansion * 2^i).
        num_down_blocks: how often the features are halved; H and W must be divisible by 2^n.
        num_bottleneck_blocks: residual blocks at the smallest size.
        dense_motion_params: arguments of DenseMotionNetwork.
        estimate_occlusion_map: weigh the warped features by an occlusion map.
        align_corners: pixel convention of the warps.
    """

    def __init__(
        self,
        num_channels: int,
        num_kp: int,
        block_expansion: int,
        max_features: int,
        num_down_blocks: int,
        num_bottleneck_blocks: int,
        dense_motion_params: Mapping[str, Any],
        estimate_occlusion_map: bool = False,
        align_corners: bool = True,
    ):
        super().__init__()
        self.dense_motion_network = DenseMotionNetwork(
            num_kp=num_kp,
            num_channels=num_channels,
            estimate_occlusion_map=estimate_occlusion_map,
            align_corners=align_corners,
            **dense_motion_params,
        )
        widths = [min(max_features, block_expansion * 2**i) for i in range(num_down_blocks + 1)]
        self.first = SameBlock2d(num_channels, widths[0], 7, 3)
        self.down_blocks = nn.LayerList([DownBlock2d(a, b) for a, b in itertools.pairwise(widths)])
        self.bottleneck = nn.Sequential(
            *((f'r{i}', ResBlock2d(widths[-1])) for i in range(num_bottleneck_blocks))
        )
        self.up_blocks = nn.LayerList(
            [UpBlock2d(a, b) for a, b in zip(widths[::-1], widths[-2::-1])]
        )
        self.final = Conv2D(widths[0], num_channels, 7, 3)
        self.align_corners = align_corners

    def encode(self, source_image: Tensor) -> EncodedSource:
        """(B, C, H, W) in [0, 1] -> what `decode` needs of it."""
        features = self.first(source_image)
        for block in self.down_blocks:
            features = block(features)
        return EncodedSource(source_image, self.dense_motion_network.reduce(source_image), features)

    def deform(self, x: Tensor, deformation: Tensor) -> Tensor:
        return deform(x, deformation, self.align_corners)

    def decode(
        self,
        source: EncodedSource,
        kp_driving: Keypoints,
        kp_source: Keypoints,
        with_deformed: bool = True,
    ) -> Generated:
        """Draws the encoded source in the driving pose."""
        motion = self.dense_motion_network(source.reduced, kp_driving, kp_source)
        out = self.deform(source.features, motion.deformation)
        if motion.occlusion_map is not None:
            occlusion_map = motion.occlusion_map
            if occlusion_map.shape[2:] != out.shape[2:]:
                occlusion_map = resize_bilinear(occlusion_map, out.shape[2:])
            occlusion_map = occlusion_map.astype(out.dtype)
            out = out * occlusion_map.expand_as(out)  # unlike shapes are slow on the CPU
        deformed = self.deform(source.image, motion.deformation) if with_deformed else None

        out = self.bottleneck(out)
        for block in self.up_blocks:
            out = block(out)
        prediction = F.sigmoid(self.final(out))
        return Generated(
            prediction, deformed, motion.mask, motion.sparse_deformed, motion.occlusion_map
        )

    def forward(
        self, source_image: Tensor, kp_driving: Keypoints, kp_source: Keypoints
    ) -> Generated:
        """(B, C, H, W) in [0, 1] -> the image in the driving pose."""
        return self.decode(self.encode(source_image), kp_driving, kp_source)
