"""Pictures and clips: the one place where frames are read and written.

A frame is an array (H, W, 3) of uint8, RGB; H and W are its height and width in pixels. Every clip
is read and written at a constant rate: frame i belongs to second i / fps (see `VideoReader`).
"""

import bisect
import contextlib
import errno
import functools
import itertools
import logging
import os
import re
import struct
import warnings
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from PIL import Image, ImageOps
from scipy import sparse

from modules.cli import PathLike, UserError, atomic_output

Rate = Union[int, float, Fraction]
Size = Tuple[int, int]  # (height, width)

# What counts as a frame in a folder of pictures.
IMAGE_SUFFIXES = ('.bmp', '.gif', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')
FOLDER_FPS = 25
MOVIE_SUFFIXES = ('.mp4', '.mov', '.mkv')
# Browsers and libav take a GIF's delay below 2/100 s for a mistake and play it at 10 fps.
GIF_TICK, GIF_LEAST_DELAY = Fraction(1, 100), 2
# Sound that is passed on from before the first picture, in seconds: decoders need to warm up.
RUN_UP = Fraction(1, 10)
# Sampling rates that AAC knows.
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)

# Demuxers whose index leads exactly to a keyframe; other clips are decoded from their start.
SEEKABLE = MOV, MATROSKA = 'mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm'
# The decoders that libav prefers for these leave out the transparency.
ALPHA_DECODERS = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}
PYAV = int(av.__version__.split('.')[0])
# PyAV 19 reads metadata that is not UTF-8 by itself; older ones must be told not to fail on it.
LENIENT = {'metadata_errors': 'replace'} if PYAV < 19 else {}

# PyAV 17 and later convert colours with several threads, which takes five times as long for frames
# of our size.
ONE_THREAD = {'threads': 1} if PYAV >= 17 else {}

# libav's numbers for colours: matrix unspecified, BT.601 and BT.709; ranges 16-235 and 0-255.
UNSPECIFIED, BT709, BT601, LIMITED, FULL = 2, 1, 6, 1, 2
# swscale's numbers for BT.601 and for bicubic interpolation.
SWS_BT601, SWS_BICUBIC = 5, 4

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES)
# What Pillow's decoders raise on damaged files; what they log about it must not reach the screen.
PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
)
logging.getLogger('PIL').addHandler(logging.NullHandler())


# ---- pictures ----


def read_image(path: PathLike) -> np.ndarray:
    """Reads a picture of any format that Pillow knows; of an animated one, the first frame.

    EXIF orientation is applied. Transparency is laid over white: the colours hidden beneath it are
    arbitrary (often black), and white is what viewers and web pages show. 16-bit values are scaled
    to 8 bits; float values must lie in [0, 1].

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        UserError: no such file, not a picture, damaged, or too many pixels.
    """
    with _open_picture(path) as image:
        return _picture_to_rgb(ImageOps.exif_transpose(image), path)


@contextlib.contextmanager
def _open_picture(path: PathLike) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            # Remarks on odd metadata, and on pictures that are large but not yet refused.
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                yield image
    except Image.UnidentifiedImageError as error:
        raise UserError(
            f'{path}: not a picture that can be read; save it as PNG or JPEG'
        ) from error
    except Image.DecompressionBombError as error:
        raise UserError(f'{path}: too many pixels; scale the picture down') from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        reason = os.strerror(error.errno).lower()
        raise UserError(f'{path}: {reason}; give the path of a picture') from error
    except PILLOW_ERRORS as error:
        raise UserError(f'{path}: damaged picture ({error}); replace it') from error


def _picture_to_rgb(image: Image.Image, path: PathLike) -> np.ndarray:
    if image.mode == 'I' or image.mode.startswith('I;16'):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f'{path}: 32-bit gray values; save the picture with 8 or 16 bits')
        gray = (values + 128) // 257
    elif image.mode == 'F':
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):
            raise UserError(f'{path}: float values outside [0, 1]; save the picture with 8 bits')
        gray = np.rint(values * 255)
    elif image.has_transparency_data:
        return _over_white(np.asarray(image.convert('RGBA')))
    else:
        return np.array(image.convert('RGB'))
    return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)


