"""Trains the First Order Motion Model from scratch, or on from a checkpoint.

python train.py --config config/vox-256.yaml
python -m paddle.distributed.launch train.py --config config/vox-256.yaml    # several GPUs
"""

from modules.runtime.packages import require_packages

require_packages()

import argparse
import contextlib
import time
from pathlib import Path
from typing import List, Optional

import yaml

from modules.config import load_config
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.gpu import switch_tf32_off
from modules.runtime.heap import keep_freed_memory
from modules.runtime.process import choose_device, prepare_process, seed_everything
from modules.runtime.shortage import shortage_explained, training_mend

NEEDED = ('dataset_params', 'train_params')


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--config', type=Path, required=True)
    parser.add_argument(
        '--save_dir', type=Path, help='folder of the run; log/CONFIG_TIME if left out'
    )
    parser.add_argument(
        '--checkpoint',
        help='weights to start from: as for demo.py, such as the folder of a run (its newest '
        "ones); the config's ckpt_model if left out, else random ones",
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


def flags_of(options: argparse.Namespace) -> List[str]:
    """What a run that goes on has to be told again."""
    return [f'--{name}' for name in ('cpu', 'preload') if getattr(options, name)]


def run_folder_of(options: argparse.Namespace) -> Path:
    if options.save_dir is not None:
        return options.save_dir
    if options.resume is not None:
        return options.resume.parent if options.resume.is_file() else options.resume
    return Path('log') / f'{options.config.stem}_{time.strftime("%Y-%m-%d_%H.%M.%S")}'


def main() -> None:
    options = parse_arguments()
    config = load_config(options.config, need=NEEDED)
    params = config['train_params']
    if options.dry_run:
        print(yaml.safe_dump(config, sort_keys=False), flush=True)
    prepare_process(options.cpu)
    keep_freed_memory()
    from frames_dataset import FramesDataset
    from modules import test_mode
    from modules.data.loader import TrainingOrder, share_of_batch
    from modules.parity.record import record_training_step
    from modules.runtime import distributed
    from modules.training.curves import check_package, open_scalars
    from modules.training.loop import train
    from modules.training.next_steps import tell_end, tell_interruption
    from modules.training.resuming import changes_of_run, check_epoch_steps
    from modules.training.run_folder import START, RunFolder, newest_checkpoint, resume
    from modules.training.setup import build_trainer, check_amp

    if test_mode.ENABLED and not options.dry_run:
        choose_device(options.cpu)
        switch_tf32_off()
        place = options.save_dir or Path()
        out = record_training_step(
            config, options.config.stem, place, options.seed, options.checkpoint
        )
        print(f'written: {out}')
        return

    resumed: Optional[Path] = None
    changes: List[str] = []
    if options.resume is not None:
        resumed = newest_checkpoint(options.resume)
        config, changes = changes_of_run(config, resumed, NEEDED)
    folder = RunFolder(run_folder_of(options), config, params['keep_checkpoints'], changes)
    folder.check_start(resumed)
    processes = distributed.world_size()
    share_of_batch(params['batch_size'], processes, params['accumulation_steps'])
    check_package(params['scalars'])
    device = choose_device(options.cpu)
    distributed.start()
    print(f'{"# " if options.dry_run else ""}on {device}')
    check_amp(params['amp'])
    seed_everything(options.seed)

    cache = {'cache_gb': 0} if options.dry_run else {}  # which it would fill
    preload = options.preload and not options.dry_run
    dataset = FramesDataset(**{**config['dataset_params'], **cache}, preload=preload)
    mend = training_mend(params, processes)
    with shortage_explained(mend):
        # A run that is resumed has its own weights.
        start = {**config, 'ckpt_model': {}} if resumed else config
        trainer = build_trainer(start, options.checkpoint, options.seed)
    progress = resume(resumed, trainer) if resumed else START
    order = TrainingOrder(
        len(dataset) * params['num_repeats'],
        params['batch_size'],
        trainer.seed,
        distributed.rank(),
        processes,
    )
    check_epoch_steps(progress.epoch_steps, len(order), dataset.root_dir)
    size = f'{len(dataset)} clips, {len(order)} steps an epoch'
    if options.dry_run:
        print(f'# {size}; data, weights and losses are ready; nothing is written')
        return
    if resumed and progress.epoch >= params['num_epochs']:
        tell_end(f'finished already: {progress.epoch} epochs', resumed, options.config)
        print('more are trained with a higher train_params.num_epochs')
        return

    main_process = distributed.rank() == 0
    with contextlib.ExitStack() as stack:
        if main_process:
            stack.enter_context(folder.open(resumed))
        print(f'config with all defaults: {folder.config_file}')
        print(f'{size}, into {folder.path}', flush=True)
        curves = open_scalars(
            params['scalars'] if main_process else None, folder.path / 'scalars', trainer.step_count
        )
        stack.enter_context(contextlib.closing(curves))
        stack.enter_context(shortage_explained(mend))
        try:
            train(trainer, order, dataset, folder, progress, config, curves)
        except SystemExit:
            if main_process:
                tell_interruption(folder, options.config, flags_of(options), processes)
            raise
        if main_process:
            head = f'finished: {params["num_epochs"]} epochs'
            tell_end(head, folder.checkpoints()[-1], folder.config_file)


if __name__ == '__main__':
    run_command(main)
