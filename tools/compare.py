"""Animates by this project and by the official PyTorch code, and shows both and their difference.

    python tools/compare.py --torch_repo first-order-model --torch_python torch/bin/python \\
        --out compare.gif compare.mp4

Writes videos of source | driving frame | PaddlePaddle | PyTorch | their difference x 10, and prints
the largest and the mean difference. The official code runs from a clone of its repository, on the
CPU, under a Python with PyTorch; both get the same frames and the same weights. Without further
options they animate the bundled picture with the bundled clip and checkpoint.
"""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import numpy as np

from modules.animation.inputs import choose_config, read_config_and_source, read_resized
from modules.animation.options import add_animation_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.messages import note
from modules.runtime.process import choose_device, prepare_process
from modules.video import VideoReader, VideoWriter
from tools.official.animation import Animation, official_animation, require_official

MAGNIFIED = 10  # times the difference, to be seen


class Difference(NamedTuple):
    """Between two animations."""

    largest: float  # of the values in [0, 1]
    mean: float
    largest_level: int  # of the 8-bit frames
    other_levels: float  # share of the values of 8-bit frames that differ


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--torch_repo',
        type=Path,
        required=True,
        metavar='FOLDER',
        help='clone of the official repository',
    )
    parser.add_argument(
        '--torch_python', metavar='PYTHON', help='interpreter with PyTorch; if left out, this one'
    )
    parser.add_argument(
        '--out',
        type=Path,
        nargs='+',
        default=[Path('compare.gif'), Path('compare.mp4')],
        metavar='FILE',
        help='.mp4, .gif, or a name without extension, which becomes a folder of PNG frames',
    )
    add_animation_options(parser)
    options = parser.parse_args()
    choose_config(options)
    inputs = [path.resolve() for path in (options.source_image, options.driving_video)]
    for path in options.out:
        if path.resolve() in inputs:
            parser.error(f'--out {path}: would replace what it is made from')
    if options.adapt_scale and not options.relative:
        note('--adapt_scale changes nothing without --relative')
    return options


def measure(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """The difference of two animations (T, H, W, 3) float in [0, 1]."""
    from modules.video.levels import to_bytes

    apart = np.abs(ours.astype('float64') - theirs)
    levels = np.abs(to_bytes(ours).astype(int) - to_bytes(theirs))
    return Difference(
        float(apart.max()), float(apart.mean()), int(levels.max()), float((levels > 0).mean())
    )


def describe(difference: Difference) -> str:
    level = 'level' if difference.largest_level == 1 else 'levels'
    return (
        f'difference of values in [0, 1]: largest {difference.largest:.1e}, mean '
        f'{difference.mean:.1e}\n'
        f'of 8-bit frames: largest {difference.largest_level} {level}, '
        f'{100 * difference.other_levels:.2g} % of the values differ'
    )


def pictures(animation: Animation, ours: np.ndarray, theirs: np.ndarray) -> Iterator[np.ndarray]:
    """source | driving | ours | theirs | difference x 10 -> (H, 5 * W, 3) uint8 each."""
    from modules.video.levels import to_bytes

    for driving, our, their in zip(animation.driving, ours, theirs):
        apart = np.minimum(MAGNIFIED * np.abs(our - their), 1)
        panels = [animation.source, driving, our, their, apart]
        yield to_bytes(np.concatenate(panels, axis=1))


def write_videos(writers: Sequence[VideoWriter], frames: Iterator[np.ndarray]) -> None:
    """No video is left if a frame can't be written to one of them."""
    with contextlib.ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        for frame in frames:
            for writer in writers:
                writer.write(frame)
    for writer in writers:
        if writer.rate_warning:
            note(writer.rate_warning)


def main() -> None:
    options = parse_arguments()
    config, size, source = read_config_and_source(options)
    reader = VideoReader(options.driving_video)
    writers = [VideoWriter(path, reader.fps) for path in options.out]
    official = require_official(options.torch_repo, options.torch_python)

    prepare_process(options.cpu)
    device = choose_device(options.cpu)
    import paddle

    from modules.animation.animator import animate
    from modules.animation.normalization import Normalization
    from modules.checkpoints.models import StoredModels

    models = StoredModels(config, options.checkpoint).load()
    with reader:
        driving = np.stack(list(read_resized(itertools.islice(reader, options.frames), size)))
    animation = Animation(source, driving, options.relative, options.adapt_scale)
    normalization = Normalization(options.relative, options.relative, options.adapt_scale)
    ours = np.stack(list(animate(models, source, animation.driving, normalization)))
    with official_animation(official, config, options.checkpoint) as animate_theirs:
        (theirs,) = animate_theirs([animation])
    print(
        f'paddle {paddle.__version__} on {device}, torch {official.version}: {len(ours)} frames '
        f'of {size[1]}x{size[0]}'
    )
    print(describe(measure(ours, theirs)))
    write_videos(writers, pictures(animation, ours, theirs))
    print(f'written: {", ".join(map(str, options.out))}')


if __name__ == '__main__':
    run_command(main)
