"""An exponential moving average of the weights, which animates better than the last ones."""

import copy
from collections.abc import Mapping

import numpy as np
import paddle
from paddle import Tensor, nn

from modules.build import Models
from modules.checkpoints.models import ANIMATING

PREFIX = 'unaveraged_'  # of the names in a checkpoint


class WeightAverage:
    """The average of generator and keypoint detector, batch norm's running statistics included.

    After update n, counted from 0, a share of 1 - min(decay, (1 + n) / (10 + n)) of it is new: the
    average of a young run does not hang on to its first weights.

    Args:
        models: networks that are trained; their weights as they are now are the average.
        decay: in [0, 1); 0.999 averages over about a thousand steps.

    Attributes:
        models: the averaged networks, in eval mode, beside the discriminator that is trained.
        updates: how many there were.
    """

    def __init__(self, models: Models, decay: float):
        self._trained = {name: getattr(models, name) for name in ANIMATING}
        averaged = {name: _copied(network) for name, network in self._trained.items()}
        self.models = models._replace(**averaged)
        self._decay = decay
        self.updates = 0

    def _pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Each tensor of the average and the trained one; Paddle's running statistics are among a
        layer's parameters.
        """
        return [
            pair
            for name, network in self._trained.items()
            for pair in zip(getattr(self.models, name).parameters(), network.parameters())
        ]

    @paddle.no_grad()
    def update(self) -> None:
        """Takes in the weights as a step has left them."""
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        for average, trained in self._pairs():
            average.add_((trained - average) * (1 - decay))  # what stands still stays, to the bit
        self.updates += 1

    @paddle.no_grad()
    def restart(self, updates: int) -> None:
        """The trained weights as they are now become the average, after so many updates."""
        for average, trained in self._pairs():
            average.set_value(trained)
        self.updates = updates


def _copied(network: nn.Layer) -> nn.Layer:
    copied = copy.deepcopy(network)
    for parameter in copied.parameters():
        parameter.stop_gradient = True
    return copied.eval()


def unaveraged_state(models: Models) -> dict[str, np.ndarray]:
    """The trained weights of what is averaged, for a checkpoint whose networks are the average."""
    return {
        f'{PREFIX}{name}/{key}': tensor.numpy()
        for name in ANIMATING
        for key, tensor in getattr(models, name).state_dict().items()
    }


def load_unaveraged(models: Models, tensors: Mapping[str, np.ndarray]) -> None:
    """Restores `unaveraged_state`; nothing where a checkpoint has none.

    Raises:
        ValueError: it has a part of them, or they are of another shape.
    """
    if not any(name.startswith(PREFIX) for name in tensors):
        return
    for name in ANIMATING:
        for key, tensor in getattr(models, name).state_dict().items():
            held = tensors.get(f'{PREFIX}{name}/{key}')
            if held is None or held.shape != tuple(tensor.shape):
                raise ValueError(f'{PREFIX}{name}/{key}')
            tensor.set_value(paddle.to_tensor(held, tensor.dtype))
