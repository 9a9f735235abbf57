"""Sound packets put on one line in time with the pictures, for ffmpeg to take."""

from fractions import Fraction
from pathlib import Path
from typing import Optional

import av

from modules.runtime.files import PathLike
from modules.video.opening import fraction, open_clip, sound_track
from modules.video.packets import LEAP, demux
from modules.video.survey import Clip

# Seconds that sound jumps back by where another clip begins, at least.
BACK = Fraction(1, 4)


def write_sound(path: PathLike, clip: Clip, run_up: float, target: Path) -> Optional[float]:
    """Copies the sound of a clip, be it joined or not, to a file.

    Where it overlaps at a joint, by less than a packet as a rule, the later one gives way.

    Args:
        run_up: seconds before the first picture that are copied as well.
        target: .nut, which holds every codec and keeps to the times given.

    Returns:
        How many seconds after the first packet of sound the first picture is shown; None where
        sound doesn't start anew as often as pictures do: it can't be told what belongs where, and
        nothing is of use.

    Raises:
        OSError: the disk is full, or fails.
    """
    try:
        return _write(path, clip, run_up, target)
    except OSError:
        raise
    except av.FFmpegError:
        return None


def _write(path: PathLike, clip: Clip, run_up: float, target: Path) -> Optional[float]:
    shifts = [Fraction(0), *(shift * clip.tick for shift in clip.joints.values())]
    start = clip.stamps[0] * clip.tick
    part, latest, first, written = 0, None, None, 0
    with open_clip(path) as source, av.open(f'file:{target}', 'w', format='nut') as output:
        track = sound_track(source)
        if track is None:
            return None
        copy, tick = output.add_stream_from_template(track), fraction(track.time_base)
        for packet in demux(source, track):
            if not packet.size or packet.pts is None:
                continue
            time = packet.pts * tick
            if latest is not None and not latest - BACK < time < latest + LEAP:
                part += 1
                if part == len(shifts):
                    return None
            latest = time
            if time + shifts[part] < start - run_up:
                continue
            first = time + shifts[part] if first is None else first
            shown = round((time + shifts[part] - first) / tick)
            if shown >= written:
                written = shown + (packet.duration or 1)
                packet.pts = packet.dts = shown
                packet.stream = copy
                output.mux(packet)
    if first is None or part < len(shifts) - 1:
        return None
    return float(start - first)
