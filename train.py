"""Trains the First Order Motion Model from scratch, or on from a checkpoint.

python train.py --config config/vox-256.yaml
python -m paddle.distributed.launch train.py --config config/vox-256.yaml    # several GPUs
"""

import argparse
import contextlib
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, NoReturn, Optional

import numpy as np
import yaml

from modules.cli import ArgumentParser, UserError, run_command
from modules.config import load_config
from modules.runtime import (
    choose_device,
    ending_signals,
    keep_freed_memory,
    prepare_process,
    seed_everything,
)

NEEDED = ('dataset_params', 'train_params')


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--config', type=Path, required=True)
    parser.add_argument(
        '--save_dir', type=Path, help='folder of the run; log/CONFIG TIME if left out'
    )
    parser.add_argument(
        '--checkpoint',
        help="weights to start from; the config's ckpt_model if left out, else random ones",
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        type=Path,
        const=True,
        help='go on with a run: its folder or one of its checkpoints; --save_dir if left out',
    )
    parser.add_argument('--preload', action='store_true', help='hold all frames in memory')
    parser.add_argument(
        '--seed', type=int, help='of weights, data order and noise; 0, or that of the resumed run'
    )
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    parser.add_argument(
        '--dry_run', action='store_true', help='print the resolved options and write nothing'
    )
    options = parser.parse_args()
    if options.resume is True:
        if options.save_dir is None:
            parser.error('--resume alone needs --save_dir, the folder of the run')
        options.resume = options.save_dir
    if options.resume and (options.checkpoint or options.seed is not None):
        parser.error('--resume takes weights and seed from the run; give neither')
    options.seed = options.seed or 0
    return options


class Stop:
    """Notes SIGINT, SIGTERM and SIGHUP, so that the step under way ends before the run does."""

    def __init__(self):
        self.signal: Optional[int] = None
        for number in (signal.SIGINT, *ending_signals()):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: Any) -> None:
        if self.signal is not None:  # asked twice: do not wait for the step
            sys.exit(128 + number)
        self.signal = number

    def leave(self) -> NoReturn:
        """Ends this process; one that got no signal itself follows another that did."""
        sys.exit(128 + (self.signal or signal.SIGTERM))


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

    def __init__(self, folder, progress, observe: Callable[[int, Mapping[str, float]], None]):
        self.folder = folder
        self.observe = observe
        self.sums = dict(progress.loss_sums)
        self.skipped = progress.skipped
        self.count = progress.batch - progress.skipped
        self.latest: Dict[str, float] = {}
        self._pending = None

    def add(self, step: int, losses: Mapping[str, Any], skipped: bool) -> None:
        """Notes a step's losses, and fetches those of the step before.

        Args:
            skipped: as StepResult has it. Losses of such a step need not be finite, nor do they
                count.
        """
        import paddle

        from modules.distributed import mean_over_processes

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

    def means(self) -> Dict[str, float]:
        self.fetch()
        return {name: total / self.count for name, total in self.sums.items()}


def build_trainer(config: Mapping[str, Any], options: argparse.Namespace):
    """Networks, losses and optimizers; weights from --checkpoint or ckpt_model where given."""
    from modules.build import build_models
    from modules.checkpoint import load_models
    from modules.model import TrainingLosses
    from modules.trainer import Trainer
    from modules.vgg import build_vgg

    models = build_models(config)
    if options.checkpoint or any(config['ckpt_model'].values()):
        for name in load_models(config, models, options.checkpoint, rescaled=True):
            print(f'{name}: not in the checkpoint, starts from random weights')
        print('optimizers: start anew')
    vgg, params = None, config['train_params']
    if any(params['loss_weights']['perceptual']):
        vgg = build_vgg(params['vgg19_weights'])
        if params['vgg19_weights'] == 'random':
            print(
                'NOTE: the perceptual loss compares features of a random VGG19, as the config asks'
            )
    return Trainer(config, models, TrainingLosses(config, vgg), options.seed)


def check_amp(amp: Optional[str]) -> None:
    """Says so where mixed precision has no effect.

    Raises:
        UserError: this GPU lacks it.
    """
    from modules.ops import precision

    if amp is not None and not precision.has_effect():
        print(f'note: amp: {amp} has no effect on the CPU', file=sys.stderr)
    precision.check_capability('amp', amp, precision.gpu_capability())


def run_folder_of(options: argparse.Namespace) -> Path:
    if options.save_dir is not None:
        return options.save_dir
    if options.resume is not None:
        return options.resume.parent if options.resume.is_file() else options.resume
    return Path('log') / f'{options.config.stem} {time.strftime("%d_%m_%y_%H.%M.%S")}'


