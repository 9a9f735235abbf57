"""The networks as three programs for inference, equal to the layers they are made of.

What depends on the source alone is computed once, by `SourceEncoder`; `FrameDecoder` does the rest
for each frame. The source is a single one, which all frames of a batch share. See
modules/inference/layers.py.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.dense_motion import DenseMotionNetwork
from modules.generator import OcclusionAwareGenerator
from modules.inference.folding import Kernel, kernel_of, residuals_of, split_doubled
from modules.inference.layers import (
    FixedBlock,
    FixedConv,
    FixedFinal,
    FixedHourglass,
    FixedResize,
    FixedTail,
    FixedTrunk,
    FixedTrunkOfConvs,
    FixedUpBlock,
    Images,
)
from modules.inference.winograd import (
    WinogradConv,
    WinogradTrunk,
    as_shape,
    suits_winograd,
    tile_order,
    undo_tiles,
)
from modules.keypoint_detector import KPDetector
from modules.ops.linalg import inverse_2x2
from modules.ops.rows import take_rows
from modules.ops.sampling import grid_sample, to_pixels
from modules.ops.winograd import TILE
from modules.util import AntiAliasInterpolation2d, Conv2D, UpBlock2d, make_coordinate_grid


def merged(*convs: Conv2D, apart: bool = False) -> FixedConv:
    """Convolutions of the same input as one, whose channels stand in their order; `apart` as for
    FixedConv.
    """
    kernels = [kernel_of(conv) for conv in convs]
    weight = np.concatenate([kernel.weight for kernel in kernels])
    bias = np.concatenate([kernel.bias for kernel in kernels])
    return FixedConv(Kernel(weight, bias), convs[0]._updated_padding[0], apart=apart)


def fixed_down(down: AntiAliasInterpolation2d) -> FixedConv:
    """Blurs and takes every so many pixels; with a bias, of zeros, for which oneDNN computes it."""
    kernel = Kernel(down.weight.numpy(), np.zeros(len(down.weight)))
    return FixedConv(kernel, down.radius, down.stride, groups=len(down.weight))


class KeypointProgram(nn.Layer):
    """KPDetector: images (B, C, H, W) -> value (B, K, 2) and, where estimated, jacobian
    (B, K, 2, 2).

    Args:
        images: (B, H, W).
        onednn: prepare for a predictor that uses oneDNN.
    """

    def __init__(self, detector: KPDetector, images: Images, onednn: bool = True):
        super().__init__()
        self.down = None
        if detector.scale_factor != 1:
            self.down = fixed_down(detector.down) if onednn else detector.down
        batch, *size = images
        h, w = reduced_size(detector, size)
        self.hourglass = FixedHourglass(detector.predictor, (batch, h, w), lean=onednn)
        self.num_kp = detector.kp._out_channels
        heads = [detector.kp] + ([] if detector.jacobian is None else [detector.jacobian])
        self.heads = merged(*heads)
        change = 2 * self.heads.padding + 1 - self.heads.weight.shape[-1]
        grid = make_coordinate_grid((h + change, w + change), paddle.float64)
        self.register_buffer('grid', grid.flatten(0, 1))  # (h'w', 2)
        self.temperature = detector.temperature

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = image if self.down is None else self.down(image)
        maps = self.heads(self.hourglass(x))  # (B, K + 4K, h', w')
        batch, channels, h, w = maps.shape
        maps = maps.flatten(2).astype('float64')  # see KPDetector
        heatmap = F.softmax(maps[:, : self.num_kp] / self.temperature, axis=2)  # (B, K, h'w')
        value = (heatmap @ self.grid).astype('float32')  # (B, K, 2)
        if channels == self.num_kp:
            return (value,)
        maps = maps[:, self.num_kp :].reshape([batch, -1, 4, h * w])  # (B, K or 1, 4, h'w')
        jacobian = maps @ heatmap.unsqueeze(-1)  # (B, K, 4, 1)
        return value, jacobian.astype('float32').reshape([batch, -1, 2, 2])


class Heatmaps(nn.Layer):
    """kp2gaussian as the product of its two factors: (B, K, 2) -> (B, K, h, w).

    Args:
        size: (h, w).
    """

    def __init__(self, size: tuple[int, int], variance: float):
        super().__init__()
        grid = make_coordinate_grid(size, paddle.float32)
        self.register_buffer('x', grid[0, :, 0].clone())  # (w,)
        self.register_buffer('y', grid[:, 0, 1].clone())  # (h,)
        self.scale = -0.5 / variance

    def forward(self, kp: Tensor) -> Tensor:
        x, y = self.x - kp[:, :, :1], self.y - kp[:, :, 1:]  # (B, K, w), (B, K, h)
        x, y = paddle.exp(x * x * self.scale), paddle.exp(y * y * self.scale)
        return x.unsqueeze(2) * y.unsqueeze(3)


class SourceEncoder(nn.Layer):
    """Image (1, C, H, W) and its keypoints (1, K, 2) -> what FrameDecoder takes first: reduced
    (1, C, h, w), rows of features (H' W', F), heatmaps (1, K, h, w).

    Args:
        size: (H, W).
        onednn: prepare for a predictor that uses oneDNN.
    """

    def __init__(
        self, generator: OcclusionAwareGenerator, size: tuple[int, int], onednn: bool = True
    ):
        super().__init__()
        motion = generator.dense_motion_network
        self.down = None
        if motion.scale_factor != 1:
            self.down = fixed_down(motion.down) if onednn else motion.down
        self.heatmaps = Heatmaps(reduced_size(motion, size), motion.kp_variance)
        blocks = [generator.first, *generator.down_blocks]
        self.blocks = nn.LayerList([FixedBlock(block, onednn=onednn) for block in blocks])

    def forward(self, image: Tensor, kp: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = image
        for block in self.blocks:
            x = block(x)
        rows = x[0].flatten(1).transpose([1, 0])
        reduced = paddle.assign(image) if self.down is None else self.down(image)
        return reduced, rows, self.heatmaps(kp)


class MotionProgram(nn.Layer):
    """DenseMotionNetwork, of which only the arithmetic differs.

    Args:
        images, lean, bf16: see FixedHourglass.
    """

    def __init__(self, network: DenseMotionNetwork, images: Images, lean: bool, bf16: bool):
        super().__init__()
        batch, *self.size = images
        self.hourglass = FixedHourglass(network.hourglass, images, lean, bf16)
        heads = [network.mask] + ([] if network.occlusion is None else [network.occlusion])
        self.heads = merged(*heads, apart=bf16)
        self.motions = network.mask._out_channels  # K + 1
        self.heatmaps = Heatmaps(images[1:], network.kp_variance)
        still = paddle.eye(2, 3, dtype='float64')
        grid = make_coordinate_grid(images[1:], paddle.float64).reshape([-1, 2])
        homogeneous = paddle.concat([grid, paddle.ones([len(grid), 1], grid.dtype)], axis=1)
        self.register_buffer('still', still.expand([batch, 1, 2, 3]))  # the background's motion
        self.register_buffer('grid', grid)  # (hw, 2), of x, y
        self.register_buffer('homogeneous', homogeneous)  # (hw, 3), of x, y, 1
        self.register_buffer('points', homogeneous.unsqueeze(1))  # (hw, 1, 3)
        self.align_corners = network.align_corners

    def affine_maps(
        self,
        driving: Tensor,
        source: Tensor,
        driving_jacobian: Tensor | None,
        source_jacobian: Tensor | None,
    ) -> Tensor:
        """Eq. 4, z -> A z + b for each keypoint: (A, b), float64 (B, K, 2, 3)."""
        driving, source = (kp.astype('float64').unsqueeze(-1) for kp in (driving, source))
        if driving_jacobian is None or source_jacobian is None:
            nothing = paddle.zeros([*driving.shape[:2], 2, 2], driving.dtype)
            return self.still + paddle.concat([nothing, source - driving], axis=3)
        inverse = inverse_2x2(driving_jacobian.astype('float64'))
        matrix = source_jacobian.astype('float64') @ inverse  # (B, K, 2, 2)
        return paddle.concat([matrix, source - matrix @ driving], axis=3)

    def forward(
        self,
        reduced: Tensor,
        source_heatmaps: Tensor,
        driving: Tensor,
        source: Tensor,
        driving_jacobian: Tensor | None = None,
        source_jacobian: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Deformation (B, h, w, 2), mask (B, K + 1, h, w), deformed (B (K + 1), C, h, w), occlusion
        (B, 1, h, w).
        """
        batch, size = driving.shape[0], self.size
        # Applied to all pixels as matrix products; in float64, as sums of large parts may be small.
        maps = self.affine_maps(driving, source, driving_jacobian, source_jacobian)
        motions = paddle.concat([self.still, maps], axis=1).reshape([batch, -1, 3])
        motions = paddle.matmul(motions, self.homogeneous, transpose_y=True)  # (B, 2 (K + 1), hw)
        motions = motions.astype('float32').reshape([batch * self.motions, 2, *size])
        motions = motions.transpose([0, 2, 3, 1])  # (B (K + 1), h, w, 2)
        difference = self.heatmaps(driving) - source_heatmaps  # (B, K, h, w)
        difference = paddle.concat([paddle.zeros([batch, 1, *size]), difference], axis=1)
        repeated = reduced.expand([batch * self.motions, *reduced.shape[1:]])
        deformed = grid_sample(repeated, motions, self.align_corners)  # (B (K + 1), C, h, w)
        x = paddle.concat([as_shape(difference, [-1, 1, *size]), deformed], axis=1)
        x = as_shape(x, [batch, self.motions * x.shape[1], *size])
        maps_of_heads = self.heads(self.hourglass(x))
        mask = F.softmax(maps_of_heads[:, : self.motions], axis=1)  # (B, K + 1, h, w)
        # How far each pixel is moved, as in modules/dense_motion.py: the mean of all maps, applied.
        share = mask[:, 1:].astype('float64').flatten(2)  # (B, K, hw)
        mean = (maps - self.still).flatten(2)
        mean = paddle.matmul(share, mean, transpose_x=True)  # (B, hw, 6)
        moved = (mean.reshape([batch, -1, 2, 3]) * self.points).sum(axis=3)
        deformation = (moved + self.grid).astype('float32').reshape([batch, *size, 2])
        occlusion = None
        if maps_of_heads.shape[1] > self.motions:
            occlusion = F.sigmoid(maps_of_heads[:, self.motions :])
        return deformation, mask, deformed, occlusion


