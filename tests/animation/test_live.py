"""The live animation: the newest frame first, the neutral pose, mirror, recording."""

import threading
import time

import numpy as np
import pytest

from modules.animation.animator import animate
from modules.animation.live import RELATIVE, Live, cut_middle
from modules.inference.choice import build_engine
from modules.runtime.errors import UserError
from modules.video import VideoReader, resize_frame
from modules.video.jpeg import encode_jpeg
from modules.video.levels import to_bytes
from tests.support.engines import CONFIGS, clip
from tests.support.fake_engine import SIZE, FakeEngine, plain
from tests.support.tiny import small_models

PICTURE = 100  # its level


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def live(engine):
    live = Live(engine, plain(PICTURE), SIZE)
    yield live
    live.close()


def follow(live, frame, number=0):
    """The result for a frame."""
    live.show(frame, number)
    return next(live.results())


def level(result):
    assert result.picture.shape == (*SIZE, 3) and result.picture.dtype == np.uint8
    return int(result.picture[0, 0, 0])


def test_older_frames_are_dropped(engine, live):
    """The engine is busy with the first frame while ten more come: the next is the last of them."""
    engine.go.clear()
    found = []

    def take(count):
        for result in live.results():
            found.append(result)
            if len(found) == count:
                return

    thread = threading.Thread(target=take, args=[2])
    thread.start()
    live.show(plain(0), 0)
    assert engine.waiting.wait(10)
    for number in range(1, 11):
        live.show(plain(2 * number), number)
    engine.go.set()
    thread.join(10)
    assert [result.number for result in found] == [0, 10]
    assert [level(result) for result in found] == [PICTURE, PICTURE + 20]
    assert live.dropped == 9
    assert not set(engine.detected) & set(range(2, 19, 2))  # none of them cost anything


def test_the_first_pose_is_neutral_and_calibrate_takes_another(engine, live):
    assert level(follow(live, plain(40))) == PICTURE
    assert level(follow(live, plain(60))) == PICTURE + 20
    live.calibrate()
    assert level(follow(live, plain(60))) == PICTURE
    assert level(follow(live, plain(50))) == PICTURE - 10


def test_mirror_turns_frames_and_the_neutral_pose(engine, live):
    frame = plain(40)
    frame[:, 8:] = 80  # of what is seen on the left the engine tells
    follow(live, frame)
    live.mirror = True
    result = follow(live, frame)
    assert engine.detected[-2:] == [80, 80]  # the frame, then the neutral one
    assert level(result) == PICTURE
    frame[:, 8:] = 90
    assert level(follow(live, frame)) == PICTURE + 10
    live.mirror = False
    assert level(follow(live, frame)) == PICTURE


def test_another_picture(engine, live):
    follow(live, plain(40))
    live.change_picture(plain(20))
    assert level(follow(live, plain(45))) == 25
    follow(live, plain(50))
    assert engine.encoded == 2


def test_what_is_not_there_has_no_size(engine, live, monkeypatch):
    """A neutral pose of no area is no reason to end: movement counts from there all the same."""
    monkeypatch.setattr('tests.support.fake_engine.CORNERS', np.zeros([3, 2], 'float32'))
    follow(live, plain(40))
    assert level(follow(live, plain(50))) == PICTURE + 10


def test_jpeg_bytes_are_decoded_when_their_turn_comes(engine, live):
    live.show(b'none')
    live.show(encode_jpeg(plain(40)))
    assert level(next(live.results())) == PICTURE
    live.show(b'none')
    with pytest.raises(UserError, match='no JPEG'):
        next(live.results())
    assert level(follow(live, encode_jpeg(plain(60)))) == PICTURE + 20


def test_latency_and_rate(live):
    assert live.rate is None and live.latency is None
    before = time.perf_counter()
    results = [follow(live, plain(40), number) for number in range(3)]
    spent = time.perf_counter() - before
    assert all(0 < result.latency < spent for result in results)
    assert live.latency == sorted(result.latency for result in results)[1]
    assert live.rate > 2 / spent


def test_close_ends_the_results(engine, live):
    found = []
    thread = threading.Thread(target=lambda: found.extend(live.results()))
    thread.start()
    live.close()
    thread.join(10)
    assert not thread.is_alive() and found == []
    live.show(plain(1))  # of a camera that does not know yet
    assert list(live.results()) == []


def test_it_is_what_demo_makes_of_the_same_frames():
    """By the default engine: frame for frame what the animation of a clip gives."""
    config, size = CONFIGS['tiny']
    engine = build_engine(small_models(), config['model_params'], size)
    picture, *frames = to_bytes(clip(size, 4))
    expected = animate(
        engine, resize_frame(picture, size), [resize_frame(f, size) for f in frames], RELATIVE
    )
    live = Live(engine, picture, size)
    for frame, wanted in zip(frames, expected):
        np.testing.assert_array_equal(follow(live, frame).picture, to_bytes(wanted))


def test_the_middle_of_a_camera_s_frame():
    frame = np.zeros((48, 64, 3), 'uint8')
    frame[:, 8:56] = 255
    upright = np.ascontiguousarray(frame.transpose(1, 0, 2))
    for seen in (frame, upright):
        np.testing.assert_allclose(cut_middle(seen, (16, 16)), 1, atol=1e-6)
    assert cut_middle(frame, (16, 32)).shape == (16, 32, 3)


# ---- recording ----


def test_a_recording(live, tmp_path):
    path = tmp_path / 'clip.mp4'
    follow(live, plain(40))
    live.record(path)
    with pytest.raises(ValueError):
        live.record(path)
    for step in range(3):
        follow(live, plain(40 + 10 * step))
        time.sleep(0.1)
    assert live.stop_recording()
    frames = [frame.mean() for frame in VideoReader(path)]
    assert 9 <= len(frames) <= 90
    np.testing.assert_allclose(frames[:1] + frames[-1:], [PICTURE, PICTURE + 20], atol=3)
    with pytest.raises(ValueError):
        live.stop_recording()
    follow(live, plain(40))
    assert [entry.name for entry in tmp_path.iterdir()] == ['clip.mp4']


def test_a_recording_of_nothing(live, tmp_path):
    live.record(tmp_path / 'clip.mp4')
    assert not live.stop_recording()
    assert not list(tmp_path.iterdir())


def test_close_drops_a_recording(live, tmp_path):
    live.record(tmp_path / 'clip.mp4')
    follow(live, plain(40))
    live.close()
    assert not list(tmp_path.iterdir())


def test_a_recording_that_fails_is_told_when_it_is_stopped(live, tmp_path, monkeypatch):
    """The picture goes on moving."""
    live.record(tmp_path / 'clip.mp4')

    def fail(*arguments):
        raise UserError('no space')

    follow(live, plain(40))
    monkeypatch.setattr('modules.animation.recording.Recording.add', fail)
    follow(live, plain(40))
    follow(live, plain(40))
    with pytest.raises(UserError, match='no space'):
        live.stop_recording()
