"""Messages of the packages that stand in for VisualDL and tensorboardX: JSON of their fields."""

import json
from types import SimpleNamespace


class Message(SimpleNamespace):
    def SerializeToString(self):
        return json.dumps(self, default=_plain).encode()

    @classmethod
    def FromString(cls, data):
        try:
            return json.loads(data, object_hook=lambda fields: cls(**fields))
        except ValueError as error:
            from google.protobuf.message import DecodeError

            raise DecodeError(str(error)) from error


def _plain(value):
    return value.decode('latin1') if isinstance(value, bytes) else vars(value)
