"""What browser, server and the process that animates live say to each other.

A message is a byte that tells its kind, and what belongs to it. Pictures are whole files as bytes,
states and wishes are JSON. Over a socket of the web a message is one of its own; through a pipe its
length comes first, in four bytes.
"""

import json
import struct
from io import RawIOBase
from typing import Any

FRAME = 1  # of the camera: its number, a JPEG file
RESULT = 2  # the number of the frame that it follows, milliseconds it took, a JPEG file
SHOWN = 3  # the number of a result that is on the screen
TAKEN = 4  # the number of a frame that has arrived
PICTURE = 5  # to be animated: a file of any kind
CLIP = 6  # a part of a recorded clip, an mp4 file
STATE = 7  # of the session, JSON
WISH = 8  # of the user, JSON

_NUMBER = struct.Struct('<BI')
_RESULT = struct.Struct('<BIf')
_LENGTH = struct.Struct('<I')
HEAD = _LENGTH.size  # bytes before a message in a pipe
MOST = 2**24  # bytes of a message


class MessageError(Exception):
    """A message that is none."""


def pack(kind: int, content: bytes = b'') -> bytes:
    return bytes([kind]) + content


def pack_number(kind: int, number: int, content: bytes = b'') -> bytes:
    return _NUMBER.pack(kind, number) + content


def pack_result(number: int, milliseconds: float, jpeg: bytes) -> bytes:
    return _RESULT.pack(RESULT, number, milliseconds) + jpeg


def pack_json(kind: int, **values: Any) -> bytes:
    return bytes([kind]) + json.dumps(values).encode()


def number_of(message: bytes) -> int:
    """Of a frame, a result, or what is said of one.

    Raises:
        MessageError: there is none.
    """
    if len(message) < _NUMBER.size:
        raise MessageError('a message without its number')
    number: int = _NUMBER.unpack_from(message)[1]
    return number


def content_of(message: bytes) -> bytes:
    """What follows the kind and, in a frame, the number."""
    return message[_NUMBER.size if message[0] == FRAME else 1 :]


def json_of(message: bytes) -> dict[str, Any]:
    """
    Raises:
        MessageError: it is none, or no object.
    """
    try:
        values = json.loads(message[1:])
    except (ValueError, RecursionError) as error:
        raise MessageError('a message that is no JSON') from error
    if not isinstance(values, dict):
        raise MessageError('a message that is no JSON object')
    return values


def framed(message: bytes) -> bytes:
    """As it goes through a pipe."""
    return _LENGTH.pack(len(message)) + message


def length_of(head: bytes) -> int:
    """Of the message that follows these four bytes in a pipe."""
    length: int = _LENGTH.unpack(head)[0]
    if not 1 <= length <= MOST:
        raise MessageError(f'a message of {length} bytes')
    return length


def read_message(pipe: RawIOBase) -> bytes | None:
    """The next message; None where the pipe has ended, or within a message.

    Args:
        pipe: without a buffer, whose lock a thread that waits would hold when the process ends.
    """
    head = _read(pipe, HEAD)
    return None if head is None else _read(pipe, length_of(head))


def _read(pipe: RawIOBase, count: int) -> bytes | None:
    data = b''
    while len(data) < count:
        part = pipe.read(count - len(data))
        if not part:
            return None
        data += part
    return data
