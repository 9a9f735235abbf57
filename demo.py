"""Animates a picture with the motion of a video.

    python demo.py --checkpoint vox --source_image me.jpg --driving_video clip.mp4 \\
        --relative --adapt_scale

vox are published networks for faces, which are downloaded once. Without arguments the bundled
networks animate the bundled picture, a drawn creature. Notebooks import `load_checkpoints` and
`make_animation` from here.
"""

from modules.runtime.packages import require_packages

require_packages()

import argparse
import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from modules.animation.inputs import open_inputs
from modules.animation.job_options import check_options, demo_parser
from modules.runtime.commands import run_command
from modules.runtime.files import PathLike
from modules.runtime.messages import note
from modules.runtime.process import choose_device, prepare_process
from modules.runtime.shortage import ANIMATION_MEND, shortage_explained
from modules.video import VideoWriter


def parse_arguments() -> argparse.Namespace:
    parser = demo_parser(description=__doc__.split('\n', 1)[0])
    return check_options(parser.parse_args())


def load_checkpoints(
    config_path: PathLike, checkpoint_path: PathLike, cpu: bool = False
) -> tuple[Any, Any]:
    """generator and kp_detector, as the official notebook loads them."""
    from modules.animation import notebook

    return notebook.load_checkpoints(config_path, checkpoint_path, cpu)


def make_animation(
    source_image: np.ndarray,
    driving_video: Sequence[np.ndarray],
    generator: Any,
    kp_detector: Any,
    relative: bool = True,
    adapt_movement_scale: bool = True,
    cpu: bool = False,
) -> list[np.ndarray]:
    """A picture (H, W, 3) and frames of its size, float in [0, 1] -> frames, as in the official
    notebook.
    """
    from modules.animation import notebook

    return notebook.make_animation(
        source_image, driving_video, generator, kp_detector, relative, adapt_movement_scale, cpu
    )


@shortage_explained(ANIMATION_MEND)
def main() -> None:
    options = parse_arguments()
    inputs = open_inputs(options)
    writer = VideoWriter(options.result_video, inputs.fps, **inputs.sound(options))

    prepare_process(options.cpu)
    device = choose_device(options.cpu)
    from modules.animation.clip import animate_clip

    with contextlib.closing(inputs):
        animate_clip(options, inputs, writer, device)
    for warning in filter(None, (*inputs.notes(), writer.audio_warning, writer.rate_warning)):
        note(warning)
    written = filter(None, (options.result_video, options.save_motion))
    print(f'written: {", ".join(map(str, written))}')


if __name__ == '__main__':
    run_command(main)
