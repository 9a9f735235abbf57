"""Clips and folders of pictures, written whole or not at all."""

import contextlib
import errno
import itertools
from fractions import Fraction
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Tuple

import av
import numpy as np
from PIL import Image

from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike, atomic_output, check_output
from modules.video.colours import (
    BT601,
    BT709,
    FULL,
    LIMITED,
    ONE_THREAD,
    SWS_BICUBIC,
    SWS_BT601,
)
from modules.video.opening import fraction, open_clip
from modules.video.pictures import Size
from modules.video.timing import Rate, exact_rate

MOVIE_SUFFIXES = ('.mp4', '.mov', '.mkv')
# Browsers and libav take a GIF's delay below 2/100 s for a mistake and play it at 10 fps.
GIF_TICK, GIF_LEAST_DELAY = Fraction(1, 100), 2
# Sound that is passed on from before the first picture, in seconds: decoders need to warm up.
RUN_UP = Fraction(1, 10)
# Sampling rates that AAC knows.
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES)


class VideoWriter:
    """Writes frames to a clip; the extension of `path` decides on the kind.

    - .mp4, .mov, .mkv: H.264 that plays everywhere (8-bit 4:2:0, mp4 and mov with their index in
      front), at exactly `fps`. The size must be even: the last row or column of an odd one is
      doubled.
    - .gif: 256 colours chosen for each frame. A GIF counts time in 1/100 s: its delays vary so that
      their mean is exact; above 50 fps, which viewers don't play, frames are left out: see
      `rate_warning`.
    - no extension: a new folder of lossless pictures 000000.png, 000001.png, ...

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
        size: Optional[Size] = None,
        audio_from: Optional[PathLike] = None,
    ):
        """Nothing is opened or written yet, but the place is tried.

        Args:
            path: the clip; see above.
            fps: frames per second.
            size: (height, width) of the frames; left out, that of the first one.
            audio_from: a clip whose sound is added, from its start to the end of the frames
                written. AAC and MP3 are copied, the rest is encoded to AAC.

        Raises:
            UserError: an extension that can't be written, or a place: see `atomic_output`.
        """
        self.path, self.fps, self.size = Path(path), exact_rate(fps), size
        self.frame_count = 0
        self.audio_warning: Optional[str] = None
        self.rate_warning: Optional[str] = None
        self._audio_from = audio_from
        suffix = self.path.suffix.lower()
        if suffix not in (*MOVIE_SUFFIXES, '.gif', ''):
            known = ', '.join((*MOVIE_SUFFIXES, '.gif'))
            raise UserError(
                f'{path}: clips of the kind {suffix} are not written; give {known}, '
                'or no extension for a folder of PNG pictures'
            )
        self._kind = {'': _Folder, '.gif': _Gif}.get(suffix, _Movie)
        check_output(path, folder=self._kind is _Folder)

    def __enter__(self) -> 'VideoWriter':
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(atomic_output(self.path, folder=self._kind is _Folder))
            self._sound = self._open_sound(stack)
            self._sink = self._kind(target, self.fps, self._sound)
            stack.push(self._finish)
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> Optional[bool]:
        return self._exit.__exit__(*exception)

    def write(self, frame: np.ndarray) -> None:
        """Adds a frame: (H, W, 3) uint8, of the same size as the others.

        Raises:
            UserError: the disk is full, or fails; the sound track can't be used at all.
            ValueError: another shape or type.
        """
        size = self.size = tuple(self.size or frame.shape[:2])
        if frame.dtype != np.uint8 or frame.shape != (*size, 3):
            raise ValueError(f'{frame.dtype} {frame.shape}, expected uint8 {(*size, 3)}')
        with self._disk_errors():
            self._sink.write(np.ascontiguousarray(frame), self.frame_count)
        self.frame_count += 1

    def _open_sound(self, stack: contextlib.ExitStack) -> Optional['_Sound']:
        if self._audio_from is None:
            return None
        if self._kind is not _Movie:
            known = ', '.join(MOVIE_SUFFIXES)
            self.audio_warning = f'{self.path}: written without sound; only {known} can hold any'
        elif Path(self._audio_from).is_dir():
            self.audio_warning = f'{self._audio_from}: a folder holds no sound; written without it'
        else:
            container = stack.enter_context(open_clip(self._audio_from))
            for track in container.streams.audio:
                if track.codec_context is not None:  # None: a codec unknown to libav
                    return _Sound(self._audio_from, container, track)
            self.audio_warning = f'{self._audio_from}: no sound track to copy; written without it'
        return None

    def _finish(self, kind: Optional[type], *exception: object) -> None:
        """Completes the output if the block ended well; in any case, lets go of it."""
        try:
            if kind is None:
                if self.frame_count == 0:
                    raise UserError(f'{self.path}: no frames to write; check the input')
                with self._disk_errors():
                    self._sink.finish()
        finally:
            self._sink.close()
        if self._sound and self._sound.is_damaged:
            self.audio_warning = f'{self._audio_from}: damaged sound track; some of it is missing'
        if self._sink.left_out:
            kept = self.frame_count - self._sink.left_out
            rate = float(self.fps * kept / self.frame_count)
            self.rate_warning = (
                f'{self.path}: {kept} of {self.frame_count} frames, {rate:.3g} per second instead '
                f'of {float(self.fps):.4g}, since a GIF plays 50 at most; .mp4 keeps all'
            )

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            if error.errno not in DISK_ERRORS:
                raise
            raise UserError(
                f'{self.path}: {reason_of(error)}; '
                'free space or choose another place for the output'
            ) from error


# The three kinds of output. Each has write(frame, number), finish() to complete the output, close()
# to let go of it, completed or not, and left_out, the number of frames it could not take.


class _Folder:
    """PNG pictures in a folder that exists."""

    left_out = 0

    def __init__(self, target: Path, fps: Fraction, sound: None):
        self._target = target

    def write(self, frame: np.ndarray, number: int) -> None:
        # The default level 6 takes three times as long to save a few percent.
        Image.fromarray(frame).save(self._target / f'{number:06d}.png', compress_level=3)

    def finish(self) -> None:
        """Every picture is complete already."""

    def close(self) -> None:
        """Nothing is open."""


class _Container:
    """A file written by libav."""

    left_out = 0

    def __init__(self, target: Path, options: Dict[str, str]):
        self._container = av.open(f'file:{target}', 'w', options=options)

    def close(self) -> None:
        # After a failure, the end can't be written either; after finish() there is nothing to do.
        with contextlib.suppress(av.FFmpegError, OSError):
            self._container.close()


class _Movie(_Container):
    """H.264 and, if there is `sound`, AAC or MP3."""

    def __init__(self, target: Path, fps: Fraction, sound: Optional['_Sound']):
        in_front = {} if target.suffix.lower() == '.mkv' else {'movflags': '+faststart'}
        super().__init__(target, in_front)
        self._fps, self._sound, self._stream = fps, sound, None

    def write(self, frame: np.ndarray, number: int) -> None:
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), 'edge')
        if self._stream is None:
            self._start(*frame.shape[:2])
        picture = av.VideoFrame.from_ndarray(frame, format='rgb24').reformat(
            format='yuv420p',
            src_colorspace=SWS_BT601,
            dst_colorspace=SWS_BT601,
            src_color_range=FULL,
            dst_color_range=LIMITED,
            interpolation=SWS_BICUBIC,
            **ONE_THREAD,
        )
        picture.pts, picture.time_base = number, 1 / self._fps
        self._container.mux(self._stream.encode(picture))
        if self._sound:
            self._sound.mux_until(self._container, (number + 1) / self._fps)

    def _start(self, height: int, width: int) -> None:
        options = {'crf': '18', 'preset': 'medium'}
        if -(-width // 16) % 8:
            # Where the rows are no multiple of 8 blocks, the AVX-512 code of x264's macroblock tree
            # gives other bytes from run to run. Without that tree, files are a third larger.
            options['x264-params'] = 'mbtree=0'
        self._stream = self._container.add_stream('libx264', rate=self._fps, options=options)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, 'yuv420p'
        # The matrix is BT.601 since programs that ignore the tag assume it for clips of this size;
        # primaries and transfer are those of BT.709, which sRGB shares or comes closest to.
        codec = self._stream.codec_context
        codec.colorspace, codec.color_range = BT601, LIMITED
        codec.color_primaries = codec.color_trc = BT709
        if self._sound:
            self._sound.attach(self._container)
            try:
                self._container.start_encoding()
            except av.FFmpegError as error:
                if error.errno in DISK_ERRORS:
                    raise
                raise UserError(
                    f'{self._sound.path}: unusable sound track; re-encode it or leave it out'
                ) from error

    def finish(self) -> None:
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _Gif(_Container):
    """An animated GIF: a graph of libav filters finds and applies the palette of each frame."""

    def __init__(self, target: Path, fps: Fraction, sound: None):
        super().__init__(target, {})
        self._fps, self._stream, self._last = fps, None, 0

    def write(self, frame: np.ndarray, number: int) -> None:
        if self._stream is None:
            self._start(*frame.shape[:2])
        time = round(number / self._fps / GIF_TICK)
        if number and time - self._last < GIF_LEAST_DELAY:
            self.left_out += 1
            return
        self._last = time
        picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
        picture.pts, picture.time_base = time, GIF_TICK
        self._entry.push(picture)
        self._encode(max(GIF_LEAST_DELAY, round((number + 1) / self._fps / GIF_TICK) - time))

    def _start(self, height: int, width: int) -> None:
        self._stream = self._container.add_stream('gif', rate=1 / GIF_TICK)
        self._stream.height, self._stream.width, self._stream.pix_fmt = height, width, 'pal8'
        self._stream.codec_context.time_base = GIF_TICK
        graph = self._graph = av.filter.Graph()
        self._entry = graph.add_buffer(
            width=width, height=height, format='rgb24', time_base=GIF_TICK
        )
        self._exit = graph.add('buffersink')
        split = graph.add('split')
        choose = graph.add('palettegen', 'stats_mode=single')
        apply = graph.add('paletteuse', 'new=1')
        self._entry.link_to(split)
        split.link_to(choose, 0, 0)
        split.link_to(apply, 1, 0)
        choose.link_to(apply, 0, 1)
        apply.link_to(self._exit)
        graph.configure()

    def _encode(self, duration: int) -> None:
        """Encodes what comes out of the graph; `duration` counts for the clip's last frame only."""
        with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):  # nothing more yet
            while True:
                for packet in self._stream.encode(self._exit.pull()):
                    packet.duration = duration
                    self._container.mux(packet)

    def finish(self) -> None:
        self._entry.push(None)
        self._encode(GIF_LEAST_DELAY)
        self._container.mux(self._stream.encode(None))
        self._container.close()


