"""Bursts, cancels and hostile uploads: all are answered or refused, and nothing of them stays.

$PAGE_TABLE names a file for the table; that in doc/reliability.md is from it.
"""

import collections
import concurrent.futures
import datetime
import os
import platform
import re
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from modules.video import VideoReader, write_video
from tests.support import hostile_uploads as hostile
from tests.support.page_server import PageServer, Reader
from tests.support.places import ROOT
from tests.support.processes import wait_until

httpx = pytest.importorskip('httpx')
EXAMPLE = '/files/examples/source.png', '/files/examples/driving.mp4'
CLOSED = (
    '/en/gradio_api/file=/etc/passwd',
    '/en/gradio_api/file=/files/../../../etc/passwd',
    '/en/gradio_api/file=/files/.lock',
    '/en/gradio_api/file=http://127.0.0.1:1/',
    '/en/gradio_api/proxy=http://127.0.0.1:1/',
    '/en/gradio_api/info',
    '/en/gradio_api/openapi.json',
    '/en/monitoring',
    '/docs',
    '/%2e%2e/%2e%2e/etc/passwd',
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    pytest.importorskip('gradio', reason='the page needs the packages of requirements-web.txt')
    limits = '--max_mb', '8', '--max_pixels', '20', '--keep_minutes', '0.15'
    with PageServer(tmp_path_factory.mktemp('hostile'), *limits) as server:
        yield server


@pytest.fixture(scope='module')
def client(server):
    with httpx.Client(base_url=server.address, timeout=300) as client:
        yield client


def last_words(reader):
    """All that the page tells a reader of one click, as one text."""
    return ''.join(str(message.get('output', '')) for message in reader.messages())


def animate(client, session, picture=EXAMPLE[0], clip=EXAMPLE[1]):
    reader = Reader(client, session)
    assert reader.click('run', reader.choices(picture, clip)).status_code == 200
    return last_words(reader)


def burst(client, count=200):
    """So many requests at once -> how many had which status."""

    def ask(number):
        if number % 5 == 0:
            reader = Reader(client, f'burst{number}')
            answer = reader.click('run', reader.choices(None, None))
            if answer.status_code == 200:
                assert 'Choose a picture' in last_words(reader)
            return answer.status_code
        if number % 5 == 1:
            answer = client.get(CLOSED[number // 5 % len(CLOSED)])
            assert b'root:' not in answer.content
            return answer.status_code
        return client.get(('/en/', '/zh/', '/en/config')[number % 3]).status_code

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        return collections.Counter(pool.map(ask, range(count)))


def cancels(client, clip, count=20):
    """So many jobs, four at a time, each cancelled when it is at work or in line -> their ends."""

    def begin_and_cancel(number):
        reader = Reader(client, f'cancel{number}')
        sent = reader.upload('long.mp4', clip).json()[0]
        event = reader.click('run', reader.choices(EXAMPLE[0], sent)).json()['event_id']
        seen = 0
        text = ''
        for message in reader.messages(event):
            text = str(message.get('output', ''))
            seen += 'Frame' in text or 'Waiting' in text
            if seen == (1, 3)[number % 2]:  # in line, or at work
                assert reader.click('cancel', []).status_code == 200
                seen = 9
            if 'Cancelled' in text:
                return 'cancelled'
        return text

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return collections.Counter(pool.map(begin_and_cancel, range(count)))


def raw(server, request):
    """The status of a request that is sent byte by byte; what breaks off gets none."""
    address = urlsplit(server.address)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
        except OSError:  # it was refused before all was sent
            return 'closed'
    return answer.split(b' ')[1].decode() if answer.startswith(b'HTTP/1.1 ') else 'closed'


def uploads(server, client):
    """What came of each hostile upload, by kind."""
    ends = collections.defaultdict(list)
    for name in hostile.names():
        answer = Reader(client, 'names').upload(name, hostile.picture())
        end = str(answer.status_code)
        if answer.status_code == 200:
            (path,) = answer.json()
            assert re.fullmatch(r'/files/in/[0-9a-f]{32}/[\w.-]{1,260}', path), path
            assert '..' not in path
            end = 'stored under a plain name'
        ends['names that lead elsewhere'].append(end)
    for kind, files in (('wrong kinds', hostile.wrong_kinds()), ('bombs', hostile.bombs())):
        for what, content in files.items():
            answer = Reader(client, f'{kind}').upload('picture.png', content)
            end = str(answer.status_code)
            if answer.status_code == 200:
                text = animate(client, f'{kind} {what}', picture=answer.json()[0])
                end = 'a sentence' if 'role="alert"' in text else 'animated'
                assert 'role="alert"' in text or 'Done: ' in text, (what, text[-2000:])
            ends[kind].append(end)
    for what, request in hostile.requests():
        status = raw(server, request)
        assert status[0] in '4c', (what, status)
        ends['broken requests'].append(status)
    return ends


def counted(ends):
    return ', '.join(f'{end}: {n}' for end, n in sorted(collections.Counter(ends).items()))


def test_burst_cancels_and_hostile_uploads(server, client, tmp_path):
    with VideoReader(ROOT / 'doc/demo/driving.mp4') as reader:
        frames = list(reader)
    long = tmp_path / 'long.mp4'
    write_video(long, (frames + frames[::-1]) * 12, 25)
    for number in range(2):
        assert 'Done: ' in animate(client, f'first{number}')
    burst(client)  # what libraries load when they are first used is not what stays behind
    before = server.memory(), server.worker_memory()

    start = time.monotonic()
    statuses = burst(client)
    assert sum(statuses.values()) == 200
    assert set(statuses) <= {200, 404, 503}
    ended = cancels(client, long.read_bytes())
    assert ended == {'cancelled': 20}
    kinds = uploads(server, client)
    assert sum(map(len, kinds.values())) == 50
    assert 'Done: ' in animate(client, 'last')
    seconds = time.monotonic() - start

    assert server.process.poll() is None
    wait_until(lambda: not any(map(server.files, ('in', 'out', 'spool'))), 120)
    assert not Path('harmed').exists()
    after = server.memory(), server.worker_memory()
    for now, then in zip(after, before):
        assert now < 1.1 * then
    table = [
        ['200 requests at once', counted(f'{status}' for status in statuses.elements())],
        ['20 jobs, cancelled', counted(ended.elements())],
        *([f'{len(ends)} uploads: {kind}', counted(ends)] for kind, ends in kinds.items()),
        ['crashes; files left behind', '0; 0'],
        ["memory of the page's process", f'{before[0]:.0f} MB before, {after[0]:.0f} MB after'],
        ["memory of the jobs' process", f'{before[1]:.0f} MB before, {after[1]:.0f} MB after'],
    ]
    write_table(table, seconds)


def write_table(rows, seconds):
    path = os.environ.get('PAGE_TABLE')
    if path:
        lines = ['| what was sent | what came of it |', '| --- | --- |']
        lines += [f'| {what} | {end} |' for what, end in rows]
        where = f'{datetime.date.today():%d %B %Y}, {os.cpu_count()} CPU cores, Python '
        where += f'{platform.python_version()}, {seconds:.0f} seconds'
        Path(path).write_text('\n'.join([*lines, '', f'{where}.', '']))


def test_closed_doors(client):
    for address in CLOSED:
        assert client.get(address).status_code == 404, address
    assert client.put('/en/gradio_api/upload').status_code == 405
    assert client.get('/en/?' + 'a' * 5000).status_code == 414


def test_files_of_others_and_of_the_server(server, client):
    """What is neither sent nor an example can't be given as a picture, nor folders as a clip."""
    reader = Reader(client, 'others')
    for path in ('/etc/passwd', '/files', '/files/in', f'{ROOT}/doc/demo/source.png', '/files/x/y'):
        answer = reader.click('run', reader.choices(path, EXAMPLE[1]))
        text = last_words(reader) if answer.status_code == 200 else ''
        assert 'Done: ' not in text
        assert str(ROOT) not in text and str(server.temporary) not in text


def test_values_of_any_kind(client):
    for values in ([], [None] * 10, [{'path': 5}] * 10, ['x'] * 10, [[['deep']]] * 30):
        reader = Reader(client, f'values{len(values)}')
        if reader.click('run', values).status_code == 200:
            assert 'Done: ' not in last_words(reader)
    assert 'Done: ' in animate(client, 'after all')
