"""Compares how clips are read with what ffmpeg decodes; writes a table.

    python tools/compare_decoding.py --out doc/decoding.md

Clips of some 50 ordinary kinds are made with the ffmpeg of imageio-ffmpeg: codecs, containers, 8
and 10 bit, with and without B-frames, edit lists, rotation, sound. Each is read by `VideoReader`
and decoded by the same ffmpeg, which converts colours and turns frames likewise. Both must give as
many frames, alike to 45 dB at least, at the same times. The exit status is 0 if all do.
"""

import argparse
import math
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from modules.runtime.packages import require_packages

require_packages()

import av
import numpy as np

from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError
from modules.runtime.files import atomic_output
from modules.video import VideoReader
from modules.video.ffmpeg import find_ffmpeg
from tools.markdown import table

WIDTH, HEIGHT, SECONDS = 192, 144, 2
LEAST_PSNR = 45.0
EVERY_FRAME = ('-map', '0:v:0', '-fps_mode', 'passthrough')

H264, HEVC = '-c:v libx264', '-c:v libx265 -x265-params log-level=none'
VP8, VP9 = '-c:v libvpx -b:v 1M', '-c:v libvpx-vp9 -b:v 1M'
AV1, TEN = '-c:v libaom-av1 -cpu-used 8 -b:v 500k', '-pix_fmt yuv420p10le'


class Kind(NamedTuple):
    """An ordinary kind of clip."""

    name: str
    suffix: str
    options: str  # of ffmpeg, for the output
    rate: str = '25'
    source: str = ''  # filters behind the test picture
    sound: bool = False
    again: str = ''  # options before the input of a second pass, which copies
    # Where chroma lies, as the decoder says; ffmpeg's filters must be told, and use it for 10 bit.
    chroma: str = 'unspecified'


