"""What ffmpeg is asked to do: frames to H.264 or GIF, sound to beside them.

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
from typing import Any, List, NamedTuple, Optional

import av
import imageio_ffmpeg

from modules.runtime.errors import OUTPUT_ERRORS, UserError
from modules.runtime.files import PathLike
from modules.video.opening import fraction, open_clip, picture_track, sound_track
from modules.video.packets import AVI, may_jump
from modules.video.pictures import Size
from modules.video.straight_sound import write_sound
from modules.video.survey import Clip, survey
from modules.video.wholeness import MOV

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
INDEX_IN_FRONT = ('-movflags', '+faststart')  # of mp4 and mov; others have no such option
# Sound that is passed on from before the first picture, in seconds: decoders need to warm up.
RUN_UP = 0.1


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
    return Ffmpeg(*pictures, '-i', 'pipe:', *options, *INDEX_IN_FRONT, _file(target))


def frames_in_gif(count: int, fps: Fraction) -> int:
    """How many of `count` frames the filters of a GIF keep."""
    kept, last = 0, -GIF_LEAST_DELAY
    for number in range(count):
        time = math.floor(number / fps / GIF_TICK + Fraction(1, 2))
        if time - last >= GIF_LEAST_DELAY:
            kept, last = kept + 1, time
    return kept


class Sound(NamedTuple):
    """A sound track: the clip, its number there, how it is encoded, and when the pictures start."""

    path: PathLike
    track: int
    codec: List[object]
    zero: float  # seconds from the clip's start, which is second 0 to ffmpeg
    tracks: int = 1  # how many sound tracks the clip has
    clip: Optional[Clip] = None  # what was found of one whose sound is put straight at first

    def add_to(self, movie: Path, seconds: Fraction) -> Optional[str]:
        """Adds the sound from the first picture to the end -> None, or a line on what is missing.

        Raises:
            OSError: the disk is full, or fails.
        """
        source, track, zero = self.path, self.track, self.zero
        missing = None
        if self.tracks > 1:
            missing = f'{self.path}: {self.tracks} sound tracks, of which the default one is kept'
        with tempfile.TemporaryDirectory(dir=movie.parent) as folder:
            if self.clip is not None:
                straight = Path(folder, 'sound.nut')
                start = write_sound(self.path, self.clip, RUN_UP, straight)
                if start is None:
                    missing = f'{self.path}: gaps in its sound; it may be out of step'
                else:
                    source, track, zero = straight, 0, start
            lead = min(zero, RUN_UP)
            cut: List[object] = ['-itsoffset', -lead] if lead else []
            if zero > lead:
                cut += ['-ss', f'{zero - lead:.4f}']
            whole = Path(folder, movie.name)
            arguments = [
                *('-i', _file(movie), *cut, '-t', f'{float(seconds) + lead:.6f}'),
                # The option keeps playlists from reaching for the network.
                *('-protocol_whitelist', 'file', '-i', _file(source)),
                *('-map', '0:v', '-map', f'1:a:{track}', '-map_chapters', '-1'),
                *('-c:v', 'copy', *self.codec, *INDEX_IN_FRONT, _file(whole)),
            ]
            damaged = f'{self.path}: damaged sound track; some of it is missing'
            for tolerance, told in ((['-xerror'], missing), (['-max_error_rate', '1'], damaged)):
                run = Ffmpeg(*tolerance, *arguments)
                with contextlib.closing(run), contextlib.suppress(FfmpegError):
                    run.finish()
                    os.replace(whole, movie)
                    return told
        return f'{self.path}: unusable sound track; written without it'


def find_sound(path: PathLike) -> Optional[Sound]:
    """The sound track of a clip that players play, if there is one.

    Raises:
        UserError: no such file, or not a clip.
    """
    with open_clip(path) as clip:
        track = sound_track(clip)
        if track is None:
            return None
        number, codec, zero = clip.streams.audio.index(track), track.codec_context, 0.0
        tracks, found = len(clip.streams.audio), None
        with contextlib.suppress(UserError):  # there are no pictures, or none of use
            pictures = picture_track(clip, path)
            if None not in (clip.start_time, pictures.start_time):
                first = pictures.start_time * fraction(pictures.time_base)
                zero = max(0.0, round(float(first - Fraction(clip.start_time, av.time_base)), 4))
            if clip.format.name not in (MOV, AVI):  # of which only the first would be read
                found = survey(path)
                # Where clocks may jump, ffmpeg leaves out the time before the sound; where there is
                # no index, it may leave out a part of the sound when it jumps to its start.
                is_bent = found.joints or may_jump(clip) or zero > RUN_UP
                found = found if found.stamps and is_bent else None
        how: List[object] = ['-c:a', 'aac', '-ac', min(codec.channels, 2)]
        if codec.name in ('aac', 'mp3', 'mp3float'):
            how = ['-c:a', 'copy', '-copyinkf:a']
    return Sound(path, number, how, zero, tracks, found)


def _file(path: PathLike) -> str:
    """The prefix keeps a colon in a name from being taken for a protocol."""
    return f'file:{os.fspath(path)}'
