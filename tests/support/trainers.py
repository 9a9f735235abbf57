"""Trainers of tiny networks, and frames for them."""

import numpy as np
import paddle

from modules.build import build_models
from modules.model import TrainingLosses
from modules.training.trainer import Trainer


def make_trainer(config, seed=0):
    paddle.seed(seed)
    return Trainer(config, build_models(config), TrainingLosses(config), seed)


def frames(count, seed=0):
    """Source and driving, (count, 3, 32, 32) each."""
    arrays = np.random.RandomState(seed).rand(2, count, 3, 32, 32).astype('float32')
    return paddle.to_tensor(arrays[0]), paddle.to_tensor(arrays[1])


def state_of(network):
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}
