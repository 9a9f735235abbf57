"""The training loop: step, log, save."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import paddle
from paddle import Tensor

from frames_dataset import FramesDataset
from modules.data.loader import TrainingOrder, make_loader
from modules.model import GeneratorStep
from modules.runtime import distributed
from modules.runtime.messages import note
from modules.runtime.process import cores_of_process, ending_signals
from modules.training.curves import Curves, Scalars
from modules.training.loss_log import LossLog
from modules.training.progress_bar import ProgressBar
from modules.training.run_folder import Progress, RunFolder
from modules.training.trainer import StepResult, Trainer
from modules.visualizer import Visualizer

STOPPING = b'\nstopping after this step, with a checkpoint; a second signal ends at once, without\n'


class Stop:
    """Notes SIGINT, SIGTERM and SIGHUP, so that the step under way ends before the run does.

    Args:
        told: say what is waited for.
    """

    def __init__(self, told: bool = True) -> None:
        self.signal: int | None = None
        self._told = told
        for number in (signal.SIGINT, *ending_signals()):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if self.signal is not None:  # asked twice: do not wait for the step
            sys.exit(128 + number)
        self.signal = number
        if self._told:
            with contextlib.suppress(OSError):  # a print might interrupt another
                os.write(1, STOPPING)

    def leave(self) -> NoReturn:
        """Ends this process; one that got no signal itself follows another that did."""
        sys.exit(128 + (self.signal or signal.SIGTERM))


def checked_step(trainer: Trainer, source: Tensor, driving: Tensor, log: LossLog) -> StepResult:
    """A step; where infinite weights make an operation fail, the divergence is what is reported."""
    try:
        return trainer.step(source, driving)
    except FloatingPointError as error:
        log.fetch()
        raise log.diverged(trainer.step_count + 1) from error
    except Exception as error:
        log.fetch()
        if trainer.has_finite_weights():
            raise
        raise log.diverged(trainer.step_count + 1) from error


def save(folder: RunFolder, trainer: Trainer, progress: Progress, log: LossLog) -> None:
    """Writes a checkpoint, unless the run has just diverged."""
    if not trainer.has_finite_weights():
        raise log.diverged(trainer.step_count)
    folder.save(trainer, progress)


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


def train(
    trainer: Trainer,
    order: TrainingOrder,
    dataset: FramesDataset,
    folder: RunFolder,
    progress: Progress,
    config: Mapping[str, Any],
    scalars: Scalars,
) -> None:
    """The epochs from `progress` on; SIGINT, SIGTERM and SIGHUP end them after a checkpoint."""
    params = config['train_params']
    workers = cores_of_process() if params['num_workers'] is None else params['num_workers']
    visualizer = Visualizer(**config['visualizer_params'])
    main_process = distributed.rank() == 0
    stop, saved_at = Stop(main_process), time.monotonic()
    bar = ProgressBar(params['num_epochs'], len(order), order.batch_size, main_process)
    curves = Curves(scalars, len(order), order.batch_size)
    for epoch in range(progress.epoch, params['num_epochs']):
        trainer.begin_epoch(epoch)
        log = LossLog(folder, progress, curves.losses)
        batches = make_loader(dataset, order.epoch(epoch, progress.batch), workers)
        bar.start(epoch, progress.batch)
        for number, batch in enumerate(bar.shown_over(batches), progress.batch + 1):
            source, driving = paddle.to_tensor(batch.source), paddle.to_tensor(batch.driving)
            step = checked_step(trainer, source, driving, log)
            log.add(trainer.step_count, step.losses, step.skipped)
            bar.update(log.latest)
            curves.step(trainer.step_count)
            due = time.monotonic() - saved_at > 60 * params['checkpoint_minutes']
            stopping = distributed.any_process(stop.signal is not None)
            if number == len(order):
                break
            if main_process and (due or stopping):
                log.fetch()
                done = Progress(epoch, number, log.sums, log.skipped, len(order))
                save(folder, trainer, done, log)
                saved_at = time.monotonic()
            if stopping:
                stop.leave()
        rates = trainer.learning_rates()
        trainer.end_epoch()
        means = log.means()
        progress = Progress(epoch + 1, 0, {}, epoch_steps=len(order))
        last = progress.epoch == params['num_epochs'] or stopping
        if main_process:
            if log.skipped:
                note(
                    f'epoch {epoch}: {log.skipped} of {len(order)} steps were skipped, where '
                    f'float16 overflowed; losses are now scaled by {trainer.scaler.scale:g}'
                )
            drawn = picture(visualizer, source, driving, step.last)
            folder.log_epoch(epoch, means)
            folder.save_picture(epoch, drawn)
            curves.epoch(trainer.step_count, rates, drawn)
            if last or progress.epoch % params['checkpoint_freq'] == 0:
                save(folder, trainer, progress, log)
                saved_at = time.monotonic()
        if stopping and progress.epoch < params['num_epochs']:
            stop.leave()
