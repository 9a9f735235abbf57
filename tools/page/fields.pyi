"""Fields of files, which take what was sent as it is: what is in it is looked at by the job alone.

Gradio's own fields open a picture at once, turn it into another format and convert clips by ffmpeg.
"""

from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.image import ImageData
from gradio.data_classes import FileData

from gradio.events import Dependency

class PictureField(gr.Image):
    """Gives and takes the path of a picture."""

    is_template = True  # shown as its base class is

    def preprocess(self, payload: ImageData | None) -> str | None:
        return None if payload is None else payload.path

    def postprocess(self, value: Any) -> ImageData | None:
        return None if value is None else _described(ImageData, value)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

class ClipField(gr.Video):
    """Gives and takes the path of a clip."""

    is_template = True

    def preprocess(self, payload: FileData | None) -> str | None:
        return None if payload is None else payload.path

    def postprocess(self, value: Any) -> FileData | None:
        return None if value is None else _described(FileData, value)
    from typing import Callable, Literal, Sequence, Any, TYPE_CHECKING
    from gradio.blocks import Block
    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component

def _described(kind: Any, path: str) -> Any:
    return kind(path=str(path), orig_name=Path(path).name)