KINDS: tuple[Kind, ...] = (
    Kind('H.264', '.mp4', H264),
    Kind('H.264, no B-frames', '.mp4', f'{H264} -bf 0'),
    Kind('H.264, many B-frames', '.mov', f'{H264} -bf 8 -b_strategy 0'),
    Kind('H.264, open groups', '.mkv', f'{H264} -x264-params open-gop=1:keyint=15'),
    Kind('H.264, 10 bit', '.mp4', f'{H264} {TEN}', chroma='left'),
    Kind('H.264, 4:4:4', '.mp4', f'{H264} -pix_fmt yuv444p'),
    Kind('H.264, 4:2:2', '.mov', f'{H264} -pix_fmt yuv422p'),
    Kind('H.264, RGB', '.mkv', '-c:v libx264rgb -crf 10'),
    Kind('H.264, full range', '.mp4', f'{H264} -pix_fmt yuvj420p'),
    Kind(
        'H.264, BT.709', '.mp4', f'{H264} -colorspace bt709', source='scale=out_color_matrix=bt709'
    ),
    Kind('H.264, 29.97 per second', '.mp4', H264, rate='30000/1001'),
    Kind('H.264, 23.976 per second', '.mkv', H264, rate='24000/1001'),
    Kind('H.264, 60 per second', '.ts', H264, rate='60'),
    Kind('H.264, 12.5 per second', '.flv', H264, rate='25/2'),
    Kind('H.264 with AAC', '.mp4', H264, sound=True),
    Kind('H.264 with AAC', '.ts', H264, sound=True),
    Kind('H.264 with PCM', '.avi', f'{H264} -bf 0 -c:a pcm_s16le', sound=True),
    Kind('H.264, turned by 90 degrees', '.mp4', H264, again='-display_rotation 90'),
    Kind('H.264, turned by 180 degrees', '.mov', H264, again='-display_rotation 180'),
    Kind('H.264, mirrored', '.mp4', H264, again='-display_hflip'),
    Kind('H.264, cut by an edit list', '.mp4', f'{H264} -g 10', again='-ss 0.5'),
    Kind('H.264, fragmented', '.mp4', f'{H264} -movflags frag_keyframe+empty_moov -g 10'),
    Kind('H.264', '.m4v', H264),
    Kind('H.264', '.3gp', f'{H264} -bf 2'),
    Kind('HEVC', '.mp4', HEVC),
    Kind('HEVC, 10 bit', '.mov', f'{HEVC} {TEN}', chroma='left'),
    Kind('HEVC', '.mkv', HEVC),
    Kind('HEVC', '.ts', HEVC),
    Kind('VP8', '.webm', VP8),
    Kind('VP8 with Vorbis', '.webm', VP8, sound=True),
    Kind('VP9', '.webm', VP9),
    Kind('VP9', '.mp4', VP9),
    Kind('VP9, 10 bit', '.webm', f'{VP9} {TEN}'),
    Kind('AV1', '.mp4', AV1),
    Kind('AV1, 10 bit', '.mkv', f'{AV1} {TEN}'),
    Kind('AV1', '.webm', AV1),
    Kind('MPEG-4', '.avi', '-c:v mpeg4 -q:v 3'),
    Kind('MPEG-4, B-frames', '.avi', '-c:v mpeg4 -q:v 3 -bf 2'),
    Kind('MPEG-4', '.mp4', '-c:v mpeg4 -q:v 3 -bf 2'),
    Kind('MPEG-2', '.mpg', '-c:v mpeg2video -q:v 3 -bf 2'),
    Kind('MPEG-2', '.vob', '-c:v mpeg2video -q:v 3'),
    Kind('Motion JPEG', '.avi', '-c:v mjpeg -q:v 3'),
    Kind('Motion JPEG', '.mov', '-c:v mjpeg -q:v 3'),
    Kind('ProRes, 10 bit', '.mov', '-c:v prores_ks -pix_fmt yuv422p10le'),
    Kind('ProRes 4444, 12 bit', '.mov', '-c:v prores_ks -profile:v 4 -pix_fmt yuv444p12le'),
    Kind('WMV', '.wmv', '-c:v wmv2 -q:v 3'),
    Kind('FFV1', '.mkv', '-c:v ffv1'),
    Kind('GIF', '.gif', ''),
    Kind('GIF, 10 per second', '.gif', '', rate='10'),
    Kind('animated PNG', '.apng', '-plays 0'),
)


class Result(NamedTuple):
    """What was found of one kind."""

    kind: Kind
    ours: int  # frames
    theirs: int
    psnr: float  # of the worst frame, in dB
    late: float  # seconds, at most

    @property
    def is_alike(self) -> bool:
        frame = 1 / float(eval_rate(self.kind.rate))
        return self.ours == self.theirs and self.psnr >= LEAST_PSNR and self.late < frame


def eval_rate(rate: str) -> float:
    over, _, under = rate.partition('/')
    return int(over) / int(under or 1)


def ffmpeg(*arguments: object) -> bytes:
    """What a run of ffmpeg writes to its output."""
    command = [find_ffmpeg(), '-v', 'error', '-nostdin', '-y', *map(str, arguments)]
    run = subprocess.run(command, capture_output=True)
    if run.returncode:
        said = run.stderr.decode(errors='replace').strip().split('\n')[-1]
        raise UserError(f'ffmpeg: {said}')
    return run.stdout


def make(kind: Kind, folder: Path) -> Path:
    """A clip of this kind: moving edges, gradients and noise."""
    path = folder / f'clip{kind.suffix}'
    picture = f'testsrc2=s={WIDTH}x{HEIGHT}:r={kind.rate}:d={SECONDS}'
    filters = [picture, 'noise=alls=4:allf=t', *([kind.source] if kind.source else [])]
    inputs = ['-f', 'lavfi', '-i', ','.join(filters)]
    if kind.sound:
        inputs += ['-f', 'lavfi', '-i', f'sine=d={SECONDS}']
    options = kind.options.split()
    if (
        '-pix_fmt' not in options
        and kind.suffix not in ('.gif', '.apng')
        and 'rgb' not in kind.options
    ):
        options += ['-pix_fmt', 'yuvj420p' if 'mjpeg' in options else 'yuv420p']
    ffmpeg(*inputs, *options, path)
    if kind.again:
        second = folder / f'again{kind.suffix}'
        ffmpeg(*kind.again.split(), '-i', path, '-c', 'copy', second)
        return second
    return path


