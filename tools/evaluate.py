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
import contextlib
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

from tqdm import tqdm

from frames_dataset import FramesDataset
from modules.config import load_config
from modules.data.clips import Clip
from modules.evaluation.metrics import (
    DEFINITIONS,
    FIGURES,
    EmbeddingMeasure,
    KeypointMeasure,
    Measure,
    Tallies,
    add,
    measure_l1,
    measure_psnr,
    measure_ssim,
)
from modules.evaluation.whole_clips import DamagedClipError
from modules.inference.options import add_engine_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.runtime.messages import warn
from modules.runtime.process import choose_device, prepare_process
from modules.runtime.shortage import ANIMATION_MEND, shortage_explained
from modules.video import VideoWriter
from tools.evaluation.detectors import build_detector, build_embedder
from tools.evaluation.report import (
    NEEDS,
    Evaluation,
    Row,
    describe,
    figures_table,
    list_figures,
    to_markdown,
    write_csv,
    write_text,
)


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--config', type=Path, required=True)
    parser.add_argument(
        '--checkpoint',
        help='weights: as for demo.py, such as the folder of a run (its newest ones); the '
        "config's ckpt_model if left out",
    )
    parser.add_argument('--out', type=Path, required=True, help='folder to create')
    parser.add_argument(
        '--metrics',
        nargs='+',
        choices=list(FIGURES),
        help='what to measure; all that the other options allow if left out',
    )
    parser.add_argument(
        '--num_videos', type=int, help="clips to reconstruct, instead of the config's number"
    )
    parser.add_argument(
        '--detector',
        help='keypoints for akd and mkr: joints (drawn data), mediapipe-face, mediapipe-body or '
        'module:function',
    )
    parser.add_argument('--embedder', help='identity for aed: colours or module:function')
    parser.add_argument(
        '--lpips_weights',
        nargs=2,
        type=Path,
        metavar=('BACKBONE', 'LINEAR'),
        help="torchvision's AlexNet or VGG16, and the lpips package's alex.pth or vgg.pth",
    )
    parser.add_argument('--save_frames', action='store_true', help='keep the reconstructions')
    parser.add_argument('--cpu', action='store_true', help='use the CPU even if there is a GPU')
    add_engine_options(parser)
    options = parser.parse_args()
    if options.num_videos is not None and options.num_videos < 1:
        parser.error(f'--num_videos {options.num_videos}: give a number of at least 1')
    options.metrics = choose_metrics(options)
    return options


def choose_metrics(options: argparse.Namespace) -> list[str]:
    """The metrics to measure, in the order of FIGURES.

    Raises:
        UserError: one lacks what it needs, or an option is for none of them.
    """
    given = {
        'lpips_weights': ('lpips',) if options.lpips_weights else (),
        'detector': ('akd', 'mkr') if options.detector else (),
        'embedder': ('aed',) if options.embedder else (),
    }
    possible = ['l1', 'psnr', 'ssim', *itertools.chain(*given.values())]
    chosen = options.metrics or possible
    for metric in chosen:
        if metric not in possible and metric != 'lpips':  # which knows where to get its weights
            raise UserError(f'--metrics {metric}: needs {NEEDS[metric]} (see --help)')
    for option, metrics in given.items():
        if metrics and not set(metrics) & set(chosen):
            raise UserError(f'--{option}: is for {" and ".join(metrics)}; add it to --metrics')
    return [metric for metric in FIGURES if metric in chosen]


def build_measures(options: argparse.Namespace) -> list[Measure]:
    """What computes the chosen metrics."""
    simple = {'l1': measure_l1, 'psnr': measure_psnr, 'ssim': measure_ssim}
    measures: list[Measure] = [simple[name] for name in options.metrics if name in simple]
    if 'lpips' in options.metrics:
        from tools.evaluation.perceptual_distance import LpipsMeasure, build_lpips

        measures.append(LpipsMeasure(build_lpips(options.lpips_weights)))
    if options.detector:
        measures.append(KeypointMeasure(build_detector(options.detector)))
    if options.embedder:
        measures.append(EmbeddingMeasure(build_embedder(options.embedder)))
    return measures


def warn_above_bar(message: str) -> None:
    with tqdm.external_write_mode(file=sys.stderr):
        warn(message)


def evaluate_clip(engine, clip: Clip, measures: Sequence[Measure], folder: Path | None) -> Row:
    """A clip's figures; its reconstruction goes to `folder` unless that is None.

    Raises:
        DamagedClipError: it can't be read to its end; no folder is left behind.
    """
    from modules.evaluation.reconstruction import reconstruct

    figures: Tallies = {}
    count = 0
    writer = None if folder is None else VideoWriter(folder, clip.fps)
    with writer or contextlib.nullcontext():
        for pair in reconstruct(engine, clip, tell=warn_above_bar):
            for measure in measures:
                add(figures, measure(pair))
            if writer is not None:
                writer.write(pair.result)
            count += 1
    return Row(clip.name, count, figures)


def evaluate(
    engine,
    dataset: FramesDataset,
    wanted: int | None,
    measures: Sequence[Measure],
    folder: Path | None = None,
) -> Evaluation:
    """Reconstructs and measures the first `wanted` clips that can be read; all if None.

    Args:
        folder: for the reconstructions; None: they are not kept.

    Raises:
        UserError: no clip can be read.
    """
    rows: list[Row] = []
    broken = list(dataset.broken)
    total = len(dataset.clips) if wanted is None else min(wanted, len(dataset.clips))
    with tqdm(total=total, unit='clip', disable=None) as bar:
        for clip in dataset.clips:
            if len(rows) == wanted:
                break
            place = None if folder is None else folder / frames_name(len(rows), clip)
            try:
                rows.append(evaluate_clip(engine, clip, measures, place))
            except DamagedClipError as error:
                broken.append(str(error))
                warn_above_bar(f'{error} (left out)')
                continue
            bar.update()
    if not rows:
        raise UserError(f'{dataset.root_dir}: no clip can be read to its end; {broken[-1]}')
    return Evaluation(rows, broken)


def frames_name(number: int, clip: Clip) -> str:
    """The folder of a reconstruction: the line in videos.csv, and the name without dots."""
    return f'{number:04d}_{clip.name.replace(".", "_")}'


@shortage_explained(ANIMATION_MEND)
def main() -> None:
    options = parse_arguments()
    config = load_config(options.config, need=('dataset_params',))
    wanted = options.num_videos or config.get('reconstruction_params', {}).get('num_videos')
    prepare_process(options.cpu)
    choose_device(options.cpu)
    measures = build_measures(options)
    with atomic_output(options.out, folder=True) as folder:
        dataset = FramesDataset(**config['dataset_params'], is_train=False)
        from modules.checkpoints.models import StoredModels
        from modules.inference.choice import build_engine

        models = StoredModels(config, options.checkpoint)
        params, size = config['model_params'], config['dataset_params']['frame_shape'][:2]
        engine = build_engine(
            models, params, size, options.engine, options.precision, batch=options.batch
        )
        frames = folder / 'frames' if options.save_frames else None
        if frames is not None:
            frames.mkdir()
        evaluation = evaluate(engine, dataset, wanted, measures, frames)
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