def reduced_size(network: KPDetector | DenseMotionNetwork, size: Sequence[int]) -> tuple[int, int]:
    """(h, w) of what a network makes of an image of `size` (H, W) before it looks at it."""
    step = network.down.stride if network.scale_factor != 1 else 1
    return -(-size[0] // step), -(-size[1] // step)


def has_winograd_form(params: Mapping[str, Any], size: tuple[int, int]) -> bool:
    """Whether FrameDecoder can take Winograd's transforms; else it is always `direct`.

    Args:
        params: generator_params of a config.
        size: (H, W) of the image.
    """
    downs = params['num_down_blocks']
    channels = min(params['max_features'], params['block_expansion'] << downs)
    suits = suits_winograd(channels, size[0] >> downs, size[1] >> downs)
    return suits and params['num_bottleneck_blocks'] > 0


class FrameDecoder(nn.Layer):
    """OcclusionAwareGenerator.decode.

    Args:
        size: (H, W) of the image.
        bf16: prepare for a predictor that computes convolutions in bfloat16.
        explain: also return deformation (B, h, w, 2), mask, sparse_deformed and, where estimated,
            occlusion_map.
        onednn: prepare for a predictor that uses oneDNN.
        batch: B, frames of a run.
        direct: no convolution by Winograd's transforms.
    """

    def __init__(
        self,
        generator: OcclusionAwareGenerator,
        size: tuple[int, int],
        bf16: bool = False,
        explain: bool = False,
        onednn: bool = True,
        batch: int = 1,
        direct: bool = False,
    ):
        super().__init__()
        ups = list(generator.up_blocks)
        self.features_size = size[0] >> len(ups), size[1] >> len(ups)  # (H', W')
        last = generator.down_blocks[-1] if len(generator.down_blocks) else generator.first
        self.num_features = last.conv._out_channels  # F
        some = len(generator.bottleneck) > 0
        suitable = some and suits_winograd(self.num_features, *self.features_size)
        self.tiled = onednn and suitable and not direct
        motion = generator.dense_motion_network
        reduced = reduced_size(motion, size)
        self.motion = MotionProgram(motion, (batch, *reduced), onednn and not bf16, bf16)
        self.resize = None
        if reduced != self.features_size:
            self.resize = FixedResize(reduced, self.features_size)
        self.bottleneck = nn.LayerList()
        if some:
            residuals = residuals_of(generator.bottleneck)
            trunk: nn.Layer
            if self.tiled:
                trunk = WinogradTrunk(residuals, self.features_size, batch, bf16)
            else:
                trunk = FixedTrunkOfConvs(residuals) if bf16 else FixedTrunk(residuals)
            self.bottleneck.append(trunk)
        self.tiled_up = None
        if self.tiled and len(ups) > 1:
            first = ups.pop(0)
            self.tiled_up = TiledUpBlock(first, self.features_size, batch, bf16)
        self.up = nn.LayerList()
        for number, block in enumerate(ups[:-1]):
            halvings = len(ups) - number
            images = (batch, size[0] >> halvings, size[1] >> halvings)
            after_conv = number == 0 and some and not self.tiled
            self.up.append(FixedUpBlock(block, images, apart=bf16 and not after_conv))
        if ups:
            self.tail = FixedTail(ups[-1], generator.final, (size[0] // 2, size[1] // 2), batch)
        else:
            self.tail = FixedFinal(generator.final, size, apart=bf16 and (self.tiled or not some))
        self.align_corners = generator.align_corners
        self.explain = explain

    def at_features(self, x: Tensor) -> Tensor:
        """(B, h, w, n) -> (B, H', W', n), resized if need be."""
        if self.resize is None:
            return x
        return self.resize(x.transpose([0, 3, 1, 2])).transpose([0, 2, 3, 1])

    def warp(self, rows: Tensor, deformation: Tensor, occlusion: Tensor | None) -> Tensor:
        """Features (H' W', F), warped and multiplied by the occlusion maps: pixels
        of tiles (16, B I J, F) or (B, H', W', F).

        Paddle's grid sample runs on one thread and computes the weights anew for each channel.
        Gathering whole rows, and a small matrix product for each pixel, cost a twentieth.
        """
        h, w = self.features_size
        deformation = self.at_features(deformation)
        if self.tiled:
            deformation = tile_order(deformation)
        shape = deformation.shape[:-1]
        near, weight = [], []  # of x and y: two neighbours (n, 2) and their weights, 0 outside
        for position, size in zip(deformation.reshape([-1, 2]).T.unbind(0), (w, h)):
            position = to_pixels(position, size, self.align_corners)
            inside = (position > -1) & (position < size)
            position = paddle.where(inside, position, paddle.full(position.shape, -2.0))
            first = paddle.floor(position)
            share = position - first
            pair = paddle.stack([first, first + 1], axis=1)
            near.append(pair.clip(0, size - 1))
            there = ((pair >= 0) & (pair < size)).astype(rows.dtype)
            weight.append(paddle.stack([1 - share, share], axis=1) * there)
        index = near[1].unsqueeze(2) * w + near[0].unsqueeze(1)  # (n, 2, 2), of y and x
        shares = (weight[1].unsqueeze(2) * weight[0].unsqueeze(1)).reshape([-1, 1, 4])
        if occlusion is not None:
            occlusion = self.at_features(occlusion.transpose([0, 2, 3, 1]))
            occlusion = tile_order(occlusion) if self.tiled else occlusion
            shares = shares * occlusion.reshape([-1, 1, 1])
        taken = take_rows(rows, index.astype('int32').flatten())
        taken = as_shape(taken, [-1, 4, self.num_features])
        return as_shape(shares @ taken, [*shape, self.num_features])

    def forward(
        self,
        reduced: Tensor,
        rows: Tensor,
        source_heatmaps: Tensor,
        driving: Tensor,
        source: Tensor,
        driving_jacobian: Tensor | None = None,
        source_jacobian: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """
        Args:
            reduced, rows: as SourceEncoder gives them.
            source_heatmaps: (1, K, h, w)
            driving: keypoints, (B, K, 2).
            source: keypoints, (1, K, 2).
            driving_jacobian, source_jacobian: (B, K, 2, 2) and (1, K, 2, 2), or both None.
        """
        deformation, mask, deformed, occlusion = self.motion(
            reduced, source_heatmaps, driving, source, driving_jacobian, source_jacobian
        )
        x = self.warp(rows, deformation, occlusion)
        if not self.tiled:
            x = x.transpose([0, 3, 1, 2])
        for block in self.bottleneck:
            x = block(x)
        if self.tiled_up is not None:
            x = self.tiled_up(x)
        elif self.tiled:
            x = undo_tiles(x.astype('float32'), self.features_size)
        for block in self.up:
            x = block(x)
        prediction = self.tail(x)
        if not self.explain:
            return (prediction,)
        deformed = deformed.reshape([*mask.shape[:2], -1, *mask.shape[2:]])  # (B, K + 1, C, h, w)
        pictures = [deformation, mask, deformed]
        return (prediction, *pictures, *([] if occlusion is None else [occlusion]))


class TiledUpBlock(nn.Layer):
    """UpBlock2d, from tiles to an image: (17, B I J, in) -> (B, out, 8 I, 8 J).

    The four convolutions of the small image share their windows and transforms. Those of even and
    of odd rows have products of their own: one of all would take a third longer.
    """

    def __init__(self, block: UpBlock2d, size: tuple[int, int], batch: int, bf16: bool):
        super().__init__()
        kernel = split_doubled(kernel_of(block.conv, block.norm), taps=3)
        rows = zip(np.split(kernel.weight, 2), np.split(kernel.bias, 2))
        self.convs = nn.LayerList([WinogradConv(Kernel(*row), size, batch, bf16) for row in rows])
        h, w = size
        # Where pixel (4 i + r, 4 j + s) of image n, column phase b, lies in (r, s, n, i, j, b).
        place = np.arange(2 * batch * h * w)
        place = place.reshape(TILE, TILE, batch, h // TILE, w // TILE, 2)
        place = place.transpose(2, 3, 0, 4, 1, 5).flatten()
        self.register_buffer('place', paddle.to_tensor(place.astype('int32')))
        if self.convs[0].fused:
            self.register_buffer('identity', paddle.eye(block.conv._out_channels))
        self.size = size

    def forward(self, tiles: Tensor) -> Tensor:
        h, w = self.size
        transformed = self.convs[0].transformed(tiles)
        phases = []  # even rows, odd rows
        for conv in self.convs:
            rows = conv.activated(transformed)
            rows = take_rows(as_shape(rows, [-1, rows.shape[2] // 2]), self.place)
            if conv.dtype != 'float32':
                rows = rows.astype('float32')  # bfloat16 transposes slowly
            phases.append(as_shape(rows, [-1, h, 2 * w, rows.shape[1]]))
        image = paddle.stack(phases, axis=2)  # (B, h, 2, 2w, out)
        channels = image.shape[-1]
        if not self.convs[0].fused:
            return as_shape(image, [-1, 2 * h, 2 * w, channels]).transpose([0, 3, 1, 2])
        # Paddle transposes on one thread; multiplied by the identity the image is there earlier.
        image = as_shape(image, [-1, 4 * h * w, channels])
        image = paddle.matmul(self.identity, image, transpose_y=True)
        return as_shape(image, [-1, channels, 2 * h, 2 * w])
