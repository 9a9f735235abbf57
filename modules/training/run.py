"""A training run from its folder to its end, as train.py does it step by step."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from frames_dataset import FramesDataset
from modules.data.loader import TrainingOrder, share_of_batch
from modules.runtime import distributed
from modules.runtime.process import choose_device
from modules.runtime.shortage import shortage_explained, training_mend
from modules.training.curves import check_package, open_scalars
from modules.training.loop import train
from modules.training.next_steps import tell_end, tell_interruption
from modules.training.resuming import changes_of_run, check_epoch_steps
from modules.training.run_folder import START, Progress, RunFolder, newest_checkpoint, resume
from modules.training.setup import build_trainer
from modules.training.trainer import Trainer


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

    def __str__(self) -> str:
        return f'{len(self.dataset)} clips, {len(self.order)} steps an epoch'


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
    return Prepared(dataset, trainer, progress, order)


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
                train(
                    prepared.trainer,
                    prepared.order,
                    prepared.dataset,
                    folder,
                    prepared.progress,
                    run.config,
                    scalars,
                )
            except SystemExit:
                if main_process:
                    tell_interruption(folder, again, processes)
                raise
        if main_process:
            head = f'finished: {params["num_epochs"]} epochs'
            tell_end(head, folder.checkpoints()[-1], folder.config_file)
