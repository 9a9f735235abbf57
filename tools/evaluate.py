"""Reconstructs a test set, each clip from its first frame, and measures how well.

    python tools/evaluate.py --config config/vox-256.yaml --checkpoint vox --out figures

reconstruction_params.num_videos clips of the config's test set are reconstructed; a clip that can't
be read is named, counted and left out, and the next one takes its place. OUT is created and holds

    summary.md     the figures with 95 % confidence intervals, by bootstrap over the clips, and what
    summary.json   each one means
    videos.csv     the figures of each clip
    frames/        with --save_frames: the reconstructions, a folder of PNG frames for each line of
                   videos.csv

modules/evaluation/metrics.py defines the figures and says how they differ from the official ones;
tools/evaluation/detectors.py says what --detector and --embedder can be.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

from frames_dataset import FramesDataset
from modules.animation.option_values import at_least
from modules.config import load_config
from modules.evaluation.metrics import DEFINITIONS, FIGURES
from modules.inference.options import add_engine_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.files import atomic_output, check_output
from modules.runtime.gpu_choice import find_gpus
from modules.runtime.messages import warn
from modules.runtime.process import choose_device, prepare_process, refuse_launcher
from modules.runtime.shortage import ANIMATION_MEND, shortage_explained
from tools.evaluation.measures import build_measures, choose_metrics
from tools.evaluation.report import (
    describe,
    figures_table,
    list_figures,
    to_markdown,
    write_csv,
    write_text,
)


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--config', type=Path, required=True, metavar='FILE.yaml', help='config of the test set'
    )
    parser.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help='a known name, a file, or the folder of a run (its newest '
        'checkpoint), as for demo.py; if left out, '
        'ckpt_model of the config',
    )
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FOLDER', help='folder to create'
    )
    parser.add_argument(
        '--metrics',
        nargs='+',
        choices=list(FIGURES),
        help='what to measure; if left out, all that the other options allow',
    )
    parser.add_argument(
        '--num_videos', type=int, help='reconstruct N clips, instead of the number in the config'
    )
    parser.add_argument(
        '--detector',
        metavar='NAME',
        help='keypoints for akd and mkr: joints (drawn data), mediapipe-face, mediapipe-body or '
        'module:function',
    )
    parser.add_argument(
        '--embedder', metavar='NAME', help='identity for aed: colours or module:function'
    )
    parser.add_argument(
        '--lpips_weights',
        nargs=2,
        type=Path,
        metavar=('BACKBONE', 'LINEAR'),
        help="torchvision's AlexNet or VGG16, and the lpips package's alex.pth or vgg.pth",
    )
    parser.add_argument(
        '--processes',
        type=at_least(1),
        default=1,
        metavar='N',
        help='processes side by side, each with a clip at a time; they share the cores, or take '
        'turns at the GPUs (default: 1)',
    )
    parser.add_argument('--save_frames', action='store_true', help='keep the reconstructions')
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    add_engine_options(parser)
    options = parser.parse_args()
    if options.num_videos is not None and options.num_videos < 1:
        parser.error(f'--num_videos {options.num_videos}: give a number of at least 1')
    options.metrics = choose_metrics(options)
    return options


@shortage_explained(ANIMATION_MEND)
def main() -> None:
    options = parse_arguments()
    refuse_launcher('tools/evaluate.py')
    config = load_config(options.config, need=('dataset_params',))
    wanted = options.num_videos or config.get('reconstruction_params', {}).get('num_videos')
    check_output(options.out, folder=True)
    apart = options.processes > 1  # then this process computes nothing
    gpus = find_gpus('auto') if apart and not options.cpu else []
    prepare_process(options.cpu or apart)
    choose_device(options.cpu or apart)
    build_measures(options)  # what they lack is told, or downloaded, before anything is done
    with atomic_output(options.out, folder=True) as folder:
        dataset = FramesDataset(**config['dataset_params'], is_train=False)
        from modules.checkpoints.models import StoredModels
        from modules.runtime.pool import workers
        from tools.evaluation.clips import evaluate, make_measurer

        models = StoredModels(config, options.checkpoint)
        identity = models.identity() if apart else None
        frames = folder / 'frames' if options.save_frames else None
        if frames is not None:
            frames.mkdir()
        settings = (options, config, models, identity, frames)
        count = min(options.processes, wanted or len(dataset.clips), len(dataset.clips))
        with workers(make_measurer, settings, count, gpus) as measuring:
            evaluation = evaluate(measuring, dataset, wanted, frames)
        summary = describe(options, config, evaluation)
        write_csv(folder / 'videos.csv', evaluation.rows, list_figures(options.metrics))
        text = json.dumps(summary, indent=1, ensure_ascii=False)
        write_text(folder / 'summary.json', text + '\n')
        write_text(folder / 'summary.md', to_markdown(summary))
    if wanted is not None and len(evaluation.rows) < wanted:
        warn(f'{wanted} clips were wanted, only {len(evaluation.rows)} could be reconstructed')
    print(figures_table(summary))
    for metric, why in summary['not_measured'].items():
        print(f'not measured: {DEFINITIONS[metric].title} ({why})')
    print(f'written: {options.out}')


if __name__ == '__main__':
    run_command(main)
