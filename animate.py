"""Animates pairs of a test set: the first frame of one clip, the motion of another.

python animate.py --config config/vox-256.yaml --checkpoint vox --save_dir results
"""

from modules.runtime.packages import require_packages

require_packages()

import argparse
from pathlib import Path

from modules.animation.option_values import at_least
from modules.animation.results import OUTPUTS, AnimationFolder
from modules.checkpoints.places import is_run
from modules.config import load_config
from modules.inference.options import add_engine_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.gpu_choice import find_gpus
from modules.runtime.messages import note
from modules.runtime.process import choose_device, prepare_process, refuse_launcher
from modules.runtime.shortage import ANIMATION_MEND, shortage_explained


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--config', type=Path, required=True, metavar='FILE.yaml', help='config of the test set'
    )
    parser.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help='a known name (vox, vox-512), a file (.pth.tar, .pdparams, .safetensors), the folder '
        'of a run (its newest checkpoint) or of .npz files; if left out, ckpt_model of the config',
    )
    parser.add_argument(
        '--save_dir',
        type=Path,
        metavar='FOLDER',
        help='folder of the results, in which finished pairs are not made again; if left out, '
        'animation/ in the folder of the run or beside the file of --checkpoint, else '
        'log/CONFIG/animation',
    )
    parser.add_argument(
        '--outputs',
        nargs='+',
        choices=OUTPUTS,
        default=OUTPUTS,
        help='result: the animation as a video; png: its frames side by side, lossless; grid: a '
        'video of what the networks do; if left out, all three',
    )
    parser.add_argument(
        '--seed',
        type=int,
        default=0,
        help='seed of the random pairs, if the config has no pairs_list (default: 0, the official '
        'pairs)',
    )
    parser.add_argument(
        '--processes',
        type=at_least(1),
        default=1,
        metavar='N',
        help='processes side by side, each with a pair at a time; they share the cores, or take '
        'turns at the GPUs (default: 1)',
    )
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    add_engine_options(parser)
    options = parser.parse_args()
    if not 0 <= options.seed < 2**32:
        parser.error(f'--seed {options.seed}: give a whole number from 0 to 2^32 - 1')
    if options.save_dir is None:
        run = Path('log') / options.config.stem
        if options.checkpoint is not None and Path(options.checkpoint).exists():
            given = Path(options.checkpoint)
            run = given if is_run(given) else given.parent
        options.save_dir = run / 'animation'
    return options


@shortage_explained(ANIMATION_MEND)
def main() -> None:
    options = parse_arguments()
    refuse_launcher('animate.py')
    config = load_config(options.config, need=('dataset_params', 'animate_params'))
    carried = config['animate_params']['normalization_params']
    if any(carried.values()) and not carried['use_relative_movement']:
        note(
            'use_relative_jacobian and adapt_movement_scale change nothing without '
            'use_relative_movement'
        )
    apart = options.processes > 1  # then this process computes nothing
    gpus = find_gpus('auto') if apart and not options.cpu else []
    prepare_process(options.cpu or apart)
    device = choose_device(options.cpu or apart)
    if apart:
        device = f'{len(gpus)} GPUs' if gpus else f'{device}, {options.processes} processes'
    from modules.animation.pairs import Means, animate_test_set

    folder = AnimationFolder(options.save_dir, options.outputs, config['animate_params']['format'])
    means = Means(config, options.checkpoint, options.engine, options.precision, options.batch)
    done = animate_test_set(means, folder, options.seed, device, options.processes, gpus)
    left_out = f', {done.failed} left out' if done.failed else ''
    print(f'written: {done.written} of {done.total} pairs into {folder.path}{left_out}')


if __name__ == '__main__':
    run_command(main)
