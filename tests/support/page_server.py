"""The page, served by a process of its own, and what tests ask of it without a browser."""

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.support.places import ROOT

PATIENCE = 180  # seconds


def chromium() -> str | None:
    """The program, where there is one."""
    names = 'chromium', 'chromium-browser', 'google-chrome'
    return next(filter(None, map(shutil.which, names)), None)


class PageServer:
    """`tools/webui.py` on a free port; `address` tells where. Its files lie below `folder`."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.temporary = folder / 'temporary'
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._options, self._environment = options, environment
        self.errors = (folder / 'errors').open('w+b')

    def __enter__(self) -> 'PageServer':
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / 'tools/webui.py'), '--port', '0', '--cpu', *self._options],
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, 'TMPDIR': str(self.temporary), **self._environment},
            text=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        reader = threading.Thread(target=lambda: lines.put(self.process.stdout.readline()))
        reader.start()
        try:
            line = lines.get(timeout=PATIENCE)
            self.address = re.search(r'http://\S+', line)[0]
        except (queue.Empty, TypeError):
            self.process.kill()
            raise AssertionError(f'the page does not start: {self.told()}') from None
        return self

    def __exit__(self, *exception: object) -> None:
        self.end(signal.SIGTERM)
        self.process.stdout.close()
        self.errors.close()

    def end(self, number: int) -> int:
        """Its exit status after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def told(self) -> str:
        """What it said on stderr."""
        self.errors.flush()
        return Path(self.errors.name).read_text(errors='replace')

    def files(self, part: str = '') -> list[Path]:
        """The files below its folder, such as those of 'out'."""
        pattern = f'first-order-model-page-*/{part}' if part else '*'
        # Which leaves out, as rglob does not, what the page has removed meanwhile.
        walks = (os.walk(top) for top in self.temporary.glob(pattern))
        return [Path(folder, name) for walk in walks for folder, _, names in walk for name in names]

    def memory(self) -> float:
        """Resident megabytes of the page's process, without those of its children."""
        return _resident(self.process.pid)

    def worker_memory(self) -> float:
        """Likewise of its child, which computes jobs."""
        children = Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children').read_text()
        return sum(map(_resident, children.split()))


def _resident(pid: int | str) -> float:
    status = Path(f'/proc/{pid}/status').read_text()
    return int(re.search(r'VmRSS:\s+(\d+)', status)[1]) / 1024


class Reader:
    """Somebody who asks the page as its script does, by HTTP alone.

    Args:
        client: an httpx.Client.
    """

    def __init__(self, client, session: str) -> None:
        self._client, self.session = client, session
        self._config = client.get('/en/config').json()

    def _event(self, element: str) -> dict:
        ids = {part['props'].get('elem_id'): part['id'] for part in self._config['components']}
        wanted = [ids[element], 'click']
        return next(d for d in self._config['dependencies'] if wanted in d['targets'])

    def upload(self, name: str, content: bytes):
        """The answer to a file that is sent."""
        return self._client.post('/en/gradio_api/upload', files={'files': (name, content)})

    def click(self, element: str, values: list):
        """The answer to a click."""
        event = self._event(element)
        body = {'data': values, 'fn_index': event['id'], 'session_hash': self.session}
        return self._client.post('/en/gradio_api/queue/join', json=body)

    def choices(
        self, picture: str | None, clip: str | None, size: str = '', model: str = 'bundled'
    ) -> list:
        """The values of all fields."""
        files = [None if path is None else described(path) for path in (picture, clip)]
        return [*files, model, 'auto', 'relative', True, True, False, True, size]

    def messages(self, event: str | None = None):
        """What the page tells this reader, until it is over, or the event of this id is."""
        address = '/en/gradio_api/queue/data'
        with self._client.stream('GET', address, params={'session_hash': self.session}) as stream:
            for line in stream.iter_lines():
                if line.startswith('data:'):
                    message = json.loads(line[5:])
                    yield message
                    if event not in (None, message.get('event_id', event)):
                        continue
                    if message['msg'] in ('process_completed', 'close_stream', 'unexpected_error'):
                        return


def described(path: str) -> dict:
    """A file as Gradio's script names it."""
    return {'path': path, 'meta': {'_type': 'gradio.FileData'}}
