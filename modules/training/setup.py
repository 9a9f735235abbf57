"""A trainer as a config asks for it."""

from collections.abc import Mapping
from typing import Any

import paddle

from modules.build import build_models
from modules.checkpoints.frozen import build_vgg
from modules.checkpoints.models import load_models
from modules.model import TrainingLosses
from modules.ops import precision
from modules.runtime.messages import note
from modules.training.trainer import Trainer


def build_trainer(config: Mapping[str, Any], checkpoint: str | None, seed: int) -> Trainer:
    """Networks, losses and optimizers; weights from a checkpoint or ckpt_model where given.

    Args:
        seed: of weights that are not given, and as for Trainer.
    """
    paddle.seed(seed)
    models = build_models(config)
    if checkpoint or any(config['ckpt_model'].values()):
        for name in load_models(config, models, checkpoint, rescaled=True):
            print(f'{name}: not in the checkpoint, starts from random weights')
        print('optimizers: start anew')
    vgg, params = None, config['train_params']
    if any(params['loss_weights']['perceptual']):
        vgg = build_vgg(params['vgg19_weights'])
        if params['vgg19_weights'] == 'random':
            note('the perceptual loss compares features of a random VGG19, as the config asks')
    return Trainer(config, models, TrainingLosses(config, vgg), seed)


def check_amp(amp: str | None) -> None:
    """Says so where mixed precision has no effect.

    Raises:
        UserError: this GPU lacks it.
    """
    dtype = precision.DTYPES.get(amp or 'fp32')
    if amp is not None and not (precision.has_effect() or precision.lowers_convolutions(dtype)):
        lack = ': it has no instructions for it' if amp == 'bf16' else ''
        note(f'amp: {amp} has no effect on this CPU{lack}')
    precision.check_capability('amp', amp, precision.gpu_capability())
