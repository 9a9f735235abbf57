"""Sound that is cut, or played at another speed, with the pictures: a click at each flash."""

from fractions import Fraction

import av
import numpy as np
import pytest

from modules.animation.timeline import Moment, TimedClip, find_timeline
from modules.video import VideoReader, VideoWriter
from tests.support.flashes import heard, seen, write_flashes

FLASHES = [0.4, 1.2, 2.0, 2.8, 3.6]
KINDS = [
    ('s.mp4', 'aac', 48000),
    ('s.mp4', 'libmp3lame', 44100),
    ('s.mov', 'pcm_s16le', 44100),
    ('s.mkv', 'aac', 44100),
    ('s.mkv', 'libopus', 48000),
    ('s.mkv', 'flac', 96000),
    ('s.ts', 'ac3', 48000),
    ('s.ts', 'aac', 48000),
    ('s.flv', 'aac', 44100),
    ('s.avi', 'libmp3lame', 48000),
]
# An AVI can't say that an MP3's first samples are the encoder's run-up.
LATE = {'.avi': 0.023}


def timed(source, target, start='0', speed=1, fps=None, end=None):
    """Writes a stretch of a clip with its sound -> its writer."""
    with VideoReader(source) as reader:
        start, end = Moment.parse(start), end and Moment.parse(end)
        timeline = find_timeline(reader, start, end, None, fps, Fraction(speed))
        clip = TimedClip(reader, timeline)
        sound = {'audio_start': timeline.start, 'audio_speed': timeline.speed}
        with VideoWriter(target, clip.fps, audio_from=source, **sound) as writer:
            for frame in clip:
                writer.write(frame)
    return writer


def check_in_step(target, count, tolerance=0.02, late=0.0):
    """As many flashes as there should be, a click at each, and both end together.

    Args:
        late: how late clicks were to begin with.
    """
    flashes, end = seen(target)
    clicks, sound_end = heard(target)
    assert len(flashes) == len(clicks) == count
    assert np.abs(clicks - flashes - late).max() <= tolerance
    assert abs(sound_end - end) <= 0.04


@pytest.mark.parametrize(('name', 'codec', 'rate'), KINDS)
@pytest.mark.parametrize('target', ['a.mp4', 'a.mkv'])
def test_a_cut(tmp_path, name, codec, rate, target):
    source = write_flashes(tmp_path / name, codec, FLASHES, rate=rate)
    for start, count in (('1', 4), ('17f', 4), ('2.44', 2)):
        writer = timed(source, tmp_path / target, start)
        assert writer.audio_warning is None
        check_in_step(tmp_path / target, count, late=LATE.get(source.suffix, 0))
    timed(source, tmp_path / target, '1', end='3')
    check_in_step(tmp_path / target, 3, late=LATE.get(source.suffix, 0))


@pytest.mark.parametrize('start', [5, 5.4])
@pytest.mark.parametrize('name', ['s.mkv', 's.ts', 's.flv'])
def test_a_cut_of_a_clip_that_starts_late(tmp_path, name, start):
    source = write_flashes(tmp_path / name, 'aac', FLASHES, rate=44100, start=start)
    timed(source, tmp_path / 'a.mp4', '1')
    check_in_step(tmp_path / 'a.mp4', 4)


@pytest.mark.parametrize('speed', ['0.5', '0.8', '1.1', '2', '3'])
@pytest.mark.parametrize(('name', 'codec', 'rate'), KINDS[::3])
def test_another_speed(tmp_path, name, codec, rate, speed):
    """Twice as fast lasts half as long, at the pitch that it had."""
    flashes = [1.0, 2.6, 4.2]
    source = write_flashes(tmp_path / name, codec, flashes, rate=rate, seconds=5)
    fps = Fraction(100)  # lest the pictures themselves are out of step
    timed(source, tmp_path / 'a.mp4', speed=speed, fps=fps)
    late = LATE.get(source.suffix, 0) / float(speed)
    check_in_step(tmp_path / 'a.mp4', len(flashes), 0.025, late)
    lasts = heard(tmp_path / 'a.mp4')[1]
    assert abs(lasts - 5 / float(speed)) < 0.04
    assert abs(pitch(tmp_path / 'a.mp4') - 1000) < 20


def test_much_slower(tmp_path):
    """A filter halves the speed at most; where two follow each other, 60 ms are not to be seen."""
    source = write_flashes(tmp_path / 's.mp4', 'aac', FLASHES)
    timed(source, tmp_path / 'a.mp4', '0.8', speed='0.3')
    check_in_step(tmp_path / 'a.mp4', 4, tolerance=0.06)


def test_cut_and_sped(tmp_path):
    source = write_flashes(tmp_path / 's.mp4', 'aac', FLASHES)
    timed(source, tmp_path / 'a.mp4', '0.8', speed='1.25', fps=Fraction(60), end='3.4')
    check_in_step(tmp_path / 'a.mp4', 3)


def pitch(path):
    """Hz of what is loudest."""
    with av.open(str(path)) as clip:
        frames = [frame.to_ndarray()[0] for frame in clip.decode(audio=0)]
        rate = clip.streams.audio[0].rate
    wave = np.concatenate(frames)
    return np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave)


@pytest.mark.parametrize('name', ['s.mp4', 's.mkv', 's.ts'])
@pytest.mark.parametrize('speed', [1, 2])
def test_a_stretch_after_the_sound(tmp_path, name, speed):
    """It is silent, and nothing is missing."""
    long = write_flashes(tmp_path / name, 'aac', FLASHES, seconds=4)
    with av.open(str(long)) as old, av.open(str(tmp_path / ('cut' + name)), 'w') as new:
        tracks = {one.index: new.add_stream_from_template(one) for one in old.streams}
        for packet in old.demux():
            is_sound = packet.stream.type == 'audio'
            if packet.size and not (is_sound and packet.pts * packet.time_base > 3.5):
                packet.stream = tracks[packet.stream_index]
                new.mux(packet)
    writer = timed(tmp_path / ('cut' + name), tmp_path / 'a.mp4', '3.4', speed)
    assert writer.audio_warning is None
    assert seen(tmp_path / 'a.mp4')[1] == pytest.approx(0.6 / speed, abs=0.021)


def test_what_is_not_cut_is_copied(tmp_path):
    """Where only the end goes, too."""
    source = write_flashes(tmp_path / 's.mp4', 'aac', FLASHES)
    timed(source, tmp_path / 'a.mp4', end='3')

    def packets(path):
        with av.open(str(path)) as clip:
            return [bytes(packet) for packet in clip.demux(audio=0) if packet.size]

    copied = packets(tmp_path / 'a.mp4')
    assert len(copied) > 100 and copied == packets(source)[: len(copied)]
