"""A live session without a browser: a real server and a socket, and a process of a fake engine."""

import contextlib
import io
import struct
import time

import numpy as np
import pytest
from PIL import Image

from modules.video import VideoReader
from tests.support.fake_engine import plain

# They need the packages of the page.
live_session = pytest.importorskip('tools.page.live_session')
support = pytest.importorskip('tests.support.live_server')
messages = support.messages
processes, wait_until = support.processes, support.wait_until

PICTURE = 100  # the level of the picture that the fake process begins with


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Its processes have the fake engine."""
    monkeypatch.setattr(live_session, 'CHILD', support.FAKE)
    folder = tmp_path / 'sessions'
    folder.mkdir()
    with support.Server(folder) as server:
        yield server
    assert not list(folder.iterdir())


@pytest.fixture
def echo(server, monkeypatch):
    """Its processes give every frame back; they start at once."""
    monkeypatch.setattr(live_session, 'CHILD', support.ECHO)
    return server


# ---- the newest frame first ----


def test_the_last_result_follows_the_last_frame_however_many_came_before(server):
    """A camera that is many times faster than the networks: nothing piles up."""
    with server.connected('slow') as browser:
        assert browser.state() == {'state': 'ready', 'width': 8, 'height': 8}
        browser.follow(plain(0))
        start = time.monotonic()
        for level in range(1, 151):
            browser.send_frame(plain(level))
        numbers, last = [], None
        while not numbers or numbers[-1] != browser.sent:
            number, last = browser.next(messages.RESULT)
            browser.shown(number)
            numbers.append(number)
        spent = time.monotonic() - start
        assert numbers == sorted(set(numbers))
        assert abs(int(last.mean()) - (PICTURE + 150)) <= 1
        assert len(numbers) <= spent / 0.03 + 2  # and no more than the engine could
        assert len(numbers) < 75


def test_a_slow_screen_gets_the_newest_result(echo):
    """Results that a browser has not shown are not followed by more than one other."""
    with echo.connected() as browser:
        browser.state()
        for level in range(40):
            browser.send_frame(plain(level))
            time.sleep(0.02)
        got = []
        with contextlib.suppress(TimeoutError):
            while True:
                got.append(browser.next(messages.RESULT, timeout=1)[0])
        assert len(got) == live_session.MOST_UNSEEN
        browser.shown(got[0])
        assert browser.next(messages.RESULT)[0] == browser.sent


def test_every_frame_is_acknowledged(echo):
    with echo.connected('very slow') as browser:
        browser.state()
        for _ in range(10):
            browser.send_frame(plain(1))
        taken = [struct.unpack('<I', browser.next(messages.TAKEN))[0] for _ in range(10)]
        assert taken == [*range(1, 11)]


# ---- wishes ----


def test_calibrate_mirror_and_another_picture(server):
    with server.connected() as browser:
        browser.state()
        frame = plain(40, (16, 32))
        assert browser.follow(frame) == PICTURE
        frame[:, :16] = 60
        assert browser.follow(frame) == PICTURE + 20
        browser.wish('calibrate')
        assert browser.follow(frame) == PICTURE
        browser.wish('mirror', True)
        frame[:, 16:] = 50
        assert browser.follow(frame) == PICTURE + 10
        browser.socket.send(messages.pack(messages.PICTURE, png(plain(20))))
        assert browser.state() == {'state': 'picture'}
        assert browser.follow(frame) == 30


def png(picture):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, 'PNG')
    return file.getvalue()


def test_a_picture_that_is_none_leaves_the_last_one(server):
    with server.connected() as browser:
        browser.state()
        browser.follow(plain(40))
        for data in (b'none', b'', png(plain(1))[:50]):
            browser.socket.send(messages.pack(messages.PICTURE, data))
            told = browser.state()
            assert told['state'] == 'picture' and told['why']
            assert '/' not in told['why'] and str(server.folder) not in told['why']
        assert browser.follow(plain(50)) == PICTURE + 10


@pytest.mark.parametrize(
    ('language', 'told'),
    [
        ('en', 'not a picture that can be read; save it as PNG or JPEG'),
        ('zh', '不是可以读取的图片，请另存为 PNG 或 JPEG。'),
    ],
)
def test_the_reason_is_told_in_the_readers_language(server, language, told):
    with server.connected(language=language) as browser:
        browser.state()
        browser.socket.send(messages.pack(messages.PICTURE, b'none'))
        assert browser.state() == {'state': 'picture', 'why': told}


def test_a_recording(server, tmp_path):
    with server.connected() as browser:
        browser.state()
        browser.wish('record', True)
        assert browser.state() == {'state': 'recording'}
        for level in (40, 60, 80):
            browser.follow(plain(level))
            time.sleep(0.1)
        browser.wish('record', False)
        clip = browser.next(messages.CLIP)
        assert browser.state() == {'state': 'recorded'}
        path = tmp_path / 'live.mp4'
        path.write_bytes(clip)
        levels = [frame.mean() for frame in VideoReader(path)]
        np.testing.assert_allclose(levels[:1] + levels[-1:], [PICTURE, PICTURE + 40], atol=4)
        browser.wish('record', True)
        browser.wish('record', False)
        assert [browser.state() for _ in range(2)] == [
            {'state': 'recording'},
            {'state': 'recorded'},
        ]
        browser.wish('record', True)  # and is gone
        browser.follow(plain(40))
    wait_until(lambda: not list(server.folder.iterdir()))


# ---- one at a time, and its end ----


def test_one_session_at_a_time(echo):
    with echo.connected() as first:
        first.state()
        with echo.connected() as second:
            assert second.state() == {'state': 'busy'}
            assert second.ended() == 1013
        assert first.follow(plain(40)) == 40
    with echo.connected() as third:  # at once, as where a page is loaded again
        assert third.state()['state'] == 'ready'
    wait_until(lambda: not processes())


def test_a_browser_that_goes_frees_everything(server):
    with server.connected('very slow') as browser:
        browser.state()
        browser.send_frame(plain(1))
        assert processes() == 1 and len(list(server.folder.iterdir())) == 1
        browser.socket.socket.close()  # without a word, in the middle of a frame
    wait_until(lambda: not processes() and not list(server.folder.iterdir()))
    with server.connected() as browser:
        assert browser.follow(plain(40)) == PICTURE


def test_the_server_s_end_is_that_of_a_session(server):
    with server.connected('very slow') as browser:
        browser.state()
        browser.send_frame(plain(1))
        server.stop()
        assert browser.ended() == 1012
    wait_until(lambda: not processes())


def test_weights_that_are_not_there(server, monkeypatch, tmp_path):
    """By the real process: a sentence, without the place."""
    monkeypatch.undo()
    weights = {'config': None, 'checkpoint': str(tmp_path / 'none.pth'), 'cpu': True}
    monkeypatch.setitem(support.MODELS, 'none', {**weights, 'engine': 'auto', 'precision': 'fp32'})
    with server.connected('none') as browser:
        told = browser.state()
        assert told['state'] == 'failed' and told['why']
        assert str(tmp_path) not in told['why'] and '/' not in told['why']
        assert browser.ended() == 1000


def test_without_frames_the_session_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(live_session, 'CHILD', support.ECHO)
    with support.Server(tmp_path, idle_seconds=1) as server:
        with server.connected() as browser:
            assert browser.state()['state'] == 'ready'
            browser.follow(plain(1))
            for _ in range(5):
                browser.wish('calibrate')
                time.sleep(0.1)
            assert browser.state() == {'state': 'idle'}
            assert browser.ended() == 1000
        wait_until(lambda: not processes())


def test_a_process_that_dies_ends_the_session(server):
    with server.connected('none of these') as browser:
        assert browser.state() == {'state': 'broken'}
    with server.connected() as browser:
        browser.state()
        browser.socket.send(messages.pack_number(messages.FRAME, 1, b'no picture'))
        told = browser.state()
        assert told['state'] == 'failed' and 'no JPEG' in told['why']
        assert browser.ended() == 1000


# ---- what is not taken ----


@pytest.mark.parametrize('origin', ['http://evil.example', 'http://127.0.0.1:1', 'null', None])
def test_other_pages_get_nothing(echo, origin):
    with echo.connection(origin) as socket:
        assert support.Browser(socket).ended() == 1008
    assert echo.desk.session is None and not processes()


@pytest.mark.parametrize(
    ('message', 'state', 'code'),
    [
        (messages.pack_number(messages.FRAME, 1, bytes(2**20)), 'large', 1009),
        (messages.pack(messages.PICTURE, bytes(2**20)), 'large', 1009),
        (messages.pack(messages.WISH, b'{"wish": "' + bytes(5000)), 'large', 1009),
        (messages.pack(messages.WISH, b'{'), 'broken', 1008),
        (messages.pack(messages.WISH, b'[' * 4000), 'broken', 1008),
        (messages.pack(messages.WISH, b'1'), 'broken', 1008),
        (bytes([messages.FRAME, 0]), 'broken', 1008),
        (bytes([99]), 'broken', 1008),
        (b'', 'broken', 1008),
        ('text', 'broken', 1008),
    ],
    ids=[
        'frame',
        'picture',
        'wish',
        'no JSON',
        'deep',
        'no object',
        'short',
        'kind',
        'empty',
        'text',
    ],
)
def test_what_is_not_understood_ends_the_session(echo, message, state, code):
    with echo.connected() as browser:
        assert browser.state()['state'] == 'ready'
        browser.socket.send(message)
        assert browser.state() == {'state': state}
        assert browser.ended() == code
    wait_until(lambda: not processes())
