"""One picture in the motion of one clip after another, as `python demo.py` does one: for programs.

    worker = Worker()
    done = worker.run(job_options({'source_image': 'me.jpg', 'driving_video': 'clip.mp4'}))

Paddle comes along: a program calls `prepare_process` (modules/runtime/process.py) before it imports
this.
"""

import argparse
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import paddle

from modules.animation.clip import PAINTING, animate_clip
from modules.animation.inputs import open_inputs
from modules.animation.job_options import JobError, job_error
from modules.checkpoints.models import StoredModels
from modules.eager import Engine
from modules.inference.choice import build_engine
from modules.runtime.errors import OUTPUT_ERRORS, UserError, output_error_text
from modules.runtime.messages import Item, Lines, heard_by, note, say
from modules.runtime.process import choose_device
from modules.runtime.shortage import ANIMATION_MEND, shortage_explained
from modules.video import VideoWriter

Progress = Callable[[int, int | None], None]
Cancelled = Callable[[], bool]


class JobCancelledError(Exception):
    """Whoever asked for the job wants it no more; nothing of it is left."""


class Done(NamedTuple):
    """What a job has made."""

    result: Path
    written: tuple[Path, ...]  # the result, and what else was asked for: motion, picture of crops
    frame_count: int  # of the result
    seconds: float
    said: tuple[str, ...]  # such as what was cropped
    notes: tuple[str, ...]  # what the user may want to know, as after `note:` of demo.py


class Worker:
    """Runs jobs, one at a time, and keeps the engine of the last one for the next.

    A job gives the same files as `python demo.py` with the same options, and prints nothing.

    Args:
        loading: a context in which an engine is loaded or compiled, such as a turn among processes
            that would all compile the same.
    """

    def __init__(
        self, loading: Callable[[], contextlib.AbstractContextManager[None]] | None = None
    ) -> None:
        self._engine = _LastEngine(loading or contextlib.nullcontext)

    def run(
        self,
        options: argparse.Namespace,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> Done:
        """Animates. The result, and all else that is written, is there whole or not at all.

        Args:
            options: from `job_options`.
            progress: called after each frame with the number of those made, and of all, or None
                where that is not known; not while boxes or the best frame are looked for.
            cancelled: asked before each frame, of those that are looked through, too; True ends the
                job.

        Raises:
            JobError: a mistake of the user's, or too little space or memory.
            JobCancelledError: as `cancelled` wanted.
        """
        start = time.monotonic()
        listener = _JobListener(progress, cancelled)
        try:
            with heard_by(listener), shortage_explained(ANIMATION_MEND):
                listener.check()
                frame_count = self._animate(options)
        except UserError as error:
            raise job_error(error, options) from error
        except OSError as error:
            if error.errno not in OUTPUT_ERRORS:
                raise
            raise JobError(output_error_text(error)) from error
        made = (options.result_video, options.save_motion, options.show_crop)
        return Done(
            result=options.result_video,
            written=tuple(path for path in made if path is not None),
            frame_count=frame_count,
            seconds=time.monotonic() - start,
            said=tuple(listener.lines),
            notes=tuple(listener.notes),
        )

    def _animate(self, options: argparse.Namespace) -> int:
        device = choose_device(options.cpu)  # which Paddle keeps by the thread
        inputs = open_inputs(options)
        with contextlib.closing(inputs):
            writer = VideoWriter(options.result_video, inputs.fps, **inputs.sound(options))
            animate_clip(options, inputs, writer, device, self._engine.build)
        for warning in filter(None, (*inputs.notes(), writer.audio_warning, writer.rate_warning)):
            note(warning)
        return writer.frame_count


class _LastEngine:
    """Gives engines, and keeps the last one for whoever wants the same again."""

    def __init__(self, loading: Callable[[], contextlib.AbstractContextManager[None]]) -> None:
        self._loading = loading
        self._key: tuple[object, ...] | None = None
        self._engine: Engine | None = None
        self._heard = Lines()

    def build(
        self,
        models: StoredModels,
        model_params: Mapping[str, Any],
        size: Sequence[int],
        engine: str,
        precision: str,
        batch: int | None,
    ) -> Engine:
        """As `build_engine`. What was said when the engine was loaded is said each time."""
        settings = json.dumps(model_params, sort_keys=True), tuple(size), engine, precision, batch
        key = models.identity(), paddle.device.get_device(), *settings
        if self._engine is None or key != self._key:
            self._engine = None  # before the next one is loaded: memory holds one of them
            self._heard = Lines()
            with heard_by(self._heard), self._loading():
                self._engine = build_engine(
                    models, model_params, size, engine, precision, batch=batch
                )
            self._key = key
        for line in self._heard.lines:
            say(line)
        for line in self._heard.notes:
            note(line)
        return self._engine


class _JobListener(Lines):
    """What a job says, how far it is, and whether it is still wanted."""

    def __init__(self, progress: Progress | None, cancelled: Cancelled | None):
        super().__init__()
        self._progress, self._cancelled = progress, cancelled

    def check(self) -> None:
        if self._cancelled is not None and self._cancelled():
            raise JobCancelledError

    def watched(self, items: Iterable[Item], title: str, total: int | None) -> Iterator[Item]:
        progress = self._progress if title.startswith(PAINTING) else None
        self.check()
        for done, item in enumerate(items, 1):
            yield item
            if progress is not None:
                progress(done, total)
            self.check()
