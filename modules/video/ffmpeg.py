"""What ffmpeg is asked to do: frames to H.264 or GIF.

The program is the one that imageio-ffmpeg brings. Its own `write_frames` is not used: it keeps to
itself how ffmpeg ended, so that a clip cut short by a full disk would pass for a whole one, leaves
what ffmpeg says on the screen, and can't end the sound with the pictures.
"""

import contextlib
import errno
import math
import os
import re
import shutil
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg

from modules.runtime.errors import OUTPUT_ERRORS, UserError
from modules.runtime.files import PathLike
from modules.video.pictures import Size

# RGB to BT.709, 16-235. sRGB shares its primaries; its transfer function comes closest.
BT709 = (
    'scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd,'
    'setparams=color_primaries=bt709:color_trc=bt709'
)
# Browsers and libav take a GIF's delay below 2/100 s for a mistake and play it at 10 fps.
GIF_TICK, GIF_LEAST_DELAY = Fraction(1, 100), 2
GIF = [
    '-vf',
    f"settb={GIF_TICK},select='isnan(prev_selected_t)+gte(pts-prev_selected_pts,{GIF_LEAST_DELAY})',"
    'split[one][two];[one]palettegen=stats_mode=single[palette];[two][palette]paletteuse=new=1',
    *('-enc_time_base', GIF_TICK),
    *('-bsf:v', f'setts=duration=max(DURATION\\,{GIF_LEAST_DELAY})'),  # the last frame's, too
]


class FfmpegError(Exception):
    """ffmpeg has failed; its last line."""


class Ffmpeg:
    """A run of ffmpeg.

    Args:
        arguments: what stands behind `ffmpeg` in a shell; input `pipe:` is what `write` is given.
    """

    def __init__(self, *arguments: object):
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        # In a session of its own, a Ctrl-C of the terminal doesn't reach ffmpeg. SIGXFSZ stays
        # ignored as it is in Python: then a limit on the size of files is an error like others.
        self._process = subprocess.Popen(
            [find_ffmpeg(), '-y', '-nostdin', '-v', 'error', *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,
            restore_signals=False,
        )
        assert self._process.stdin is not None
        self._input = self._process.stdin

    def write(self, data: Any) -> None:
        """Passes on the bytes of a buffer.

        Raises:
            FfmpegError: ffmpeg has failed.
            OSError: it has, because of the disk.
        """
        try:
            self._input.write(data)
        except BrokenPipeError:
            raise self._error() from None

    def finish(self) -> None:
        """Waits for the end; raises what `write` raises."""
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        if self._process.wait() != 0:
            raise self._error()

    def close(self) -> None:
        """Ends ffmpeg if it still runs."""
        self._process.kill()
        with contextlib.suppress(BrokenPipeError):
            self._input.close()
        self._process.wait()
        self._log.close()

    def _error(self) -> Exception:
        status = self._process.wait()
        number = 256 - status  # of the system's error, if it was one
        if number in (*OUTPUT_ERRORS, errno.EIO):
            return OSError(number, os.strerror(number))
        if status < 0:
            return FfmpegError(f'ended by signal {-status}')
        self._log.seek(0)
        lines = self._log.read().decode(errors='replace').split('\n')
        said = [re.sub(r'^(\[[^]]* @ \w*\] )+', '', line) for line in lines if line.strip()]
        return FfmpegError(said[-1] if said else f'ended with status {status}')


def find_ffmpeg() -> str:
    """The program of imageio-ffmpeg, or $IMAGEIO_FFMPEG_EXE.

    Raises:
        UserError: there is none.
    """
    with contextlib.suppress(RuntimeError):
        program = shutil.which(imageio_ffmpeg.get_ffmpeg_exe())
        if program:
            return program
    raise UserError('ffmpeg: no such program; set IMAGEIO_FFMPEG_EXE to one')


def encoder(target: Path, fps: Fraction, size: Size) -> Ffmpeg:
    """A run that makes a clip of the frames (H, W, 3) uint8 written to it."""
    height, width = size
    pictures = ('-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', f'{width}x{height}', '-r', fps)
    options = GIF
    if target.suffix.lower() != '.gif':
        options = ['-vf', BT709, '-pix_fmt', 'yuv420p', '-c:v', 'libx264', '-crf', '18']
        if -(-width // 16) % 8:
            # Where the rows are no multiple of 8 blocks, the AVX-512 code of x264's macroblock tree
            # gives other bytes from run to run. Without that tree, files are a third larger.
            options += ['-x264-params', 'mbtree=0']
    return Ffmpeg(*pictures, '-i', 'pipe:', *options, *container_options(target), file_url(target))


def container_options(target: Path) -> tuple[str, str]:
    """How a clip is put together: mp4 and mov with their index in front; Matroska without the
    random number that it has otherwise, so that the same frames give the same bytes.
    """
    if target.suffix.lower() == '.mkv':
        return '-fflags', '+bitexact'
    return '-movflags', '+faststart'  # others have no such option, and don't mind


def frames_in_gif(count: int, fps: Fraction) -> int:
    """How many of `count` frames the filters of a GIF keep."""
    kept, last = 0, -GIF_LEAST_DELAY
    for number in range(count):
        time = math.floor(number / fps / GIF_TICK + Fraction(1, 2))
        if time - last >= GIF_LEAST_DELAY:
            kept, last = kept + 1, time
    return kept


def file_url(path: PathLike) -> str:
    """The prefix keeps a colon in a name from being taken for a protocol."""
    return f'file:{os.fspath(path)}'
