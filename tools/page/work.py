"""One order of the page: checked against the limits, done, and what came of it told."""

from __future__ import annotations

import re
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from modules.animation.job import JobCancelledError, Worker
from modules.animation.job_options import JobError, job_error, job_options
from modules.runtime.errors import UserError
from modules.runtime.heap import release_freed_memory
from modules.runtime.messages import Lines, heard_by
from modules.video import VideoReader
from modules.video.pictures import stored_size
from tools.page.limits import Limits
from tools.page.showing import draw_networks

Answer = dict[str, Any]
Progress = Callable[[int, int | None], None]

# Which field of the page an option of demo.py is.
_FIELDS = {
    'source_image': 'picture',
    'driving_video': 'clip',
    'checkpoint': 'model',
    'config': 'model',
    'size': 'options',
    'upscale': 'options',
}
# What demo.py says of files, and the page's own sentence for it.
_KNOWN = (
    ('picture', r'not a picture|give the path of a picture', 'picture_not'),
    ('picture', r'damaged picture', 'picture_damaged'),
    ('picture', r'too many pixels|too large for the memory', 'picture_large'),
    ('clip', r'no frames|no video in it|no pictures in', 'clip_empty'),
    ('clip', r'^not a video', 'clip_not'),
    ('clip', r'^damaged after', 'clip_damaged'),
)


class FieldError(Exception):
    """Something wrong with what a field holds."""

    def __init__(self, field: str, text: str, **values: Any) -> None:
        super().__init__(text)
        self.answer = {'kind': 'failed', 'field': field, 'text': text, 'values': values}


class Work:
    """Does orders; keeps the engine of the last one."""

    def __init__(self) -> None:
        self._worker = Worker()

    def do(
        self, order: Mapping[str, Any], progress: Progress, cancelled: Callable[[], bool]
    ) -> Answer:
        """An order's last message; nothing of what failed stays behind."""
        limits = Limits(**order['limits'])
        try:
            with heard_by(Lines()):  # the worker has ears of its own
                return self._do(order, limits, progress, cancelled)
        except FieldError as error:
            return error.answer
        except JobError as error:
            return failure(error, Path(order['options']['source_image']).parent.parent)
        except JobCancelledError:
            return {'kind': 'cancelled'}
        except MemoryError:
            return {'kind': 'failed', 'field': 'status', 'text': 'no_memory', 'values': {}}
        except Exception:  # ours; the page goes on
            traceback.print_exc(file=sys.stderr)
            return {'kind': 'failed', 'field': 'status', 'text': 'unforeseen', 'values': {}}
        finally:
            release_freed_memory()

    def _do(
        self,
        order: Mapping[str, Any],
        limits: Limits,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> Answer:
        options = job_options(order['options'])
        picture = check_picture(options.source_image, limits)
        most_frames = check_clip(options.driving_video, limits)
        check_result(options, picture, limits)
        too_long = False

        def counted(done: int, total: int | None) -> None:
            nonlocal too_long
            too_long = done > most_frames
            progress(done, total)

        def check() -> None:
            if cancelled():
                raise JobCancelledError

        if order['kind'] == 'draw':
            try:
                draw_networks(options, Path(order['drawing']), progress, check)
            except UserError as error:
                raise job_error(error, options) from error
            return {'kind': 'done', 'drawing': order['drawing'], 'lines': []}
        beside = Path(order['beside'])
        try:
            done = self._worker.run(options, counted, lambda: too_long or cancelled(), beside)
        except JobCancelledError:
            if too_long:
                raise FieldError('clip', 'clip_long', most=f'{limits.seconds:g}') from None
            raise
        lines = [*done.said, *done.notes]
        answer = {'kind': 'done', 'result': str(done.result), 'beside': str(beside)}
        return {**answer, 'frames': done.frame_count, 'seconds': done.seconds, 'lines': lines}


def check_picture(path: Path, limits: Limits) -> tuple[int, int]:
    """Its (width, height)."""
    try:
        width, height = stored_size(path)
    except UserError as error:
        raise known_error('picture', str(error), path) from error
    if width * height > limits.pixels:
        most = f'{limits.megapixels:g}'
        raise FieldError('picture', 'picture_pixels', width=width, height=height, most=most)
    return width, height


def check_clip(path: Path, limits: Limits) -> float:
    """The most frames that it may have, where it does not tell how many there are."""
    try:
        with VideoReader(path) as reader:
            (height, width), count, fps = reader.size, reader.frame_count, reader.fps
    except UserError as error:
        raise known_error('clip', str(error), path) from error
    if width * height > limits.pixels:
        most = f'{limits.megapixels:g}'
        raise FieldError('clip', 'clip_pixels', width=width, height=height, most=most)
    most_frames = float(limits.seconds * fps)
    if count is not None and count > most_frames:
        raise FieldError('clip', 'clip_long', most=f'{limits.seconds:g}')
    return most_frames


def check_result(options: Any, picture: tuple[int, int], limits: Limits) -> None:
    """What is asked for is no larger than what may be sent."""
    pixels = 0.0
    if options.size is not None:
        pixels = options.size[0] * options.size[1]
    elif options.upscale is not None:
        pixels = picture[0] * picture[1] * options.upscale**2
    if pixels > limits.pixels:
        raise FieldError('options', 'size_large', most=f'{limits.megapixels:g}')


def known_error(field: str, message: str, path: Path | None = None) -> FieldError:
    """What demo.py says, in the page's words where it has some."""
    if path is not None:
        message = message.removeprefix(f'{path}: ')
    for of, pattern, text in _KNOWN:
        if of == field and re.search(pattern, message):
            return FieldError(field, text)
    return FieldError(field, f'{field}_wrong', why=_sentence(message))


def failure(error: JobError, folder: Path) -> Answer:
    """The last message of a job that failed by the reader's mistake."""
    message = str(error)
    field = _FIELDS.get(error.option or '', 'status' if error.option is None else 'options')
    if error.option is not None:
        message = re.sub(rf'^--{error.option} ?:? ?', '', message)
    if shutil.disk_usage(folder).free < 2**20:
        field, message = 'status', str(error)
    if field == 'status':
        values = {'why': _sentence(message)}
        return {'kind': 'failed', 'field': 'status', 'text': 'wrong', 'values': values}
    return known_error(field, re.sub(r'^/\S+?: ', '', message)).answer


def _sentence(message: str) -> str:
    text = message[:1].upper() + message[1:]
    return text if text.endswith(('.', '!', '?')) else f'{text}.'