class _Sound:
    """The sound track of a clip, passed on in step with the pictures written."""

    def __init__(
        self, path: PathLike, container: av.container.InputContainer, track: av.AudioStream
    ):
        self.path, self.is_damaged = path, False
        self._input, self._track = container, track
        self._waiting: Optional[Tuple[Fraction, av.Packet]] = None
        # Second 0 of the output is the clip's first picture.
        pictures = container.streams.video
        self._zero = Fraction(0)
        if pictures and pictures[0].start_time is not None:
            self._zero = pictures[0].start_time * fraction(pictures[0].time_base)

    def attach(self, output: av.container.OutputContainer) -> None:
        codec = self._track.codec_context
        if codec.name in ('aac', 'mp3', 'mp3float'):
            self._output = output.add_stream_from_template(self._track)
            self._packets = self._copied()
        else:
            rate = codec.sample_rate if codec.sample_rate in AAC_RATES else 48000
            layout = 'mono' if codec.channels == 1 else 'stereo'
            self._output = output.add_stream('aac', rate=rate, layout=layout)
            self._packets = self._encoded()

    def mux_until(self, output: av.container.OutputContainer, end: Fraction) -> None:
        """Passes on what begins before second `end`."""
        while True:
            if self._waiting is None:
                try:
                    self._waiting = next(self._packets, None)
                except (av.FFmpegError, ValueError):  # ValueError: the format changes midway
                    self.is_damaged = True
            if self._waiting is None or self._waiting[0] >= end:
                return
            try:
                output.mux(self._waiting[1])
            except av.FFmpegError as error:  # such as time that runs backwards
                if error.errno in DISK_ERRORS:
                    raise
                self.is_damaged = True
            self._waiting = None

    def _copied(self) -> Iterator[Tuple[Fraction, av.Packet]]:
        for packet in self._input.demux(self._track):
            if packet.size and packet.pts is not None:
                tick = fraction(packet.time_base)
                start = packet.pts * tick - self._zero
                if start >= -RUN_UP:
                    shift = round(self._zero / tick)
                    packet.dts = (packet.pts if packet.dts is None else packet.dts) - shift
                    packet.pts -= shift
                    packet.stream = self._output
                    yield start, packet

    def _encoded(self) -> Iterator[Tuple[Fraction, av.Packet]]:
        for frame in itertools.chain(self._input.decode(self._track), [None]):
            if frame is not None:
                tick = fraction(frame.time_base)
                if frame.pts is None or (frame.pts * tick - self._zero) < -RUN_UP:
                    continue
                frame.pts -= round(self._zero / tick)
            for packet in self._output.encode(frame):
                yield packet.pts * fraction(packet.time_base), packet
