"""Clips and folders of pictures, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from modules.runtime.errors import OUTPUT_ERRORS, UserError, reason_of
from modules.runtime.files import PathLike, atomic_output, check_output
from modules.video.ffmpeg import Ffmpeg, FfmpegError, encoder, find_ffmpeg, frames_in_gif
from modules.video.pictures import Size
from modules.video.sound import Sound, find_sound
from modules.video.spool import Spool
from modules.video.timing import Rate, exact_rate

MOVIE_SUFFIXES = ('.mp4', '.mov', '.mkv')
PICTURE_SUFFIXES = ('.png', '.jpg', '.jpeg')
_SETTINGS: dict[str, dict[str, Any]] = {
    # The default level 6 takes three times as long to save a few percent.
    '.png': {'extension': '.png', 'compress_level': 3},
    '.jpg': {'extension': '.jpg', 'quality': 95, 'subsampling': 0},
}


def holds_sound(path: PathLike) -> bool:
    """Whether a clip of this name is of a kind that can hold sound."""
    return Path(path).suffix.lower() in MOVIE_SUFFIXES


def write_picture(path: PathLike, picture: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 to a JPEG, if that is the name's extension, else to a PNG."""
    is_jpeg = Path(path).suffix.lower() in ('.jpg', '.jpeg')
    # A path that imageio opened itself might be an address, or a place in a zip file, to it.
    settings = _SETTINGS['.jpg' if is_jpeg else '.png']
    data = iio.imwrite('<bytes>', picture, plugin='pillow', **settings)
    Path(path).write_bytes(data)


def write_video(path: PathLike, frames: Iterable[np.ndarray], fps: Rate) -> None:
    """Writes all frames to a clip; see `VideoWriter`."""
    with VideoWriter(path, fps) as writer:
        for frame in frames:
            writer.write(frame)