def _over_white(rgba: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8, alpha not multiplied in -> (H, W, 3) uint8 on white."""
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def resize_frame(frame: np.ndarray, size: Size) -> np.ndarray:
    """What `skimage.transform.resize(frame, size)` computes, to 1e-6 and some ten times faster.

    That is order 1 with its default anti-aliasing: linear and separable, so two sparse matrices.

    Args:
        frame: (H, W, 3) uint8.
        size: (height, width) wanted.

    Returns:
        (height, width, 3) float32 in [0, 1]; frame / 255 if the size is the wanted one already.
    """
    (old_height, old_width), (height, width) = frame.shape[:2], size
    pixels = frame.astype(np.float32) / np.float32(255)
    if (old_height, old_width) == (height, width):
        return pixels
    rows = _resize_matrix(old_height, height) @ pixels.reshape(old_height, old_width * 3)
    columns = rows.reshape(height, old_width, 3).transpose(1, 0, 2).reshape(old_width, height * 3)
    resized = _resize_matrix(old_width, width) @ columns
    return np.ascontiguousarray(resized.reshape(width, height, 3).transpose(1, 0, 2))


@functools.lru_cache(maxsize=16)
def _resize_matrix(old: int, new: int) -> sparse.csr_matrix:
    """(new, old) float32: a Gaussian, then linear interpolation, along one axis.

    The Gaussian has sigma (old / new - 1) / 2 and is cut off at 4 sigma; beyond its border the
    image is mirrored about the centre of the last pixel.
    """
    scale = old / new
    sigma = max(0.0, (scale - 1) / 2)
    radius = int(4 * sigma + 0.5)
    taps = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (taps / sigma) ** 2) if radius else np.ones(1)
    centre = (np.arange(new) + 0.5) * scale - 0.5
    low = np.floor(centre).astype(int)
    linear = np.stack([1 - (centre - low), centre - low], axis=1)
    # Weight, column and row of each entry: (new, 2, taps); entries at the same place add up.
    weight = linear[:, :, None] * (kernel / kernel.sum())
    column = np.abs(low[:, None, None] + np.array([[0], [1]]) + taps) % max(2 * (old - 1), 1)
    column = np.where(column > old - 1, 2 * (old - 1) - column, column)
    row = np.broadcast_to(np.arange(new)[:, None, None], column.shape)
    entries = (weight.astype(np.float32).ravel(), (row.ravel(), column.ravel()))
    return sparse.csr_matrix(entries, shape=(new, old))


# ---- reading clips ----


class VideoReader:
    """The frames of a clip (any that libav plays), or of a folder of pictures, one after another.

    Usable in a `with` statement. Frames are decoded as they are asked for; each `iter()` starts at
    the first one and ends the iteration before. A folder's pictures come sorted by name, numbers in
    the names compared as numbers; other files in it, and hidden ones, are ignored.

    A clip whose frames stray by more than half a frame from a constant rate is resampled onto one,
    so that sound and motion stay in step: a pause repeats a frame (the same array again: don't
    write into it), a burst drops some. Rotation and mirroring of phone videos are applied;
    transparency is laid over white, as in `read_image`; pixels that are not square and interlaced
    fields stay as they are stored.

    Damage raises a UserError, a clip cut short already when it is opened. Not noticed is what a
    format can't tell: GIF, VP8 and VP9 carry no checks on what they draw, and ts, mpg, flv and wmv
    streams may end after any packet.

    Attributes:
        fps: frames per second, exact; of a folder, `folder_fps`.
        frame_count: how many frames there are, exactly; None for raw streams without time stamps.
        size: (height, width) of every frame.
        has_audio: whether there is a sound track.
    """

    def __init__(self, path: PathLike, folder_fps: Rate = FOLDER_FPS):
        """Goes through the packets of a clip, or lists the folder.

        Raises:
            UserError: nothing readable at `path`, no frames, a clip cut short. Iterating over a
                folder raises at once if one picture differs in size from the first.
        """
        self.path = Path(path)
        self._frames: Optional[Iterator[np.ndarray]] = None
        self._pictures = _list_pictures(self.path) if self.path.is_dir() else []
        if self._pictures:
            self.fps, self.has_audio = _exact(folder_fps), False
            self.frame_count: Optional[int] = len(self._pictures)
            self.size = read_image(self._pictures[0]).shape[:2]
        else:
            self._clip = _survey(path)
            self.fps, self.has_audio = self._clip.fps, self._clip.has_audio
            self.frame_count = self._clip.frame_count
            with contextlib.closing(_decode(self.path, self._clip)) as frames:
                _, first = next(frames)
            self._turn = _display_matrix(first)
            self.size = _to_rgb(first, self._turn).shape[:2]

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration under way, if any, and gives its decoder and file back."""
        if self._frames is not None:
            self._frames.close()
            self._frames = None

    def __iter__(self) -> Iterator[np.ndarray]:
        self.close()
        self._frames = self._read()
        return self._frames

    def _read(self) -> Iterator[np.ndarray]:
        for picture in self._pictures:  # a header tells the odd one before others cost work
            if _stored_size(picture) != _stored_size(self._pictures[0]):
                self._check_size(read_image(picture).shape[:2], picture)
        for picture in self._pictures:
            frame = read_image(picture)
            self._check_size(frame.shape[:2], picture)
            yield frame
        if not self._pictures:
            source = None
            for number, decoded in _paced(_decode(self.path, self._clip), self._clip):
                if decoded is not source:
                    source, frame = decoded, self._convert(decoded, number)
                yield frame

    def read_frames(self, indices: Sequence[int]) -> np.ndarray:
        """(N, H, W, 3) uint8: the frames of these numbers, in this order; numbers may repeat.

        The same frames as an iteration gives, but decoding starts at the nearest keyframe before a
        wanted frame (in formats without an exact index, at the clip's start).

        Raises:
            IndexError: a number below 0 or not below `frame_count`.
            UserError: damage on the way there.
        """
        wanted = sorted(set(indices))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < (self.frame_count or np.inf):
            raise IndexError(f'{self.path}: frames {wanted} of {self.frame_count}')
        if self._pictures:
            frames = {number: read_image(self._pictures[number]) for number in wanted}
            for number, frame in frames.items():
                self._check_size(frame.shape[:2], self._pictures[number])
        else:
            try:
                frames = self._pick(wanted, self._clip.keys)
            except UserError:
                # A jump may land among frames that need what was skipped; the whole way decides.
                frames = self._pick(wanted, [])
        return np.array([frames[index] for index in indices], np.uint8).reshape(-1, *self.size, 3)

    def _pick(self, wanted: List[int], keys: List[int]) -> Dict[int, np.ndarray]:
        """Decodes the `wanted` frames (ascending), jumping to keyframes with these stamps."""
        frames: Dict[int, np.ndarray] = {}
        key_numbers = [self._clip.slot(key) for key in keys]
        steps, position = _paced(_decode(self.path, self._clip), self._clip), 0
        for number in wanted:
            nearest = bisect.bisect_right(key_numbers, number) - 1
            if nearest > 0 and key_numbers[nearest] > position:
                steps.close()
                jump = _decode(self.path, self._clip, keys[nearest])
                steps = _paced(jump, self._clip, key_numbers[nearest])
            position, decoded = next((step for step in steps if step[0] == number), (number, None))
            if decoded is None:
                raise _damaged(self.path, number, self.frame_count)
            frames[number] = self._convert(decoded, number)
        steps.close()
        return frames

    def _convert(self, decoded: av.VideoFrame, number: int) -> np.ndarray:
        frame = _to_rgb(decoded, self._turn)
        self._check_size(frame.shape[:2], f'{self.path}: frame {number}')
        return frame

    def _check_size(self, size: Size, name: PathLike) -> None:
        if tuple(size) != tuple(self.size):
            (height, width), (first_height, first_width) = size, self.size
            raise UserError(
                f'{name}: {width}x{height} pixels, but the first frame has '
                f'{first_width}x{first_height}; bring all frames to one size'
            )


def read_frames(path: PathLike, indices: Sequence[int]) -> np.ndarray:
    """(N, H, W, 3) uint8: some frames of a clip or folder; see `VideoReader.read_frames`."""
    with VideoReader(path) as reader:
        return reader.read_frames(indices)


def _list_pictures(folder: Path) -> List[Path]:
    try:
        names = os.listdir(folder)
    except PermissionError as error:
        raise UserError(f'{folder}: no permission to read it; change its permissions') from error
    names = [
        name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith('.')
    ]
    if not names:
        raise UserError(f'{folder}: no pictures in this folder; put PNG or JPEG frames there')

    def natural(name: str) -> Tuple[List[Union[str, int]], str]:
        parts = re.split('([0-9]+)', name)
        return [int(part) if i % 2 else part for i, part in enumerate(parts)], name

    return [folder / name for name in sorted(names, key=natural)]


def _stored_size(path: Path) -> Tuple[int, int]:
    """(width, height) before EXIF orientation, from the header alone."""
    with _open_picture(path) as image:
        return image.size


# ---- what a clip's packets tell, and decoding ----


class _Packet(NamedTuple):
    stamp: Optional[int]  # in ticks
    is_key: bool
    is_hidden: bool  # needed for decoding, cut away by an edit list


class _Clip(NamedTuple):
    """What is known of a clip without decoding. Stamps are counted in ticks, `tick` in seconds."""

    fps: Fraction
    frame_count: Optional[int]
    first: Optional[int]  # the stamp of frame 0; None: no stamps, the frames just follow each other
    tick: Fraction
    by_dts: bool  # the stamps are those of decoding
    keys: List[int]  # the stamps of the keyframes to jump to, ascending
    has_audio: bool

    def slot(self, stamp: int, first: Optional[int] = None) -> int:
        """The number of the frame that belongs at `stamp`."""
        return _slots([stamp], self.first if first is None else first, self.tick * self.fps)[0]


def _slots(stamps: Sequence[int], first: int, frames_per_tick: Fraction) -> List[int]:
    """Rounds (stamp - first) * frames_per_tick; in whole numbers, for floats would drift."""
    up, down = frames_per_tick.numerator, frames_per_tick.denominator
    return [(2 * (stamp - first) * up + down) // (2 * down) for stamp in stamps]


def _exact(fps: Rate) -> Fraction:
    """29.97002997 becomes 30000/1001."""
    rate = Fraction(fps).limit_denominator(1001) if isinstance(fps, float) else Fraction(fps)
    if rate <= 0:
        raise ValueError(f'fps = {fps}')
    return rate


def _fraction(rational: Any) -> Fraction:
    """PyAV's rational numbers: Fractions up to its version 18, of a class of their own since 19."""
    return Fraction(rational.numerator, rational.denominator)


def _damaged(path: PathLike, frame: int, frame_count: Optional[int]) -> UserError:
    total = f' of {frame_count}' if frame_count else ''
    return UserError(
        f'{path}: damaged after frame {frame}{total}; re-encode it or cut it before that point'
    )


@contextlib.contextmanager
def _open_clip(path: PathLike) -> Iterator[av.container.InputContainer]:
    if not Path(path).is_file():
        reason = 'not a file' if Path(path).exists() else 'no such file'
        raise UserError(f'{path}: {reason}; give the path of a video')
    try:
        # "file:" keeps a colon in a name from being taken for a protocol; the option keeps
        # playlists from reaching for the network.
        container = av.open(
            f'file:{os.fspath(path)}', container_options={'protocol_whitelist': 'file'}, **LENIENT
        )
    except av.error.PermissionError as error:
        raise UserError(f'{path}: no permission to read it; change its permissions') from error
    except av.FFmpegError as error:
        raise UserError(
            f'{path}: not a video, or one cut short; download or convert it again'
        ) from error
    with container:
        kind = container.format.name
        # libav would play text as terminal art, and a still picture as a clip of one frame.
        if kind in ('tty', 'image2') or kind.endswith('_pipe'):
            raise UserError(f'{path}: not a video; give a video or a folder of pictures')
        yield container


def _video_stream(container: av.container.InputContainer, path: PathLike) -> av.VideoStream:
    for stream in container.streams.video:
        if stream.disposition & av.stream.Disposition.attached_pic:  # the cover of a song
            continue
        if stream.codec_context is None:
            raise UserError(f'{path}: its video codec is unknown to libav; convert it to H.264')
        return stream
    raise UserError(f'{path}: no video in it; give a clip with moving pictures')


def _survey(path: PathLike) -> _Clip:
    """Goes through a clip's packets without decoding them; finds what is cut short or broken."""
    with _open_clip(path) as container:
        stream = _video_stream(container, path)
        kind, announced = container.format.name, stream.frames
        # AVI numbers frames in the order of decoding; its times of display are guesses of libav.
        by_dts = kind == 'avi'
        packets, damaged = [], False
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    damaged = True
                    break
                if packet.size:
                    stamp = packet.dts if by_dts else packet.pts
                    packets.append(_Packet(stamp, packet.is_keyframe, packet.is_discard))
        except av.FFmpegError:
            damaged = True
        # An AVI's dropped frames are empty packets, which libav leaves out: the last number counts.
        numbered = by_dts and packets and packets[-1].stamp is not None
        count = packets[-1].stamp + 1 if numbered else len(packets)
        missing = by_dts and count < announced  # elsewhere edit lists may have left frames out
        if damaged or missing or _is_cut_short(path, kind):
            raise _damaged(path, count, announced)
        if not packets:
            raise UserError(f'{path}: no frames in it; give a clip with moving pictures')
        clip = _timeline(packets, stream, by_dts)
        if (clip.frame_count or 0) > 1000 * len(packets):  # nearly all of them repeated
            raise UserError(f'{path}: its time stamps leap; re-encode it at a constant rate')
        return clip if kind in SEEKABLE else clip._replace(keys=[])


def _is_cut_short(path: PathLike, kind: str) -> bool:
    """Looks for the end itself in those formats where libav takes a part for the whole."""
    length = os.path.getsize(path)
    with open(path, 'rb') as file:
        if kind == MOV:
            return _mov_end(file, length) > length
        if kind == MATROSKA:
            return _matroska_end(file) > length
        if kind == 'gif':  # ends with a semicolon, which some programs pad
            file.seek(max(0, length - 64))
            return not file.read().rstrip(b'\0\r\n').endswith(b';')
    return False


def _mov_end(file: BinaryIO, length: int) -> int:
    """Where the boxes of an mp4 or mov end; each starts with its size and name, 4 bytes each."""
    end = 0
    while end < length:
        file.seek(end)
        size, name, long_size = struct.unpack('>I4sQ', file.read(16).ljust(16, b'\0'))
        size = long_size if size == 1 else size
        end += size
        is_vital = name in (b'mdat', b'moof', b'moov')
        if size < 8 or (end > length and not is_vital):
            return length  # a box up to the end, or something appended that is no box
    return end


def _matroska_end(file: BinaryIO) -> int:
    """Where the segment of an mkv or webm ends; 0 if it doesn't say."""

    def size() -> int:  # as many bytes follow the first one as that has leading zero bits
        first = file.read(1)
        more = 8 - first[0].bit_length() if first else 0
        limit = 1 << 7 * (more + 1)
        value = int.from_bytes(first + file.read(more), 'big') % limit
        return 0 if value == limit - 1 else value  # all ones: unknown

    file.seek(4)  # the name of the header
    file.seek(size(), os.SEEK_CUR)
    if file.read(4) != b'\x18\x53\x80\x67':  # the name of a segment
        return 0
    content = size()
    return file.tell() + content if content else 0


def _timeline(packets: List[_Packet], stream: av.VideoStream, by_dts: bool) -> _Clip:
    """The places of a clip's frames in time."""
    rates = [_fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    fallback = rates[0] if rates else Fraction(FOLDER_FPS)
    tick, has_audio = _fraction(stream.time_base), bool(stream.container.streams.audio)
    untimed = _Clip(fallback, None, None, tick, by_dts, [], has_audio)
    if any(packet.stamp is None for packet in packets):
        return untimed
    # Nothing can be shown before the first keyframe.
    start = next((packet.stamp for packet in packets if packet.is_key), packets[0].stamp)
    shown = [packet for packet in packets if packet.stamp >= start and not packet.is_hidden]
    if not shown:
        return untimed
    stamps = sorted(packet.stamp for packet in shown)
    keys = sorted(packet.stamp for packet in shown if packet.is_key)
    clip = untimed._replace(fps=_frame_rate(stamps, rates, tick), first=stamps[0], keys=keys)
    return clip._replace(frame_count=clip.slot(stamps[-1]) + 1)


def _frame_rate(stamps: List[int], rates: List[Fraction], tick: Fraction) -> Fraction:
    """The constant rate of a clip; of a clip that has none, the rate of its usual step in time.

    The usual step rather than the mean: then a pause repeats a frame, and none is dropped where the
    others follow each other as usual. `rates` are libav's opinions.
    """
    span = (stamps[-1] - stamps[0]) * tick
    for rate in [*rates, (len(stamps) - 1) / span] if span else rates:
        if _slots(stamps, stamps[0], tick * rate) == list(range(len(stamps))):
            return rate
    steps = sorted(later - sooner for sooner, later in zip(stamps, stamps[1:]) if later > sooner)
    if not steps:
        return rates[0] if rates else Fraction(FOLDER_FPS)
    median = steps[len(steps) // 2]
    # Stamps in milliseconds make steps of 33 and 34 out of 30 fps: their mean, or libav's opinion.
    alike = [step for step in steps if abs(step - median) <= median / 10]
    usual = len(alike) / (sum(alike) * tick)
    near = [rate for rate in rates if abs(rate - usual) < usual / 50]
    return min(near, key=lambda rate: abs(rate - usual), default=usual)


def _decode(
    path: PathLike, clip: _Clip, start: Optional[int] = None
) -> Iterator[Tuple[int, av.VideoFrame]]:
    """Yields (number, frame) in order of display, from the keyframe stamped `start` if given.

    Numbers may be missing (nothing new to be shown there) or repeat (the last one is to be shown).
    """
    number, first = -1, clip.first
    with _open_clip(path) as container:
        stream = _video_stream(container, path)
        # A clip read through is worth all cores; a jump is short, and taken in several processes.
        stream.thread_type = 'AUTO' if start is None else 'NONE'
        has_alpha = stream.metadata.get('alpha_mode') == '1'
        name = ALPHA_DECODERS.get(stream.codec_context.name) if has_alpha else None
        decoder = av.CodecContext.create(name, 'r') if name else stream.codec_context
        try:
            if start is not None:
                container.seek(start, stream=stream)
            packets = (packet for packet in container.demux(stream) if packet.size)
            if start is not None:
                landed = next(packets)
                if not landed.is_keyframe or landed.pts is None or landed.pts > start:
                    raise _damaged(path, clip.slot(start), clip.frame_count)
                packets = itertools.chain([landed], packets)
            for packet in itertools.chain(packets, [None]):
                for frame in decoder.decode(packet):
                    stamp = frame.dts if clip.by_dts else frame.pts
                    if frame.is_corrupt:
                        raise _damaged(path, number + 1, clip.frame_count)
                    if clip.first is None or stamp is None:
                        number += 1
                    else:
                        # Decoding is ahead of display by a constant: only differences count.
                        first = stamp if clip.by_dts and number < 0 else first
                        number = max(number, clip.slot(stamp, first))
                    yield number, frame
        except (av.FFmpegError, StopIteration) as error:
            raise _damaged(path, number + 1, clip.frame_count) from error
    # One may be missing: in a few formats the halves of the last frame are two packets.
    if number < 0 or number + 2 < (clip.frame_count or 0):
        raise _damaged(path, number + 1, clip.frame_count)


def _paced(
    frames: Iterator[Tuple[int, av.VideoFrame]], clip: _Clip, number: int = 0
) -> Iterator[Tuple[int, av.VideoFrame]]:
    """Yields (number, frame) for every number from `number` on: the last frame due by then."""
    last, shown = number, None
    with contextlib.closing(frames):
        for due, frame in frames:
            while shown is not None and number < due:
                yield number, shown
                number += 1
            last, shown = due, frame
    while number < max(last + 1, clip.frame_count or 0):
        yield number, shown
        number += 1


def _display_matrix(frame: av.VideoFrame) -> Tuple[int, int, int, int]:
    """(a, b, c, d): what is stored at (x, y) is shown at (a x + c y, b x + d y), up to a shift."""
    data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack('5i', bytes(data)[:20])
    return a, b, c, d


def _to_rgb(frame: av.VideoFrame, turn: Tuple[int, int, int, int]) -> np.ndarray:
    """A decoded frame of any pixel format -> (H, W, 3) uint8, RGB, opaque and upright.

    The clip's own colour matrix and range count; without any, BT.601 as everywhere in libav. `turn`
    is its display matrix; one that is no quarter turn or mirror image is left alone.
    """
    has_alpha = any(part.is_alpha for part in frame.format.components)
    has_alpha = has_alpha or frame.format.name == 'pal8'  # its palette may hold alpha
    matrix = frame.colorspace
    # All arguments are given because their defaults differ between PyAV's versions.
    pixels = frame.to_ndarray(
        format='rgba' if has_alpha else 'rgb24',
        src_colorspace=SWS_BT601 if matrix in (0, UNSPECIFIED) else matrix,
        dst_colorspace=SWS_BT601,
        src_color_range=frame.color_range,
        dst_color_range=FULL,
        interpolation=SWS_BICUBIC,
        **ONE_THREAD,
    )
    if has_alpha:
        pixels = _over_white(pixels)
    a, b, c, d = turn
    if a == d == 0 and b and c:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    elif b or c or not (a and d):
        return pixels
    return np.ascontiguousarray(pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])


# ---- writing clips ----


class VideoWriter:
    """Writes frames to a clip; the extension of `path` decides on the kind.

    - .mp4, .mov, .mkv: H.264 that plays everywhere (8-bit 4:2:0, mp4 and mov with their index in
      front), at exactly `fps`. The size must be even: the last row or column of an odd one is
      doubled.
    - .gif: 256 colours chosen for each frame. A GIF counts time in 1/100 s: its delays vary so that
      their mean is exact; above 50 fps, which viewers don't play, frames are left out.
    - no extension: a new folder of lossless pictures 000000.png, 000001.png, ...

    Used in a `with` statement. The output grows under a temporary name beside `path` and takes its
    place only when the block ends without an exception; otherwise nothing is left behind.

    Attributes:
        frame_count: frames written so far.
        audio_warning: None, or one line that tells why the sound of `audio_from` is missing, or a
            part of it; complete when the block has ended.
    """

    def __init__(
        self,
        path: PathLike,
        fps: Rate,
        size: Optional[Size] = None,
        audio_from: Optional[PathLike] = None,
    ):
        """Nothing is opened or written yet.

        Args:
            path: the clip; see above.
            fps: frames per second.
            size: (height, width) of the frames; left out, that of the first one.
            audio_from: a clip whose sound is added, from its start to the end of the frames
                written. AAC and MP3 are copied, the rest is encoded to AAC.

        Raises:
            UserError: an extension that can't be written.
        """
        self.path, self.fps, self.size = Path(path), _exact(fps), size
        self.frame_count = 0
        self.audio_warning: Optional[str] = None
        self._audio_from = audio_from
        suffix = self.path.suffix.lower()
        if suffix not in (*MOVIE_SUFFIXES, '.gif', ''):
            known = ', '.join((*MOVIE_SUFFIXES, '.gif'))
            raise UserError(
                f'{path}: clips of the kind {suffix} are not written; give {known}, '
                'or no extension for a folder of PNG pictures'
            )

    def __enter__(self) -> 'VideoWriter':
        kind = {'': _Folder, '.gif': _Gif}.get(self.path.suffix.lower(), _Movie)
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(atomic_output(self.path, folder=kind is _Folder))
            self._sound = self._open_sound(kind, stack)
            self._sink = kind(target, self.fps, self._sound)
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

    def _open_sound(self, kind: type, stack: contextlib.ExitStack) -> Optional['_Sound']:
        if self._audio_from is None:
            return None
        if kind is not _Movie:
            known = ', '.join(MOVIE_SUFFIXES)
            self.audio_warning = f'{self.path}: written without sound; only {known} can hold any'
        elif Path(self._audio_from).is_dir():
            self.audio_warning = f'{self._audio_from}: a folder holds no sound; written without it'
        else:
            container = stack.enter_context(_open_clip(self._audio_from))
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

    @contextlib.contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except (av.FFmpegError, OSError) as error:
            if error.errno not in DISK_ERRORS:
                raise
            reason = os.strerror(error.errno).lower()
            raise UserError(
                f'{self.path}: {reason}; free space or choose another place for the output'
            ) from error


# The three kinds of output. Each has write(frame, number), finish() to complete the output and
# close() to let go of it, completed or not.


class _Folder:
    """PNG pictures in a folder that exists."""

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
            self._zero = pictures[0].start_time * _fraction(pictures[0].time_base)

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
                tick = _fraction(packet.time_base)
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
                tick = _fraction(frame.time_base)
                if frame.pts is None or (frame.pts * tick - self._zero) < -RUN_UP:
                    continue
                frame.pts -= round(self._zero / tick)
            for packet in self._output.encode(frame):
                yield packet.pts * _fraction(packet.time_base), packet
