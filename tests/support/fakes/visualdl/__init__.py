"""Stands in for VisualDL where it is not installed. What is not closed is not written."""

import io
import struct
from pathlib import Path

from PIL import Image

from visualdl.proto.record_pb2 import Record


class LogWriter:
    def __init__(self, logdir, file_name):
        self._path, self._records = Path(logdir) / file_name, []

    def _add(self, **value):
        data = Record(values=[Record(**value)]).SerializeToString()
        self._records.append(struct.pack('<Q', len(data)) + data)

    def add_scalar(self, tag, value, step):
        self._add(id=step, tag=tag, value=value)

    def add_image(self, tag, img, step):
        png = io.BytesIO()
        Image.fromarray(img).save(png, 'PNG')
        self._add(id=step, tag=tag, image=Record(encoded_image_string=png.getvalue()))

    def close(self):
        with self._path.open('ab') as file:
            file.writelines(self._records)
