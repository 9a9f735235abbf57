"""Frames are shown when, and as long as, a player shows them: to 10 ms, the last one too."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from modules.video import VideoReader
from modules.video.timing import FASTEST, Repeats, find_pace
from tests.support.clips import beep, drawn, encode, far, write

TOLERANCE = 0.0101


def shown(reader):
    """(second, frame) of every frame that is not a repeat, and the second of the clip's end."""
    frames = list(reader)
    assert len(frames) == reader.frame_count
    for number in reader.repeats:
        assert frames[number] is frames[number - 1]
    new = [number for number in range(len(frames)) if number not in reader.repeats]
    times = [number / reader.fps for number in new]
    return times, [frames[number] for number in new], len(frames) / reader.fps


def assert_in_time(path, delays):
    """Frames with these delays, in seconds, and no others."""
    reader = VideoReader(path)
    assert reader.fps <= FASTEST or len(set(delays)) == 1
    times, frames, end = shown(reader)
    starts = np.cumsum([0, *delays])
    assert len(times) == len(delays)
    np.testing.assert_allclose([float(t) for t in [*times, end]], starts, rtol=0, atol=TOLERANCE)
    return reader, frames


DELAYS = {  # in ms; browsers make a tenth of a second of the shortest
    'alternating': [2000, 100, 2000, 100],
    'last-stays': [70] * 5 + [1500],
    'slow-then-fast': [1000] * 5 + [50] * 5,
    'last-is-short': [100, 100, 50],
    'none': [0] * 4,
    'one-hundredth': [10, 10, 300],
    'fifty-a-second': [20] * 6,
    'odd': [30, 50, 250, 20, 20, 70],
    'slides': [5000, 10000],
}


@pytest.mark.parametrize('delays', DELAYS.values(), ids=DELAYS)
@pytest.mark.parametrize('suffix', ['.gif', '.webp', '.png', '.apng', '.avif'])
def test_animated_pictures(tmp_path, suffix, delays):
    frames = drawn(len(delays), 16, 24)
    path = tmp_path / f'a{suffix}'
    pictures = [Image.fromarray(frame) for frame in frames]
    kind = 'PNG' if suffix == '.apng' else None
    # 0 is what Pillow makes of "no delays at all", so that there are none; AVIF can't hold any.
    written = [max(delay, 1) for delay in delays] if suffix == '.avif' else delays
    options = {'quality': 100} if suffix == '.avif' else {'lossless': True}
    pictures[0].save(
        path, kind, save_all=True, append_images=pictures[1:], duration=written, **options
    )
    least = 20 if suffix == '.gif' else 11
    delays = [100 if delay < least else delay for delay in delays]
    reader, ours = assert_in_time(path, [delay / 1000 for delay in delays])
    assert reader.size == (16, 24)
    bound = 14 if suffix in ('.gif', '.avif') else 0.01  # 256 colours; some loss
    assert max(far(*pair) for pair in zip(ours, frames)) < bound


def test_steady_animations_keep_their_rate(tmp_path):
    frames = [Image.fromarray(frame) for frame in drawn(30, 16, 16)]
    for name, delays, fps in (
        ('a.gif', [80] * 30, Fraction(25, 2)),
        ('a.webp', [40] * 30, 25),
        ('a.png', [40] * 30, 25),
        ('b.gif', [30, 30, 40] * 10, 30),
    ):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=delays)
        reader = VideoReader(tmp_path / name)
        assert abs(reader.fps - fps) < 0.1 and reader.frame_count == 30 and not reader.repeats


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
@pytest.mark.parametrize(
    'times',
    [
        [*range(30), *range(75, 120)],  # a pause
        [0, 1, 2, 3, 10, 11, 12, 40, 41, 90],
        [0, 7, 13, 20, 26, 33, 60, 66],
    ],
    ids=['pause', 'pauses', 'slow'],
)
def test_variable_rate(tmp_path, name, times):
    """Whatever is between them, frames of a clip at 30 fps stay at it."""
    frames = drawn(len(times), 16, 16)
    encode(tmp_path / name, frames, 'libx264rgb', 30, 'rgb24', times, crf=0)
    delays = np.diff([*times, times[-1] + 1]) / 30
    reader, ours = assert_in_time(tmp_path / name, delays)
    np.testing.assert_array_equal(ours, frames)
    assert reader.fps <= 30
    np.testing.assert_array_equal(
        reader.read_frames(range(0, reader.frame_count, 5)), list(reader)[::5]
    )


def test_more_than_the_container_can_count(tmp_path):
    """Time stamps in 100 ns, with jitter, around 59.958 fps, and a pause of 1.6 s."""
    steps = 1e7 / 59.958 + np.random.default_rng(0).integers(-4000, 4000, 399)
    steps[200] += 16_000_000
    stamps = np.append(0, np.cumsum(steps.astype(int)))
    path = tmp_path / 'a.mp4'
    with av.open(str(path), 'w', options={'video_track_timescale': '10000000'}) as c:
        stream = c.add_stream('libx264', rate=60, options={'bf': '0'})
        stream.width = stream.height = 16
        stream.codec_context.time_base = Fraction(1, 10_000_000)
        for number, stamp in enumerate(stamps):
            gray = np.full((16, 16, 3), number % 200, np.uint8)
            picture = av.VideoFrame.from_ndarray(gray, 'rgb24').reformat(format='yuv420p')
            picture.pts, picture.time_base = int(stamp), Fraction(1, 10_000_000)
            c.mux(stream.encode(picture))
        c.mux(stream.encode(None))
    reader, _ = assert_in_time(path, np.diff([*stamps, stamps[-1] + 166_000]) / 1e7)
    assert abs(reader.fps - 59.958) < 0.05
    assert max(reader.fps.numerator, reader.fps.denominator) < 2**31
    write(tmp_path / 'b.mp4', list(reader), reader.fps)
    again = VideoReader(tmp_path / 'b.mp4')
    assert (again.frame_count, again.fps) == (reader.frame_count, reader.fps)


