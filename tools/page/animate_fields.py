"""What is seen of the page's first tab."""

from __future__ import annotations

import gradio as gr

from tools.page.fields import clip_field, picture_field
from tools.page.site import Site
from tools.page.status import StatusLine
from tools.page.texts import Texts


class AnimateFields:
    """The fields, in the order in which they are seen; they are added to what is being built."""

    def __init__(self, texts: Texts, site: Site) -> None:
        self._texts, self._site, self.line = texts, site, StatusLine(texts)
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
                self.picture = picture_field(
                    label=texts('picture'),
                    sources=['upload', 'webcam', 'clipboard'],
                    elem_id='picture',
                    height=250,
                    buttons=[],
                )
                self.picture_error = _error('picture-error')
            with gr.Column(min_width=140):
                self.clip = clip_field(
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
        self.status = gr.HTML(self.line.sentence('idle', 0), elem_id='status', padding=False)

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
                self.drawing = picture_field(
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


def _error(name: str) -> gr.HTML:
    """The line below a field for what is wrong with it; its space is there before it is needed."""
    return gr.HTML('', elem_id=name, elem_classes='error', padding=False)


def _player(name: str) -> gr.Video:
    return clip_field(
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
