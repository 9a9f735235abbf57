"""Animates a picture with the motion of a video.

    python demo.py --checkpoint vox --source_image me.jpg --driving_video clip.mp4 \\
        --relative --adapt_scale

vox are published networks for faces, which are downloaded once. Without arguments the bundled
networks animate the bundled picture, a drawn creature.
"""

from modules.runtime.packages import require_packages

require_packages()

import argparse
import os
from pathlib import Path

from modules.animation.inputs import (
    add_animation_options,
    choose_config,
    note_squeezed,
    read_config_and_source,
)
from modules.animation.options import add_time_options, read_timed, result_options
from modules.inference.options import add_engine_options
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.messages import note
from modules.runtime.process import choose_device, prepare_process
from modules.runtime.shortage import ANIMATION_MEND, shortage_explained
from modules.video import IMAGE_SUFFIXES, VideoWriter


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    add_animation_options(parser)
    parser.add_argument(
        '--result_video',
        type=Path,
        default=Path('result.mp4'),
        help='.mp4, .gif, or a name without extension: a folder of PNG frames',
    )
    best = parser.add_mutually_exclusive_group()
    best.add_argument(
        '--best_frame',
        type=int,
        metavar='N',
        help='with --relative: movement is measured from driving frame N, which counts from 0 in '
        'the file, instead of the first that is animated',
    )
    best.add_argument(
        '--find_best_frame',
        action='store_true',
        help="likewise, from the frame whose keypoints are most like the picture's",
    )
    parser.add_argument(
        '--side_by_side', action='store_true', help='show picture | driving video | result'
    )
    add_time_options(parser)
    add_engine_options(parser)
    options = parser.parse_args()
    choose_config(options)
    from_frame = options.best_frame is not None or options.find_best_frame
    if (options.adapt_scale or from_frame) and not options.relative:
        note('--adapt_scale, --best_frame and --find_best_frame change nothing without --relative')
    result = os.path.realpath(options.result_video)
    for path in (options.source_image, options.driving_video):
        if os.path.exists(path) and result == os.path.realpath(path):
            parser.error(f'--result_video {path}: would replace what it is made from')
    in_driving = os.path.dirname(result) == os.path.realpath(options.driving_video)
    if in_driving and result.lower().endswith(IMAGE_SUFFIXES):
        parser.error(
            f'--result_video {options.result_video}: would become a frame of the folder '
            f'{options.driving_video}; choose another place'
        )
    return options


@shortage_explained(ANIMATION_MEND)
def main() -> None:
    options = parse_arguments()
    config, size, source = read_config_and_source(options)
    clip = read_timed(options)
    note_squeezed(options.driving_video, clip.size, size)
    writer = VideoWriter(options.result_video, clip.fps, **result_options(options, clip))

    prepare_process(options.cpu)
    device = choose_device(options.cpu)
    from modules.animation.clip import animate_clip

    with clip:
        animate_clip(options, config, size, source, clip, writer, device)
    for warning in filter(None, (*clip.notes, writer.audio_warning, writer.rate_warning)):
        note(warning)
    print(f'written: {options.result_video}')


if __name__ == '__main__':
    run_command(main)
