"""Trains for 20 steps in float64, alone or as one of several processes; not a test by itself.

Writes losses, weights and statistics, what batch norm alone makes of a batch, and how many messages
and batch norms a step has.

python tests/support/joint_steps.py OUT.npz
python -m paddle.distributed.launch --nproc_per_node 2 tests/support/joint_steps.py OUT.npz
"""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paddle
import paddle.distributed as dist
from scipy.ndimage import zoom

sys.path[0] = str(Path(__file__).resolve().parents[2])

from modules.ops import batch_norm
from modules.parity import record
from modules.runtime import distributed
from modules.training.trainer import Trainer
from modules.util import BatchNorm2D
from tests.support.tiny import tiny_config

STEPS, BATCH_SIZE = 20, 4


def my_share(batch: np.ndarray) -> paddle.Tensor:
    """This process's part of a joint batch."""
    share = len(batch) // distributed.world_size()
    return paddle.to_tensor(batch[distributed.rank() * share :][:share])


def whole(share: paddle.Tensor) -> paddle.Tensor:
    """The shares of all processes as one batch."""
    alone = distributed.world_size() == 1
    return share if alone else distributed.gathered(share).flatten(0, 1)


def counted(calls: Counter, owner: object, name: str) -> None:
    """Counts the calls of a function."""
    function: Callable = getattr(owner, name)

    def call(*args, **options):
        calls[name] += 1
        return function(*args, **options)

    setattr(owner, name, call)


def norm_arrays() -> dict[str, np.ndarray]:
    """What batch norm makes of values far from 0, its gradients and its statistics."""
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(BATCH_SIZE, 3, 5, 6)) * [[[[1]], [[0.1]], [[30]]]] + 1e5
    weights = rng.normal(size=batch.shape)
    norm, x = BatchNorm2D(3).train(), my_share(batch)
    norm.weight.set_value(paddle.to_tensor([1.0, -2.0, 0.5]))
    x.stop_gradient = False
    y = norm(x)
    (y * my_share(weights)).mean().backward()
    distributed.average_gradients(norm.parameters())
    dx = x.grad / distributed.world_size()  # of the mean over the joint batch
    joint = {'y': whole(y), 'dx': whole(dx)}
    own = {'dweight': norm.weight.grad, 'dbias': norm.bias.grad}
    statistics = {'mean': norm._mean, 'variance': norm._variance}
    return {f'norm.{k}': t.numpy() for k, t in {**joint, **own, **statistics}.items()}


def main() -> None:
    paddle.set_default_dtype('float64')
    distributed.start()
    arrays = norm_arrays()
    calls: Counter = Counter()
    for owner, name in (
        (dist, 'all_reduce'),
        (dist, 'all_gather'),
        (batch_norm, 'joint_batch_norm'),
    ):
        counted(calls, owner, name)
    rates = {f'lr_{name}': 2e-5 for name in ('generator', 'kp_detector', 'discriminator')}
    config = tiny_config(batch_size=BATCH_SIZE, **rates)
    models = record.seeded_models(config, seed=0, dtype='float64')
    trainer = Trainer(config, models, record.seeded_losses(config, 'float64'), seed=5)
    frames = np.random.RandomState(0).rand(STEPS, 2, BATCH_SIZE, 3, 8, 8)
    frames = zoom(frames, (1, 1, 1, 1, 4, 4), order=1)  # smooth: less chaos from step to step
    sums = []
    for source, driving in frames:
        calls.clear()
        result = trainer.step(my_share(source), my_share(driving))
        arrays['calls'] = np.array([calls[name] for name in ('all_gather', 'all_reduce')])
        arrays['norms'] = np.array(calls['joint_batch_norm'])
        losses = distributed.mean_over_processes(paddle.stack(list(result.losses.values())))
        sums.append(losses.numpy())
    if distributed.rank() == 0:
        state = {
            f'{name}.{key}': tensor.numpy()
            for name, network in models._asdict().items()
            for key, tensor in network.state_dict().items()
        }
        np.savez(sys.argv[1], losses=np.array(sums), **arrays, **state)


if __name__ == '__main__':
    main()
