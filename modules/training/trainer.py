"""One training step and all that has to survive between two steps."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor, nn
from paddle.optimizer import Adam

from modules.build import Models
from modules.model import GeneratorStep, Losses, TrainingLosses, total_loss
from modules.ops import precision
from modules.runtime import distributed
from modules.training.averaging import WeightAverage, load_unaveraged, unaveraged_state
from modules.training.loss_scaler import LossScaler
from modules.training.schedule import Schedule
from modules.transform import Transform
from modules.util import BatchNorm2D


class StepResult(NamedTuple):
    """What one training step gives the log."""

    losses: dict[str, Tensor]  # weighted scalars, generator's first
    last: GeneratorStep  # of the last (or only) part of the batch, for pictures
    skipped: bool = False  # float16 overflowed: nothing was changed, and losses may be infinite


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
        self.amp_dtype = precision.DTYPES.get(params['amp'])
        self.scaler = LossScaler(self.amp_dtype == 'float16' and precision.has_effect())
        self.statistics = statistics(models)
        self.clip_grad_norm = params['clip_grad_norm']
        self.gradient_norms: dict[str, Tensor] = {}
        decay = params['ema_decay']
        self.average = None if decay is None else WeightAverage(models, decay)
        self.optimizers: dict[str, Adam] = {}
        for name, network in models._asdict().items():
            rate = params[f'lr_{name}']
            if rate == 0:
                freeze(network)
            elif name != 'discriminator' or losses.adversarial:
                schedule = Schedule(rate, params['epoch_milestones'], params['warmup_steps'])
                self.optimizers[name] = self._adam(name, network, schedule)

    @staticmethod
    def _adam(name: str, network: nn.Layer, schedule: Schedule) -> Adam:
        for key, parameter in network.named_parameters():
            parameter.name = f'{name}.{key}'  # the optimizer's state is kept by these names
        return Adam(
            schedule,
            beta1=0.5,
            beta2=0.999,
            epsilon=1e-8,
            parameters=[p for p in network.parameters() if not p.stop_gradient],
        )

    def draw_transform(self) -> Transform | None:
        """The transforms of this step's joint batch, cut to this process's share of it."""
        rng = np.random.default_rng([self.seed, self.step_count])
        transform = self.losses.random_transform(rng, self.batch_size)
        share = self.batch_size // distributed.world_size()
        begin = distributed.rank() * share
        return None if transform is None else transform[begin : begin + share]

    def step(
        self, source: Tensor, driving: Tensor, transform: Transform | None = None
    ) -> StepResult:
        """One update of all networks, with the official loop's numbers.

        The official loop updates the generator before it computes the discriminator's losses; they
        do not depend on that, since they are of the prediction made before. Here all gradients
        come first, so that all networks are updated or, where float16 overflowed, none.

        Args:
            source, driving: (B, C, H, W) in [0, 1], this process's share of the batch.
            transform: of the B samples; drawn for this step if None.

        Raises:
            FloatingPointError: float16 overflows at any scale of the loss.
        """
        for optimizer in self.optimizers.values():
            optimizer._learning_rate.at(self.step_count)
        transform = self.draw_transform() if transform is None else transform
        before = [tensor.clone() for tensor in self.statistics] if self.scaler.enabled else []
        done: list[tuple[Tensor, GeneratorStep]] = []
        for part_source, part_driving, part_transform in self._parts(source, driving, transform):
            with precision.autocast(self.amp_dtype):
                part = self.losses.generator_step(
                    self.models, part_source, part_driving, part_transform
                )
            self._backward(part.losses)
            done.append((part_driving, part.detach()))
        losses = mean_losses([part.losses for _, part in done])

        if 'discriminator' in self.optimizers:
            of_parts = []
            for part_driving, part in done:
                with precision.autocast(self.amp_dtype):
                    disc_losses = self.losses.discriminator_step(
                        self.models, part_driving, part.generated.prediction, part.kp_driving
                    )
                self._backward(disc_losses)
                of_parts.append({name: loss.detach() for name, loss in disc_losses.items()})
            losses.update(mean_losses(of_parts))
        updated = self._update()
        if not updated:  # else an infinity would stay in the running statistics for ever
            for tensor, value in zip(self.statistics, before):
                tensor.set_value(value)
        elif self.average is not None:
            self.average.update()
        self.step_count += 1
        return StepResult(losses, done[-1][1], skipped=not updated)

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

    def animating(self) -> Models:
        """The networks to animate with: the average, where there is one."""
        return self.models if self.average is None else self.average.models

    def learning_rates(self) -> dict[str, float]:
        """The current rate of each network that is trained."""
        return {name: optimizer.get_lr() for name, optimizer in self.optimizers.items()}

    def settings(self) -> dict[str, float]:
        """What the last step was taken with, and the next one's scale of the losses, by name."""
        rates = {f'learning_rate/{name}': rate for name, rate in self.learning_rates().items()}
        return {**rates, 'loss_scale': self.scaler.scale} if self.scaler.enabled else rates

    def end_epoch(self) -> None:
        """Moves the learning-rate schedules on."""
        for optimizer in self.optimizers.values():
            optimizer._learning_rate.step()

    def _parts(
        self, source: Tensor, driving: Tensor, transform: Transform | None
    ) -> Iterator[tuple[Tensor, Tensor, Transform | None]]:
        """The batch in `accumulation_steps` equal parts."""
        size, rest = divmod(source.shape[0], self.accumulation_steps)
        if rest or not size:
            raise ValueError(f'{source.shape[0]} samples in {self.accumulation_steps} equal parts')
        for begin in range(0, source.shape[0], size):
            samples = slice(begin, begin + size)
            yield source[samples], driving[samples], transform and transform[samples]

    def _backward(self, losses: Losses) -> None:
        self.scaler.scaled(total_loss(losses) / self.accumulation_steps).backward()

    def _update(self) -> bool:
        """Steps all optimizers on the mean gradient of all processes, or none if it overflowed.

        Returns:
            Whether they stepped.
        """
        optimizers = self.optimizers.values()
        parameters = [p for optimizer in optimizers for p in optimizer._parameter_list]
        distributed.average_gradients(parameters)
        finite = self.scaler.unscale(parameters)
        self.gradient_norms = {}
        if finite:
            for name, optimizer in self.optimizers.items():
                if self.clip_grad_norm is not None:
                    self.gradient_norms[f'gradient_norm/{name}'] = nn.utils.clip_grad_norm_(
                        optimizer._parameter_list, self.clip_grad_norm
                    )
                # The first step names the optimizer's tensors; names that count up with every
                # trainer of the process would not fit those of a checkpoint.
                with paddle.utils.unique_name.guard():
                    optimizer.step()
        for network in self.models:
            network.clear_gradients(set_to_zero=False)  # zeros would lie there all the next step
        return finite

    # --- what a checkpoint holds beside the networks ---

    def state(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """The optimizers' tensors and everything else as JSON.

        Beside them a checkpoint holds `animating()`. Where that is an average, the weights that are
        trained are here.
        """
        tensors: dict[str, np.ndarray] = {}
        schedules: dict[str, Any] = {}
        for name, optimizer in self.optimizers.items():
            state = optimizer.state_dict()
            schedules[name] = state.pop('LR_Scheduler')
            state.pop('master_weights', None)
            tensors.update({f'optimizer_{name}/{key}': t.numpy() for key, t in state.items()})
        meta = {
            'step_count': self.step_count,
            'seed': self.seed,
            'schedules': schedules,
            'scaler': self.scaler.state(),
        }
        if self.average is not None:
            tensors.update(unaveraged_state(self.models))
            meta['averaged_updates'] = self.average.updates
        return tensors, meta

    def load_state(self, tensors: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> list[str]:
        """Restores `state`; the networks hold already what the checkpoint has of them.

        Returns:
            The networks whose optimizer the checkpoint does not hold; theirs start anew.

        Raises:
            ValueError: the weights beside an average are not whole.
        """
        if self.average is not None:  # where the checkpoint has none, it begins here
            self.average.restart(meta.get('averaged_updates', 0))
        load_unaveraged(self.models, tensors)
        absent = []
        self.step_count = meta['step_count']
        for name, optimizer in self.optimizers.items():
            prefix = f'optimizer_{name}/'
            state = {
                key[len(prefix) :]: paddle.to_tensor(value)
                for key, value in tensors.items()
                if key.startswith(prefix)
            }
            if name not in meta['schedules']:
                absent.append(name)
                continue
            optimizer.set_state_dict({**state, 'LR_Scheduler': dict(meta['schedules'][name])})
            # What is restored is the last rate; of the config's, that may be another by now.
            optimizer._learning_rate.at(self.step_count)
        self.seed = meta['seed']
        self.scaler.load_state(meta.get('scaler', {}))
        return absent


def freeze(network: nn.Layer) -> None:
    """No gradient for the network's weights; batch norm statistics go on, as officially."""
    for parameter in network.parameters():
        parameter.stop_gradient = True


def statistics(models: Models) -> list[Tensor]:
    """What a forward pass in training mode changes: running statistics, spectral norm's vectors."""
    buffers = [buffer for network in models for buffer in network.buffers()]
    layers = [layer for network in models for layer in network.sublayers()]
    norms = [layer for layer in layers if isinstance(layer, BatchNorm2D)]
    return [*buffers, *(t for norm in norms for t in (norm._mean, norm._variance))]


def mean_losses(parts: list[Losses]) -> dict[str, Tensor]:
    return {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
