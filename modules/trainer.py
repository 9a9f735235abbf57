"""One training step and all that has to survive between two steps."""

import contextlib
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Adam
from paddle.optimizer.lr import MultiStepDecay

from modules import distributed
from modules.build import Models
from modules.model import GeneratorStep, Losses, TrainingLosses, total_loss
from modules.transform import Transform
from modules.util import BatchNorm2D

# Under AMP these stay in float32: they carry coordinates, which bfloat16 would move by pixels.
_FLOAT32_OPS = {'matmul', 'matmul_v2', 'grid_sample', 'inverse', 'softmax', 'sigmoid'}


class StepResult(NamedTuple):
    """What one training step gives the log."""

    losses: Dict[str, Tensor]  # weighted scalars, generator's first
    last: GeneratorStep  # of the last (or only) part of the batch, for pictures


class Trainer:
    """Networks, losses, optimizers and schedules of a run.

    Args:
        config: a checked config.
        models: the networks; where a learning rate is 0 the network's weights are frozen.
        losses: of the same config.
        seed: of the transforms' noise, which is drawn anew from (seed, step) at every step.
    """

    def __init__(
        self, config: Mapping[str, Any], models: Models, losses: TrainingLosses, seed: int = 0
    ):
        params = config['train_params']
        self.models = models.train()
        self.losses = losses
        self.seed = seed
        self.step_count = 0
        self.batch_size = params['batch_size']
        self.accumulation_steps = params['accumulation_steps']
        self.freeze_batch_norm = params['freeze_batch_norm']
        self.amp_dtype = {'bf16': 'bfloat16', 'fp16': 'float16'}.get(params['amp'])
        # Off the GPU the scaler passes everything through, as auto_cast does.
        self.scaler = paddle.amp.GradScaler(enable=self.amp_dtype == 'float16')
        self.optimizers: Dict[str, Adam] = {}
        for name, network in models._asdict().items():
            rate = params[f'lr_{name}']
            if rate == 0:
                freeze(network)
            elif name != 'discriminator' or losses.adversarial:
                self.optimizers[name] = self._adam(name, network, rate, params['epoch_milestones'])

    @staticmethod
    def _adam(name: str, network: nn.Layer, rate: float, milestones: List[int]) -> Adam:
        for key, parameter in network.named_parameters():
            parameter.name = f'{name}.{key}'  # the optimizer's state is kept by these names
        return Adam(
            MultiStepDecay(rate, milestones, gamma=0.1),
            beta1=0.5,
            beta2=0.999,
            epsilon=1e-8,
            parameters=[p for p in network.parameters() if not p.stop_gradient],
        )

    def draw_transform(self) -> Optional[Transform]:
        """The transforms of this step's joint batch, cut to this process's share of it."""
        rng = np.random.default_rng([self.seed, self.step_count])
        transform = self.losses.random_transform(rng, self.batch_size)
        share = self.batch_size // distributed.world_size()
        begin = distributed.rank() * share
        return None if transform is None else transform[begin : begin + share]

    def step(
        self, source: Tensor, driving: Tensor, transform: Optional[Transform] = None
    ) -> StepResult:
        """One update of all networks, as the official loop does it.

        Args:
            source, driving: (B, C, H, W) in [0, 1], this process's share of the batch.
            transform: of the B samples; drawn for this step if None.
        """
        transform = self.draw_transform() if transform is None else transform
        parts = self._parts(source, driving, transform)
        done: List[Tuple[Tensor, GeneratorStep]] = []
        for part_source, part_driving, part_transform in parts:
            with self._autocast():
                part = self.losses.generator_step(
                    self.models, part_source, part_driving, part_transform
                )
            self._backward(part.losses)
            done.append((part_driving, part.detach()))
        self._update('generator', 'kp_detector')
        losses = mean_losses([part.losses for _, part in done])

        if 'discriminator' in self.optimizers:
            of_parts = []
            for part_driving, part in done:
                with self._autocast():
                    disc_losses = self.losses.discriminator_step(
                        self.models, part_driving, part.generated.prediction, part.kp_driving
                    )
                self._backward(disc_losses)
                of_parts.append({name: loss.detach() for name, loss in disc_losses.items()})
            self._update('discriminator')
            losses.update(mean_losses(of_parts))
        self.step_count += 1
        return StepResult(losses, done[-1][1])

    def has_finite_weights(self) -> bool:
        parameters = (p for network in self.models for p in network.parameters())
        return all(paddle.isfinite(p).all().item() for p in parameters)

    def begin_epoch(self, epoch: int) -> None:
        """Fixes the statistics of batch norm from train_params.freeze_batch_norm on."""
        if self.freeze_batch_norm is None or epoch < self.freeze_batch_norm:
            return
        for network in self.models:
            for layer in network.sublayers():
                if isinstance(layer, BatchNorm2D):
                    layer.eval()

    def learning_rates(self) -> Dict[str, float]:
        """The current rate of each network that is trained."""
        return {name: optimizer.get_lr() for name, optimizer in self.optimizers.items()}

    def end_epoch(self) -> None:
        """Moves the learning-rate schedules on."""
        for optimizer in self.optimizers.values():
            optimizer._learning_rate.step()

    def _parts(self, source: Tensor, driving: Tensor, transform: Optional[Transform]):
        """The batch in `accumulation_steps` equal parts."""
        size = source.shape[0] // self.accumulation_steps
        for begin in range(0, size * self.accumulation_steps, size):
            samples = slice(begin, begin + size)
            yield source[samples], driving[samples], transform and transform[samples]

    def _autocast(self):
        if self.amp_dtype is None:
            return contextlib.nullcontext()
        return paddle.amp.auto_cast(
            level='O1', dtype=self.amp_dtype, custom_black_list=_FLOAT32_OPS
        )

    def _backward(self, losses: Losses) -> None:
        total = total_loss(losses) / self.accumulation_steps
        self.scaler.scale(total).backward()

    def _update(self, *names: str) -> None:
        """Steps the optimizers of these networks on the mean gradient of all processes."""
        optimizers = [self.optimizers[name] for name in names if name in self.optimizers]
        for optimizer in optimizers:
            distributed.average_gradients(optimizer._parameter_list)
            # The first step names the optimizer's tensors; names that count up with every trainer
            # of the process would not fit those of a checkpoint.
            with paddle.utils.unique_name.guard():
                self.scaler.step(optimizer)
        if optimizers:
            self.scaler.update()
        for name in names:
            getattr(self.models, name).clear_gradients()

    # --- what a checkpoint holds beside the networks ---

    def state(self) -> Tuple[Dict[str, np.ndarray], Dict[str, Any]]:
        """The optimizers' tensors and everything else as JSON."""
        tensors: Dict[str, np.ndarray] = {}
        schedules: Dict[str, Any] = {}
        for name, optimizer in self.optimizers.items():
            state = optimizer.state_dict()
            schedules[name] = state.pop('LR_Scheduler')
            state.pop('master_weights', None)
            tensors.update({f'optimizer_{name}/{key}': t.numpy() for key, t in state.items()})
        meta = {
            'step_count': self.step_count,
            'seed': self.seed,
            'schedules': schedules,
            'scaler': {key: _plain(value) for key, value in self.scaler.state_dict().items()},
        }
        return tensors, meta

    def load_state(self, tensors: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> List[str]:
        """Restores `state`.

        Returns:
            The networks whose optimizer the checkpoint does not hold; theirs start anew.
        """
        absent = []
        for name, optimizer in self.optimizers.items():
            prefix = f'optimizer_{name}/'
            state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            if name not in meta['schedules']:
                absent.append(name)
                continue
            # There are no tensors of a network to which no loss has led.
            state = {key: paddle.to_tensor(value) for key, value in state.items()}
            optimizer.set_state_dict({**state, 'LR_Scheduler': dict(meta['schedules'][name])})
        self.step_count = meta['step_count']
        self.seed = meta['seed']
        if meta['scaler']:
            self.scaler.load_state_dict(dict(meta['scaler']))
        return absent


def freeze(network: nn.Layer) -> None:
    """No gradient for the network's weights; batch norm statistics go on, as officially."""
    for parameter in network.parameters():
        parameter.stop_gradient = True


def mean_losses(parts: List[Losses]) -> Dict[str, Tensor]:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, 'item') else value
