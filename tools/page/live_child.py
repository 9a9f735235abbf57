"""The process that animates live, one for each session: all it has goes when it ends.

It gets messages through its standard input and gives its own through its standard output; see
live_messages.py. It ends with its input.
"""

import contextlib
import os
import signal
import sys
import threading
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from modules.animation.boxes import Box, brought_inside, whole
from modules.animation.cropping import MOVE, SHRINK
from modules.animation.faces import face_crop, has_face_detector, load_face_detector
from modules.animation.inputs import BUNDLED, choose_weights
from modules.config import load_config
from modules.runtime.errors import UserError
from modules.runtime.process import choose_device, prepare_process
from modules.video import read_image
from modules.video.jpeg import encode_jpeg
from tools.page import live_messages as messages

_PART = 2**18  # bytes of a clip in a message
MOST_SECONDS = 600  # of a recording


class Session:
    """Settings come with the first wish; results follow frames until the input ends."""

    def __init__(self, received: RawIOBase, sent: BinaryIO):
        self._received, self._sent = received, sent
        self._sending = threading.Lock()
        self._folder = Path()
        self._live: Any = None
        self._wants_faces = False

    def run(self) -> None:
        start = messages.read_message(self._received)
        if start is None:
            return
        settings = messages.json_of(start)
        self._folder = Path(settings['folder'])
        try:
            self._live = self._open(settings)
        except UserError as error:
            self._tell(state='failed', why=_without_paths(error))
            return
        listener = threading.Thread(target=self._listen, daemon=True)
        listener.start()
        try:
            for result in self._live.results():
                jpeg = encode_jpeg(result.picture)
                self._send(messages.pack_result(result.number, 1000 * result.latency, jpeg))
                recording = self._live.recording
                if recording is not None and recording.full:
                    self._stop_recording()
        except UserError as error:  # a frame that is no picture
            self._tell(state='failed', why=_without_paths(error))
        finally:
            self._live.close()

    def _open(self, settings: dict[str, Any]) -> Any:
        config_path, weights = choose_weights(settings['config'], settings['checkpoint'])
        config = load_config(config_path, need=('dataset_params.frame_shape',))
        height, width = config['dataset_params']['frame_shape'][:2]
        self._wants_faces = has_face_detector() and 'vox' in str(
            config['dataset_params']['root_dir']
        )
        prepare_process(settings['cpu'])
        choose_device(settings['cpu'])
        from modules.animation.live import Live
        from modules.checkpoints.models import StoredModels
        from modules.inference.choice import build_engine

        models, params = StoredModels(config, weights), config['model_params']
        kind = settings['engine'], settings['precision']
        engine = build_engine(models, params, (height, width), *kind)
        live = Live(engine, read_image(BUNDLED / 'source.png'), (height, width))
        self._tell(state='ready', width=width, height=height)
        return live

    # ---- what comes ----

    def _listen(self) -> None:
        with contextlib.closing(self._live):
            while (message := messages.read_message(self._received)) is not None:
                kind = message[0]
                if kind == messages.FRAME:
                    content = messages.content_of(message)
                    self._live.show(content, messages.number_of(message))
                elif kind == messages.PICTURE:
                    self._change_picture(messages.content_of(message))
                elif kind == messages.WISH:
                    self._grant(messages.json_of(message))

    def _grant(self, wish: dict[str, Any]) -> None:
        name, value = wish.get('wish'), wish.get('value')
        if name == 'calibrate':
            self._live.calibrate()
        elif name == 'mirror':
            self._live.mirror = bool(value)
        elif name == 'record' and value and self._live.recording is None:
            self._record()
        elif name == 'record' and not value and self._live.recording is not None:
            self._stop_recording()

    def _change_picture(self, content: bytes) -> None:
        path = self._folder / 'picture'
        try:
            path.write_bytes(content)
            picture = read_image(path)
            self._live.change_picture(picture, self._face_in(picture))
        except UserError as error:
            self._tell(state='picture', why=_without_paths(error))
        else:
            self._tell(state='picture')
        finally:
            path.unlink(missing_ok=True)

    def _face_in(self, picture: np.ndarray) -> Box | None:
        """What a model for faces is shown of a picture, where a face can be found in it."""
        if not self._wants_faces:
            return None
        found = load_face_detector()(picture)
        if not found:
            return None
        return brought_inside(face_crop(found[0].box), whole(picture), SHRINK, MOVE)

    # ---- recording ----

    def _clip(self) -> Path:
        return self._folder / 'live.mp4'

    def _record(self) -> None:
        try:
            self._live.record(self._clip(), MOST_SECONDS)
        except UserError as error:
            self._tell(state='recorded', why=_without_paths(error))
        else:
            self._tell(state='recording')

    def _stop_recording(self) -> None:
        """Sends the clip, part by part, and an end."""
        path = self._clip()
        try:
            written = self._live.stop_recording()
        except UserError as error:
            self._tell(state='recorded', why=_without_paths(error))
            return
        except ValueError:  # it was full, and the user has stopped it at the same time
            return
        if written:
            with open(path, 'rb') as file:
                while part := file.read(_PART):
                    self._send(messages.pack(messages.CLIP, part))
            path.unlink()
        self._tell(state='recorded')

    # ---- what goes ----

    def _tell(self, **values: Any) -> None:
        self._send(messages.pack_json(messages.STATE, **values))

    def _send(self, message: bytes) -> None:
        with self._sending, contextlib.suppress(BrokenPipeError):
            self._sent.write(messages.framed(message))
            self._sent.flush()


def _without_paths(error: UserError) -> str:
    """What is wrong, without the place that the server has it at; addresses stay, and of a path at
    the end the file's name.
    """
    words = str(error).split()
    told = [word for word in words if os.sep not in word or word.startswith('http')]
    if words and words[-1] not in told:
        told.append(words[-1].rpartition(os.sep)[2])
    return ' '.join(told)


def open_pipes() -> tuple[RawIOBase, BinaryIO]:
    """What comes and what goes; what libraries print goes elsewhere."""
    received = os.fdopen(os.dup(0), 'rb', buffering=0)
    sent = os.fdopen(os.dup(1), 'wb')
    os.dup2(2, 1)
    return received, sent


def main(kind: type[Session]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server decides when it ends
    kind(*open_pipes()).run()


if __name__ == '__main__':
    main(Session)
