import struct
import time
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event


class EventsWriter:
    def __init__(self, prefix, suffix):
        self._path = Path(f'{prefix}.out.tfevents.{int(time.time())}.host{suffix}')
        self._records = []
        self._path.touch(exist_ok=False)
        self.write_event(Event(file_version='brain.Event:2'))

    def write_event(self, event):  # checksums are left out
        data = event.SerializeToString()
        self._records.append(struct.pack('<Q4x', len(data)) + data + bytes(4))

    def flush(self):
        pass

    def close(self):
        self._path.write_bytes(b''.join(self._records))
