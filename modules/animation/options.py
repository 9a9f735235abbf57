"""The options of demo.py, in the groups of its --help; needs no Paddle."""

import argparse
import contextlib
import re
from fractions import Fraction
from typing import Any

from modules.animation.inputs import add_frames_option
from modules.animation.timeline import Moment, TimedClip, find_timeline
from modules.runtime.messages import note
from modules.video import VideoReader
from modules.video.writing import holds_sound

RATES = Fraction(1, 10), Fraction(240)  # of --fps
SPEEDS = Fraction(1, 100), Fraction(100)  # of --speed


def add_time_options(parser: argparse.ArgumentParser) -> None:
    """What of the driving video is animated, when it is shown, and what is heard."""
    group = parser.add_argument_group('time and sound')
    group.add_argument(
        '--start',
        type=_moment,
        metavar='T',
        help='where the driving video begins: 2.5, a second, or 60f, a frame',
    )
    group.add_argument(
        '--end', type=_moment, metavar='T', help='where it ends; that moment itself is left out'
    )
    add_frames_option(group)
    group.add_argument(
        '--fps',
        type=_rate,
        metavar='F',
        help="the result's frames per second, if not the driving video's; it lasts as long, frames "
        'are left out or repeated',
    )
    group.add_argument(
        '--speed',
        type=_speed,
        default=Fraction(1),
        metavar='FACTOR',
        help='2 is twice as fast; the sound keeps its pitch',
    )
    group.add_argument(
        '--loop', action='store_true', help='there and back: the frames follow again, backwards'
    )
    sound = group.add_mutually_exclusive_group()
    sound.add_argument('--audio', action='store_true', help='say so where the result has no sound')
    sound.add_argument(
        '--no_audio', action='store_true', help="leave out the driving video's sound"
    )


def read_timed(options: argparse.Namespace) -> TimedClip:
    """The driving video's frames in the time that the options say.

    Raises:
        UserError: it can't be read, or has none of them.
    """
    reader = VideoReader(options.driving_video)
    timeline = find_timeline(
        reader, options.start, options.end, options.frames, options.fps, options.speed
    )
    return TimedClip(reader, timeline)


def result_options(options: argparse.Namespace, clip: TimedClip) -> dict[str, Any]:
    """What the options ask of a VideoWriter, sound that is in step with the clip included."""
    asked: dict[str, Any] = {'there_and_back': options.loop}
    can_hold = holds_sound(options.result_video)
    if options.no_audio or not (can_hold or options.audio):
        return asked
    if not clip.has_audio:
        if options.audio:
            note(f'{clip.path} has no sound to copy')
    elif options.loop and can_hold:
        note('--loop: written without sound, which is not played backwards; see --no_audio')
    else:
        timeline = clip.timeline
        asked.update(audio_from=clip.path, audio_start=timeline.start, audio_speed=timeline.speed)
    return asked


def stretch_text(options: argparse.Namespace) -> str:
    """' within' and those options that leave out a part of the driving video; '' without any."""
    given = [
        f'--{name} {value}'
        for name in ('start', 'end', 'frames')
        if (value := getattr(options, name)) is not None
    ]
    return ' within ' + ' '.join(given) if given else ''


def _moment(text: str) -> Moment:
    try:
        return Moment.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _rate(text: str) -> Fraction:
    """Decimals like 29.97 stand for the rates of television, here 30000/1001."""
    rate = _number(text, RATES, 'frames per second')
    whole = round(rate * Fraction(1001, 1000))
    television = Fraction(whole * 1000, 1001)
    is_meant = rate.denominator > 1 and whole >= 10 and abs(rate - television) < Fraction(1, 200)
    return television if is_meant else rate


def _speed(text: str) -> Fraction:
    return _number(text, SPEEDS, 'a factor')


def _number(text: str, limits: tuple[Fraction, Fraction], what: str) -> Fraction:
    """A decimal number or a fraction such as 30000/1001, exact."""
    least, most = limits
    with contextlib.suppress(ZeroDivisionError):
        if re.fullmatch(r'[0-9]{1,9}(\.[0-9]{1,9}|/[0-9]{1,9})?|\.[0-9]{1,9}', text):
            number = Fraction(text)
            if least <= number <= most:
                return number
    raise argparse.ArgumentTypeError(f'{text}: give {what} from {float(least):g} to {most}')
