"""Learning rates over a run."""

from collections.abc import Sequence

from paddle.optimizer.lr import MultiStepDecay


class Schedule(MultiStepDecay):
    """A rate that drops to a tenth after each milestone, and rises before, from step to step.

    Warm-up and milestones multiply: step s, counted from 0, of the first `warmup_steps` has
    (s + 1) / warmup_steps of the rate that the epoch has without. Both are functions of position
    alone, so that a run that is resumed has the rates that it would have had.

    Args:
        rate: the highest.
        milestones: epochs.
        warmup_steps: 0 for none.
    """

    def __init__(self, rate: float, milestones: Sequence[int], warmup_steps: int = 0):
        self._warmup_steps, self._steps = warmup_steps, 0
        super().__init__(rate, list(milestones), gamma=0.1)

    def get_lr(self) -> float:
        """The rate of the step at hand."""
        rate = float(super().get_lr())
        if self._steps + 1 >= self._warmup_steps:
            return rate
        return rate * (self._steps + 1) / self._warmup_steps

    def at(self, steps: int) -> None:
        """Sets the rate of the step that comes after so many."""
        self._steps = steps
        self.step(self.last_epoch)
