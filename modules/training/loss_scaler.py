"""Loss scaling for training in float16 (Micikevicius et al. 2018, Sec. 3.2)."""

from collections.abc import Iterable, Mapping
from typing import Any

import paddle
from paddle import Tensor

from modules.runtime import distributed

# The policy and its numbers are those of paddle.amp.GradScaler.
INITIAL_SCALE = 2.0**16
GROWTH, GROWTH_STEPS = 2.0, 2000  # after so many steps without an overflow the scale grows
BACKOFF = 0.5  # after a step with one
SMALLEST_SCALE = 1.0


class LossScaler:
    """Multiplies losses, so that gradients don't vanish in float16, and divides gradients again.

    A step whose gradients overflow, in whichever network or process, is left out as a whole, and
    the scale is halved. paddle.amp.GradScaler decides for each optimizer on its own, and is
    switched off for good by an autocast to bfloat16 anywhere in the process.

    Args:
        enabled: False makes it do, and cost, nothing.

    Attributes:
        scale: of the losses of the next step.
        good_steps: without an overflow since the scale last changed.
    """

    def __init__(self, enabled: bool = True):
        self.enabled = enabled
        self.scale = INITIAL_SCALE
        self.good_steps = 0

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to call backward on."""
        return loss * self.scale if self.enabled else loss

    def unscale(self, parameters: Iterable[Tensor]) -> bool:
        """Divides the gradients of one step, of all networks, by the scale, and sets the next one.

        Args:
            parameters: of all networks that the step would change, in one precision.

        Returns:
            Whether all are finite, in all processes. If not they are of no use.

        Raises:
            FloatingPointError: they overflow even without scaling: training has diverged.
        """
        if not self.enabled:
            return True
        parameters = [p for p in parameters if p.grad is not None]
        for parameter in parameters:
            if not parameter.grad.is_contiguous():  # Paddle's operation would mix up its values
                parameter.grad = parameter.grad.contiguous()
        gradients = [parameter.grad for parameter in parameters]
        scale = paddle.to_tensor([self.scale], gradients[0].dtype)
        _, overflow = paddle._C_ops.check_finite_and_unscale_(gradients, scale)
        finite = not distributed.any_process(overflow.item())
        self._adapt(finite)
        return finite

    def _adapt(self, finite: bool) -> None:
        if finite:
            self.good_steps += 1
            if self.good_steps == GROWTH_STEPS:
                self.scale, self.good_steps = self.scale * GROWTH, 0
            return
        if self.scale <= SMALLEST_SCALE:
            raise FloatingPointError('gradients are not finite, though the loss is not scaled')
        self.scale, self.good_steps = max(self.scale * BACKOFF, SMALLEST_SCALE), 0

    # --- what a checkpoint holds, under the keys of paddle.amp.GradScaler ---

    def state(self) -> dict[str, Any]:
        """Empty where it is not enabled."""
        return {'scale': self.scale, 'incr_count': self.good_steps} if self.enabled else {}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores `state`; an empty one changes nothing."""
        self.scale = float(state.get('scale', self.scale))
        self.good_steps = int(state.get('incr_count', self.good_steps))
