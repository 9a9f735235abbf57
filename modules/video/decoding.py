"""What a clip's packets tell, and the decoding of them."""

import contextlib
import itertools
import os
import stat
import struct
from fractions import Fraction
from typing import Any, BinaryIO, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike
from modules.video.pictures import over_white

Rate = Union[int, float, Fraction]
FOLDER_FPS = 25
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


def exact_rate(fps: Rate) -> Fraction:
    """29.97002997 becomes 30000/1001."""
    rate = Fraction(fps).limit_denominator(1001) if isinstance(fps, float) else Fraction(fps)
    if rate <= 0:
        raise ValueError(f'fps = {fps}')
    return rate


def fraction(rational: Any) -> Fraction:
    """PyAV's rational numbers: Fractions up to its version 18, of a class of their own since 19."""
    return Fraction(rational.numerator, rational.denominator)


def damage_error(path: PathLike, frame: int, frame_count: Optional[int]) -> UserError:
    total = f' of {frame_count}' if frame_count else ''
    return UserError(
        f'{path}: damaged after frame {frame}{total}; re-encode it or cut it before that point'
    )


@contextlib.contextmanager
def open_clip(path: PathLike) -> Iterator[av.container.InputContainer]:
    try:
        reason = None if stat.S_ISREG(os.stat(path).st_mode) else 'not a file'
    except OSError as error:
        reason = reason_of(error)
    if reason:
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


def survey(path: PathLike) -> _Clip:
    """Goes through a clip's packets without decoding them; finds what is cut short or broken."""
    with open_clip(path) as container:
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
            raise damage_error(path, count, announced)
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
    rates = [fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    fallback = rates[0] if rates else Fraction(FOLDER_FPS)
    tick, has_audio = fraction(stream.time_base), bool(stream.container.streams.audio)
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
    steps = sorted(later - sooner for sooner, later in itertools.pairwise(stamps) if later > sooner)
    if not steps:
        return rates[0] if rates else Fraction(FOLDER_FPS)
    median = steps[len(steps) // 2]
    # Stamps in milliseconds make steps of 33 and 34 out of 30 fps: their mean, or libav's opinion.
    alike = [step for step in steps if abs(step - median) <= median / 10]
    usual = len(alike) / (sum(alike) * tick)
    near = [rate for rate in rates if abs(rate - usual) < usual / 50]
    return min(near, key=lambda rate: abs(rate - usual), default=usual)


def decode(
    path: PathLike, clip: _Clip, start: Optional[int] = None
) -> Iterator[Tuple[int, av.VideoFrame]]:
    """Yields (number, frame) in order of display, from the keyframe stamped `start` if given.

    Numbers may be missing (nothing new to be shown there) or repeat (the last one is to be shown).
    """
    number, first = -1, clip.first
    with open_clip(path) as container:
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
                    raise damage_error(path, clip.slot(start), clip.frame_count)
                packets = itertools.chain([landed], packets)
            for packet in itertools.chain(packets, [None]):
                for frame in decoder.decode(packet):
                    stamp = frame.dts if clip.by_dts else frame.pts
                    if frame.is_corrupt:
                        raise damage_error(path, number + 1, clip.frame_count)
                    if clip.first is None or stamp is None:
                        number += 1
                    else:
                        # Decoding is ahead of display by a constant: only differences count.
                        first = stamp if clip.by_dts and number < 0 else first
                        number = max(number, clip.slot(stamp, first))
                    yield number, frame
        except (av.FFmpegError, StopIteration) as error:
            raise damage_error(path, number + 1, clip.frame_count) from error
    # One may be missing: in a few formats the halves of the last frame are two packets.
    if number < 0 or number + 2 < (clip.frame_count or 0):
        raise damage_error(path, number + 1, clip.frame_count)


def paced(
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


def display_matrix(frame: av.VideoFrame) -> Tuple[int, int, int, int]:
    """(a, b, c, d): what is stored at (x, y) is shown at (a x + c y, b x + d y), up to a shift."""
    data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack('5i', bytes(data)[:20])
    return a, b, c, d


def to_rgb(frame: av.VideoFrame, turn: Tuple[int, int, int, int]) -> np.ndarray:
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
        pixels = over_white(pixels)
    a, b, c, d = turn
    if a == d == 0 and b and c:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    elif b or c or not (a and d):
        return pixels
    return np.ascontiguousarray(pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])
