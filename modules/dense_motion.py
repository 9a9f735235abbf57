"""Dense motion network (paper Sec. 3.2)."""

from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.ops.linalg import inverse_2x2
from modules.ops.precision import full_precision
from modules.ops.sampling import grid_sample
from modules.util import (
    AntiAliasInterpolation2d,
    Conv2D,
    Hourglass,
    Keypoints,
    kp2gaussian,
    make_coordinate_grid,
)


class DenseMotion(NamedTuple):
    """Where every pixel of the driving pose is found in the source image."""

    deformation: Tensor  # (B, h, w, 2), coordinates in the source image
    mask: Tensor  # (B, K + 1, h, w), sums to 1 over the motions; the background comes first
    sparse_deformed: Tensor  # (B, K + 1, C, h, w), the source warped by each motion
    occlusion_map: Tensor | None  # (B, 1, h, w) in [0, 1]; 0 = to be inpainted


class DenseMotionNetwork(nn.Layer):
    """Combines the K local affine motions and the still background into one dense motion.

    Args:
        block_expansion, max_features, num_blocks: width and depth of the hourglass.
        num_kp: K.
        num_channels: C of the image.
        estimate_occlusion_map: also predict what the source does not show.
        scale_factor: the motion is computed on an image scaled by it; its inverse must be whole.
        kp_variance: variance of the keypoint heatmaps.
        align_corners: pixel convention of the warps.
    """

    def __init__(
        self,
        block_expansion: int,
        num_blocks: int,
        max_features: int,
        num_kp: int,
        num_channels: int,
        estimate_occlusion_map: bool = False,
        scale_factor: float = 1,
        kp_variance: float = 0.01,
        align_corners: bool = True,
    ):
        super().__init__()
        in_features = (num_kp + 1) * (num_channels + 1)
        self.hourglass = Hourglass(block_expansion, in_features, num_blocks, max_features)
        self.mask = Conv2D(self.hourglass.out_filters, num_kp + 1, 7, 3)
        self.occlusion = None
        if estimate_occlusion_map:
            self.occlusion = Conv2D(self.hourglass.out_filters, 1, 7, 3)
        self.scale_factor = scale_factor
        self.kp_variance = kp_variance
        self.align_corners = align_corners
        if scale_factor != 1:
            self.down = AntiAliasInterpolation2d(num_channels, scale_factor)

    def reduce(self, source_image: Tensor) -> Tensor:
        """The source image at the size the motion is computed at: (B, C, h, w)."""
        return source_image if self.scale_factor == 1 else self.down(source_image)

    def heatmap_representations(
        self, size: tuple[int, int], kp_driving: Keypoints, kp_source: Keypoints
    ) -> Tensor:
        """Eq. 6: where each motion starts and ends, 0 for the background: (B, K + 1, 1, h, w)."""
        heatmap = kp2gaussian(kp_driving.value, size, self.kp_variance)
        heatmap = heatmap - kp2gaussian(kp_source.value, size, self.kp_variance)
        background = paddle.zeros_like(heatmap[:, :1])
        return paddle.concat([background, heatmap], axis=1).unsqueeze(2)

    def sparse_motions(
        self, size: tuple[int, int], kp_driving: Keypoints, kp_source: Keypoints
    ) -> Tensor:
        """Eq. 4: z -> kp_s + J_s J_d^-1 (z - kp_d), identity first: (B, K + 1, h, w, 2)."""
        h, w = size
        batch, num_kp, _ = kp_driving.value.shape
        identity = make_coordinate_grid(size, kp_driving.value.dtype).flatten(0, 1)  # (hw, 2)
        motion = identity - kp_driving.value.unsqueeze(2)  # (B, K, hw, 2)
        if kp_driving.jacobian is not None:
            jacobian = kp_source.jacobian @ inverse_2x2(kp_driving.jacobian)  # (B, K, 2, 2)
            motion = motion @ jacobian.transpose([0, 1, 3, 2])
        motion = motion + kp_source.value.unsqueeze(2)
        identity = identity.expand([batch, 1, h * w, 2])
        return paddle.concat([identity, motion], axis=1).reshape([batch, num_kp + 1, h, w, 2])

    def deformed_sources(self, source: Tensor, sparse_motions: Tensor) -> Tensor:
        """Eq. 7: the source warped by each motion: (B, K + 1, C, h, w)."""
        batch, motions, h, w, _ = sparse_motions.shape
        repeated = source.unsqueeze(1).expand([batch, motions, *source.shape[1:]])
        warped = grid_sample(
            repeated.flatten(0, 1), sparse_motions.flatten(0, 1), self.align_corners
        )
        return warped.reshape([batch, motions, -1, h, w])

    def forward(
        self, source_reduced: Tensor, kp_driving: Keypoints, kp_source: Keypoints
    ) -> DenseMotion:
        """
        Args:
            source_reduced: the source image through `reduce`, (B, C, h, w).
        """
        size = source_reduced.shape[2:]
        heatmaps = self.heatmap_representations(size, kp_driving, kp_source)
        motions = self.sparse_motions(size, kp_driving, kp_source)
        sparse_deformed = self.deformed_sources(source_reduced, motions)
        features = paddle.concat([heatmaps, sparse_deformed], axis=2)  # (B, K + 1, C + 1, h, w)
        features = self.hourglass(features.flatten(1, 2))

        with full_precision():
            features = features.astype(motions.dtype)
            mask = F.softmax(self.mask(features), axis=1)  # (B, K + 1, h, w)
            # The masks sum to 1 but for rounding, which here moves no pixel of the background.
            still, moved = motions[:, :1], motions[:, 1:]
            displacement = ((moved - still) * mask[:, 1:].unsqueeze(-1)).sum(axis=1)
            deformation = still.squeeze(1) + displacement  # (B, h, w, 2)
            occlusion_map = None
            if self.occlusion is not None:
                occlusion_map = F.sigmoid(self.occlusion(features))
        return DenseMotion(deformation, mask, sparse_deformed, occlusion_map)
