"""The networks as three programs in plain operations, which other runtimes have, too.

An animation needs `KeypointProgram` for the source and each driving frame, `SourceProgram` once,
and `FrameProgram` for each frame. Any number of items N goes through them at once, each for itself.
Batch norms are folded into convolutions. Tensors are float32.
"""

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.build import Models
from modules.dense_motion import DenseMotionNetwork
from modules.generator import OcclusionAwareGenerator
from modules.inference.folding import kernel_of, residuals_of
from modules.inference.layers import FixedBlock, FixedConv, FixedTrunk
from modules.inference.networks import merged
from modules.keypoint_detector import KPDetector
from modules.ops.convolution import upsample_nearest_x2
from modules.ops.linalg import inverse_2x2
from modules.ops.sampling import resize_bilinear
from modules.util import AntiAliasInterpolation2d, Hourglass, UpBlock2d, make_coordinate_grid

INPUTS = {
    'keypoints': ('image',),
    'source': ('image',),
    'frame': (
        'reduced',
        'features',
        'driving_value',
        'source_value',
        'driving_jacobian',
        'source_jacobian',
    ),
}
OUTPUTS = {
    'keypoints': ('value', 'jacobian'),
    'source': ('reduced', 'features'),
    'frame': ('prediction',),
}


def export_programs(models: Models, size: tuple[int, int]) -> dict[str, nn.Layer]:
    """The programs of trained networks for images of a size (H, W), by the names of INPUTS."""
    programs: dict[str, nn.Layer] = {
        'keypoints': KeypointProgram(models.kp_detector, size),
        'source': SourceProgram(models.generator),
        'frame': FrameProgram(models.generator, size),
    }
    for program in programs.values():
        program.eval()
    return programs


