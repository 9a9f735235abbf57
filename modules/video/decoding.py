"""Clips decoded: frames as libav gives them, with their numbers at a constant rate."""

import contextlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from typing import Any, TypeVar

import av

from modules.runtime.files import PathLike
from modules.video.colours import colour_tags, complete_tags
from modules.video.limits import CLIP, check_pixels, most_pixels
from modules.video.opening import damage_error, errors_named, open_clip, picture_track
from modules.video.packets import demux, holds_picture
from modules.video.survey import Clip

Frame = TypeVar('Frame')
# The decoders that libav prefers for these leave out the transparency.
ALPHA_DECODERS = {'vp8': 'libvpx', 'vp9': 'libvpx-vp9'}


def decode(
    path: PathLike, clip: Clip, start: int | None = None, is_short: bool = False
) -> Generator[tuple[int, av.VideoFrame], None, None]:
    """Yields (number, frame) in order of display, from the keyframe stamped `start` if given.

    Numbers may be missing (nothing new to be shown there) or repeat (the last one is to be shown).

    Args:
        is_short: a few frames are wanted, which come sooner from a single thread, the more so where
            several processes want some.

    Raises:
        UserError: damage, when it is reached.
    """
    number, first = -1, None
    with open_clip(path) as container, errors_named(path):
        stream = picture_track(container, path)
        tags = colour_tags(stream)
        # A clip read through is worth all cores.
        stream.thread_type = 'NONE' if is_short else 'AUTO'
        try:
            packets = _packets(container, stream, path, clip, start)
            decoder = _decoder(stream)
            # Frames may grow on the way, and decoders round their sides up.
            most = 2 * most_pixels(CLIP) + 2**20
            decoder.options = {**decoder.options, 'max_pixels': str(most)}
            for frame in _frames(decoder, packets):
                check_pixels(path, frame.width, frame.height, CLIP)
                complete_tags(frame, tags)
                stamp = frame.dts if clip.by_dts else frame.pts
                if frame.is_corrupt:
                    raise damage_error(path, number + 1, clip.frame_count)
                if not clip.stamps or stamp is None:
                    number += 1
                else:
                    if clip.by_dts:
                        # Decoding is ahead of display by a constant: only differences count.
                        first = stamp if first is None else first
                        stamp += clip.stamps[0] - first
                    number = max(number, clip.slot(stamp))
                yield number, frame
        except av.FFmpegError as error:
            raise damage_error(path, number + 1, clip.frame_count) from error
    # One may be missing: in a few formats the halves of the last frame are two packets.
    if number < 0 or number < (clip.slots[-2] if len(clip.slots) > 1 else 0):
        raise damage_error(path, number + 1, clip.frame_count)


def _decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    has_alpha = stream.metadata.get('alpha_mode') == '1'
    name = ALPHA_DECODERS.get(stream.codec_context.name) if has_alpha else None
    return av.CodecContext.create(name, 'r') if name else stream.codec_context


def _packets(
    container: av.container.InputContainer,
    stream: av.VideoStream,
    path: PathLike,
    clip: Clip,
    start: int | None,
) -> Iterator[av.Packet | None]:
    """Yields what is to be decoded, and None where another clip, joined to the one before, begins.

    Raises:
        UserError: there is no keyframe where there should be one.
    """
    if start is not None:
        container.seek(start, stream=stream)
    codec = stream.codec_context.name
    demuxed = demux(container, stream)
    packets: Iterator[Any] = (packet for packet in demuxed if holds_picture(packet, codec))
    if start is not None:
        landed = next(packets, None)
        if not (landed and landed.is_keyframe and landed.pts is not None and landed.pts <= start):
            raise damage_error(path, clip.slot(start), clip.frame_count)
        packets = itertools.chain([landed], packets)
    shift = 0
    for place, packet in enumerate(packets):
        if place in clip.joints:
            shift = clip.joints[place]
            yield None
        if shift and packet.pts is not None:
            packet.pts += shift
            packet.dts = None if packet.dts is None else packet.dts + shift
        yield packet


def _frames(
    decoder: av.VideoCodecContext, packets: Iterator[av.Packet | None]
) -> Iterator[av.VideoFrame]:
    for packet in packets:
        yield from decoder.decode(packet)
        if packet is None:  # all frames of one clip are out
            decoder.flush_buffers()
    yield from decoder.decode(None)


def take(steps: Iterable[tuple[int, Frame]], numbers: Iterable[int]) -> Iterator[Frame]:
    """Of (number, frame) with ascending numbers, the frames of these, which ascend or repeat.

    No more is decoded than that takes.
    """
    wanted = iter(numbers)
    number = next(wanted, None)
    for place, frame in steps:
        while place == number:
            yield frame
            number = next(wanted, None)
        if number is None:
            return


def paced(
    frames: Generator[tuple[int, Frame], None, None],
    frame_count: int | None,
    number: int = 0,
) -> Generator[tuple[int, Frame], None, None]:
    """Yields (number, frame) for every number from `number` on: the last frame due by then.

    There are `frame_count` in all, where that is known, even if a decoder has more.
    """
    last = number
    shown: Any = None
    with contextlib.closing(frames):
        for due, frame in frames:
            if frame_count is not None and due >= frame_count:
                break
            while shown is not None and number < due:
                yield number, shown
                number += 1
            last, shown = due, frame
    while number < (last + 1 if frame_count is None else frame_count):
        yield number, shown
        number += 1