def decode(path: Path, size: tuple[int, int], chroma: str) -> np.ndarray:
    """(N, H, W, 3) uint8: what ffmpeg makes of a clip."""
    scale = 'scale=flags=bicubic'
    if chroma != 'unspecified':
        scale += f':in_chroma_loc={chroma}'
    raw = ffmpeg('-i', path, *EVERY_FRAME, '-vf', f'{scale},format=rgb24', '-f', 'rawvideo', '-')
    return np.frombuffer(raw, np.uint8).reshape(-1, *size, 3)


def times(path: Path) -> list[float]:
    """When each frame is shown, in seconds after the first."""
    lines = ffmpeg('-i', path, *EVERY_FRAME, '-f', 'framecrc', '-')
    found, tick = [], 0.0
    for line in lines.decode().split('\n'):
        if line.startswith('#tb 0:'):
            tick = eval_rate(line.split(':')[1].strip())
        elif line and not line.startswith('#'):
            found.append(int(line.split(',')[2]) * tick)
    return [time - found[0] for time in found]


def compare(kind: Kind) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        path = make(kind, Path(folder))
        with VideoReader(path) as reader:
            ours, rate, size = list(reader), reader.fps, reader.size
        theirs, shown = decode(path, size, kind.chroma), times(path)
    both = min(len(ours), len(theirs))
    errors = [np.square(ours[i].astype(float) - theirs[i]).mean() for i in range(both)]
    psnr = 10 * math.log10(255**2 / max(errors)) if max(errors) else math.inf
    late = max(abs(float(i / rate) - shown[i]) for i in range(both))
    return Result(kind, len(ours), len(theirs), psnr, late)


def report(results: Sequence[Result]) -> Iterator[str]:
    """The lines of the document."""
    alike = sum(result.is_alike for result in results)
    version = ffmpeg('-version').decode().split()[2]
    yield '# Clips as ffmpeg decodes them'
    yield ''
    words = (
        f'{len(results)} ordinary clips of {WIDTH}x{HEIGHT} and {SECONDS} s, made with ffmpeg '
        f'({version}) and read by `VideoReader` (PyAV {av.__version__}); {alike} of them alike: as '
        f'many frames, of {LEAST_PSNR:g} dB at least, at the same times to a frame. '
        'Made by `tools/compare_decoding.py`.'
    )
    yield from textwrap.wrap(words, 110)
    yield ''
    header = ('kind', 'container', 'frames', "ffmpeg's", 'PSNR of the worst, dB', 'times apart, ms')
    rows = [
        (
            result.kind.name,
            result.kind.suffix[1:],
            str(result.ours),
            str(result.theirs),
            'equal' if math.isinf(result.psnr) else f'{result.psnr:.1f}',
            f'{1000 * result.late:.1f}' + ('' if result.is_alike else ' (differs)'),
        )
        for result in results
    ]
    yield from table(header, rows)


def parse_arguments() -> argparse.Namespace:
    parser = ArgumentParser(description=__doc__.split('\n', 1)[0])
    parser.add_argument('--out', type=Path, help='document to write; if left out, it is printed')
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    results = [compare(kind) for kind in KINDS]
    text = '\n'.join(report(results)) + '\n'
    if options.out is None:
        print(text, end='')
    else:
        with atomic_output(options.out) as path:
            path.write_text(text, encoding='utf-8')
        print(f'written: {options.out}')
    others = [result for result in results if not result.is_alike]
    if others:
        named = ', '.join(f'{result.kind.name} ({result.kind.suffix})' for result in others)
        raise UserError(f'{len(others)} of {len(results)} kinds differ: {named}')


if __name__ == '__main__':
    run_command(main)
