"""LPIPS, the learned perceptual distance of Zhang et al. (2018), version 0.1, in Paddle."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.vision.models import vgg16

from modules.checkpoints.download import fetch
from modules.checkpoints.frozen import load_frozen
from modules.checkpoints.reading import read_weights
from modules.evaluation.frame_pairs import FramePair
from modules.evaluation.metrics import Tallies, Tally
from modules.runtime.errors import UserError

# torchvision's AlexNet and the weights of its layers, as published with LPIPS.
ALEXNET_URL = 'https://download.pytorch.org/models/alexnet-owt-7be5be79.pth'
LINEAR_URL = (
    'https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/'
    'lpips/weights/v0.1/alex.pth'
)
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of images in [-1, 1]
EPSILON = 1e-10  # added to the length of a feature vector


class Backbone(NamedTuple):
    """A network whose features are compared."""

    name: str
    slice_ends: tuple[int, ...]  # features are taken after these numbers of layers
    widths: tuple[int, ...]  # their channels


ALEXNET = Backbone('AlexNet', (2, 5, 8, 10, 12), (64, 192, 384, 256, 256))
VGG16 = Backbone('VGG16', (4, 9, 16, 23, 30), (64, 128, 256, 512, 512))


def alexnet_features() -> nn.Sequential:
    """The convolutional part of torchvision's AlexNet, layer by layer."""
    return nn.Sequential(
        nn.Conv2D(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2D(3, 2),
        nn.Conv2D(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2D(3, 2),
        nn.Conv2D(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2D(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2D(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip


class Lpips(nn.Layer):
    """The distance of two images by their features in a frozen network.

    Args:
        backbone: ALEXNET or VGG16; its weights start random.
        linear: for each level the weights (C,) of the squared differences of its channels.
    """

    def __init__(self, backbone: Backbone, linear: Sequence[np.ndarray]):
        super().__init__()
        self.slice_ends = backbone.slice_ends
        if backbone is ALEXNET:
            self.features = alexnet_features()
        else:
            self.features = vgg16(num_classes=-1, with_pool=False).features[: self.slice_ends[-1]]
        self.linear = [paddle.to_tensor(weights.reshape(1, -1, 1, 1)) for weights in linear]
        self.eval()

    @paddle.no_grad()
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, 3, H, W) and (B, 3, H, W) in [0, 1] -> (B,); H, W >= 31 for AlexNet, 16 for VGG16."""
        levels = zip(self._levels(first), self._levels(second), self.linear)
        return sum(
            ((a - b).square() * weights).sum(axis=1).mean(axis=[1, 2]) for a, b, weights in levels
        )

    def _levels(self, image: Tensor) -> list[Tensor]:
        """Features of unit length at every place, level by level."""
        shift, scale = (paddle.to_tensor(v).reshape([1, 3, 1, 1]) for v in (SHIFT, SCALE))
        x, levels = (2 * image - 1 - shift) / scale, []
        for begin, end in zip((0, *self.slice_ends), self.slice_ends):
            for layer in self.features[begin:end]:
                x = layer(x)
            length = x.square().sum(axis=1, keepdim=True).sqrt()
            levels.append(x / (length + EPSILON))
        return levels


def read_linear(path: Path) -> tuple[Backbone, list[np.ndarray]]:
    """The weights of the levels from a file of the lpips package, and the network they are for.

    Raises:
        UserError: it can't be read or is no such file.
    """
    state = read_weights(path)
    arrays = [state.get(f'lin{level}.model.1.weight') for level in range(5)]
    linear = [array.astype('float32').ravel() for array in arrays if array is not None]
    if len(state) == len(linear) == 5:
        for backbone in (ALEXNET, VGG16):
            if tuple(map(len, linear)) == backbone.widths:
                return backbone, linear
    raise UserError(
        f'{path}: no LPIPS weights of AlexNet or VGG16; they are alex.pth and vgg.pth in '
        "lpips/weights/v0.1 of LPIPS' repository or package"
    )


def build_lpips(weights: Sequence[Path] | None = None) -> Lpips:
    """LPIPS with its published weights.

    Args:
        weights: torchvision's file of AlexNet or VGG16, and the lpips package's for that network;
            None: those of AlexNet, downloaded once.

    Raises:
        UserError: they can't be had, or don't go together.
    """
    backbone_path, linear_path = weights or (fetch(ALEXNET_URL), fetch(LINEAR_URL))
    backbone, linear = read_linear(Path(linear_path))
    network = Lpips(backbone, linear)
    load_frozen(network, Path(backbone_path), backbone.name)
    return network


class LpipsMeasure:
    """LPIPS of 8-bit frames."""

    def __init__(self, network: Lpips):
        self._network = network

    def __call__(self, pair: FramePair) -> Tallies:
        from modules.animation.animator import to_batch

        batches = (to_batch(frame / 255) for frame in (pair.truth, pair.result))
        return {'lpips': Tally(self._network(*batches).item(), 1)}
