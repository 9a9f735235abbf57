"""VGG19 features for the perceptual loss (Johnson et al. 2016; paper Sec. 3.3)."""

from pathlib import Path
from typing import List

import paddle
from paddle import Tensor, nn
from paddle.vision.models import vgg19

from modules import onednn
from modules.checkpoint_file import read_weights
from modules.cli import UserError
from modules.download import fetch
from modules.seeding import seeded_value
from modules.util import conv2d

# The features after relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 end at these layers.
SLICE_ENDS = (2, 7, 12, 21, 30)
IMAGENET_URL = 'https://paddle-hapi.bj.bcebos.com/models/vgg19.pdparams'  # paddle.vision's


class Vgg19(nn.Layer):
    """The five feature levels of VGG19, frozen. Its weights start random: load or seed them."""

    def __init__(self):
        super().__init__()
        self.features = vgg19(num_classes=-1, with_pool=False).features[: SLICE_ENDS[-1]]
        for name, values in (('mean', [0.485, 0.456, 0.406]), ('std', [0.229, 0.224, 0.225])):
            self.register_buffer(name, paddle.to_tensor(values).reshape([1, 3, 1, 1]))
        for parameter in self.parameters():
            parameter.stop_gradient = True
        self.eval()

    def forward(self, image: Tensor, levels: int = 5) -> List[Tensor]:
        """(B, 3, H, W) in [0, 1] -> the first `levels` feature maps; H, W >= 16 for all five."""
        x = (image - self.mean) / self.std
        outs = []
        for begin, end in zip((0, *SLICE_ENDS), SLICE_ENDS[:levels]):
            for layer in self.features[begin:end]:
                fused = onednn.serves(x)
                if isinstance(layer, nn.Conv2D):
                    if fused:
                        x = onednn.frozen_conv2d_relu(x, layer.weight, layer.bias)
                    else:
                        x = conv2d(x, layer.weight, layer.bias, layer._updated_padding[0])
                elif not (fused and isinstance(layer, nn.ReLU)):
                    x = layer(x)
            outs.append(x)
        return outs

    def load(self, path: Path) -> None:
        """Takes the convolutions of a VGG19 file of Paddle's or torchvision's.

        Raises:
            UserError: it can't be read or is no VGG19.
        """
        load_frozen(self, path, 'VGG19')

    def seed(self) -> None:
        """Takes seeded random weights, He-scaled so that features keep their size with depth."""
        for name, parameter in self.named_parameters():
            value = seeded_value(f'vgg19.{name}', tuple(parameter.shape), seed=0)
            parameter.set_value(value * 2**0.5 if name.endswith('weight') else value)


def load_frozen(network: nn.Layer, path: Path, kind: str) -> None:
    """Gives all parameters of a network the arrays of their names in a file, which may hold more.

    Raises:
        UserError: the file can't be read, or a name or shape shows that it is of no such `kind`.
    """
    state = read_weights(path)
    for name, parameter in network.named_parameters():
        array = state.get(name)
        if array is None or list(array.shape) != parameter.shape:
            found = 'is missing' if array is None else f'has shape {tuple(array.shape)}'
            raise UserError(
                f'{path}: no {kind} weights: {name} {found}, wanted {tuple(parameter.shape)}'
            )
        parameter.set_value(array.astype('float32'))


def build_vgg(weights: str) -> Vgg19:
    """VGG19 with the weights that train_params.vgg19_weights names.

    Args:
        weights: 'imagenet' (paddle.vision's, downloaded once), 'random' (seeded), or a file.
    """
    vgg = Vgg19()
    if weights == 'random':
        vgg.seed()
    elif weights == 'imagenet':
        vgg.load(fetch(IMAGENET_URL))
    else:
        vgg.load(Path(weights))
    return vgg
