"""Trains for 20 steps in float64, alone or as one of several processes; not a test by itself.

python tests/support/joint_steps.py OUT.npz
python -m paddle.distributed.launch --nproc_per_node 2 tests/support/joint_steps.py OUT.npz
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import paddle
from scipy.ndimage import zoom

sys.path[0] = str(Path(__file__).resolve().parents[2])

from modules.ops import batch_norm
from modules.parity import record
from modules.runtime import distributed
from modules.training.trainer import Trainer
from tests.support.tiny import tiny_config

STEPS, BATCH_SIZE = 20, 4


def count_calls(owner: object, *names: str) -> Counter:
    """Counts the calls of functions of a module or class by their names, from now on."""
    calls: Counter = Counter()

    def counting(name):
        function = getattr(owner, name)

        def counted(*arguments, **options):
            calls[name] += 1
            return function(*arguments, **options)

        return counted

    for name in names:
        setattr(owner, name, counting(name))
    return calls


def main() -> None:
    paddle.set_default_dtype('float64')
    messages = count_calls(paddle.distributed, 'all_reduce', 'all_gather')
    norms = count_calls(batch_norm, 'joint_batch_norm')
    distributed.start()
    rates = {f'lr_{name}': 2e-5 for name in ('generator', 'kp_detector', 'discriminator')}
    config = tiny_config(batch_size=BATCH_SIZE, **rates)
    models = record.seeded_models(config, seed=0, dtype='float64')
    trainer = Trainer(config, models, record.seeded_losses(config, 'float64'), seed=5)
    frames = np.random.RandomState(0).rand(STEPS, 2, BATCH_SIZE, 3, 8, 8)
    frames = zoom(frames, (1, 1, 1, 1, 4, 4), order=1)  # smooth: less chaos from step to step
    share = BATCH_SIZE // distributed.world_size()
    mine = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    sums = []
    for source, driving in frames:
        result = trainer.step(paddle.to_tensor(source[mine]), paddle.to_tensor(driving[mine]))
        losses = distributed.mean_over_processes(paddle.stack(list(result.losses.values())))
        sums.append(losses.numpy())
    if distributed.rank() == 0:
        state = {
            f'{name}.{key}': tensor.numpy()
            for name, network in models._asdict().items()
            for key, tensor in network.state_dict().items()
        }
        counts = {'messages': sum(messages.values()), 'norms': sum(norms.values())}
        np.savez(sys.argv[1], losses=np.array(sums), **counts, **state)


if __name__ == '__main__':
    main()