def checked_step(trainer, source, driving, log: LossLog):
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


def save(folder, trainer, progress, log: LossLog) -> None:
    """Writes a checkpoint, unless the run has just diverged."""
    if not trainer.has_finite_weights():
        raise log.diverged(trainer.step_count)
    folder.save(trainer, progress)


def picture(visualizer, source, driving, step) -> np.ndarray:
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


def train(trainer, order, dataset, folder, progress, config: Mapping[str, Any], scalars) -> None:
    """The epochs from `progress` on; SIGINT, SIGTERM and SIGHUP end them after a checkpoint."""
    import paddle

    from modules import distributed
    from modules.loading import make_loader
    from modules.progress_bar import ProgressBar
    from modules.run_folder import Progress
    from modules.runtime import available_cores
    from modules.scalars import Curves
    from modules.visualizer import Visualizer

    params = config['train_params']
    workers = available_cores() if params['num_workers'] is None else params['num_workers']
    visualizer = Visualizer(**config['visualizer_params'])
    main_process = distributed.rank() == 0
    stop, saved_at = Stop(), time.monotonic()
    bar = ProgressBar(params['num_epochs'], len(order), order.batch_size, main_process)
    curves = Curves(scalars, len(order), order.batch_size)
    for epoch in range(progress.epoch, params['num_epochs']):
        trainer.begin_epoch(epoch)
        log = LossLog(folder, progress, curves.losses)
        batches = make_loader(dataset, order.epoch(epoch, progress.batch), workers)
        bar.start(epoch, progress.batch)
        for number, batch in enumerate(batches, progress.batch + 1):
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
                save(folder, trainer, Progress(epoch, number, log.sums, log.skipped), log)
                saved_at = time.monotonic()
            if stopping:
                stop.leave()
        bar.close()
        rates = trainer.learning_rates()
        trainer.end_epoch()
        means = log.means()
        progress = Progress(epoch + 1, 0, {})
        last = progress.epoch == params['num_epochs'] or stopping
        if main_process:
            if log.skipped:
                print(
                    f'note: epoch {epoch}: {log.skipped} of {len(order)} steps were skipped, where '
                    f'float16 overflowed; losses are now scaled by {trainer.scaler.scale:g}',
                    file=sys.stderr,
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


def run_test_mode(config: Mapping[str, Any], options: argparse.Namespace) -> None:
    """TEST_MODE: one loss of each kind on fixed inputs, everything computed written as .npz."""
    from modules import record, test_mode

    pins = test_mode.read_pins()
    folder = options.save_dir or Path()
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / f'{options.config.stem}-test-mode.npz'
    arrays = record.record_nets(config, options.seed, pins.inputs, options.checkpoint, pins.results)
    record.save_nets(out, config, options.seed, arrays)
    print(f'written: {out}')


def main() -> None:
    options = parse_arguments()
    config = load_config(options.config, need=NEEDED)
    print(yaml.safe_dump(config, sort_keys=False))
    if options.dry_run:
        return
    prepare_process()
    keep_freed_memory()
    from modules import test_mode

    if test_mode.ENABLED:
        choose_device(options.cpu)
        run_test_mode(config, options)
        return
    from modules import distributed
    from modules.scalars import check_package, open_scalars

    kind = config['train_params']['scalars']
    check_package(kind)
    device = choose_device(options.cpu)
    distributed.start()
    print(f'on {device}')
    check_amp(config['train_params']['amp'])
    seed_everything(options.seed)
    from frames_dataset import FramesDataset
    from modules.loading import TrainingOrder
    from modules.run_folder import START, RunFolder, newest_checkpoint, resume

    dataset = FramesDataset(**config['dataset_params'], preload=options.preload)
    trainer = build_trainer(config, options)
    folder = RunFolder(run_folder_of(options), config, config['train_params']['keep_checkpoints'])
    progress = START
    if options.resume is not None:
        progress = resume(newest_checkpoint(options.resume), trainer)
    elif folder.checkpoints():
        raise UserError(f'{folder.path}: holds a run; add --resume or take another --save_dir')
    order = TrainingOrder(
        len(dataset) * config['train_params']['num_repeats'],
        config['train_params']['batch_size'],
        trainer.seed,
        distributed.rank(),
        distributed.world_size(),
    )
    main_process = distributed.rank() == 0
    if main_process:
        folder.create()
    print(f'{len(dataset)} clips, {len(order)} steps an epoch, into {folder.path}', flush=True)
    scalars = open_scalars(
        kind if main_process else None, folder.path / 'scalars', trainer.step_count
    )
    with contextlib.closing(scalars):
        train(trainer, order, dataset, folder, progress, config, scalars)


if __name__ == '__main__':
    run_command(main)
