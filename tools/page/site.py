"""What the tabs of the page share."""

from __future__ import annotations

import argparse
from typing import NamedTuple

import gradio as gr

from tools.page.examples import Example
from tools.page.files import Files
from tools.page.jobs import JobQueue
from tools.page.limits import Limits


class Model(NamedTuple):
    """Weights to choose from."""

    name: str  # of the choice, and the end of its text's name, as in `model_vox`
    config: str | None
    checkpoint: str | None
    title: str | None = None  # where it has no text: what was given at the start


BUNDLED = Model('bundled', None, None)
KNOWN = (BUNDLED, Model('vox', None, 'vox'), Model('vox-512', None, 'vox-512'))


class Site:
    """One page's files, queue, limits and models.

    Args:
        options: of tools/webui.py.
    """

    def __init__(
        self, options: argparse.Namespace, files: Files, jobs: JobQueue, examples: list[Example]
    ) -> None:
        self.options, self.files, self.jobs, self.examples = options, files, jobs, examples
        self.limits = Limits.of(options)
        self.models = list(KNOWN)
        if options.checkpoint is not None or options.config is not None:
            given = str(options.checkpoint or options.config)
            title = given.replace('\\', '/').rstrip('/').rpartition('/')[2]
            self.models.insert(0, Model('own', options.config, options.checkpoint, title))

    def model(self, name: object) -> Model:
        """That of a choice; the first one for anything else."""
        return next((model for model in self.models if model.name == name), self.models[0])

    def leave(self, request: gr.Request) -> None:
        """A reader closes the page: what was for them goes."""
        session = request.session_hash or ''
        self.jobs.cancel(session)
        self.files.leave(session)
