"""The training loop: step, log, save."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn

import paddle
from paddle import Tensor

from frames_dataset import FramesDataset
from modules.data.loader import TrainingOrder, make_loader
from modules.runtime import distributed
from modules.runtime.process import cores_of_process, ending_signals
from modules.runtime.signals import leave_if_asked, leave_once
from modules.training.curves import Curves, Scalars
from modules.training.loss_log import LossLog
from modules.training.progress_bar import ProgressBar
from modules.training.reports import Reports, picture
from modules.training.run_folder import Progress, RunFolder
from modules.training.trainer import StepResult, Trainer
from modules.training.validation import Validation, standing_of
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
            leave_once(number)
            return
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
        leave_if_asked()
        log.fetch()
        if trainer.has_finite_weights():
            raise
        raise log.diverged(trainer.step_count + 1) from error


def save(folder: RunFolder, trainer: Trainer, progress: Progress, log: LossLog) -> None:
    """Writes a checkpoint, unless the run has just diverged."""
    if not trainer.has_finite_weights():
        raise log.diverged(trainer.step_count)
    folder.save(trainer, progress)


class Training(NamedTuple):
    """What the training loop works on."""

    trainer: Trainer
    order: TrainingOrder
    dataset: FramesDataset
    folder: RunFolder
    config: Mapping[str, Any]
    scalars: Scalars
    validation: Validation | None


def validate(training: Training, epoch: int, last: bool, log: LossLog) -> dict[str, float]:
    """Figures after so many epochs, `last` the last one; none where no validation is due."""
    validation, trainer = training.validation, training.trainer
    if validation is None or not validation.due(epoch, last):
        return {}
    if not trainer.has_finite_weights():
        raise log.diverged(trainer.step_count)
    return validation.run(trainer.animating(), epoch)


def train(training: Training, progress: Progress) -> Progress:
    """The epochs from `progress` on; SIGINT, SIGTERM and SIGHUP end them after a checkpoint.

    Returns:
        Where the run has ended: after the last epoch, or earlier where validation says so.
    """
    trainer, order, dataset, folder, config, scalars, validation = training
    params = config['train_params']
    workers = cores_of_process() if params['num_workers'] is None else params['num_workers']
    main_process = distributed.rank() == 0
    stop, saved_at = Stop(main_process), time.monotonic()
    bar = ProgressBar(params['num_epochs'], len(order), order.batch_size, main_process)
    curves = Curves(scalars, len(order), order.batch_size)
    visualizer = Visualizer(**config['visualizer_params'])
    reports = Reports(folder, trainer, curves, visualizer)
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
            curves.step(trainer.step_count, {**trainer.settings(), **trainer.gradient_norms})
            due = time.monotonic() - saved_at > 60 * params['checkpoint_minutes']
            stopping = distributed.any_process(stop.signal is not None)
            if number == len(order):
                break
            if main_process and (due or stopping):
                log.fetch()
                so_far = log.sums, log.skipped, len(order), standing_of(validation)
                save(folder, trainer, Progress(epoch, number, *so_far), log)
                saved_at = time.monotonic()
            if stopping:
                stop.leave()
        settings = trainer.settings()
        trainer.end_epoch()
        log.fetch()
        done = epoch + 1
        figures = validate(training, done, done == params['num_epochs'], log)
        stopping = distributed.any_process(stop.signal is not None)  # validation takes a while
        progress = Progress(done, 0, {}, 0, len(order), standing_of(validation))
        over = done == params['num_epochs'] or (validation is not None and validation.over)
        if main_process:
            drawn = picture(visualizer, source, driving, step.last)
            reports.epoch(epoch, log, settings, figures, drawn)
            reports.keypoints(step.last.kp_driving.value.numpy())
            better = False
            if validation is not None and figures:
                reports.validation(done, validation, figures)
                better = validation.standing.epoch == done
            if over or stopping or better or done % params['checkpoint_freq'] == 0:
                save(folder, trainer, progress, log)
                saved_at = time.monotonic()
            if validation is not None and better:  # after what tells of it: see `settle_best`
                folder.save_best(trainer, validation.standing)
        if over:
            break
        if stopping:
            stop.leave()
    return progress
