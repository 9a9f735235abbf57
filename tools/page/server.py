"""The site: a page for each language, the door to it, uploads, and the server that serves them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

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


def build_site(site: Site) -> FastAPI:
    """All that is served, the doors around it."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(site.files))
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
        gr.mount_gradio_app(app, page, f'/{language}', **appearance(texts))  # type: ignore[arg-type]
    app.add_middleware(Doors, files=site.files, largest_file=site.limits.bytes)
    return app


def _add_entrance(app: FastAPI) -> None:
    @app.get('/')
    def entrance(request: Request, language: str | None = None) -> Response:
        """To the page of the language that was chosen, now or before, or that the browser asks for."""
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


async def _sweep(files: Files) -> None:
    while True:
        await asyncio.sleep(_SWEEP)
        await asyncio.to_thread(files.sweep)


def serve(app: FastAPI, options: argparse.Namespace) -> None:
    """Serves until SIGINT or SIGTERM."""
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        log_level='warning',
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=15,
        h11_max_incomplete_event_size=16384,
        ws_max_size=MOST,
        ws_max_queue=4,
        ws_per_message_deflate=False,  # pictures are compressed already
    )
    uvicorn.Server(config).run()
