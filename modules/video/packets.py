"""The packets of a clip, on one line in time even where clips have been joined byte by byte."""

import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av

from modules.video.opening import fraction, sound_track
from modules.video.timing import FOLDER_FPS
from modules.video.wholeness import MOV

AVI, TRANSPORT = 'avi', 'mpegts'
# Seconds from one frame to the next that are no pause, in formats whose clocks may start anew.
LEAP = 10


class Packet(NamedTuple):
    """A packet of the pictures. Those of AVI carry numbers in the order of decoding."""

    stamp: Any  # int, in ticks: when it is shown; None: not told
    is_key: bool
    is_hidden: bool  # needed for decoding, cut away by an edit list
    duration: int  # in ticks; 0: unknown


class Packets(NamedTuple):
    """The packets of the pictures, and what was found on the way."""

    pictures: list[Packet]
    # The packets with which another clip begins, joined to the one before: their places, and what
    # must be added to the time stamps from there on.
    joints: dict[int, int]
    held_until: int | None  # the end of empty packets, which repeat a frame; None: there are none
    sound_end: Fraction | None  # in seconds of the container's clock; None: unknown
    damaged: int | None  # the place of the first that is damaged; None: none is

    @property
    def parts(self) -> list[list[Packet]]:
        """The packets of each of the joined clips."""
        places = [0, *self.joints, len(self.pictures)]
        return [self.pictures[start:end] for start, end in itertools.pairwise(places)]


class _Line:
    """Puts joined clips one behind the other."""

    def __init__(self, stream: av.VideoStream):
        rate = stream.average_rate or stream.guessed_rate or FOLDER_FPS
        tick = fraction(stream.time_base)
        self._step = max(1, round(1 / (fraction(rate) * tick)))
        self._leap = LEAP / tick if may_jump(stream.container) else None
        self._latest: int | None = None  # in this clip's own time
        self.end = self.shift = 0  # end: on the line

    def begins_anew(self, packet: av.Packet) -> bool:
        """Whether another clip begins with this packet; `shift` is for what follows."""
        pts, clock, latest = packet.pts, packet.dts, self._latest
        step, is_joint = packet.duration or self._step, False
        if clock is None:
            clock = pts
        if latest is not None and packet.is_keyframe:
            is_joint = clock < latest - 3 * step
            if self._leap is not None:
                is_joint = is_joint or clock > latest + self._leap
        if is_joint:
            self.shift = self.end - pts
        if is_joint or latest is None or clock > latest:
            self._latest = clock
        self.end = max(self.end, pts + self.shift + step)
        return is_joint

    def hold(self, packet: av.Packet) -> None:
        """An empty packet: the frame before is shown for longer."""
        self.end = max(self.end, packet.pts + self.shift + (packet.duration or self._step))


def may_jump(container: av.container.InputContainer) -> bool:
    """Whether the clocks of such files may start anew on the way."""
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


def holds_picture(packet: av.Packet, codec: str) -> bool:
    """Not the end of a stream, nor the headers of an Ogg that is joined to the one before."""
    return packet.size > 0 and not (codec == 'theora' and bytes(packet)[1:7] == b'theora')


def demux(container: av.container.InputContainer, *streams: av.stream.Stream) -> Iterator[Any]:
    """The packets of these streams, as PyAV's method gives them.

    That fails at the end, when all packets are read, if another stream has appeared on the way.
    """
    with contextlib.suppress(IndexError):
        yield from container.demux(*streams)


def read_packets(container: av.container.InputContainer, stream: av.VideoStream) -> Packets:
    """Reads all packets without decoding them, up to one that is damaged.

    In transport streams it goes on after that, for where two are joined it looks like damage.
    """
    by_number, sound = container.format.name == AVI, sound_track(container)
    sound_end, damaged, held_until = None, None, None
    if sound is not None and container.format.name == MOV and sound.duration is not None:
        # Its tables tell; elsewhere the sound's packets must be read as well.
        sound_end = (sound.start_time or 0) + sound.duration
    demuxed = (stream,) if sound is None or sound_end is not None else (stream, sound)
    line, joints = _Line(stream), {}
    pictures: list[Packet] = []
    codec, track = stream.codec_context.name, stream.index
    try:
        for packet in demux(container, *demuxed):
            if packet.stream_index != track:
                if packet.pts is not None:
                    sound_end = max(sound_end or 0, packet.pts + (packet.duration or 0))
                continue
            if packet.is_corrupt and damaged is None:
                damaged = len(pictures)
                if container.format.name != TRANSPORT:
                    break
            if holds_picture(packet, codec):
                stamp = packet.dts if by_number else packet.pts
                if stamp is not None and not by_number:
                    if line.begins_anew(packet):
                        joints[len(pictures)] = line.shift
                    stamp += line.shift
                duration = packet.duration or 0
                pictures.append(Packet(stamp, packet.is_keyframe, packet.is_discard, duration))
            elif packet.pts is not None and not packet.size:
                line.hold(packet)
                held_until = line.end
    except av.FFmpegError:
        damaged = len(pictures) if damaged is None else damaged
    if sound is not None and sound_end is not None:
        sound_end = None if joints else sound_end * fraction(sound.time_base)
    return Packets(pictures, joints, held_until, sound_end, damaged)
