"""What the page's first tab does: a picture, a clip and options become a result."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import gradio as gr

from tools.page.animate_fields import AnimateFields
from tools.page.examples import Example
from tools.page.jobs import Message, RefusedError
from tools.page.orders import FIELDS, Choices, animate_order, check_choices, draw_order
from tools.page.reasons import told_reason
from tools.page.site import Site
from tools.page.status import Clock
from tools.page.texts import Texts, told_note

Updates = dict[Any, Any]


def add_animate_tab(texts: Texts, site: Site) -> None:
    """Adds the fields and their events to the tab that is being built."""
    AnimateTab(texts, site).attach()


class AnimateTab(AnimateFields):
    """The fields and their events."""

    def attach(self) -> None:
        """Attaches the events."""
        choices = [
            *(self.picture, self.clip, self.model, self.crop, self.motion),
            *(self.paste_back, self.adapt_scale, self.best_frame, self.sound, self.size),
        ]
        quiet: dict[str, Any] = {
            'show_progress': 'hidden',
            'api_visibility': 'private',
            'concurrency_limit': None,
        }
        outputs = self._changed()
        self.run.click(self._animate, choices, outputs, **quiet)
        self.draw.click(self._draw, choices, outputs, **quiet)
        self.stop.click(self._cancel, None, [self.stop], **quiet)
        fields = (
            (self.picture, self.picture_error, 'picture'),
            (self.clip, self.clip_error, 'clip'),
        )
        for field, error, slot in fields:
            field.input(self._holder(slot), [field], [error], **quiet)
        filled = [self.picture, self.clip, self.model, self.crop, self.size]
        for button, example in zip(self.examples, self._site.examples):
            click = button.click(_filler(example), None, filled, **quiet)
            click.then(self._animate, choices, outputs, **quiet)

    def _changed(self) -> list[Any]:
        """What a job may change."""
        return [
            *(self.run, self.stop, self.draw, *self.examples, self.status),
            *(self.picture_error, self.clip_error, self.model_error, self.options_error),
            *(self.result, self.beside, self.drawing, self.save_result, self.save_beside),
            *(self.notes, self.tabs),
        ]

    def _holder(self, slot: str) -> Callable[..., str]:
        """Keeps what a field holds now, lets go what it held before, and clears its error."""

        def hold(path: str | None, request: gr.Request) -> str:
            self._site.files.hold(request.session_hash or '', slot, self._site.files.sent(path))
            return ''

        return hold

    def _cancel(self, request: gr.Request) -> Any:
        self._site.jobs.cancel(request.session_hash or '')
        return gr.update(interactive=False)

    async def _animate(self, request: gr.Request, *values: Any) -> AsyncIterator[Updates]:
        cleared = {
            self.result: None,
            self.beside: None,
            self.notes: '',
            self.save_result: gr.update(value=None, interactive=False),
            self.save_beside: gr.update(value=None, interactive=False),
            self.tabs: gr.update(selected='result'),
        }
        async for updates in self._go(values, cleared, animate_order, 'result', request):
            yield updates

    async def _draw(self, request: gr.Request, *values: Any) -> AsyncIterator[Updates]:
        cleared = {self.drawing: None}
        async for updates in self._go(values, cleared, draw_order, 'drawing', request):
            yield updates

    async def _go(
        self,
        values: tuple[Any, ...],
        cleared: Updates,
        order: Callable[[Site, Choices, Path], Message],
        slot: str,
        request: gr.Request,
    ) -> AsyncIterator[Updates]:
        """A job from its check to its end, as changes of the page."""
        site, session, choices = self._site, request.session_hash or '', Choices(*values)
        wrong = check_choices(site, choices)
        errors = self._errors({field: self._texts(name) for field, name in wrong.items()})
        if wrong:
            yield {**errors, self.status: self.line.sentence('failed', 0)}
            return
        try:
            job = site.jobs.enter(session)
        except RefusedError as error:
            yield {self.status: self.line.sentence(str(error), 0, wrong=True)}
            return
        kept = False
        try:
            start = {**errors, **cleared, **self._busy(True)}
            yield {**start, self.status: self.line.sentence('loading')}
            picture, clip, folder = (
                Path(choices.picture),
                Path(choices.clip),
                site.files.new_output(),
            )
            for name, path in (('picture', picture), ('clip', clip), (slot, folder / 'result')):
                site.files.hold(session, name, path)
            example = picture in [example.picture for example in site.examples]
            clock = Clock()
            with site.files.at_work(picture, clip, folder / 'result'):
                async for message in site.jobs.run(job, order(site, choices, folder)):
                    kept = kept or message['kind'] == 'done'
                    yield self._shown(message, clock, example)
        finally:
            site.jobs.leave(job)
            if not kept:
                site.files.hold(session, slot, None)

    def _shown(self, message: Message, clock: Clock, example: bool) -> Updates:
        """What a message of the queue or the worker changes."""
        kind, line = message['kind'], self.line
        if kind == 'waiting':
            name = 'waiting' if message['before'] else 'waiting_next'
            return {self.status: line.sentence(name, 0, before=message['before'])}
        if kind == 'cancelling':
            return {self.status: line.sentence('cancelling')}
        if kind == 'progress':
            return {self.status: line.progress(message['done'], message['total'], clock)}
        if kind == 'done':
            return {**self._busy(False), **self._made(message, example)}
        if kind == 'cancelled':
            return {**self._busy(False), self.status: line.sentence('cancelled', 0)}
        return {**self._busy(False), **self._failed(message)}

    def _failed(self, message: Message) -> Updates:
        values = {**message['values']}
        if 'why' in values:
            why = self._site.files.without_paths(values['why'])
            values['why'] = told_reason(self._texts.language, why)
        sentence = self._texts(message['text'], **values)
        if message['field'] == 'status':
            return {self.status: self.line.bar(sentence, 0, wrong=True)}
        status = self.line.sentence('failed', 0)
        return {**self._errors({message['field']: sentence}), self.status: status}

    def _made(self, message: Message, example: bool) -> Updates:
        if 'drawing' in message:
            return {
                self.drawing: message['drawing'],
                self.notes: f'<p>{html.escape(self._texts("draw_caption"))}</p>',
                self.status: self.line.sentence('drawn', 1),
            }
        updates: Updates = {}
        for player, button, path in (
            (self.result, self.save_result, message['result']),
            (self.beside, self.save_beside, message['beside']),
        ):
            updates[player] = path
            updates[button] = gr.update(value=path, interactive=True)
        taken = self.line.duration(message['seconds'])
        updates[self.status] = self.line.sentence('done', 1, frames=message['frames'], time=taken)
        updates[self.notes] = self._notes(message['lines'], example)
        return updates

    def _notes(self, lines: list[str], example: bool) -> str:
        if example:  # which is of what the bundled model knows
            lines = [line for line in lines if not line.startswith('the bundled networks')]
        told = [told_note(self._texts, self._site.files.without_paths(line)) for line in lines]
        items = ''.join(f'<li>{html.escape(line)}</li>' for line in dict.fromkeys(told) if line)
        return f'<h3>{self._texts("notes")}</h3><ul>{items}</ul>' if items else ''

    def _busy(self, busy: bool) -> Updates:
        waits = gr.update(interactive=not busy)
        buttons = dict.fromkeys((self.run, self.draw, *self.examples), waits)
        return {**buttons, self.stop: gr.update(interactive=busy)}

    def _errors(self, sentences: dict[str, str]) -> Updates:
        """The sentences beside their fields; '' beside all others."""
        lines = (self.picture_error, self.clip_error, self.model_error, self.options_error)
        return {
            line: f'<p role="alert">{html.escape(sentences[name])}</p>' if name in sentences else ''
            for name, line in zip(FIELDS, lines)
        }


def _filler(example: Example) -> Callable[[], tuple[str, ...]]:
    """Puts an example into the fields, with options that suit it."""
    return lambda: (str(example.picture), str(example.clip), 'bundled', 'auto', '')
