"""The process of a live session: its pictures, its messages and what it says of mistakes."""

import io

import numpy as np
import pytest

from modules.animation.boxes import Box
from modules.animation.faces import Face, face_crop
from modules.runtime.errors import UserError
from tools.page import live_child
from tools.page import live_messages as messages
from tools.page.reasons import told_reason


@pytest.fixture
def session():
    return live_child.Session(io.BytesIO(), io.BytesIO())


def test_faces_are_cropped_where_the_model_is_for_faces(session, monkeypatch):
    picture = np.zeros((400, 300, 3), 'uint8')
    face = Box(100, 120, 80, 100)
    found = [Face(face, 0.9), Face(Box(0, 0, 9, 9), 0.8)]
    monkeypatch.setattr(live_child, 'load_face_detector', lambda: lambda shown: found)
    assert session._face_in(picture) is None
    session._wants_faces = True
    assert session._face_in(picture) == face_crop(face)
    found.clear()
    assert session._face_in(picture) is None


def test_messages_go_through_a_pipe_in_any_pieces():
    class Pieces(io.RawIOBase):
        def __init__(self, data):
            self.data = data

        def read(self, count=-1):
            part, self.data = self.data[: min(count, 3)], self.data[min(count, 3) :]
            return part

    sent = [messages.pack_number(messages.FRAME, 7, b'jpeg' * 9), messages.pack(messages.CLIP)]
    pipe = Pieces(b''.join(map(messages.framed, sent)) + messages.framed(bytes(9))[:-1])
    assert [messages.read_message(pipe) for _ in range(3)] == [*sent, None]
    assert messages.number_of(sent[0]) == 7 and messages.content_of(sent[0]) == b'jpeg' * 9
    with pytest.raises(messages.MessageError):
        messages.length_of(b'\xff' * 4)


def test_what_is_wrong_is_told_without_places():
    error = UserError('/tmp/live-1/picture: not a picture; save it as PNG')
    assert live_child._without_paths(error) == 'not a picture; save it as PNG'
    error = UserError(
        'https://a.b/vox.pdparams: the download failed (no route to host); try again later to go '
        'on from there, or get the file by other means and put it as /home/me/.cache/vox.pdparams'
    )
    told = live_child._without_paths(error)
    assert 'https://a.b/vox.pdparams' in told and '/home' not in told and 'cache' not in told
    assert told_reason('zh', told) == (
        '下载失败（no route to host）：https://a.b/vox.pdparams。'
        '请稍后重试，会接着下载；也可以用其他方式得到它，放到 vox.pdparams。'
    )


def test_a_session_that_nobody_begins_ends(session):
    session.run()