def test_the_last_frame_stays(tmp_path):
    """As its own duration says, or the sound that goes on."""
    path = tmp_path / 'a.mp4'
    with av.open(str(path), 'w') as c:
        stream = c.add_stream('mjpeg', rate=25)
        stream.width, stream.height, stream.pix_fmt = 24, 16, 'yuvj420p'
        stream.codec_context.time_base = Fraction(1, 25)
        for number, frame in enumerate(drawn(10, 16, 24)):
            picture = av.VideoFrame.from_ndarray(frame, 'rgb24').reformat(format='yuvj420p')
            picture.pts, picture.time_base = number, Fraction(1, 25)
            for packet in stream.encode(picture):
                packet.duration = 75 if number == 9 else 1
                c.mux(packet)
    reader, _ = assert_in_time(path, [0.04] * 9 + [3])
    assert (reader.fps, reader.frame_count) == (25, 84)


def test_sound_keeps_the_last_frame(tmp_path):
    source = beep(tmp_path / 's.mp4', 'aac', seconds=3)
    with av.open(str(source)) as old, av.open(str(tmp_path / 'a.mkv'), 'w') as new:
        tracks = [new.add_stream_from_template(stream) for stream in old.streams]
        for packet in old.demux():
            if packet.size and (packet.stream_index == 1 or packet.pts * packet.time_base < 1):
                packet.stream = tracks[packet.stream_index]
                new.mux(packet)
    reader = VideoReader(tmp_path / 'a.mkv')
    assert reader.fps == 25 and 73 <= reader.frame_count <= 77
    assert reader.repeats == frozenset(range(25, reader.frame_count))
    assert VideoReader(source).frame_count == 75  # a bit of sound more is none


def test_sound_that_ends_in_days_is_a_broken_stamp(tmp_path):
    source = beep(tmp_path / 's.mkv', 'pcm_s16le', seconds=1)
    with av.open(str(source)) as old, av.open(str(tmp_path / 'a.mkv'), 'w') as new:
        tracks = [new.add_stream_from_template(stream) for stream in old.streams]
        for packet in old.demux():
            if packet.size:
                if packet.stream_index == 1 and packet.pts > 900:
                    packet.pts = packet.dts = packet.pts + 10**9
                packet.stream = tracks[packet.stream_index]
                new.mux(packet)
    reader = VideoReader(tmp_path / 'a.mkv')
    assert reader.frame_count == 25 and not reader.repeats


def test_repeats_of_hours_take_no_room():
    repeats = Repeats([0, 1, 5], 10**9)
    assert len(repeats) == 10**9 - 3 and 1 not in repeats and 4 in repeats and 10**9 not in repeats
    assert Repeats([0, 2], 4) == {1, 3} and Repeats([0, 2], 4) | {7} == {1, 3, 7}
    assert not Repeats() and list(Repeats([0], 3)) == [1, 2]


def test_what_is_too_fast_is_counted(tmp_path):
    """Steps of 1/240 s with a pause between: at most 100 frames a second are shown."""
    times = [*range(24), *range(240, 264)]
    encode(tmp_path / 'a.mp4', drawn(48, 16, 16), fps=240, times=times)
    reader = VideoReader(tmp_path / 'a.mp4')
    assert reader.fps == 100
    (note,) = reader.notes
    lost = 48 - (reader.frame_count - len(reader.repeats))
    assert f'{lost} of 48 frames are left out' in note and 20 < lost < 35
    # At a constant rate nothing is lost.
    encode(tmp_path / 'b.mp4', drawn(48, 16, 16), fps=240)
    reader = VideoReader(tmp_path / 'b.mp4')
    assert (reader.fps, reader.frame_count, reader.notes) == (240, 48, [])


def test_the_lowest_rate():
    tick = Fraction(1, 1000)

    def fps(*stamps, last):
        return find_pace(np.array(stamps), tick, [], last, is_last_exact=True).fps

    assert fps(0, 2000, 2100, 4100, last=100) == 10
    assert fps(0, 5000, last=10000) == Fraction(1, 5)
    assert fps(*range(0, 400, 40), last=500) == 50
    ms = [round(1000 * number / 30) for number in (*range(30), *range(40, 70))]
    assert abs(fps(*ms, last=33) - 30) < 0.3
    # Jitter of up to 10 ms is none.
    assert find_pace(np.array([0, 45, 78, 125, 155]), tick, [Fraction(25)]).fps == 25


def test_no_raw_number_is_lost():
    """A rate of more than 32 bits is rounded, one of less stays."""
    stamps = np.arange(10) * 333333
    pace = find_pace(stamps, Fraction(1, 10**7), [Fraction(10**7 * 3001, 10**7 * 100 + 1)])
    assert max(pace.fps.numerator, pace.fps.denominator) < 2**31 and abs(pace.fps - 30) < 0.1
    assert find_pace(stamps, Fraction(1, 10**7), []).fps == Fraction(10**7, 333333)
