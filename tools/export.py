#!/usr/bin/env python3
"""Exports networks for other programs: Paddle's inference models, and ONNX.

python tools/export.py --out exported                       the bundled networks, both formats
python tools/export.py --checkpoint vox --out vox --format onnx --batch dynamic

Each is compared with the networks themselves before anything is kept. See doc/export.md.
"""

import argparse
import importlib.util
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.runtime.packages import require_packages

require_packages()

import numpy as np

from modules.animation.inputs import BUNDLED, choose_weights
from modules.config import load_config
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.runtime.process import choose_device, prepare_process
from modules.video import VideoReader, read_image, resize_frame

_FOLDER = Path(__file__).resolve().parent / 'exporting'
EXAMPLES = (
    _FOLDER / 'example.py',
    _FOLDER / 'example.html',
)  # which an export of ONNX brings along
EXTRA = 'python -m pip install -r requirements-export.txt'
FORMATS = ('paddle', 'onnx')
FRAMES = 3  # that are compared


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--config',
        metavar='FILE.yaml',
        help='config of the checkpoint; if left out, as for demo.py',
    )
    parser.add_argument(
        '--checkpoint',
        metavar='WEIGHTS',
        help='a known name, a file, or the folder of a run (its newest '
        'checkpoint), as for demo.py; if left out, the '
        'bundled networks',
    )
    parser.add_argument(
        '--out', type=Path, required=True, metavar='FOLDER', help='a new folder, or an empty one'
    )
    parser.add_argument(
        '--format',
        choices=(*FORMATS, 'all'),
        default='all',
        help='paddle: for paddle.inference; onnx: for ONNX Runtime and others',
    )
    parser.add_argument(
        '--batch',
        type=batch_size,
        default=1,
        metavar='N|dynamic',
        help='frames that a program takes at once: N, which is fastest, or any number (default: 1)',
    )
    return parser.parse_args()


def batch_size(text: str) -> int | None:
    """A number of frames; None: any number."""
    if text == 'dynamic':
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text}: give a whole number of at least 1, or dynamic')
    return int(text)


def require_extras(formats: Sequence[str]) -> None:
    """Raises UserError where what a format needs is not installed."""
    missing = [
        name
        for name in ('onnx', 'onnxruntime')
        if 'onnx' in formats and importlib.util.find_spec(name) is None
    ]
    if missing:
        raise UserError(f'--format onnx needs {" and ".join(missing)}: {EXTRA}')


def pictures(size: tuple[int, int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """What is animated to compare: a picture, and frames from all of a clip, float32 in [0, 1]."""
    with VideoReader(BUNDLED / 'driving.mp4') as clip:
        frames = list(clip)
    chosen = [frames[i] for i in np.linspace(0, len(frames) - 1, FRAMES).astype(int)]
    source = resize_frame(read_image(BUNDLED / 'source.png'), size)
    return source, [resize_frame(frame, size) for frame in chosen]


def main() -> None:
    options = parse_arguments()
    formats = FORMATS if options.format == 'all' else (options.format,)
    require_extras(formats)
    path, weights = choose_weights(options.config, options.checkpoint)
    config = load_config(path, need=('dataset_params.frame_shape',))
    height, width = config['dataset_params']['frame_shape'][:2]
    prepare_process(cpu=True)
    choose_device(cpu=True)
    from modules.checkpoints.models import StoredModels
    from tools.exporting.writing import export

    with atomic_output(options.out, folder=True) as folder:
        models = StoredModels(config, weights).load()
        compared = export(
            models, config, formats, options.batch, *pictures((height, width)), folder
        )
        if 'onnx' in formats:
            for example in EXAMPLES:
                shutil.copyfile(example, folder / example.name)
    for runtime, largest in compared.items():
        print(f'{runtime}: frames differ by at most {largest:.1e} from those of the networks')
    print(f'written: {options.out}')


if __name__ == '__main__':
    run_command(main)
