"""The page's first tab: a picture, a clip and options in, a result out."""

from __future__ import annotations

import html
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from tools.page.fields import ClipField, PictureField
from tools.page.jobs import RefusedError
from tools.page.orders import FIELDS, Choices, animate_order, check_choices, draw_order
from tools.page.site import Site
from tools.page.texts import Texts

Updates = dict[Any, Any]


def add_animate_tab(texts: Texts, site: Site) -> None:
    """Adds the fields and their events to the tab that is being built."""
    AnimateTab(texts, site).attach()


class AnimateTab:
    """The fields, in the order in which they are seen, and what they do."""

    def __init__(self, texts: Texts, site: Site) -> None:
        self._texts, self._site = texts, site
        with gr.Row(elem_id='animate', equal_height=False):
            with gr.Column(elem_id='inputs', scale=5, min_width=320):
                self._add_inputs()
                self._add_options()
                self._add_actions()
            with gr.Column(elem_id='outputs', scale=6, min_width=320):
                self._add_outputs()
        self._add_examples()

    def _add_inputs(self) -> None:
        texts = self._texts
        with gr.Row(elem_classes='pair', equal_height=True):
            with gr.Column(min_width=140):
                self.picture = PictureField(
                    label=texts('picture'),
                    sources=['upload', 'webcam', 'clipboard'],
                    elem_id='picture',
                    height=250,
                    buttons=[],
                )
                self.picture_error = _error('picture-error')
            with gr.Column(min_width=140):
                self.clip = ClipField(
                    label=texts('clip'),
                    sources=['upload', 'webcam'],
                    elem_id='clip',
                    height=250,
                    buttons=[],
                )
                self.clip_error = _error('clip-error')

    def _add_options(self) -> None:
        texts, site = self._texts, self._site
        names = [
            (m.title and texts('model_own', name=m.title)) or texts(f'model_{m.name}')
            for m in site.models
        ]
        self.model = gr.Dropdown(
            list(zip(names, [m.name for m in site.models])),
            value=site.models[0].name,
            label=texts('model'),
            elem_id='model',
        )
        self.model_error = _error('model-error')
        with gr.Accordion(texts('options'), open=False, elem_id='options'):
            self.crop = gr.Radio(
                [(texts(f'crop_{name}'), name) for name in ('auto', 'face', 'object', 'none')],
                value='auto',
                label=texts('crop'),
                info=texts('crop_hint'),
            )
            self.motion = gr.Radio(
                [(texts(f'motion_{name}'), name) for name in ('relative', 'absolute')],
                value='relative',
                label=texts('motion'),
                info=texts('motion_hint'),
            )
            with gr.Row(elem_classes='checks'):
                self.paste_back = gr.Checkbox(True, label=texts('paste_back'))
                self.adapt_scale = gr.Checkbox(True, label=texts('adapt_scale'))
                self.best_frame = gr.Checkbox(False, label=texts('best_frame'))
                self.sound = gr.Checkbox(True, label=texts('sound'))
            self.size = gr.Textbox(
                label=texts('size'),
                info=texts('size_hint'),
                max_lines=1,
                elem_id='size',
                max_length=20,
            )
        self.options_error = _error('options-error')

    def _add_actions(self) -> None:
        texts = self._texts
        with gr.Row(elem_id='actions'):
            self.run = gr.Button(texts('animate'), variant='primary', elem_id='run', scale=3)
            self.stop = gr.Button(
                texts('cancel'), interactive=False, elem_id='cancel', scale=1, min_width=100
            )
        self.status = gr.HTML(self._status('idle'), elem_id='status', padding=False)

    def _add_outputs(self) -> None:
        texts = self._texts
        with gr.Tabs(elem_id='results') as self.tabs:
            with gr.Tab(texts('result'), id='result'):
                self.result = _player('result')
                self.save_result = _download(texts('download_result'), 'save-result')
            with gr.Tab(texts('side_by_side'), id='beside'):
                self.beside = _player('beside')
                self.save_beside = _download(texts('download_beside'), 'save-beside')
            with gr.Tab(texts('networks'), id='networks'):
                self.drawing = PictureField(
                    show_label=False,
                    interactive=False,
                    elem_id='drawing',
                    height=400,
                    buttons=['fullscreen'],
                    container=False,
                )
                self.draw = gr.Button(texts('draw'), elem_id='draw')
        self.notes = gr.HTML('', elem_id='notes', padding=False)

    def _add_examples(self) -> None:
        texts = self._texts
        gr.HTML(
            f'<h2>{texts("examples")}</h2><p>{texts("examples_hint")}</p>',
            elem_id='examples-head',
            padding=False,
        )
        self.examples = []
        with gr.Row(elem_id='examples', equal_height=True):
            for number, example in enumerate(self._site.examples, 1):
                self.examples.append(
                    gr.Button(
                        texts(f'example_{number}'),
                        icon=str(example.thumbnail),
                        elem_id=f'example-{number}',
                        elem_classes='example',
                        min_width=100,
                    )
                )

    def attach(self) -> None:
        """Attaches the events."""
        choices = [
            self.picture,
            self.clip,
            self.model,
            self.crop,
            self.motion,
            self.paste_back,
            self.adapt_scale,
            self.best_frame,
            self.sound,
            self.size,
        ]
        outputs = self._changed()
        quiet: dict[str, Any] = {
            'show_progress': 'hidden',
            'api_visibility': 'private',
            'concurrency_limit': None,
        }
        self.run.click(self._animate, choices, outputs, **quiet)
        self.draw.click(self._draw, choices, outputs, **quiet)
        self.stop.click(self._cancel, None, [self.stop], queue=False, **quiet)
        for field, error, slot in (
            (self.picture, self.picture_error, 'picture'),
            (self.clip, self.clip_error, 'clip'),
        ):
            field.input(self._holder(slot), [field], [error], **quiet)
        for button, example in zip(self.examples, self._site.examples):
            button.click(
                self._filler(example),
                None,
                [self.picture, self.clip, self.model, self.crop, self.size],
                **quiet,
            ).then(self._animate, choices, outputs, **quiet)

    def _changed(self) -> list[Any]:
        return [
            self.run,
            self.stop,
            self.draw,
            *self.examples,
            self.status,
            self.picture_error,
            self.clip_error,
            self.model_error,
            self.options_error,
            self.result,
            self.beside,
            self.drawing,
            self.save_result,
            self.save_beside,
            self.notes,
            self.tabs,
        ]

    def _holder(self, slot: str) -> Any:
        def hold(path: str | None, request: gr.Request) -> str:
            self._site.files.hold(request.session_hash or '', slot, self._site.files.sent(path))
            return ''

        return hold

    def _filler(self, example: Any) -> Any:
        def fill() -> tuple[str, str, str, str, str]:
            return str(example.picture), str(example.clip), 'bundled', 'auto', ''

        return fill

    def _cancel(self, request: gr.Request) -> Any:
        self._site.jobs.cancel(request.session_hash or '')
        return gr.update(interactive=False)

    async def _animate(self, *values: Any, request: gr.Request) -> AsyncIterator[Updates]:
        choices = Choices(*values)
        wrong = check_choices(self._site, choices)
        cleared = {
            self.result: None,
            self.beside: None,
            self.notes: '',
            self.save_result: gr.update(value=None, interactive=False),
            self.save_beside: gr.update(value=None, interactive=False),
            self.tabs: gr.update(selected='result'),
        }
        async for updates in self._go(choices, wrong, cleared, animate_order, 'result', request):
            yield updates

    async def _draw(self, *values: Any, request: gr.Request) -> AsyncIterator[Updates]:
        choices = Choices(*values)
        wrong = check_choices(self._site, choices)
        cleared = {self.drawing: None}
        async for updates in self._go(choices, wrong, cleared, draw_order, 'drawing', request):
            yield updates

    async def _go(
        self,
        choices: Choices,
        wrong: dict[str, str],
        cleared: Updates,
        order: Any,
        slot: str,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """A job from its check to its end, as changes of the page."""
        site, session = self._site, request.session_hash or ''
        errors = self._errors({field: self._texts(name) for field, name in wrong.items()})
        if wrong:
            yield {**errors, self.status: self._status('failed', 0)}
            return
        picture, clip = Path(choices.picture), Path(choices.clip)
        site.files.hold(session, 'picture', picture)
        site.files.hold(session, 'clip', clip)
        folder = site.files.new_output()
        kept = False
        clock = _Clock()
        try:
            yield {**errors, **cleared, **self._busy(True), self.status: self._status('loading', 0)}
            site.files.hold(session, slot, folder / 'x')
            with site.files.at_work(picture, clip, folder / 'x'):
                async for message in site.jobs.run(session, order(site, choices, folder)):
                    if message['kind'] == 'done':
                        kept = True
                    yield self._shown(message, clock)
        except RefusedError as error:
            yield {**self._busy(False), self.status: self._status(str(error), 0, wrong=True)}
        finally:
            if not kept:
                site.files.hold(session, slot, None)

    def _shown(self, message: Any, clock: _Clock) -> Updates:
        """What a message of the queue or the worker changes."""
        texts, kind = self._texts, message['kind']
        if kind == 'waiting':
            before = message['before']
            name = 'waiting' if before else 'waiting_next'
            return {self.status: self._status(name, 0, before=before)}
        if kind == 'cancelling':
            return {self.status: self._status('cancelling')}
        if kind == 'progress':
            return {self.status: self._progress(message, clock)}
        if kind == 'done':
            return {**self._busy(False), **self._made(message)}
        if kind == 'cancelled':
            return {**self._busy(False), self.status: self._status('cancelled', 0)}
        field = message['field']
        values = message.get('values', {})
        if 'why' in values:
            values = {**values, 'why': self._site.files.without_paths(values['why'])}
        sentence = texts(message['text'], **values)
        if field == 'status':
            status = self._bar(html.escape(sentence), 0, wrong=True)
        else:
            status = self._status('failed', 0)
        return {**self._busy(False), **self._errors({field: sentence}), self.status: status}

    def _made(self, message: Any) -> Updates:
        texts = self._texts
        notes = [self._site.files.without_paths(line) for line in message['lines']]
        updates: Updates = {}
        if 'drawing' in message:
            updates[self.drawing] = message['drawing']
            text = html.escape(texts('draw_caption'))
            updates[self.notes] = f'<p>{text}</p>'
            updates[self.status] = self._status('drawn', 1)
            return updates
        for player, button, path in (
            (self.result, self.save_result, message['result']),
            (self.beside, self.save_beside, message['beside']),
        ):
            updates[player] = path
            updates[button] = gr.update(value=path, interactive=True)
        lines = ''.join(f'<li>{html.escape(line)}</li>' for line in notes)
        updates[self.notes] = f'<h3>{texts("notes")}</h3><ul>{lines}</ul>' if lines else ''
        updates[self.status] = self._status(
            'done', 1, frames=message['frames'], time=self._duration(message['seconds'])
        )
        return updates

    def _busy(self, busy: bool) -> Updates:
        waits = gr.update(interactive=not busy)
        buttons = {button: waits for button in (self.run, self.draw, *self.examples)}
        return {**buttons, self.stop: gr.update(interactive=busy)}

    def _errors(self, sentences: dict[str, str]) -> Updates:
        """The sentences beside their fields; '' beside all others."""
        fields = dict(
            zip(FIELDS, (self.picture_error, self.clip_error, self.model_error, self.options_error))
        )
        return {
            field: f'<p role="alert">{html.escape(sentences[name])}</p>'
            if name in sentences
            else ''
            for name, field in fields.items()
        }

    def _progress(self, message: Any, clock: _Clock) -> str:
        texts, done, total = self._texts, message['done'], message['total']
        if total is None:
            return self._status('frames', None, done=done)
        parts = [texts('frames_of', done=done, total=total)]
        left = clock.left(done, total)
        if left is not None:
            parts.append(texts('left', time=self._duration(left)))
        return self._bar(' · '.join(parts), done / max(1, total))

    def _duration(self, seconds: float) -> str:
        if seconds < 10:
            return self._texts('seconds', seconds=f'{max(seconds, 0.1):.1f}')
        minutes, rest = divmod(round(seconds), 60)
        if not minutes:
            return self._texts('seconds', seconds=rest)
        return self._texts('minutes', minutes=minutes, seconds=rest)

    def _status(
        self, name: str, share: float | None = None, wrong: bool = False, **values: Any
    ) -> str:
        return self._bar(html.escape(self._texts(name, **values)), share, wrong)

    def _bar(self, sentence: str, share: float | None, wrong: bool = False) -> str:
        """A bar and a sentence; without a share the bar runs."""
        of = '' if share is None else f' aria-valuenow="{100 * share:.0f}"'
        width = '' if share is None else f' style="width: {100 * share:.1f}%"'
        kinds = f'bar{" runs" if share is None else ""}'
        return (
            f'<div class="track" role="progressbar" aria-valuemin="0" aria-valuemax="100"{of}>'
            f'<div class="{kinds}"{width}></div></div>'
            f'<p class="sentence{" wrong" if wrong else ""}" role="status">{sentence}</p>'
        )


class _Clock:
    """Guesses how long the rest takes: as the frames since the first one did."""

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None

    def left(self, done: int, total: int) -> float | None:
        now = time.monotonic()
        if self._first is None or done < self._first[0]:
            self._first = (done, now)
        count, start = self._first
        if done - count < 2:
            return None
        return (now - start) / (done - count) * (total - done)


def _error(name: str) -> gr.HTML:
    """The line below a field for what is wrong with it; its space is there before it is needed."""
    return gr.HTML('', elem_id=name, elem_classes='error', padding=False)


def _player(name: str) -> ClipField:
    return ClipField(
        show_label=False,
        interactive=False,
        elem_id=name,
        height=400,
        buttons=[],
        loop=True,
        autoplay=True,
        container=False,
    )


def _download(label: str, name: str) -> gr.DownloadButton:
    return gr.DownloadButton(label, interactive=False, elem_id=name, elem_classes='download')
