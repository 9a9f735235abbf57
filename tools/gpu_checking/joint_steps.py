"""Trains the small networks for three steps, alone or as one of several processes.

python tools/gpu_checking/joint_steps.py OUT.npz [--cpu]
python -m paddle.distributed.launch tools/gpu_checking/joint_steps.py OUT.npz
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from modules.runtime.process import choose_device, prepare_process

prepare_process('--cpu' in sys.argv)

import paddle

from modules.parity import record
from modules.runtime import distributed
from modules.training.trainer import Trainer
from tools.gpu_checking.small import BATCH_SIZE, SEED, small_config, small_frames

STEPS = 3
BEGINS = 'joint_steps.py begins'


def main() -> None:
    """Writes losses, weights and running statistics; by process 0."""
    print(BEGINS, file=sys.stderr, flush=True)
    choose_device('--cpu' in sys.argv)
    distributed.start()
    # A small rate: what rounding changes is not to grow from step to step.
    rates = {f'lr_{name}': 2e-5 for name in ('generator', 'kp_detector', 'discriminator')}
    config = small_config(**rates)
    config['train_params']['loss_weights'].update(perceptual=[0] * 5, pixel=10)  # quicker
    models = record.seeded_models(config, SEED, 'float64')
    losses = record.seeded_losses(config, 'float64')
    paddle.set_default_dtype('float64')  # of the transforms that the trainer draws
    trainer = Trainer(config, models, losses, SEED)
    share = BATCH_SIZE // distributed.world_size()
    mine = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    source, driving = (paddle.to_tensor(frames[mine]) for frames in small_frames())
    results: dict[str, Any] = {'world': np.array(distributed.world_size())}
    for step in range(STEPS):
        found = trainer.step(source, driving).losses
        means = distributed.mean_over_processes(paddle.stack(list(found.values())))
        results[f'loss.{step}'] = means.numpy()
    for name, network in models._asdict().items():
        for key, tensor in network.state_dict().items():
            kind = 'statistic' if key.endswith(('_mean', '_variance')) else 'weight'
            results[f'{kind}.{name}.{key}'] = tensor.numpy()
    if distributed.rank() == 0:
        np.savez(sys.argv[1], **results)


if __name__ == '__main__':
    main()