class VideoWriter:
    """Writes frames to a clip; the extension of `path` decides on the kind.

    - .mp4, .mov, .mkv: H.264 that plays everywhere (8-bit 4:2:0, mp4 and mov with their index in
      front), at exactly `fps`. The size must be even: the last row or column of an odd one is
      doubled.
    - .gif: 256 colours chosen for each frame. A GIF counts time in 1/100 s: its delays vary so that
      their mean is exact; above 50 fps, which viewers don't play, frames are left out: see
      `rate_warning`.
    - no extension: a new folder of lossless pictures 000000.png, 000001.png, ...
    - .png, .jpg, .jpeg: a picture, of a single frame.

    The same frames give the same bytes on the same machine.

    Used in a `with` statement. The output grows under a temporary name beside `path` and takes its
    place only when the block ends without an exception; otherwise nothing is left behind.

    Attributes:
        frame_count: frames written so far.
        audio_warning: None, or one line that tells why the sound of `audio_from` is missing, or a
            part of it; complete when the block has ended.
        rate_warning: None, or one line that tells how many frames the clip's kind had to leave out;
            there when the block has ended.
    """

    def __init__(
        self,
        path: PathLike,
        fps: Rate,
        size: Size | None = None,
        audio_from: PathLike | None = None,
        audio_start: Fraction = Fraction(0),
        audio_speed: Fraction = Fraction(1),
        there_and_back: bool = False,
    ):
        """Nothing is opened or written yet, but the place is tried.

        Args:
            path: the clip; see above.
            fps: frames per second.
            size: (height, width) of the frames; left out, that of the first one.
            audio_from: a clip whose sound is added, from its start to the end of the frames
                written. AAC and MP3 are copied, the rest is encoded to AAC.
            audio_start: the second of that clip, counted from its first picture, at which the
                sound begins; if it is another than 0, all kinds are encoded.
            audio_speed: how many times faster the sound is to be played, at the pitch it has; if
                it is another than 1, all kinds are encoded.
            there_and_back: after the last frame those before it follow again, backwards, up to the
                second one, so that a player that repeats the clip goes back and forth. They lie on
                the disk beside `path` for that long.

        Raises:
            UserError: an extension that can't be written, or a place: see `atomic_output`.
        """
        self.path, self.fps, self.size = Path(path), exact_rate(fps), size
        self.frame_count = 0
        self.audio_warning: str | None = None
        self.rate_warning: str | None = None
        self._audio_from = audio_from
        self._audio_start, self._audio_speed = audio_start, audio_speed
        self._there_and_back = there_and_back
        self._spool: Spool | None = None  # all frames but the first
        self._ffmpeg: Ffmpeg | None = None
        self._suffix = self.path.suffix.lower()
        if self._suffix not in (*MOVIE_SUFFIXES, '.gif', '', *PICTURE_SUFFIXES):
            known = ', '.join((*MOVIE_SUFFIXES, '.gif'))
            raise UserError(
                f'{path}: clips of the kind {self._suffix} are not written; give {known}, '
                'or no extension for a folder of PNG pictures'
            )
        if self._suffix and not self.is_picture:
            find_ffmpeg()
        check_output(path, folder=not self._suffix)

    @property
    def is_picture(self) -> bool:
        """Whether there can be one frame alone."""
        return self._suffix in PICTURE_SUFFIXES

    def __enter__(self) -> VideoWriter:
        self._output = self._whole_output()
        self._output.__enter__()
        return self

    def __exit__(self, *exception: Any) -> bool | None:
        return self._output.__exit__(*exception)

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame: (H, W, 3) uint8, of the same size as the others.

        Raises:
            UserError: the disk is full, or fails; ffmpeg does.
            ValueError: another shape or type.
        """
        height, width = self.size = tuple(self.size or frame.shape[:2])
        if frame.dtype != np.uint8 or frame.shape != (height, width, 3):
            raise ValueError(f'{frame.dtype} {frame.shape}, expected uint8 {(height, width, 3)}')
        if self.is_picture and self.frame_count:
            raise UserError(
                f'{self.path}: a picture holds one frame, and there are more; give .mp4, or a name '
                'without extension for a folder of pictures'
            )
        with self._output_errors():
            if self._spool is not None and self.frame_count:
                self._spool.add(frame)
            self._encode(frame)

    def _encode(self, frame: np.ndarray) -> None:
        height, width = frame.shape[:2]
        if self.is_picture:
            write_picture(self._target, frame)
        elif not self._suffix:
            write_picture(self._target / f'{self.frame_count:06d}.png', frame)
        else:
            if self._suffix != '.gif' and (height % 2 or width % 2):
                frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
            if self._ffmpeg is None:
                self._ffmpeg = encoder(self._target, self.fps, frame.shape[:2])
            self._ffmpeg.write(np.ascontiguousarray(frame))
        self.frame_count += 1

    def _find_sound(self) -> Sound | None:
        source, sound = self._audio_from, None
        if source is None:
            return None
        if not holds_sound(self.path):
            known = ', '.join(MOVIE_SUFFIXES)
            self.audio_warning = f'{self.path}: written without sound; only {known} can hold any'
        elif Path(source).is_dir():
            self.audio_warning = f'{source}: a folder holds no sound; written without it'
        else:
            sound = find_sound(source, self._audio_start, self._audio_speed)
            if sound is None:
                self.audio_warning = f'{source}: no sound track to copy; written without it'
        return sound

    @contextlib.contextmanager
    def _whole_output(self) -> Iterator[None]:
        with atomic_output(self.path, folder=not self._suffix) as self._target:
            sound = self._find_sound()
            if self._there_and_back:
                self._spool = Spool(self._target.parent)
            try:
                yield
                if self.frame_count == 0:
                    raise UserError(f'{self.path}: no frames to write; check the input')
                with self._output_errors():
                    for frame in itertools.islice(reversed(self._spool or ()), 1, None):
                        self._encode(frame)
                    if self._ffmpeg:
                        self._ffmpeg.finish()
                    if sound:
                        seconds = self.frame_count / self.fps
                        self.audio_warning = sound.add_to(self._target, seconds)
            finally:
                if self._spool is not None:
                    self._spool.close()
                if self._ffmpeg:
                    self._ffmpeg.close()
        kept = frames_in_gif(self.frame_count, self.fps)
        if self._suffix == '.gif' and kept < self.frame_count:
            rate = float(self.fps * kept / self.frame_count)
            self.rate_warning = (
                f'{self.path}: {kept} of {self.frame_count} frames, {rate:.3g} per second instead '
                f'of {float(self.fps):.4g}, since a GIF plays 50 at most; .mp4 keeps all'
            )

    @contextlib.contextmanager
    def _output_errors(self) -> Iterator[None]:
        try:
            yield
        except FfmpegError as error:
            raise UserError(
                f'{self.path}: ffmpeg failed: {error}; '
                'a name without extension, for PNG pictures, does without it'
            ) from error
        except OSError as error:
            if error.errno not in (*OUTPUT_ERRORS, errno.EIO):
                raise
            raise UserError(
                f'{self.path}: {reason_of(error)}; '
                'free space or choose another place for the output'
            ) from error
