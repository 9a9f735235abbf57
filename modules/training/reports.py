"""What an epoch leaves for people to look at: log, pictures, curves, lines on the screen."""

from collections.abc import Mapping

import numpy as np
from paddle import Tensor

from modules.model import GeneratorStep
from modules.runtime.messages import note, warn
from modules.training.collapse import CURES, collapse
from modules.training.curves import Curves
from modules.training.loss_log import LossLog
from modules.training.run_folder import RunFolder
from modules.training.trainer import Trainer
from modules.training.validation import Validation
from modules.visualizer import Visualizer


class Reports:
    """The reports of a run; one of its processes makes them."""

    def __init__(self, folder: RunFolder, trainer: Trainer, curves: Curves, visualizer: Visualizer):
        self._folder, self._trainer, self._curves = folder, trainer, curves
        self._visualizer = visualizer
        self._collapsed: str | None = None

    def epoch(
        self,
        epoch: int,
        log: LossLog,
        settings: Mapping[str, float],
        figures: Mapping[str, float],
        drawn: np.ndarray,
    ) -> None:
        """Reports the epoch of this number, from 0.

        Args:
            log: its losses.
            settings: what its last step was taken with, as Trainer.settings gives it.
            figures: of a validation after it, or empty.
            drawn: what the networks made of its last batch.
        """
        steps = log.count + log.skipped
        if log.skipped:
            note(
                f'epoch {epoch}: {log.skipped} of {steps} steps were skipped, where float16 '
                f'overflowed; losses are now scaled by {self._trainer.scaler.scale:g}'
            )
        others = {name.replace('learning_rate/', 'lr_'): value for name, value in settings.items()}
        others.update({f'val_{name}': value for name, value in figures.items()})
        self._folder.log_epoch(epoch, log.means(), others)
        self._folder.save_picture(epoch, drawn)
        self._curves.epoch(self._trainer.step_count, drawn)

    def validation(self, epoch: int, validation: Validation, figures: Mapping[str, float]) -> None:
        """Reports a validation after so many epochs."""
        print(f'validation after epoch {epoch}: {validation.line(figures)}', flush=True)
        drawn = validation.picture(self._trainer.animating(), self._visualizer)
        if drawn is not None:
            self._folder.save_picture(epoch - 1, drawn, 'validation-vis')
        self._curves.validation(self._trainer.step_count, figures, drawn)

    def keypoints(self, value: np.ndarray) -> None:
        """Warns where the keypoints (B, K, 2) of an epoch's last batch are of no use any more, and
        those of the epoch before were.
        """
        before, self._collapsed = self._collapsed, collapse(value)
        if self._collapsed not in (None, before):
            warn(f'the keypoints {self._collapsed}; {CURES}')


def picture(
    visualizer: Visualizer, source: Tensor, driving: Tensor, step: GeneratorStep
) -> np.ndarray:
    """What the networks made of the last (or only) part of a batch."""
    count = step.generated.prediction.shape[0]
    return visualizer.visualize(
        source[-count:],
        driving[-count:],
        step.generated,
        step.kp_source,
        step.kp_driving,
        transformed_frame=step.transformed_frame,
        transformed_kp=step.transformed_kp,
    )
