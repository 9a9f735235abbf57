"""The page's tab in which a picture follows the reader's camera: its markup, texts and addresses.

What moves is in live.js, in the browser; live_session.py stands between that and live_child.py,
which computes.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from starlette.websockets import WebSocket

from tools.page import live_messages as messages
from tools.page.live_session import LiveDesk, LiveLimits
from tools.page.live_texts import LIVE_SENTENCES
from tools.page.site import Model, Site
from tools.page.texts import Texts

HERE = Path(__file__).resolve().parent
# Seen from a language's page; for its head, and for its style sheets.
SCRIPT = '<script type="module" src="../live/live.js"></script>'
STYLE = HERE / 'live.css'


def add_live_tab(texts: Texts, site: Site) -> None:
    """Adds the live view to the tab that is being built. It needs SCRIPT and STYLE, and the
    addresses of `add_live_routes`.
    """
    most = min(site.limits.bytes, messages.MOST) // 10**6
    gr.HTML(live_markup(texts, site.models, len(live_pictures(site)), most), padding=False)


def add_live_routes(app: FastAPI, site: Site) -> LiveDesk:
    """What the live view asks for, under /live/. To be called before the page is mounted.

    Returns:
        who gives the one place for a session.
    """
    options = site.options
    computing = {name: getattr(options, name) for name in ('cpu', 'engine', 'precision')}
    models = {model.name: {**_weights(model), **computing} for model in site.models}
    most = min(site.limits.bytes, messages.MOST)
    desk = LiveDesk(models, LiveLimits(most), site.files.spool)
    pictures = live_pictures(site)

    @app.get('/live/live.js')
    def script() -> Response:
        return FileResponse(HERE / 'live.js', media_type='text/javascript')

    @app.get('/live/picture/{number}')
    def picture(number: int) -> Response:
        if not 0 <= number < len(pictures):
            return Response(status_code=404)
        return FileResponse(pictures[number])

    @app.websocket('/live/socket')
    async def socket(socket: WebSocket) -> None:
        await desk.answer(socket)

    return desk


def live_pictures(site: Site) -> Sequence[Path]:
    """Those to choose from: of the examples, each once."""
    return list(dict.fromkeys(example.picture for example in site.examples))


def _weights(model: Model) -> Mapping[str, str | None]:
    return {
        'config': None if model.config is None else str(model.config),
        'checkpoint': None if model.checkpoint is None else str(model.checkpoint),
    }


def live_markup(texts: Texts, models: Sequence[Model], num_pictures: int, most_mb: int) -> str:
    """The view as it stands before anything moves: every line has its place from the start."""

    def say(name: str) -> str:
        return html.escape(texts(name))

    def button(part: str, more: str = '') -> str:
        return f'<button type="button" data-part="{part}" {more}>{say(f"live_{part}")}</button>'

    names = {
        model.name: texts('model_own', name=model.title) if model.title
        else texts(f'model_{model.name}') for model in models
    }  # fmt: skip
    choices = ''.join(
        f'<option value="{html.escape(name)}">{html.escape(title)}</option>'
        for name, title in names.items()
    )
    pictures = ''.join(
        f'<button type="button" role="radio" aria-checked="{str(n == 0).lower()}" data-picture>'
        f'<img src="../live/picture/{n}" alt="{say("live_picture")} {n + 1}"></button>'
        for n in range(num_pictures)
    )
    # What is filled in is known in the browser alone.
    sentences = {name: texts(name, why='{why}', most='{most}') for name in LIVE_SENTENCES}
    data = html.escape(json.dumps(sentences, ensure_ascii=False))
    return f'''
<live-view id="live" data-language="{texts.language}" data-most-megabytes="{most_mb}"
    data-texts="{data}">
  <div class="views">
    <figure>
      <div class="view"><video data-part="video" muted playsinline></video>
        <p>{say('live_camera_empty')}</p></div>
      <figcaption>{say('live_camera')}</figcaption>
    </figure>
    <figure>
      <div class="view"><canvas data-part="screen" width="128" height="128"></canvas></div>
      <figcaption>{say('live_result')}</figcaption>
    </figure>
  </div>
  <p class="state"><span data-part="state" role="status">{say('live_idle')}</span></p>
  <p class="figures">
    <span><b data-part="rate">–</b> {say('live_rate')}</span>
    <span><b data-part="latency">–</b> {say('live_latency')}</span>
    <a data-part="download" class="none" download="live.mp4">{say('live_download')}</a>
  </p>
  <div class="buttons">
    {button('start', 'class="primary"')}
    {button('calibrate', f'disabled title="{say("live_calibrate_hint")}"')}
    {button('mirror', 'aria-pressed="false"')}
    {button('record', 'disabled aria-pressed="false"')}
  </div>
  <div class="choices">
    <div class="pictures" role="radiogroup" aria-label="{say('live_picture')}">{pictures}
      <button type="button" role="radio" aria-checked="false" data-part="choose"
        title="{say('live_choose')}" aria-label="{say('live_choose')}">+</button>
      <input data-part="file" type="file" accept="image/*" hidden></div>
    <label>{say('model')} <select data-part="model">{choices}</select></label>
    <label>{say('live_zoom')}
      <input data-part="zoom" type="range" min="1" max="3" step="0.1" value="1"></label>
  </div>
  <p class="hint">{say('live_calibrate_hint')}</p>
</live-view>'''
