"""Keypoint detector (paper Sec. 3.1)."""

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.ops.precision import full_precision
from modules.util import (
    AntiAliasInterpolation2d,
    Conv2D,
    Hourglass,
    Keypoints,
    make_coordinate_grid,
)


class KPDetector(nn.Layer):
    """Finds K keypoints and, in the first-order model, the affine map (Jacobian) around each.

    Args:
        block_expansion, max_features, num_blocks: width and depth of the hourglass.
        num_kp: K.
        num_channels: C of the image.
        temperature: the softmax over positions is taken of the maps divided by it.
        estimate_jacobian: False gives the zero-order model, whose Jacobians are None.
        scale_factor: the image is first scaled by it; its inverse must be whole.
        single_jacobian_map: one set of Jacobian maps serves all keypoints.
        pad: padding of the last convolutions; with 0 the maps are 6 pixels smaller.
    """

    def __init__(
        self,
        block_expansion: int,
        num_kp: int,
        num_channels: int,
        max_features: int,
        num_blocks: int,
        temperature: float,
        estimate_jacobian: bool = False,
        scale_factor: float = 1,
        single_jacobian_map: bool = False,
        pad: int = 0,
    ):
        super().__init__()
        self.predictor = Hourglass(block_expansion, num_channels, num_blocks, max_features)
        self.kp = Conv2D(self.predictor.out_filters, num_kp, 7, pad)
        self.jacobian = None
        if estimate_jacobian:
            maps = 1 if single_jacobian_map else num_kp
            self.jacobian = Conv2D(self.predictor.out_filters, 4 * maps, 7, pad)
            self.jacobian.weight.set_value(paddle.zeros_like(self.jacobian.weight))
            self.jacobian.bias.set_value(paddle.to_tensor([1.0, 0.0, 0.0, 1.0] * maps))
        self.temperature = temperature
        self.scale_factor = scale_factor
        if scale_factor != 1:
            self.down = AntiAliasInterpolation2d(num_channels, scale_factor)

    def forward(self, image: Tensor) -> Keypoints:
        """(B, C, H, W) in [0, 1] -> keypoints (B, K, 2) and Jacobians (B, K, 2, 2) or None."""
        # In training bfloat16 would move keypoints by up to a pixel, and save little here.
        with full_precision():
            if self.scale_factor != 1:
                image = self.down(image)  # (B, C, h, w)
            return self.expectations(self.predictor(image))

    def expectations(self, features: Tensor) -> Keypoints:
        """(B, out_filters, h, w) -> keypoints and Jacobians, from maps with an entry a pixel."""
        maps = self.kp(features)  # (B, K, h', w')
        size = maps.shape[2:]
        # Expectations over thousands of positions are summed in float64: in float32 the rounding
        # alone would move the warped image by a visible share of the agreement with PyTorch.
        heatmap = maps.flatten(2).astype('float64') / self.temperature
        heatmap = F.softmax(heatmap, axis=2)  # (B, K, h'w')
        grid = make_coordinate_grid(size, heatmap.dtype).flatten(0, 1)  # (h'w', 2)
        value = (heatmap @ grid).astype(self.kp.weight.dtype)  # (B, K, 2)
        if self.jacobian is None:
            return Keypoints(value)

        maps = self.jacobian(features)  # (B, 4K or 4, h', w')
        maps = maps.reshape([maps.shape[0], -1, 4, size[0] * size[1]])  # (B, K or 1, 4, h'w')
        jacobian = maps.astype('float64') @ heatmap.unsqueeze(-1)  # (B, K, 4, 1)
        return Keypoints(value, jacobian.astype(value.dtype).reshape([*value.shape, 2]))
