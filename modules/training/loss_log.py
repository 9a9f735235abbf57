"""The losses of an epoch, as they come from the device."""

from collections.abc import Callable, Mapping

import numpy as np
import paddle
from paddle import Tensor

from modules.runtime.distributed import mean_over_processes
from modules.runtime.errors import UserError
from modules.training.run_folder import Progress, RunFolder


class LossLog:
    """Sums of the losses of an epoch, fetched from the device one step late, so that none waits.

    Args:
        folder: of the run.
        progress: tells of the epoch's steps before.
        observe: is told the number of each step and its losses, once they are fetched.

    Attributes:
        sums, count: of the steps that changed the networks.
        skipped: how many steps did not.

    Raises (from every method):
        UserError: a loss is not finite.
    """

    def __init__(
        self,
        folder: RunFolder,
        progress: Progress,
        observe: Callable[[int, Mapping[str, float]], None],
    ):
        self.folder = folder
        self.observe = observe
        self.sums = dict(progress.loss_sums)
        self.skipped = progress.skipped
        self.count = progress.batch - progress.skipped
        self.latest: dict[str, float] = {}
        self._pending: tuple[int, list[str], Tensor, bool] | None = None

    def add(self, step: int, losses: Mapping[str, Tensor], skipped: bool) -> None:
        """Notes a step's losses, and fetches those of the step before.

        Args:
            skipped: as StepResult has it. Losses of such a step need not be finite, nor do they
                count.
        """
        values = mean_over_processes(paddle.stack(list(losses.values())).astype('float64'))
        self.fetch()
        self._pending = (step, list(losses), values, skipped)

    def fetch(self) -> None:
        """Brings `sums` and `latest` up to date with losses that are still on the device."""
        if self._pending is None:
            return
        step, names, values, skipped = self._pending
        self._pending = None
        if skipped:
            self.skipped += 1
            return
        self.latest = latest = dict(zip(names, values.tolist()))
        if not np.isfinite(list(latest.values())).all():
            raise self.diverged(step)
        for name, value in latest.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count += 1
        self.observe(step, latest)

    def diverged(self, step: int) -> UserError:
        """What to say of a run whose losses or weights are not finite any more."""
        losses = ', '.join(f'{name} {value:g}' for name, value in self.latest.items())
        saved = self.folder.checkpoints()
        return UserError(
            f'training diverged at step {step} ({losses}); the last good checkpoint is '
            f'{saved[-1] if saved else "none"}; try a lower learning rate'
        )

    def means(self) -> dict[str, float]:
        self.fetch()
        return {name: total / self.count for name, total in self.sums.items()}
