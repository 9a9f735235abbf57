"""A training run from its folder to its end, as train.py does it step by step."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frames_dataset import FramesDataset
from modules.data.loader import TrainingOrder, share_of_batch
from modules.runtime import distributed
from modules.runtime.locks import folder_of_one_run
from modules.runtime.messages import counted, note
from modules.runtime.process import choose_device
from modules.runtime.shortage import shortage_explained, training_mend
from modules.training.curves import check_package, open_scalars
from modules.training.loop import Training, train
from modules.training.next_steps import tell_end, tell_interruption
from modules.training.resuming import changes_of_run, check_epoch_steps
from modules.training.run_folder import START, Progress, RunFolder, newest_checkpoint, resume
from modules.training.setup import build_trainer
from modules.training.trainer import Trainer
from modules.training.validation import Validation


class Run(NamedTuple):
    """What is trained, and where it is kept."""

    config: dict[str, Any]
    folder: RunFolder
    resumed: Path | None  # the checkpoint that it goes on from


class Prepared(NamedTuple):
    """What the training loop works on."""

    dataset: FramesDataset
    trainer: Trainer
    progress: Progress  # where the run stands
    order: TrainingOrder
    validation: Validation | None

    def __str__(self) -> str:
        return f'{counted(len(self.dataset), "clip")}, {counted(len(self.order), "step")} an epoch'


def begin_run(
    config: dict[str, Any], folder: Path, resumed: Path | None, need: Sequence[str]
) -> Run:
    """A new run, or one that goes on; nothing is written yet.

    Args:
        config: a checked config with the sections `need`.
        folder: of the run.
        resumed: the folder of the run that goes on, or a checkpoint of it.

    Raises:
        UserError: there is nothing to resume, the config changes what may not change, or another
            run is in the folder.
    """
    changes: list[str] = []
    if resumed is not None:
        resumed = newest_checkpoint(resumed)
        config, changes = changes_of_run(config, resumed, need)
    run_folder = RunFolder(folder, config, config['train_params']['keep_checkpoints'], changes)
    run_folder.check_start(resumed)
    return Run(config, run_folder, resumed)


def join(params: Mapping[str, Any], cpu: bool) -> str:
    """Takes this process's device, and its part among those that train together.

    Args:
        params: the config's train_params.

    Returns:
        The device: 'cpu', 'gpu:0', ...

    Raises:
        UserError: the batch does not divide among them, the package for the curves is missing, or
            Paddle has no programs for the GPU.
    """
    share_of_batch(params['batch_size'], distributed.world_size(), params['accumulation_steps'])
    check_package(params['scalars'])
    device = choose_device(cpu)
    distributed.start()
    return device


def prepare(
    run: Run, checkpoint: str | None, seed: int, preload: bool, dry_run: bool = False
) -> Prepared:
    """Opens the data, builds and loads networks, losses and optimizers.

    Args:
        checkpoint, seed: as for build_trainer, of a new run.
        preload: as for FramesDataset.
        dry_run: fill neither the frame cache nor memory with frames.

    Raises:
        UserError: data or weights are of no use, memory does not suffice, or an epoch has fewer
            samples than a batch, or other ones than in the run so far.
    """
    params = run.config['train_params']
    data = {**run.config['dataset_params'], **({'cache_gb': 0} if dry_run else {})}
    dataset = FramesDataset(**data, preload=preload and not dry_run)
    rank, processes = distributed.rank(), distributed.world_size()
    # A run that is resumed has its own weights.
    start = {**run.config, 'ckpt_model': {}} if run.resumed else run.config
    with shortage_explained(training_mend(params, processes)):
        trainer = build_trainer(start, checkpoint, seed)
    progress = resume(run.resumed, trainer) if run.resumed else START
    samples = len(dataset) * params['num_repeats']
    order = TrainingOrder(samples, params['batch_size'], trainer.seed, rank, processes)
    check_epoch_steps(progress.epoch_steps, len(order), dataset.root_dir)
    validation = None
    if params['validation'] is not None:
        test_part = FramesDataset(**run.config['dataset_params'], is_train=False)
        validation = Validation(params['validation'], test_part, progress.validation)
    return Prepared(dataset, trainer, progress, order, validation)


def carry_out(run: Run, prepared: Prepared, again: Sequence[str]) -> None:
    """Trains to the end of the last epoch, or until a signal, and says what can be done next.

    Args:
        again: the options that start the run, for the user to go on with it.

    Raises:
        UserError: losses or weights are not finite any more, memory does not suffice, data can't be
            read, or another run is writing into the folder.
    """
    params, folder = run.config['train_params'], run.folder
    main_process, processes = distributed.rank() == 0, distributed.world_size()
    with folder.open(run.resumed) if main_process else contextlib.nullcontext():
        print(f'config with all defaults: {folder.config_file}')
        print(f'{prepared}, into {folder.path}', flush=True)
        scalars = open_scalars(
            params['scalars'] if main_process else None,
            folder.path / 'scalars',
            prepared.trainer.step_count,
        )
        mend = training_mend(params, processes)
        with contextlib.closing(scalars), shortage_explained(mend):
            try:
                settle_best(prepared, folder)
                _, trainer, progress, order, validation = prepared
                training = Training(
                    trainer, order, prepared.dataset, folder, run.config, scalars, validation
                )
                progress = train(training, progress)
            except SystemExit:
                if main_process:
                    tell_interruption(folder, again, processes)
                raise
        if main_process:
            told = 'finished: ' + end_of_run(run, prepared, progress)
            newest = folder.checkpoints()[-1]
            tell_end(told, best_or(newest, run, prepared.validation), folder.config_file)


def settle_best(prepared: Prepared, folder: RunFolder) -> None:
    """Has a run that goes on agree with its best.safetensors, which is written after a checkpoint.

    Killed between the two, the run writes it now. Where it is lost otherwise, the next validation
    begins anew.
    """
    validation, progress = prepared.validation, prepared.progress
    if validation is None or not validation.standing.figures:
        return
    standing = validation.standing
    lost = distributed.rank() == 0 and folder.best_epoch() != standing.epoch
    if lost and (progress.epoch, progress.batch) == (standing.epoch, 0):
        folder.save_best(prepared.trainer, standing)
        lost = False
    if distributed.any_process(lost):
        validation.start_anew()
        if distributed.rank() == 0:
            note(f'{folder.best}: not that of epoch {standing.epoch}; the best is looked for anew')


def is_over(run: Run, prepared: Prepared) -> bool:
    """Whether a run that is to go on has ended before."""
    validation = prepared.validation
    last = prepared.progress.epoch >= run.config['train_params']['num_epochs']
    return last or (validation is not None and validation.over)


def tell_over(run: Run, prepared: Prepared, config: Path) -> None:
    """Says so of a run that has ended before, and what would have it go on.

    Args:
        config: of the command.
    """
    end = end_of_run(run, prepared, prepared.progress)
    assert run.resumed is not None, 'a run that has ended before is resumed'
    main_process = distributed.rank() == 0
    with folder_of_one_run(run.folder.path) if main_process else contextlib.nullcontext():
        settle_best(prepared, run.folder)
    place = best_or(run.resumed, run, prepared.validation)
    tell_end(f'finished already: {end}', place, config)
    key = 'num_epochs' if end.endswith('epochs') else 'validation.patience'
    print(f'more are trained with a higher train_params.{key}')


def end_of_run(run: Run, prepared: Prepared, progress: Progress) -> str:
    """How many epochs there were, and what ended them if not their number."""
    validation = prepared.validation
    text = f'{progress.epoch} epochs'
    if progress.epoch < run.config['train_params']['num_epochs'] and validation is not None:
        text += f', as {validation.standing.stale} validations found none better by '
        text += validation.best_by
    return text


def best_or(newest: Path, run: Run, validation: Validation | None) -> Path:
    """The best weights, where validation has found such, else the newest ones."""
    found = validation is not None and validation.standing.figures and run.folder.best.exists()
    return run.folder.best if found else newest
