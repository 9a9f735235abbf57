"""A live session's server, and a browser without a screen, for tests."""

import contextlib
import json
import struct
import threading
import time
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from modules.video.jpeg import decode_jpeg, encode_jpeg
from tests.support import live_child, live_echo
from tools.page import live_messages as messages
from tools.page.live_session import LiveDesk, LiveLimits

FAKE, ECHO = Path(live_child.__file__), Path(live_echo.__file__)
MODELS = {'fast': {'seconds': 0.0}, 'slow': {'seconds': 0.03}, 'very slow': {'seconds': 0.3}}


class Server:
    """Serves a desk at a free port of this machine, until the block ends."""

    def __init__(self, folder, **limits):
        self.folder = folder
        limits = LiveLimits(**{'picture_bytes': 2**20, 'idle_seconds': 20, **limits})
        self.desk = LiveDesk(MODELS, limits, folder)
        app = FastAPI()
        app.websocket('/live/socket')(self.desk.answer)
        config = uvicorn.Config(app, port=0, log_level='error', timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        (self.port,) = (s.getsockname()[1] for s in self._server.servers[0].sockets)
        self.host = f'127.0.0.1:{self.port}'
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self):
        self._server.should_exit = True
        self._thread.join()

    def connection(self, origin, language='en'):
        """A socket of a page of this origin, in this language."""
        address = f'ws://{self.host}/live/socket?language={language}'
        return connect(address, compression=None, origin=origin, open_timeout=60)

    @contextlib.contextmanager
    def connected(self, model='fast', language='en'):
        """A browser that has asked to start."""
        with self.connection(f'http://{self.host}', language) as socket:
            browser = Browser(socket)
            with contextlib.suppress(ConnectionClosed):  # it may have been told no
                browser.wish('start', model)
            yield browser


class Browser:
    def __init__(self, socket):
        self.socket = socket
        self.sent = 0

    def wish(self, name, value=None):
        self.socket.send(messages.pack_json(messages.WISH, wish=name, value=value))

    def send_frame(self, frame):
        self.sent += 1
        data = encode_jpeg(frame)
        self.socket.send(messages.pack_number(messages.FRAME, self.sent, data))

    def shown(self, number):
        self.socket.send(messages.pack_number(messages.SHOWN, number))

    def next(self, kind, timeout=30):
        """(number, content) of the next result; what follows the kind in other messages."""
        while True:
            message = self.socket.recv(timeout)
            if message[0] != kind:
                continue
            if kind == messages.RESULT:
                return struct.unpack_from('<BI', message)[1], decode_jpeg(message[9:])
            return message[1:]

    def state(self):
        return json.loads(self.next(messages.STATE))

    def follow(self, frame):
        """The level of the result of a frame."""
        self.send_frame(frame)
        while True:
            number, picture = self.next(messages.RESULT)
            self.shown(number)
            if number == self.sent:
                return int(picture.mean().round())

    def ended(self):
        """The code with which the server ends the session."""
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                self.socket.recv(30)
        return closed.value.rcvd.code


def processes():
    """How many processes of sessions there are."""
    count = 0
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        with contextlib.suppress(OSError):
            count += any(str(p).encode() in path.read_bytes() for p in (FAKE, ECHO))
    return count


def wait_until(done, seconds=20):
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.05)
