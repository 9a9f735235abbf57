"""What is known of a clip without decoding it."""

import bisect
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import av
import numpy as np

from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.video.opening import (
    damage_error,
    errors_named,
    fraction,
    open_clip,
    picture_track,
    picture_tracks,
)
from modules.video.packets import AVI, TRANSPORT, Packet, Packets, read_packets
from modules.video.timing import FOLDER_FPS, browsers_delays, find_pace
from modules.video.wholeness import (
    MATROSKA,
    MOV,
    avi_frames,
    has_another_clip,
    has_lost_packets,
    is_cut_short,
    is_still,
)

# Demuxers whose index leads exactly to a keyframe; other clips are decoded from their start.
SEEKABLE = (MOV, MATROSKA)
# Formats whose headers tell how long a clip is, and whose packets may end at any place.
HEADED = (MATROSKA, 'flv', 'ivf', 'mxf', 'nut', 'rm')
# Formats whose frames carry delays, the last one too.
DELAYED = ('gif', 'apng')
# Sound that goes on for longer after the last picture: players show that picture for as long.
STILL_END = Fraction(1, 2)


class Clip(NamedTuple):
    """Stamps are counted in ticks, `tick` in seconds."""

    fps: Fraction
    frame_count: int | None  # None: unknown
    stamps: list[int]  # when frames are shown, ascending; empty: they just follow each other
    slots: list[int]  # the number of the frame for each stamp
    tick: Fraction
    by_dts: bool  # the stamps are those of decoding
    keys: list[int]  # the stamps of the keyframes to jump to, ascending
    joints: dict[int, int]  # as of Packets
    has_audio: bool
    notes: list[str]  # a line about each thing that is left out

    def slot(self, stamp: int) -> int:
        """The number of the frame that belongs at `stamp`."""
        place = bisect.bisect_right(self.stamps, stamp) - 1
        if place >= 0 and self.stamps[place] == stamp:
            return self.slots[place]
        # A decoder's own idea; in whole numbers, for floats would drift.
        scale = self.tick * self.fps
        up, down = scale.numerator, scale.denominator
        return (2 * (stamp - self.stamps[0]) * up + down) // (2 * down)


def survey(path: PathLike) -> Clip:
    """Goes through a clip's packets; finds what is cut short or broken.

    Raises:
        UserError: no clip, or a damaged one.
    """
    with open_clip(path) as container, errors_named(path):
        stream, kind = picture_track(container, path), container.format.name
        if is_still(path, kind):
            raise UserError(f'{path}: a still picture, not a video; give a clip')
        packets, notes = read_packets(container, stream), list(_tracks_left_out(container, path))
        repeats = 0
        if kind == AVI:
            repeats = _empty_frames(packets, stream, path, notes)
        else:
            damaged = _first_gap(packets, path, stream) if kind == TRANSPORT else packets.damaged
            if damaged is not None:
                raise damage_error(path, damaged, stream.frames)
        if is_cut_short(path, kind):
            raise damage_error(path, len(packets.pictures), stream.frames)
        if not packets.pictures:
            raise UserError(f'{path}: no frames in it; give a clip with moving pictures')
        if has_another_clip(path, kind):
            notes.append(f'{path}: another clip is joined to it, which is left out')
        hidden = sum(packet.is_hidden for part in packets.parts[1:] for packet in part)
        if hidden:  # by the first one's edit list
            notes.append(f'{path}: {hidden} frames of a clip that is joined to it are left out')
        clip = _timeline(packets, stream, repeats, path, notes)
        notes += _missing_end(packets, clip, container, path)
        return clip


def _tracks_left_out(container: av.container.InputContainer, path: PathLike) -> Iterator[str]:
    tracks = [stream for stream in picture_tracks(container) if stream.frames != 1]
    if len(tracks) > 1 and not _is_avif(container):  # which has its transparency as a track
        yield f'{path}: {len(tracks)} tracks of pictures, of which the default one is used'


def _first_gap(packets: Packets, path: PathLike, stream: av.VideoStream) -> int | None:
    """The number of a transport stream's first frame after lost packets; None: there are none.

    What libav takes for damage may be a joint, and it doesn't notice all that is missing.
    """
    stamps = sorted(packet.stamp for packet in packets.pictures if packet.stamp is not None)
    steps = np.diff(stamps)
    gaps = np.flatnonzero(steps > 1.5 * np.median(steps)) if len(steps) else steps
    if packets.damaged is None and not len(gaps):
        return None
    is_lost = has_lost_packets(path, stream.id)
    if is_lost is None:  # it can't be told
        return packets.damaged
    found = int(gaps[0]) + 1 if packets.damaged is None else packets.damaged
    return found if is_lost else None


