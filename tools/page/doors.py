"""What of the server can be reached, how much it takes, and what it tells: before anything else.

Gradio has many doors that this page does not need (an API with its documentation, proxies, sign-in,
monitoring): they are closed. Its answers hold paths of files: readers see `/files/...` instead.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import unquote

from tools.page.files import SHOWN, Files

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LANGUAGE = r'/(en|zh)'
_API = _LANGUAGE + r'/gradio_api'
_GET = re.compile(
    rf'/|/favicon\.ico|/live(/.*)?|{_LANGUAGE}/?'
    rf'|{_LANGUAGE}/(config|theme\.css|assets/.*|static/.*|manifest\.json)'
    rf'|{_API}/(queue/data|heartbeat/[\w-]+|file=.*|startup-events|upload_progress|app_id)'
)
_POST = re.compile(rf'{_API}/(upload|queue/join|cancel|reset)')
_FILE = re.compile(rf'{_API}/file=(.*)')
_LARGEST_ORDER = 2**18  # bytes of a request that is no file
_LONGEST_ADDRESS = 2000
# Nothing but this server is asked for anything, and no other page shows this one within itself.
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' ws: wss: data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; frame-ancestors 'self'"
)
_HEADERS = (
    (b'content-security-policy', _POLICY.encode()),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
    (b'cache-control', b'no-store'),
)


class Doors:
    """ASGI middleware around the whole site.

    Args:
        files: whose folder is never named.
        largest_file: bytes of a file that is sent.
    """

    def __init__(self, app: Any, files: Files, largest_file: int) -> None:
        self._app, self._files = app, files
        self._largest_file = largest_file
        self._real, self._shown = str(files.folder), SHOWN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            if scope['type'] == 'lifespan' or scope['path'].startswith('/live'):
                await self._app(scope, receive, send)
            else:
                await send({'type': 'websocket.close', 'code': 1008})
            return
        path = scope['path']
        status = self._refusal(scope, path)
        if status is not None:
            await _answer(send, status)
            return
        found = _FILE.fullmatch(path)
        if found is not None:
            real = self._served(found[2])
            if real is None:
                await _answer(send, 404)
                return
            path = path[: found.start(2)] + real
            scope = {**scope, 'path': path, 'raw_path': path.encode()}
        as_it_is = found is not None or re.search(r'/(assets|static|live)/', path) is not None
        if not as_it_is:  # what is compressed could not be translated
            headers = [(k, v) for k, v in scope['headers'] if k != b'accept-encoding']
            scope = {**scope, 'headers': headers}
        is_upload = path.endswith('/upload')
        most = self._largest_file + 2**16 if is_upload else _LARGEST_ORDER
        taken = _Body(receive, most, None if is_upload else self._to_real)
        told = _Told(send, None if as_it_is else self._to_shown)
        try:
            await self._app(scope, taken, told)
        except _TooLargeError:
            if not told.started:
                await _answer(send, 413)

    def _refusal(self, scope: Scope, path: str) -> int | None:
        """The status with which a request is refused before anything of it is read."""
        if len(path) + len(scope.get('query_string', b'')) > _LONGEST_ADDRESS:
            return 414
        allowed = {'GET': _GET, 'HEAD': _GET, 'POST': _POST}.get(scope['method'])
        if allowed is None:
            return 405
        if not allowed.fullmatch(path):
            return 404
        if scope['method'] == 'POST':
            length = dict(scope['headers']).get(b'content-length', b'')
            most = self._largest_file + 2**16 if path.endswith('/upload') else _LARGEST_ORDER
            if length and (not length.isdigit() or int(length) > most):
                return 413
        return None

    def _served(self, shown: str) -> str | None:
        """The file of an address; None for anything but what was sent, made, or is an example."""
        path = unquote(shown)
        parts = path.removeprefix(f'{self._shown}/').split('/')
        hidden = any(part.startswith('.') or not part for part in parts)
        if not path.startswith(f'{self._shown}/') or hidden or parts[0] in ('spool', '.lock'):
            return None
        return f'{self._real}/{"/".join(parts)}'

    def _to_real(self, body: bytes) -> bytes:
        return body.replace(f'"{self._shown}/'.encode(), f'"{self._real}/'.encode())

    def _to_shown(self, body: bytes) -> bytes:
        return body.replace(self._real.encode(), self._shown.encode())


class _TooLargeError(Exception):
    """More was sent than is taken."""


class _Body:
    """A request's body: counted, and translated, which needs all of it."""

    def __init__(
        self, receive: Receive, most: int, translate: Callable[[bytes], bytes] | None
    ) -> None:
        self._receive, self._most, self._translate = receive, most, translate
        self._read = 0
        self._whole = False

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._next()
        if self._translate is None or message['type'] != 'http.request' or self._whole:
            return message
        body = message.get('body', b'')
        while message.get('more_body'):
            message = await self._next()
            if message['type'] != 'http.request':
                return message
            body += message.get('body', b'')
        self._whole = True
        return {'type': 'http.request', 'body': self._translate(body), 'more_body': False}

    async def _next(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self._read += len(message.get('body', b''))
        if self._read > self._most:
            raise _TooLargeError
        return message


class _Told:
    """An answer: its headers added to, and translated unless it is a file.

    An answer of known length is translated as a whole. Of a stream every chunk holds whole events.
    """

    def __init__(self, send: Send, translate: Callable[[bytes], bytes] | None) -> None:
        self._send, self._translate = send, translate
        self.started = False
        self._start: MutableMapping[str, Any] | None = None
        self._kept = b''

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message['type'] == 'http.response.start':
            await self._begin(message)
        elif self._translate is None:
            await self._send(message)
        elif self._start is None:
            await self._send({**message, 'body': self._translate(message.get('body', b''))})
        else:
            self._kept += message.get('body', b'')
            if not message.get('more_body'):
                body = self._translate(self._kept)
                length = (b'content-length', str(len(body)).encode())
                headers = [*self._start['headers'], length]
                await self._send({**self._start, 'headers': headers})
                await self._send({'type': 'http.response.body', 'body': body})

    async def _begin(self, message: MutableMapping[str, Any]) -> None:
        self.started = True
        own = {name for name, _ in _HEADERS}
        headers = [(name.lower(), value) for name, value in message['headers']]
        names = dict(headers)
        headers = [*((k, v) for k, v in headers if k not in own), *_HEADERS]
        if self._translate is not None and b'content-length' in names:
            headers = [(k, v) for k, v in headers if k != b'content-length']
            self._start = {**message, 'headers': headers}
            return
        if self._translate is None and names.get(b'content-type', b'').startswith(
            (b'text/css', b'text/javascript', b'application/javascript', b'font/')
        ):
            headers = [(k, v) for k, v in headers if k != b'cache-control']
            headers.append((b'cache-control', b'public, max-age=3600'))
        await self._send({**message, 'headers': headers})


async def _answer(send: Send, status: int) -> None:
    """A refusal, in a word."""
    body = {404: b'not found', 405: b'not allowed', 413: b'too large', 414: b'too long'}[status]
    headers = [(b'content-type', b'text/plain'), (b'content-length', str(len(body)).encode())]
    headers.append((b'connection', b'close'))
    await send({'type': 'http.response.start', 'status': status, 'headers': headers})
    await send({'type': 'http.response.body', 'body': body})
