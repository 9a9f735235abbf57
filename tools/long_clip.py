"""Compares the memory that demo.py takes for a long clip and for a short one, both with sound.

    python tools/long_clip.py --minutes 10

Draws the clips (a square that moves, a click a second), animates them with --find_best_frame and
prints, for each, the most memory that the process took, and by how much sound and pictures end
apart. Exit status 1 where the long one takes over 10 % more, or they end a frame apart.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import av
import numpy as np

from modules.animation.option_values import minutes
from modules.runtime.commands import ArgumentParser, run_command
from modules.video import VideoReader, VideoWriter
from modules.video.ffmpeg import Ffmpeg, file_url

FPS, SIZE = 25, 128
MORE = 1.1  # times the memory of the short clip


class Figures(NamedTuple):
    """Of an animated clip."""

    memory: float  # MiB, the most that the process held
    apart: float  # seconds from the end of the pictures to that of the sound
    seconds: float  # that it took


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument(
        '--minutes', type=minutes, default=10, metavar='N', help='minutes of the long clip'
    )
    parser.add_argument(
        '--short', type=minutes, default=1, metavar='N', help='minutes of the short one'
    )
    parser.add_argument(
        'options',
        nargs='*',
        metavar='OPTION',
        help='options of demo.py, after `--`; if left out, --relative --find_best_frame',
    )
    return parser.parse_args()


def frames(count: int) -> Iterator[np.ndarray]:
    """A square that goes round, no two frames after one another alike."""
    y, x = np.mgrid[:SIZE, :SIZE]
    ground = np.stack([x, y, np.full_like(x, 90)], axis=2).astype(np.uint8)
    for number in range(count):
        frame, turn = ground.copy(), number / 40
        left, top = (int(SIZE * (0.4 + 0.3 * wave)) for wave in (np.cos(turn), np.sin(turn)))
        frame[top : top + 24, left : left + 24] = (230, 120, 40)
        yield frame


def draw_clip(path: Path, length: float) -> None:
    silent = path.with_name('silent.mp4')
    with VideoWriter(silent, FPS) as writer:
        for frame in frames(round(60 * length * FPS)):
            writer.write(frame)
    clicks = f"aevalsrc='0.5*sin(6283*t)*lt(mod(t,1),0.1)':s=48000:d={60 * length}"
    run = Ffmpeg(
        *('-i', file_url(silent), '-f', 'lavfi', '-i', clicks),
        *('-map', '0:v', '-map', '1:a', '-c:v', 'copy', '-c:a', 'aac', file_url(path)),
    )
    run.finish()
    run.close()
    silent.unlink()


def animate(clip: Path, result: Path, options: list[str]) -> Figures:
    command = [sys.executable, str(ROOT / 'demo.py'), '--cpu', *options]
    command += ['--driving_video', str(clip), '--result_video', str(result)]
    begin = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)  # it has been waited for
    if process.returncode:
        sys.exit(process.returncode)
    scale = 2**20 if sys.platform == 'darwin' else 2**10
    return Figures(usage.ru_maxrss / scale, ends_apart(result), time.perf_counter() - begin)


def ends_apart(path: Path) -> float:
    with VideoReader(path) as reader:
        assert reader.frame_count is not None  # of what demo.py writes
        pictures = float(reader.frame_count / reader.fps)
    with av.open(str(path)) as container:
        track, end = container.streams.audio[0], 0.0
        for packet in container.demux(track):
            if packet.size:
                end = float((packet.pts + packet.duration) * packet.time_base)
    return end - pictures


def main() -> None:
    options = parse_arguments()
    given = options.options or ['--relative', '--find_best_frame']
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for length in (options.short, options.minutes):
            clip, result = Path(folder, 'clip.mp4'), Path(folder, 'result.mp4')
            draw_clip(clip, length)
            found[length] = figures = animate(clip, result, given)
            print(
                f'{length:g} min: {figures.memory:.0f} MiB at most, sound ends '
                f'{1000 * figures.apart:+.0f} ms from the pictures, {figures.seconds:.0f} s',
                flush=True,
            )
    ratio = found[options.minutes].memory / found[options.short].memory
    in_step = all(abs(figures.apart) <= 1 / FPS for figures in found.values())
    is_ok = ratio <= MORE and in_step
    print(f'memory: {ratio:.3f} times that of the short clip; {"ok" if is_ok else "FAIL"}')
    sys.exit(not is_ok)


if __name__ == '__main__':
    run_command(main)
