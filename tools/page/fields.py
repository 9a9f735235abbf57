"""Fields of files, which take what was sent as it is: what is in it is looked at by the job alone.

Gradio's own fields open a picture at once, turn it into another format and convert clips by ffmpeg.
No classes: of each class derived from its own, Gradio writes a file beside the source. So events
may give these fields values, but no `gr.update`, for which Gradio makes them anew.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, ImageData


def picture_field(**settings: Any) -> gr.Image:
    """Gives and takes the path of a picture."""
    return _as_path(gr.Image(type='filepath', **settings), ImageData)


def clip_field(**settings: Any) -> gr.Video:
    """Gives and takes the path of a clip."""
    return _as_path(gr.Video(**settings), FileData)


def _as_path(field: Any, kind: Any) -> Any:
    def preprocess(payload: Any) -> str | None:
        return None if payload is None else payload.path

    def postprocess(path: Any) -> Any:
        return None if path is None else kind(path=str(path), orig_name=Path(path).name)

    field.preprocess, field.postprocess = preprocess, postprocess
    return field