def scaled(size: tuple[int, int], down: AntiAliasInterpolation2d | None) -> tuple[int, int]:
    """The size of an image after `down`."""
    step = 1 if down is None else down.stride
    return -(-size[0] // step), -(-size[1] // step)


def grid_rows(size: tuple[int, int], dtype: paddle.dtype = paddle.float32) -> Tensor:
    """Coordinates of all pixels, row by row: (h w, 2) in [-1, 1]."""
    return make_coordinate_grid(size, dtype).flatten(0, 1)


class UpProgram(nn.Layer):
    """UpBlock2d: (N, in, h, w) -> (N, out, 2h, 2w)."""

    def __init__(self, block: UpBlock2d):
        super().__init__()
        self.conv = FixedConv(kernel_of(block.conv, block.norm), padding=1)

    def forward(self, x: Tensor) -> Tensor:
        # Not F.interpolate, whose factors Paddle's predictor can't read.
        return F.relu(self.conv(upsample_nearest_x2(x)))


class HourglassProgram(nn.Layer):
    """Hourglass: (N, in, h, w) -> (N, out_filters, h, w)."""

    def __init__(self, hourglass: Hourglass):
        super().__init__()
        self.down = nn.LayerList([FixedBlock(block) for block in hourglass.encoder.down_blocks])
        self.up = nn.LayerList([UpProgram(block) for block in hourglass.decoder.up_blocks])

    def forward(self, x: Tensor) -> Tensor:
        skips = [x]
        for block in self.down:
            skips.append(block(skips[-1]))
        x = skips.pop()
        for block in self.up:
            x = paddle.concat([block(x), skips.pop()], axis=1)
        return x


class KeypointProgram(nn.Layer):
    """KPDetector: images (N, C, H, W) in [0, 1] -> value (N, K, 2) and, where estimated, jacobian
    (N, K, 2, 2).
    """

    def __init__(self, detector: KPDetector, size: tuple[int, int]):
        super().__init__()
        self.down = detector.down if detector.scale_factor != 1 else None
        margin = 2 * detector.kp._updated_padding[0] - 6  # its kernel is 7 x 7
        h, w = (length + margin for length in scaled(size, self.down))
        self.register_buffer('grid', grid_rows((h, w), paddle.float64))
        self.hourglass = HourglassProgram(detector.predictor)
        self.num_kp = detector.kp._out_channels
        heads = [detector.kp] + ([] if detector.jacobian is None else [detector.jacobian])
        self.heads = merged(*heads)
        self.temperature = detector.temperature

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        x = image if self.down is None else self.down(image)
        maps = self.heads(self.hourglass(x))  # (N, K + 4K or K + 4, h', w')
        channels, pixels = maps.shape[1], len(self.grid)
        maps = maps.reshape([0, channels, pixels]).astype('float64')  # see KPDetector
        heatmap = F.softmax(maps[:, : self.num_kp] / self.temperature, axis=2)  # (N, K, h'w')
        value = (heatmap @ self.grid).astype('float32')  # (N, K, 2)
        if channels == self.num_kp:
            return (value,)
        sets = (channels - self.num_kp) // 4
        maps = maps[:, self.num_kp :].reshape([0, sets, 4, pixels])
        jacobian = (maps @ heatmap.unsqueeze(-1)).astype('float32')  # (N, K, 4, 1)
        return value, jacobian.reshape([0, self.num_kp, 2, 2])


class SourceProgram(nn.Layer):
    """Images (N, C, H, W) in [0, 1] -> reduced (N, C, h, w) and features (N, F, H', W'): all of
    FrameProgram that depends on the source image alone.
    """

    def __init__(self, generator: OcclusionAwareGenerator):
        super().__init__()
        motion = generator.dense_motion_network
        self.down = motion.down if motion.scale_factor != 1 else None
        self.blocks = nn.LayerList([FixedBlock(generator.first)])
        self.blocks.extend([FixedBlock(block) for block in generator.down_blocks])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        x = image
        for block in self.blocks:
            x = block(x)
        # A copy: an input can't be an output as it is.
        reduced = paddle.assign(image) if self.down is None else self.down(image)
        return reduced, x


class MotionProgram(nn.Layer):
    """DenseMotionNetwork: deformation (N, h, w, 2) and, where estimated, the occlusion map
    (N, 1, h, w).
    """

    def __init__(self, network: DenseMotionNetwork, size: tuple[int, int]):
        super().__init__()
        self.size = scaled(size, network.down if network.scale_factor != 1 else None)
        self.register_buffer('grid', grid_rows(self.size))
        self.hourglass = HourglassProgram(network.hourglass)
        heads = [network.mask] + ([] if network.occlusion is None else [network.occlusion])
        self.heads = merged(*heads)
        self.motions = network.mask._out_channels  # K + 1
        self.occluded = network.occlusion is not None
        self.variance = network.kp_variance
        self.align_corners = network.align_corners

    def heatmap(self, kp: Tensor) -> Tensor:
        """One of the two of Eq. 6: keypoints (N, K, 2) -> (N, K, h w)."""
        distance = self.grid - kp.unsqueeze(2)  # (N, K, h w, 2)
        return paddle.exp((distance * distance).sum(-1) * (-0.5 / self.variance))

    def forward(
        self,
        reduced: Tensor,
        driving: Tensor,
        source: Tensor,
        driving_jacobian: Tensor | None,
        source_jacobian: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        channels, (h, w), grid = reduced.shape[1], self.size, self.grid
        # Eq. 4. The background's motion is the identity, in as many copies as there are items.
        motion = grid - driving.unsqueeze(2)  # (N, K, h w, 2)
        if driving_jacobian is not None and source_jacobian is not None:
            jacobian = source_jacobian @ inverse_2x2(driving_jacobian)  # (N, K, 2, 2)
            motion = motion @ jacobian.transpose([0, 1, 3, 2])
        moved = motion + source.unsqueeze(2)
        still = moved[:, :1] * 0.0 + grid  # (N, 1, h w, 2)
        motions = paddle.concat([still, moved], axis=1)
        # All motions sample the same image: as one tall grid.
        grids = motions.reshape([0, self.motions * h, w, 2])
        deformed = F.grid_sample(reduced, grids, align_corners=self.align_corners)
        deformed = deformed.reshape([0, channels, self.motions, h, w]).transpose([0, 2, 1, 3, 4])
        heat = self.heatmap(driving) - self.heatmap(source)  # (N, K, h w)
        heat = paddle.concat([heat[:, :1] * 0.0, heat], axis=1)
        heat = heat.reshape([0, self.motions, 1, h, w])
        x = paddle.concat([heat, deformed], axis=2)  # (N, K + 1, C + 1, h, w)
        maps = self.heads(self.hourglass(x.reshape([0, self.motions * (channels + 1), h, w])))
        mask = F.softmax(maps[:, : self.motions], axis=1)
        share = mask[:, 1:].reshape([0, self.motions - 1, h * w, 1])  # see modules/dense_motion.py
        deformation = ((moved - still) * share).sum(axis=1) + grid  # (N, h w, 2)
        occlusion = F.sigmoid(maps[:, self.motions :]) if self.occluded else None
        return deformation.reshape([0, h, w, 2]), occlusion


class FrameProgram(nn.Layer):
    """OcclusionAwareGenerator.decode: what SourceProgram gives, and keypoints (N, K, 2) with their
    Jacobians (N, K, 2, 2) where estimated -> frames (N, C, H, W) in [0, 1].
    """

    def __init__(self, generator: OcclusionAwareGenerator, size: tuple[int, int]):
        super().__init__()
        self.motion = MotionProgram(generator.dense_motion_network, size)
        blocks = list(generator.bottleneck)
        self.trunk = FixedTrunk(residuals_of(blocks)) if blocks else None
        self.up = nn.LayerList([UpProgram(block) for block in generator.up_blocks])
        self.final = FixedConv(kernel_of(generator.final), padding=3)
        self.align_corners = generator.align_corners

    def forward(
        self,
        reduced: Tensor,
        features: Tensor,
        driving_value: Tensor,
        source_value: Tensor,
        driving_jacobian: Tensor | None = None,
        source_jacobian: Tensor | None = None,
    ) -> Tensor:
        deformation, occlusion = self.motion(
            reduced, driving_value, source_value, driving_jacobian, source_jacobian
        )
        size = features.shape[2:]
        if deformation.shape[1:3] != size:
            deformation = resize_bilinear(deformation.transpose([0, 3, 1, 2]), size)
            deformation = deformation.transpose([0, 2, 3, 1])
        x = F.grid_sample(features, deformation, align_corners=self.align_corners)
        if occlusion is not None:
            if occlusion.shape[2:] != size:
                occlusion = resize_bilinear(occlusion, size)
            x = x * occlusion
        if self.trunk is not None:
            x = self.trunk(x)
        for block in self.up:
            x = block(x)
        return F.sigmoid(self.final(x))
