"""The site: a page for each language, the door to it, uploads, and the server that serves them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import secrets
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from types import FrameType
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from gradio.networking import setup_tunnel
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from modules.runtime.errors import UserError, reason_of
from modules.runtime.messages import warn
from modules.runtime.process import end_by_exception
from tools.page.doors import Doors
from tools.page.files import Files
from tools.page.layout import appearance, build_page
from tools.page.limits import Limits
from tools.page.live import add_live_routes
from tools.page.live_messages import MOST
from tools.page.site import Site
from tools.page.texts import LANGUAGES, Texts, preferred

_COOKIE = 'language'
_SWEEP = 60  # seconds between two looks for files whose time is over
_FILES_AT_ONCE = 4
_LARGEST_HEADERS = 2**14  # bytes


def build_site(site: Site) -> FastAPI:
    """All that is served, the doors around it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(site.files, min(_SWEEP, 30 * site.limits.minutes)))
        try:
            yield
        finally:
            sweeper.cancel()
            await site.jobs.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    _add_entrance(app)
    add_live_routes(app, site)
    for language in LANGUAGES:
        _add_upload(app, language, site.files, site.limits)
        texts = Texts(language)
        page = build_page(texts, site).queue(
            max_size=4 * (site.limits.waiting + 1), default_concurrency_limit=None, api_open=False
        )
        gr.mount_gradio_app(app, page, f'/{language}', **appearance(texts))
    app.add_middleware(Doors, files=site.files, largest_file=site.limits.bytes)
    return app


def _add_entrance(app: FastAPI) -> None:
    @app.get('/')
    def entrance(request: Request, language: str | None = None) -> Response:
        """To the page in the language that was chosen, now or before, or that the browser wants."""
        chosen = language or request.cookies.get(_COOKIE)
        if chosen not in LANGUAGES:
            chosen = preferred(request.headers.get('accept-language', ''))
        answer = RedirectResponse(
            f'{chosen}/', status_code=307, headers={'vary': 'accept-language'}
        )
        if language in LANGUAGES:
            answer.set_cookie(_COOKIE, chosen, max_age=31_536_000, samesite='lax')
        return answer


def _add_upload(app: FastAPI, language: str, files: Files, limits: Limits) -> None:
    """In place of Gradio's own, which leaves what was broken off and gives equal files one path."""

    @app.get(f'/{language}/gradio_api/upload_progress')
    async def upload_progress() -> Response:
        """The page shows no bar for uploads; what asks for one is told that it is over."""
        return Response('data: {"msg": "done"}\n\n', media_type='text/event-stream')

    @app.post(f'/{language}/gradio_api/upload')
    async def upload(request: Request) -> Response:
        if not files.has_room(limits.bytes):
            return PlainTextResponse('no room', status_code=507)
        try:
            async with request.form(max_files=_FILES_AT_ONCE, max_fields=_FILES_AT_ONCE) as form:
                sent = [part for part in form.getlist('files') if not isinstance(part, str)]
                if not sent:
                    return PlainTextResponse('no file', status_code=400)
                paths = []
                for part in sent:
                    path = files.new_upload(part.filename or 'file')
                    await asyncio.to_thread(_copy, part.file, path)
                    paths.append(str(path))
        except (MultiPartException, ClientDisconnect, KeyError, ValueError):
            return PlainTextResponse('not understood', status_code=400)
        return JSONResponse(paths)


def _copy(source: Any, path: Any) -> None:
    with open(path, 'xb') as target:
        shutil.copyfileobj(source, target)


async def _sweep(files: Files, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await asyncio.to_thread(files.sweep)


def serve(app: FastAPI, options: argparse.Namespace) -> None:
    """Serves until SIGINT, SIGTERM or SIGHUP.

    Raises:
        UserError: the address can't be had.
    """
    listener = _listen(options.host, options.port)
    end_by_exception()  # Uvicorn raises its signals again when all is served
    config = uvicorn.Config(
        app,
        log_level='warning',
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=_LARGEST_HEADERS,
        ws_max_size=MOST,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # pictures are compressed already
    )
    server = _Server(config, options.host, listener.getsockname()[1], options.share)
    server.run([listener])
    if server.ended_by is not None:  # whatever has become of the signal on its way
        sys.exit(128 + server.ended_by)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UserError(f'--host {host} --port {port}: {reason_of(error)}; try another') from error


class _Server(uvicorn.Server):
    """Says where it is once it can be reached."""

    def __init__(self, config: uvicorn.Config, host: str, port: int, share: bool) -> None:
        super().__init__(config)
        self._host, self._port, self._share = host, port, share
        self.ended_by: int | None = None  # the signal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal, by which Uvicorn would leave all as it is, changes nothing."""
        if not self.should_exit:
            self.ended_by = sig
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Readers who are still connected are cut off, which Uvicorn would tell by tracebacks.
        logging.getLogger('uvicorn.error').setLevel(logging.CRITICAL)
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host = f'[{self._host}]' if ':' in self._host else self._host
        print(f'The page: http://{host}:{self._port}  (Ctrl-C ends it)', flush=True)
        if self._share:
            token = secrets.token_urlsafe(32)
            try:
                address = await asyncio.to_thread(
                    setup_tunnel, '127.0.0.1', self._port, token, None, None
                )
            except Exception as error:  # of any kind: no network, no program for this system
                warn(f'--share: no public address could be had ({error}); the page is here alone')
            else:
                print(f'Public, for whoever knows it: {address}', flush=True)
