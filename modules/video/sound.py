"""The sound of a clip beside what is made of its pictures, in step with them."""

import contextlib
import math
import os
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av

from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.video.ffmpeg import Ffmpeg, FfmpegError, container_options, file_url
from modules.video.opening import fraction, open_clip, picture_track, sound_track
from modules.video.packets import AVI, LEAP, demux, may_jump
from modules.video.survey import Clip, survey
from modules.video.wholeness import MOV

# Sound that is passed on from before the first picture, in seconds: decoders need to warm up.
RUN_UP = 0.1
# Seconds that sound jumps back by where another clip begins, at least.
BACK = Fraction(1, 4)
# Samples per second where the speed is changed, and how early clicks then came, in seconds: nearly
# half of a piece, which is the least power of two of samples that lasts 1/24 s.
RATE, EARLY = 48000, 0.019
HALF = Fraction(1, 2)


class Sound(NamedTuple):
    """A sound track: the clip, its number there, how it is encoded, and what of it is wanted."""

    path: PathLike
    track: int
    codec: list[object]
    zero: float  # its first second that is wanted, from the clip's start, which is 0 to ffmpeg
    start: Fraction = Fraction(0)  # the same from the first picture on
    speed: Fraction = Fraction(1)  # how many times faster it is played
    tracks: int = 1  # how many sound tracks the clip has
    clip: Clip | None = None  # what was found of one whose sound is put straight at first
    is_indexed: bool = True  # whether a jump into the clip leads to the second that is wanted

    @property
    def is_changed(self) -> bool:
        """Whether it is cut at its start or played at another speed: then packets won't do."""
        return self.start > 0 or self.speed != 1

    def add_to(self, movie: Path, seconds: Fraction) -> str | None:
        """Adds the sound from `start` on, for so many seconds of the movie.

        Returns:
            None, or a line on what is missing.

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
                start = _write_straight(self.path, self.clip, straight, self.start)
                if start == math.inf:
                    return missing
                if start is None:
                    missing = f'{self.path}: gaps in its sound; it may be out of step'
                else:
                    source, track, zero = straight, 0, start
            # The sound of an AVI, which has no times of its own, is decoded from the start.
            lead = zero if self.is_changed and not self.is_indexed else min(zero, RUN_UP)
            cut: list[object] = ['-itsoffset', -lead] if lead and not self.is_changed else []
            if zero > lead:
                cut += ['-ss', f'{zero - lead:.4f}']
            filters = ['-af', _retimed(lead, self.speed, seconds)] if self.is_changed else []
            whole = Path(folder, movie.name)
            arguments = [
                *('-i', file_url(movie), *cut, '-t', f'{float(seconds * self.speed) + lead:.6f}'),
                # The option keeps playlists from reaching for the network.
                *('-protocol_whitelist', 'file', '-i', file_url(source)),
                *('-map', '0:v', '-map', f'1:a:{track}', '-map_chapters', '-1'),
                *('-c:v', 'copy', *filters, *self.codec),
                *(*container_options(whole), file_url(whole)),
            ]
            damaged = f'{self.path}: damaged sound track; some of it is missing'
            for tolerance, told in ((['-xerror'], missing), (['-max_error_rate', '1'], damaged)):
                run = Ffmpeg(*tolerance, *arguments)
                with contextlib.closing(run), contextlib.suppress(FfmpegError):
                    run.finish()
                    os.replace(whole, movie)
                    return told
        return f'{self.path}: unusable sound track; written without it'


def find_sound(
    path: PathLike, start: Fraction = Fraction(0), speed: Fraction = Fraction(1)
) -> Sound | None:
    """The sound track of a clip that players play, if there is one.

    Args:
        start, speed: as of Sound.

    Raises:
        UserError: no such file, or not a clip.
    """
    with open_clip(path) as clip:
        track = sound_track(clip)
        if track is None:
            return None
        number, codec, zero = clip.streams.audio.index(track), track.codec_context, 0.0
        tracks, found, is_indexed = len(clip.streams.audio), None, clip.format.name != AVI
        with contextlib.suppress(UserError):  # there are no pictures, or none of use
            pictures = picture_track(clip, path)
            if None not in (clip.start_time, pictures.start_time):
                first = pictures.start_time * fraction(pictures.time_base)
                zero = max(0.0, round(float(first - Fraction(clip.start_time, av.time_base)), 4))
            if clip.format.name not in (MOV, AVI):  # of which only the first would be read
                found = survey(path)
                # Where clocks may jump, ffmpeg leaves out the time before the sound; where there is
                # no index, it may leave out a part of the sound when it jumps to its start.
                is_bent = found.joints or may_jump(clip) or zero + start > RUN_UP
                found = found if found.stamps and is_bent else None
        how: list[object] = ['-c:a', 'aac', '-ac', min(codec.channels, 2)]
        zero += float(start)
        sound = Sound(path, number, how, zero, start, speed, tracks, found, is_indexed)
        if codec.name in ('aac', 'mp3', 'mp3float') and not sound.is_changed:
            sound = sound._replace(codec=['-c:a', 'copy', '-copyinkf:a'])
    return sound


def _retimed(lead: float, speed: Fraction, seconds: Fraction) -> str:
    """Filters that leave out the first `lead` seconds and play the rest at another speed.

    Where the sound begins later, or has gaps, there is silence.

    Args:
        seconds: how long it may be in the end.
    """
    early, filters = _stretched(speed) if speed != 1 else (0.0, [])
    lead -= early
    steps = [
        f'atrim=start={max(lead, 0):.6f}',
        f'asetpts=PTS-({lead:.6f})/TB',
        f'aresample={f"{RATE}:" if filters else ""}async=1:first_pts=0',
        *filters,
        f'atrim=end={float(seconds):.6f}',
    ]
    return ','.join(steps)


def _stretched(speed: Fraction) -> tuple[float, list[str]]:
    """Filters that change the speed of sound of RATE and keep its pitch.

    They put pieces of it together where they fit, which moves what is heard by up to 25 ms; by more
    only where several follow each other, since each can halve the speed at most.

    Returns:
        How early their result is on average, in seconds of what they get, and them.
    """
    early, rest = 0.0, speed
    tempos: list[str] = []
    while rest != 1:
        tempo = rest if rest > HALF else HALF
        tempos.append(f'atempo={float(tempo):.9f}')
        early += EARLY * float(min(Fraction(1), 3 * abs(tempo - 1)) * speed / rest)
        rest /= tempo
    # The end of what they get is missing from what they give.
    return early, ['apad=pad_dur=0.2', *tempos]


def _write_straight(path: PathLike, clip: Clip, target: Path, start: Fraction) -> float | None:
    """Copies the sound of a clip, be it joined or not, on one line in time with the pictures, from
    RUN_UP before second `start` on, which counts from the first picture.

    Where it overlaps at a joint, by less than a packet as a rule, the later one gives way.

    Args:
        target: .nut, which holds every codec and keeps to the times given.

    Returns:
        How many seconds after the first packet of sound that moment comes; infinity where all sound
        ends before; None where sound doesn't start anew as often as pictures do: it can't be told
        what belongs where, and nothing is of use.

    Raises:
        OSError: the disk is full, or fails.
    """
    try:
        return _write(path, clip, target, start)
    except OSError:
        raise
    except av.FFmpegError:
        return None


def _write(path: PathLike, clip: Clip, target: Path, start: Fraction) -> float | None:
    shifts = [Fraction(0), *(shift * clip.tick for shift in clip.joints.values())]
    start += clip.stamps[0] * clip.tick
    part, latest, first, written = 0, None, None, 0
    with open_clip(path) as source, av.open(file_url(target), 'w', format='nut') as output:
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
            if time + shifts[part] < start - RUN_UP:
                continue
            first = time + shifts[part] if first is None else first
            shown = round((time + shifts[part] - first) / tick)
            if shown >= written:
                written = shown + (packet.duration or 1)
                packet.pts = packet.dts = shown
                packet.stream = copy
                output.mux(packet)
    if latest is None or part < len(shifts) - 1:
        return None
    return math.inf if first is None else float(start - first)
