"""Trains the First Order Motion Model from scratch, or on from a checkpoint.

python train.py --config config/vox-256.yaml
python train.py --data data/mine                    # makes a config that fits, in the run's folder
python -m paddle.distributed.launch train.py --config config/vox-256.yaml    # several GPUs
"""

from modules.runtime.packages import require_packages

require_packages()

import argparse
import time
from pathlib import Path

import yaml

from modules.animation.inputs import choose_weights
from modules.animation.option_values import at_least
from modules.config import load_config
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.gpu import switch_tf32_off
from modules.runtime.heap import keep_freed_memory
from modules.runtime.process import choose_device, prepare_process

NEEDED = ('dataset_params', 'train_params')


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--config', type=Path, metavar='FILE.yaml', help='config of the training')
    what.add_argument(
        '--data',
        type=Path,
        metavar='FOLDER',
        help='folder of the clips; a config is made that fits them and this machine, and kept as '
        "config.yaml in the run's folder",
    )
    parser.add_argument(
        '--steps',
        type=at_least(1),
        metavar='N',
        help='with --data: train for N steps, or a few more, so that epochs are whole',
    )
    parser.add_argument(
        '--save_dir',
        type=Path,
        metavar='FOLDER',
        help='folder of the run; if left out, log/NAME_TIME, with the name of the config or data',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help='weights to start from: a known name, a file, or the folder of a run (its newest '
        'checkpoint), as for demo.py; '
        'if left out, ckpt_model of the config, else random ones',
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        type=Path,
        const=True,
        metavar='RUN',
        help='go on with a run: its folder, or one of its checkpoints; if left out, --save_dir',
    )
    parser.add_argument('--preload', action='store_true', help='hold all frames in memory')
    parser.add_argument(
        '--seed',
        type=int,
        help='seed of weights, data order and noise (default: 0; a resumed run keeps its own)',
    )
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    parser.add_argument(
        '--dry_run', action='store_true', help='print the resolved options and write nothing'
    )
    options = parser.parse_args()
    if options.data is not None and not options.data.is_dir():
        parser.error(f'--data {options.data}: no such folder; give that of the clips')
    if options.resume is True:
        if options.save_dir is None:
            parser.error('--resume alone needs --save_dir, the folder of the run')
        options.resume = options.save_dir
    if options.steps is not None and (options.config or options.resume):
        parser.error('--steps goes with --data, in a new run; else train_params.num_epochs counts')
    if options.resume and (options.checkpoint or options.seed is not None):
        parser.error('--resume takes weights and seed from the run; give neither')
    options.seed = options.seed or 0
    return options


def run_folder_of(options: argparse.Namespace) -> Path:
    if options.save_dir is not None:
        return options.save_dir
    if options.resume is not None:
        return options.resume.parent if options.resume.is_file() else options.resume
    return Path('log') / f'{name_of(options)}_{time.strftime("%Y-%m-%d_%H.%M.%S")}'


def name_of(options: argparse.Namespace) -> str:
    return options.config.stem if options.config else options.data.resolve().name


def main() -> None:
    options = parse_arguments()
    config = load_config(options.config, need=NEEDED) if options.config else None
    prepare_process(options.cpu)
    keep_freed_memory()
    from modules import test_mode
    from modules.parity.record import record_training_step
    from modules.training.made_config import config_for, config_of_run
    from modules.training.run import begin_run, carry_out, is_over, join, prepare, tell_over
    from modules.training.setup import check_amp

    if config is None and options.resume:
        config = config_of_run(run_folder_of(options), options.data, NEEDED)
    elif config is None:
        start = choose_weights(None, options.checkpoint)[0] if options.checkpoint else None
        config = config_for(options.data, options.steps, start, options.cpu)
    if options.dry_run:
        print(yaml.safe_dump(config, sort_keys=False), flush=True)
    if test_mode.ENABLED and not options.dry_run:
        choose_device(options.cpu)
        switch_tf32_off()
        place, name = options.save_dir or Path(), name_of(options)
        out = record_training_step(config, name, place, options.seed, options.checkpoint)
        print(f'written: {out}')
        return

    run = begin_run(config, run_folder_of(options), options.resume, NEEDED)
    params, source = run.config['train_params'], options.config or run.folder.config_file
    device = join(params, options.cpu)
    print(f'{"# " if options.dry_run else ""}on {device}')
    check_amp(params['amp'])
    prepared = prepare(run, options.checkpoint, options.seed, options.preload, options.dry_run)
    if options.dry_run:
        print(f'# {prepared}; data, weights and losses are ready; nothing is written')
    elif run.resumed and is_over(run, prepared):
        tell_over(run, prepared, source)
    else:
        flags = [f'--{name}' for name in ('cpu', 'preload') if getattr(options, name)]
        carry_out(run, prepared, ['--config', str(source), *flags])


if __name__ == '__main__':
    run_command(main)
