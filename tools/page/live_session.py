"""A browser's camera at one end, the process that animates at the other: one session at a time.

Nothing is kept waiting between them. A browser sends a frame when few are on their way, a result is
sent when few are not on the screen yet, and the newest result takes the place of one that waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from starlette.websockets import WebSocket, WebSocketDisconnect

from tools.page import live_messages as messages
from tools.page.reasons import told_reason

CHILD = Path(__file__).with_name('live_child.py')
MOST_UNSEEN = 2  # results on their way to the screen
MOST_WISH = 4096  # bytes of any other message than a picture
_MOST_ANSWERS = 16  # that wait until what comes has to wait, too
_PATIENCE = 3  # seconds that the process has to end by itself
# Codes of RFC 6455, 7.4.1, with which a session is ended.
_DONE, _REFUSED, _TOO_LARGE, _LATER = 1000, 1008, 1009, 1013


class LiveLimits(NamedTuple):
    """How much a session may send, and how long it may wait."""

    picture_bytes: int  # of a message with a picture
    frame_bytes: int = 2**20  # likewise with a frame
    idle_seconds: float = 30  # without a frame
    start_seconds: float = 600  # until the networks are ready; vox may have to be downloaded


class RefusedError(Exception):
    """A message that ends the session: the code, and the name of a sentence of the page."""

    def __init__(self, code: int, reason: str):
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class LiveDesk:
    """Gives the one place for a live session to whoever comes first.

    Args:
        models: by its name in the browser's wish, what a process computes by: config, checkpoint,
            cpu, engine and precision, as options of demo.py.
        limits: see there.
        folder: in which a session has its own; that of the system if None.
    """

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Any]],
        limits: LiveLimits,
        folder: Path | None = None,
    ):
        self.models, self.limits, self.folder = models, limits, folder
        self.session: _Session | None = None
        self._place = asyncio.Lock()  # who has it is `session`, until all of theirs is gone

    async def answer(self, socket: WebSocket) -> None:
        """Serves a browser from its first message to its last."""
        await socket.accept()
        if not _is_own_page(socket):
            await socket.close(_REFUSED)
            return
        # Of a session that is over, as where a reader loads the page again, the end is waited for.
        if self.session is not None and not self.session.over:
            await _refuse(socket, RefusedError(_LATER, 'busy'))
            return
        self.session = session = _Session(socket, self.limits)
        try:
            async with self._place:
                await self._serve(socket, session)
        finally:
            session.over = True

    async def _serve(self, socket: WebSocket, session: _Session) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(WebSocketDisconnect):
            folder = Path(tempfile.mkdtemp(prefix='live-', dir=self.folder))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            try:
                name = await session.model_wanted()
                chosen = self.models.get(name)
                if chosen is None:
                    raise RefusedError(_REFUSED, 'broken')
                await session.run({**chosen, 'folder': str(folder)})
                await socket.close(_DONE)
            except messages.MessageError:
                await _refuse(socket, RefusedError(_REFUSED, 'broken'))
            except RefusedError as refused:
                await _refuse(socket, refused)


def _is_own_page(socket: WebSocket) -> bool:
    """Whether the page that asks is this server's: other pages' scripts may open sockets, too.

    Behind a tunnel the address that the page has is told beside the server's own; no script can
    add that to a socket's request.
    """
    origin = urlsplit(socket.headers.get('origin', '')).netloc
    return bool(origin) and origin in map(socket.headers.get, ('host', 'x-forwarded-host'))


async def _refuse(socket: WebSocket, refused: RefusedError) -> None:
    await socket.send_bytes(messages.pack_json(messages.STATE, state=refused.reason))
    await socket.close(refused.code)


class _Session:
    """What is on its way between a browser and a process.

    Attributes:
        over: whether it has ended, or is about to.
    """

    def __init__(self, socket: WebSocket, limits: LiveLimits):
        self._socket, self._limits = socket, limits
        self._language = socket.query_params.get('language', 'en')
        self._changed = asyncio.Condition()
        self._answers: list[bytes] = []  # to be sent, every one
        self._result: bytes | None = None  # to be sent, the newest
        self._unseen = 0  # results that were sent and are not on the screen yet
        self._sending = False
        self.over = False
        self._deadline = time.monotonic() + limits.idle_seconds  # for the next frame

    async def model_wanted(self) -> str:
        """The name in the browser's first message."""
        try:
            message = await asyncio.wait_for(self._receive(), self._limits.idle_seconds)
        except asyncio.TimeoutError as error:
            raise RefusedError(_DONE, 'idle') from error
        return str(messages.json_of(message).get('value'))

    async def run(self, settings: Mapping[str, Any]) -> None:
        """Relays until one of both ends.

        Raises:
            RefusedError: the browser has sent what it may not, or nothing for too long.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(CHILD)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin is not None and process.stdout is not None
        await _pass_on(process.stdin, messages.pack_json(messages.WISH, **settings))
        self._deadline = time.monotonic() + self._limits.start_seconds
        tasks = (
            self._listen(process.stdin),
            self._relay(process.stdout),
            self._send(),
            self._watch(),
        )
        work = [asyncio.ensure_future(task) for task in tasks]
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self.over = True
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            await _end(process)

    # ---- from the browser ----

    async def _receive(self) -> bytes:
        received = await self._socket.receive()
        if received['type'] == 'websocket.disconnect':
            raise WebSocketDisconnect(received.get('code', _DONE))
        message: bytes = received.get('bytes') or b''
        if not message:
            raise RefusedError(_REFUSED, 'broken')
        return message

    async def _listen(self, process: asyncio.StreamWriter) -> None:
        """Passes on what the browser sends; the process takes it at once."""
        limits = self._limits
        most = {messages.FRAME: limits.frame_bytes, messages.PICTURE: limits.picture_bytes}
        while True:
            message = await self._receive()
            kind = message[0]
            if len(message) > most.get(kind, MOST_WISH):
                raise RefusedError(_TOO_LARGE, 'large')
            if kind == messages.SHOWN:
                await self._change(unseen=max(0, self._unseen - 1))
                continue
            if kind == messages.FRAME:
                self._deadline = time.monotonic() + limits.idle_seconds
                taken = messages.pack_number(messages.TAKEN, messages.number_of(message))
                await self._answer(taken)
            elif kind == messages.WISH:
                messages.json_of(message)  # which refuses what is none
            elif kind != messages.PICTURE:
                raise RefusedError(_REFUSED, 'broken')
            await _pass_on(process, message)

    async def _watch(self) -> None:
        """Ends with the patience for a browser that sends no frames."""
        while (left := self._deadline - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 1))
        raise RefusedError(_DONE, 'idle')

    # ---- from the process ----

    async def _relay(self, process: asyncio.StreamReader) -> None:
        """Takes what the process sends, as fast as it does; of results the newest stays."""
        ready = False
        while True:
            try:
                head = await process.readexactly(messages.HEAD)
                message = await process.readexactly(messages.length_of(head))
            except asyncio.IncompleteReadError:  # it has ended, and said why if it could
                await self._all_sent()
                return
            if message[0] == messages.RESULT:
                await self._change(result=message)
                continue
            if not ready:  # from now on frames are expected
                ready, self._deadline = True, time.monotonic() + self._limits.idle_seconds
            await self._answer(self._in_their_language(message))

    def _in_their_language(self, message: bytes) -> bytes:
        """A message, but that the reason which a state tells is in the page's language."""
        if message[0] != messages.STATE:
            return message
        values = messages.json_of(message)
        if 'why' in values:
            values['why'] = told_reason(self._language, str(values['why']))
        return messages.pack_json(messages.STATE, **values)

    # ---- to the browser ----

    async def _send(self) -> None:
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._answers or (self._result and self._unseen < MOST_UNSEEN)
                )
                waiting, self._answers = self._answers, []
                if self._result is not None and self._unseen < MOST_UNSEEN:
                    waiting.append(self._result)
                    self._result = None
                    self._unseen += 1
                self._sending = True
            for message in waiting:
                await self._socket.send_bytes(message)
            async with self._changed:
                self._sending = False
                self._changed.notify_all()

    async def _answer(self, message: bytes) -> None:
        """Puts a message among those to be sent; waits where the browser does not take them."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._answers) < _MOST_ANSWERS)
            self._answers.append(message)
            self._changed.notify_all()

    async def _change(self, result: bytes | None = None, unseen: int | None = None) -> None:
        async with self._changed:
            self._result = self._result if result is None else result
            self._unseen = self._unseen if unseen is None else unseen
            self._changed.notify_all()

    async def _all_sent(self) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not (self._answers or self._sending))


async def _pass_on(process: asyncio.StreamWriter, message: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it has ended, which its output tells
        process.write(messages.framed(message))
        await process.drain()


async def _end(process: asyncio.subprocess.Process) -> None:
    """The process ends with its input, which lets it put away what it has begun; or by force."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        await asyncio.wait_for(process.wait(), _PATIENCE)
    except (asyncio.TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
