"""VGG19 features for the perceptual loss (Johnson et al. 2016; paper Sec. 3.3)."""

import paddle
from paddle import Tensor, nn
from paddle.vision.models import vgg19

from modules.ops.convolution import frozen_conv2d_relu
from modules.runtime.seeding import seeded_value

# The features after relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 end at these layers.
SLICE_ENDS = (2, 7, 12, 21, 30)


class Vgg19(nn.Layer):
    """The five feature levels of VGG19, frozen. Its weights start random: load or seed them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = vgg19(num_classes=-1, with_pool=False).features[: SLICE_ENDS[-1]]
        for name, values in (('mean', [0.485, 0.456, 0.406]), ('std', [0.229, 0.224, 0.225])):
            self.register_buffer(name, paddle.to_tensor(values).reshape([1, 3, 1, 1]))
        for parameter in self.parameters():
            parameter.stop_gradient = True
        self.eval()

    def forward(self, image: Tensor, levels: int = 5) -> list[Tensor]:
        """(B, 3, H, W) in [0, 1] -> the first `levels` feature maps; H, W >= 16 for all five."""
        x = (image - self.mean) / self.std
        outs = []
        for begin, end in zip((0, *SLICE_ENDS), SLICE_ENDS[:levels]):
            for layer in self.features[begin:end]:
                if isinstance(layer, nn.Conv2D):
                    x = frozen_conv2d_relu(x, layer.weight, layer.bias)
                elif not isinstance(layer, nn.ReLU):  # which is done already
                    x = layer(x)
            outs.append(x)
        return outs

    def seed(self) -> None:
        """Takes seeded random weights, He-scaled so that features keep their size with depth."""
        for name, parameter in self.named_parameters():
            value = seeded_value(f'vgg19.{name}', tuple(parameter.shape), seed=0)
            parameter.set_value(value * 2**0.5 if name.endswith('weight') else value)