def _missing_end(
    packets: Packets, clip: Clip, container: av.container.InputContainer, path: PathLike
) -> Iterator[str]:
    """A line if the clip ends before its header says: after damage, readers look for the next frame
    in vain.
    """
    is_told = container.format.name in HEADED and container.duration and not packets.joints
    if not is_told or not clip.stamps or len(container.streams) > 1 + clip.has_audio:
        return
    told = Fraction(container.duration, av.time_base)
    end = clip.stamps[-1] * clip.tick + 1 / clip.fps
    missing = told - max(end, packets.sound_end or 0)
    if missing > STILL_END:
        yield (
            f'{path}: its last {float(missing):.3g} s are missing, of {float(told):.4g} s that its '
            'header tells of'
        )


def _empty_frames(
    packets: Packets, stream: av.VideoStream, path: PathLike, notes: list[str]
) -> int:
    """How often an AVI's last frame is to be repeated: its dropped frames are empty packets.

    libav leaves those out, but for the numbers of the others.

    Raises:
        UserError: the file is cut short, or damaged.
    """
    last = packets.pictures[-1].stamp if packets.pictures else None
    count = len(packets.pictures) if last is None else last + 1
    if packets.damaged is None and count >= stream.frames:
        return 0
    written = avi_frames(path, stream.index)
    if packets.damaged is not None or written is None:
        raise damage_error(path, count, stream.frames)
    held = max(count, written)
    if held < stream.frames:
        notes.append(f'{path}: holds {held} frames, not {stream.frames} as its header says')
    return held - count


def _timeline(
    packets: Packets, stream: av.VideoStream, repeats: int, path: PathLike, notes: list[str]
) -> Clip:
    """The places of a clip's frames in time."""
    rates = [fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    tick, kind = fraction(stream.time_base), stream.container.format.name
    clip = Clip(
        fps=rates[0] if rates else Fraction(FOLDER_FPS),
        frame_count=None,
        stamps=[],
        slots=[],
        tick=tick,
        by_dts=kind == AVI,
        keys=[],
        joints=packets.joints,
        has_audio=bool(stream.container.streams.audio),
        notes=notes,
    )
    if any(packet.stamp is None for packet in packets.pictures):
        return clip
    shown = sorted(_shown(packets))
    if not shown:
        return clip
    stamps = moments = np.unique([packet.stamp for packet in shown])
    last = repeats + 1 if repeats else shown[-1].duration or None
    if packets.held_until is not None:
        last = max(last or 0, packets.held_until - int(stamps[-1]))
    is_avif = _is_avif(stream.container)
    if kind == 'gif' or is_avif:  # of a PNG, libav does so itself
        delays = browsers_delays(np.append(np.diff(stamps), last or 0), tick)
        moments, last = np.append(0, np.cumsum(delays[:-1])), int(delays[-1])
    has_delays = kind in DELAYED or is_avif
    pace = find_pace(moments, tick, rates, last, is_last_exact=has_delays)
    if pace.frame_count > 1000 * len(packets.pictures):  # nearly all of them repeated
        raise UserError(f'{path}: its time stamps leap; re-encode it at a constant rate')
    notes += pace.notes(path)
    frame_count = pace.frame_count
    if packets.sound_end is not None:
        sound = packets.sound_end - int(stamps[0]) * tick
        held = round(sound * pace.fps)
        is_sane = held < max(Fraction(1000 * len(stamps)), 3600 * pace.fps)  # a broken stamp
        if is_sane and sound - frame_count / pace.fps > STILL_END:
            frame_count = held
    is_seekable = kind in SEEKABLE and not packets.joints
    return clip._replace(
        fps=pace.fps,
        frame_count=frame_count,
        stamps=stamps.tolist(),
        slots=pace.slots.tolist(),
        keys=[packet.stamp for packet in shown if packet.is_key] if is_seekable else [],
    )


def _is_avif(container: av.container.InputContainer) -> bool:
    return container.metadata.get('major_brand') == 'avis'


def _shown(packets: Packets) -> Iterator[Packet]:
    for part in packets.parts:
        # Nothing can be shown before the first keyframe.
        start = next((packet.stamp for packet in part if packet.is_key), part[0].stamp)
        for packet in part:
            if packet.stamp >= start and not packet.is_hidden:
                yield packet
