"""What VisualDL and TensorBoard would show of a run, read from its files."""

import importlib
import io
import struct

import numpy as np
import pytest
from PIL import Image

from tests.support.places import ROOT

FAKES = ROOT / 'tests' / 'support' / 'fakes'  # packages that stand in for both


def messages(path, kind):
    """A file's messages up to one that was cut short."""
    if kind == 'visualdl':
        read = importlib.import_module('visualdl.proto.record_pb2').Record.FromString
        header, footer = struct.Struct('<Q'), 0
    else:
        read = importlib.import_module('tensorboardX.proto.event_pb2').Event.FromString
        header, footer = struct.Struct('<Q4x'), 4  # checksums behind the size and at the end
    data, at = path.read_bytes(), 0
    while at + header.size <= len(data):
        begin = at + header.size
        at = begin + header.unpack_from(data, at)[0] + footer
        if at > len(data):
            return
        yield read(data[begin : at - footer])


def visualdl_values(folder):
    (path,) = folder.iterdir()
    for record in messages(path, 'visualdl'):
        (value,) = record.values
        if value.tag != 'meta_data_tag':
            yield value.id, value.tag, value


def tensorboard_values(folder):
    """Values that TensorBoard shows: a start of a session drops earlier events from its step on."""
    shown = []
    for path in sorted(folder.iterdir()):
        for number, event in enumerate(messages(path, 'tensorboard')):
            assert (number == 0) == (getattr(event, 'file_version', '') == 'brain.Event:2')
            if getattr(getattr(event, 'session_log', None), 'status', 0) == 1:
                shown = [value for value in shown if value[0] < event.step]
            if hasattr(event, 'summary'):
                shown += [(event.step, value.tag, value) for value in event.summary.value]
    return shown


def written(kind, folder):
    """Curves by name, each a dict of values by step; none twice."""
    curves = {}
    for step, tag, value in {'visualdl': visualdl_values, 'tensorboard': tensorboard_values}[kind](
        folder
    ):
        assert step not in curves.setdefault(tag, {}), (tag, step)
        if tag.endswith('picture'):
            png = value.image.encoded_image_string
            png = png.encode('latin1') if isinstance(png, str) else png
            curves[tag][step] = np.asarray(Image.open(io.BytesIO(png)))
        else:
            number = value.value if kind == 'visualdl' else value.simple_value
            curves[tag][step] = pytest.approx(number, rel=1e-6)  # float32
    return curves
