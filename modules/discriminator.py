"""Multi-scale patch discriminator, similar to pix2pix's."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import Tensor, nn

from modules.util import Conv2D, Keypoints, kp2gaussian


class Judgement(NamedTuple):
    """What the discriminator of one scale says of an image."""

    feature_maps: list[Tensor]  # the output of every block
    prediction_map: Tensor  # (B, 1, h', w'): 1 for real, 0 for generated


def scale_name(scale: float) -> str:
    """The name of a scale in the layers of official checkpoints: 1 -> '1', 0.5 -> '0-5'."""
    return str(scale).replace('.', '-')


class DiscriminatorBlock(nn.Layer):
    """4x4 convolution, instance norm, leaky ReLU, 2x2 average."""

    def __init__(self, in_features: int, out_features: int, norm: bool, pool: bool, sn: bool):
        super().__init__()
        self.conv = Conv2D(in_features, out_features, 4)
        if sn:
            self.conv = nn.utils.spectral_norm(self.conv)
        self.norm = nn.InstanceNorm2D(out_features, epsilon=1e-5) if norm else None
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, h, w) -> (B, out, h - 3, w - 3), halved where it pools."""
        out = self.conv(x)
        if self.norm is not None:
            out = self.norm(out)
        out = F.leaky_relu(out, 0.2)
        return F.avg_pool2d(out, 2) if self.pool else out


class Discriminator(nn.Layer):
    """Discriminator of one scale; the arguments are those of MultiScaleDiscriminator."""

    def __init__(
        self,
        num_channels: int,
        block_expansion: int,
        num_blocks: int,
        max_features: int,
        sn: bool,
        use_kp: bool,
        num_kp: int,
        kp_variance: float,
    ):
        super().__init__()
        first = num_channels + num_kp * use_kp
        widths = [min(max_features, block_expansion * 2 ** (i + 1)) for i in range(num_blocks)]
        self.down_blocks = nn.LayerList(
            [
                DiscriminatorBlock(a, b, norm=i > 0, pool=i < num_blocks - 1, sn=sn)
                for i, (a, b) in enumerate(zip([first, *widths], widths))
            ]
        )
        self.conv = Conv2D(widths[-1], 1, 1)
        if sn:
            self.conv = nn.utils.spectral_norm(self.conv)
        self.use_kp = use_kp
        self.kp_variance = kp_variance

    def forward(self, x: Tensor, kp: Keypoints | None = None) -> Judgement:
        """
        Args:
            x: (B, C, H, W) in [0, 1].
            kp: the image's keypoints; needed with `use_kp` only.
        """
        if self.use_kp:
            assert kp is not None, 'a discriminator that sees keypoints needs them'
            x = paddle.concat([x, kp2gaussian(kp.value, x.shape[2:], self.kp_variance)], axis=1)
        feature_maps = []
        for block in self.down_blocks:
            x = block(x)
            feature_maps.append(x)
        return Judgement(feature_maps, self.conv(x))


class MultiScaleDiscriminator(nn.Layer):
    """One discriminator per scale of the image pyramid.

    Args:
        scales: the scales judged.
        num_channels: C of the image.
        block_expansion, num_blocks, max_features: widths and depth.
        sn: spectral norm on every convolution.
        use_kp: show the keypoints' heatmaps beside the image.
        num_kp, kp_variance: number and variance of those heatmaps.
    """

    def __init__(
        self,
        scales: Sequence[float] = (),
        num_channels: int = 3,
        block_expansion: int = 64,
        num_blocks: int = 4,
        max_features: int = 512,
        sn: bool = False,
        use_kp: bool = False,
        num_kp: int = 10,
        kp_variance: float = 0.01,
    ):
        super().__init__()
        self.scales = list(scales)
        self.discs = nn.LayerDict(
            {
                scale_name(scale): Discriminator(
                    num_channels, block_expansion, num_blocks, max_features,
                    sn, use_kp, num_kp, kp_variance,
                )
                for scale in scales
            }
        )  # fmt: skip

    def forward(
        self, pyramid: Mapping[float, Tensor], kp: Keypoints | None = None
    ) -> dict[float, Judgement]:
        """
        Args:
            pyramid: the image at (at least) every scale judged, (B, C, H * scale, W * scale).
        """
        return {scale: self.discs[scale_name(scale)](pyramid[scale], kp) for scale in self.scales}
