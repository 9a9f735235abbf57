"""Which driving frame is shown when: numbers alone."""

import itertools
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest

from modules.animation.timeline import Moment, Timeline, find_timeline
from modules.runtime.errors import UserError

NTSC = Fraction(30000, 1001)
RATES = [Fraction(25), NTSC, Fraction(50), Fraction(10), Fraction(1, 2), Fraction(99)]
SPEEDS = [Fraction(1), Fraction(2), Fraction(1, 3), Fraction(11, 10), Fraction(100)]


def clip_of(frame_count, fps=25):
    return SimpleNamespace(fps=Fraction(fps), frame_count=frame_count, path=Path('clip.mp4'))


def timeline_of(clip, start=None, end=None, count=None, fps=None, speed=1):
    start, end = (Moment.parse(text) if text else None for text in (start, end))
    return find_timeline(clip, start, end, count, fps and Fraction(fps), Fraction(speed))


def test_nothing_asked_for_is_every_frame_as_it_is():
    for rate in RATES:
        timeline = timeline_of(clip_of(7, rate))
        assert list(timeline.numbers()) == list(range(7))
        assert (timeline.fps, timeline.frame_count, timeline.start) == (rate, 7, 0)


@pytest.mark.parametrize(
    'start, end, count, frames',
    [
        ('1', None, None, range(25, 100)),
        ('25f', None, None, range(25, 100)),
        (None, '1', None, range(25)),
        ('1', '2', None, range(25, 50)),
        ('10f', '12f', None, range(10, 12)),
        ('0.40', '15f', None, range(10, 15)),
        ('1', None, 3, range(25, 28)),
        ('1', '26f', 3, range(25, 26)),
        (None, '99', 200, range(100)),
        ('.019', '.061', None, range(0, 2)),  # the frame that begins next to it: at 0 and .08 s
        ('.02', '.06', None, range(1, 2)),
    ],
)
def test_a_stretch(start, end, count, frames):
    timeline = timeline_of(clip_of(100), start, end, count)
    assert list(timeline.numbers()) == list(frames) and timeline.frame_count == len(frames)
    assert timeline.start == Fraction(frames[0], 25)


def test_stretches_that_follow_each_other_have_every_frame_once():
    for rate in RATES:
        clip, cuts = clip_of(40, rate), ['0', '0.1', '.21', '0.333', '1f', '9999']
        edges = sorted({Moment.parse(cut).frame(rate) for cut in cuts})
        shown = []
        for first, stop in itertools.pairwise(edges):
            if first < 40:
                shown += timeline_of(clip, f'{first}f', f'{stop}f').numbers()
        assert shown == list(range(40))


@pytest.mark.parametrize('rate', RATES)
@pytest.mark.parametrize('fps', RATES)
@pytest.mark.parametrize('speed', SPEEDS)
def test_every_frame_is_shown_within_half_a_frame_of_its_time(rate, fps, speed):
    """Of frame i of the clip, which begins at (i - first) / rate / speed."""
    timeline = Timeline(rate, fps, first=5, stop=105, speed=speed)
    numbers = list(timeline.numbers())
    assert numbers[0] == 5 and numbers == sorted(numbers) and numbers[-1] < 105
    assert len(numbers) == timeline.frame_count
    lasts, wanted = len(numbers) / fps, 100 / rate / speed
    assert abs(lasts - wanted) <= Fraction(1, 2) / fps or len(numbers) == 1
    for index, number in enumerate(numbers[1:], 1):
        middle = (index + Fraction(1, 2)) / fps * speed * rate + 5
        assert number <= middle <= number + 1


def test_an_end_that_is_not_known_yet_gives_the_same_frames():
    """The numbers below that of the end are exactly those of the timeline that knows it."""
    for fps in RATES:
        known, unknown = (Timeline(NTSC, fps, first=3, stop=stop) for stop in (50, None))
        assert unknown.frame_count is None
        shown = []
        for number in unknown.numbers():
            if number >= 50:
                break
            shown.append(number)
        assert shown == list(known.numbers())


@pytest.mark.parametrize(
    'start, end, message',
    [
        ('4', None, r'--start 4: clip\.mp4 ends before, after 4 s \(100 frames\)'),
        ('100f', None, '--start 100f'),
        ('2', '1', '--end 1: leaves no frame after --start 2'),
        ('2', '2', '--end 2: leaves no frame after --start 2'),
        ('50f', '2', '--end 2: leaves no frame after --start 50f'),
        (None, '0', '--end 0: leaves no frame before it'),
    ],
)
def test_stretches_without_frames_are_refused(start, end, message):
    with pytest.raises(UserError, match=message):
        timeline_of(clip_of(100), start, end)


def test_an_end_beyond_the_clip_is_noted(capsys):
    assert timeline_of(clip_of(100), None, '9').frame_count == 100
    assert capsys.readouterr().err == (
        'note: --end 9: clip.mp4 ends before, after 4 s (100 frames)\n'
    )
    timeline_of(clip_of(100), '1', '4')
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('text', ['-1', 'x', '1.5f', 'f', '', '1:30', '٣', 'nan', '1e3', ' 1', '.'])
def test_what_is_no_moment(text):
    with pytest.raises(ValueError, match=r'give seconds, such as 2\.5, or a frame, such as 60f'):
        Moment.parse(text)
