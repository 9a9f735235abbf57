"""Downloads of known weights, from a server on this machine that can misbehave."""

import hashlib
import http.server
import io
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from modules.checkpoints import download
from modules.checkpoints.download import KNOWN_WEIGHTS, fetch, fetch_weights
from modules.checkpoints.frozen import IMAGENET_URL
from modules.checkpoints.places import find_weights
from modules.checkpoints.reading import read_checkpoint, read_weights
from modules.runtime.errors import UserError
from tests.support.places import ROOT


def checkpoint(seed=0):
    """A .pdparams of 200 kB."""
    weights = np.random.RandomState(seed).rand(50_000).astype('float32')
    return pickle.dumps({'generator': {'a': weights}, 'kp_detector': {'a': weights[:9]}}, 4)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        asked = self.headers.get('Range')
        server.requests.append((self.path, asked))
        time.sleep(server.delay)
        if server.status != 200:
            self.send_error(server.status)
            return
        data, start = server.data, 0
        if asked and server.ranges and self.headers.get('If-Range') == server.tag:
            start = int(asked[len('bytes=') : -1])
            if start >= len(data):
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{len(data)}')
                self.end_headers()
                return
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {start}-{len(data) - 1}/{len(data)}')
        else:
            self.send_response(200)
        self.send_header('Content-Length', str(len(data) - start))
        self.send_header(server.tag_header, server.tag)
        self.end_headers()
        end = len(data)
        if server.breaks:  # the connection closes after so many bytes
            end = min(end, start + server.breaks.pop(0))
        self.wfile.write(data[start:end])


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.data, server.tag, server.tag_header = checkpoint(), '"one"', 'ETag'
    server.ranges, server.status, server.breaks, server.requests = True, 200, [], []
    server.delay = 0
    server.url = f'http://127.0.0.1:{server.server_port}/models/'
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(download, 'PAUSE', 0)


def left(folder):
    """Files in the cache beside locks and checksums, which stay."""
    kept = ('.lock', '.sha256')
    return sorted(path.name for path in folder.iterdir() if path.suffix not in kept)


def test_known_weights_are_paddlegans():
    base = 'https://paddlegan.bj.bcebos.com/applications/first_order_model/'
    assert {
        'vox': base + 'vox-cpk.pdparams', 'vox-512': base + 'vox-cpk-512.pdparams',
    } == KNOWN_WEIGHTS  # fmt: skip


def test_downloads_once(server, tmp_path):
    cache = tmp_path / 'a' / 'b'
    for _ in range(2):
        path = fetch_weights('vox', cache, server.url)
        assert path == cache / 'vox-cpk.pdparams'
        assert path.read_bytes() == server.data
    assert server.requests == [('/models/vox-cpk.pdparams', None)]
    assert left(cache) == ['vox-cpk.pdparams']


def test_the_checksum_of_the_first_download_is_that_of_all(server, tmp_path):
    path = fetch_weights('vox', tmp_path, server.url)
    record = path.with_name('vox-cpk.pdparams.sha256')
    assert record.read_text() == hashlib.sha256(server.data).hexdigest() + '\n'
    path.unlink()
    assert fetch_weights('vox', tmp_path, server.url) == path
    path.unlink()
    server.data = checkpoint(seed=1)
    with pytest.raises(UserError, match='another file than the first time; if its owner') as error:
        fetch_weights('vox', tmp_path, server.url)
    assert str(record) in str(error.value) and not path.exists()
    record.unlink()
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data


@pytest.mark.parametrize('pinned', ['published', 'in its name'])
def test_a_file_must_have_the_checksum_that_its_owner_publishes(
    server, tmp_path, monkeypatch, pinned
):
    digest, name = hashlib.sha256(server.data).hexdigest(), 'a.pdparams'
    if pinned == 'published':
        checksum = hashlib.md5(server.data).hexdigest()
        monkeypatch.setitem(download.PUBLISHED, server.url + name, checksum)
    else:
        name = f'a-{digest[:8]}.pth'
    assert fetch(server.url + name, tmp_path, read_checkpoint).read_bytes() == server.data
    assert [path.name for path in tmp_path.glob('*.sha256')] == []
    (tmp_path / name).unlink()
    server.data = checkpoint(seed=1)
    with pytest.raises(UserError, match='not the one that its owner publishes'):
        fetch(server.url + name, tmp_path, read_checkpoint)
    assert not (tmp_path / name).exists() and not (tmp_path / f'{name}.part').exists()


def test_the_checksum_of_vgg_is_that_of_paddles_source():
    from paddle.vision.models import vgg

    url, checksum = vgg.model_urls['vgg19']
    assert url == IMAGENET_URL
    assert download.PUBLISHED[url] == checksum


def test_names_and_paths(server, tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.setenv('FOMM_WEIGHTS_URL', server.url)
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / 'first-order-model' / 'vox-cpk-512.pdparams'
    assert find_weights('vox-512') == expected
    assert expected.read_bytes() == server.data
    Path('vox').touch()  # a file goes before the name
    assert find_weights('vox') == Path('vox')
    with pytest.raises(
        UserError, match=r'no such file or folder; the names of known .* vox, vox-5'
    ):
        find_weights('taichi.pth.tar')
    with pytest.raises(UserError, match='no such file or folder'):
        find_weights('x' * 5000)
    with pytest.raises(UserError, match=r'did you mean vox-512\?'):
        find_weights('vox512')


def test_default_cache_is_in_the_home(server, tmp_path, monkeypatch):
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    path = fetch_weights('vox', base_url=server.url)
    assert path.parent == tmp_path / '.cache' / 'first-order-model'


def test_goes_on_where_the_connection_broke(server, tmp_path):
    server.breaks = [70_000, 0, *[1000] * download.ATTEMPTS]
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data
    ranges = [asked for _, asked in server.requests]
    assert ranges[:4] == [None, 'bytes=70000-', 'bytes=70000-', 'bytes=71000-']
    assert ranges[-1] == f'bytes={70_000 + 1000 * download.ATTEMPTS}-'


def break_off(server, cache, size=70_000):
    """Leaves the first `size` bytes in the cache, as an interrupted process does."""
    server.breaks = [size] + [0] * download.ATTEMPTS
    with pytest.raises(UserError, match='the download failed'):
        fetch_weights('vox', cache, server.url)
    assert left(cache) == ['vox-cpk.pdparams.part', 'vox-cpk.pdparams.tag']
    assert (cache / 'vox-cpk.pdparams.part').stat().st_size == size
    server.breaks, server.requests[:] = [], []


@pytest.mark.parametrize('header', ['ETag', 'Last-Modified'])
def test_a_later_process_goes_on(server, tmp_path, header):
    server.tag_header = header
    break_off(server, tmp_path)
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data
    assert [asked for _, asked in server.requests] == ['bytes=70000-']
    assert left(tmp_path) == ['vox-cpk.pdparams']


def test_starts_anew_when_the_file_has_changed(server, tmp_path):
    break_off(server, tmp_path)
    server.data, server.tag = checkpoint(1), '"two"'
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data
    assert len(server.requests) == 1


@pytest.mark.parametrize('header', ['ETag', 'X-Nothing'])
def test_starts_anew_without_ranges_or_tags(server, tmp_path, header):
    server.ranges, server.tag_header, server.breaks = False, header, [70_000]
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data
    second = 'bytes=70000-' if header == 'ETag' else None
    assert [asked for _, asked in server.requests] == [None, second]


def test_a_weak_tag_is_no_tag(server, tmp_path):
    server.tag = 'W/"one"'
    server.breaks = [70_000]
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data
    assert [asked for _, asked in server.requests] == [None, None]


def test_everything_was_there_but_the_name(server, tmp_path):
    (tmp_path / 'vox-cpk.pdparams.part').write_bytes(server.data)
    (tmp_path / 'vox-cpk.pdparams.tag').write_text(server.tag)
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data
    assert len(server.requests) == 1


def test_more_was_there_than_there_is(server, tmp_path):
    (tmp_path / 'vox-cpk.pdparams.part').write_bytes(server.data + b'more')
    (tmp_path / 'vox-cpk.pdparams.tag').write_text(server.tag)
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data


@pytest.mark.parametrize('data', [b'', b'<html>404</html>', checkpoint()[:-1], checkpoint()[:999]])
def test_what_is_no_checkpoint_is_not_kept(server, tmp_path, data):
    server.data = data
    with pytest.raises(UserError, match='what came from there is of no use: it ') as caught:
        fetch_weights('vox', tmp_path, server.url)
    assert str(caught.value).startswith(server.url)
    assert str(tmp_path) not in str(caught.value)
    assert 'vox-cpk.pdparams.part' not in left(tmp_path)
    server.data = checkpoint()
    assert fetch_weights('vox', tmp_path, server.url).read_bytes() == server.data


def assert_failure_tells_the_mend(caught, url, cache):
    message = str(caught.value)
    assert message.startswith(f'{url}vox-cpk.pdparams: the download failed (')
    assert f'put it as {cache / "vox-cpk.pdparams"}' in message
    assert '\n' not in message


def test_not_found_is_asked_for_once(server, tmp_path):
    server.status = 404
    with pytest.raises(UserError, match='HTTP status 404') as caught:
        fetch_weights('vox', tmp_path, server.url)
    assert_failure_tells_the_mend(caught, server.url, tmp_path)
    assert len(server.requests) == 1


def test_a_busy_server_is_asked_again_and_keeps_the_beginning(server, tmp_path):
    break_off(server, tmp_path)
    server.status = 503
    with pytest.raises(UserError, match='HTTP status 503'):
        fetch_weights('vox', tmp_path, server.url)
    assert len(server.requests) == download.ATTEMPTS
    server.status, server.requests[:] = 200, []
    fetch_weights('vox', tmp_path, server.url)
    assert [asked for _, asked in server.requests] == ['bytes=70000-']


def test_no_network(tmp_path):
    url = 'http://127.0.0.1:9/'  # where nothing listens
    with pytest.raises(UserError) as caught:
        fetch_weights('vox', tmp_path, url)
    assert_failure_tells_the_mend(caught, url, tmp_path)
    assert '(no connection to the server: Connection refused)' in str(caught.value)


def test_no_name_server(tmp_path, monkeypatch, capsys):
    """As on most machines without a network; the user is told before the attempts, too."""

    def unresolved(*_, **__):
        raise urllib.error.URLError(socket.gaierror(-2, 'Name or service not known'))

    monkeypatch.setattr('urllib.request.urlopen', unresolved)
    with pytest.raises(UserError) as caught:
        fetch_weights('vox', tmp_path, 'http://a.example/')
    assert_failure_tells_the_mend(caught, 'http://a.example/', tmp_path)
    assert '(no connection to the server: Name or service not known)' in str(caught.value)
    assert capsys.readouterr().err == (
        f'note: downloading http://a.example/vox-cpk.pdparams, once, into {tmp_path}\n'
    )


@pytest.mark.parametrize('url', ['file:///etc', 'ftp://127.0.0.1/', 'nonsense'])
def test_only_http(tmp_path, url):
    with pytest.raises(UserError, match='no http or https address'):
        fetch_weights('vox', tmp_path, url)


def test_any_state_dict_by_its_address(server, tmp_path):
    weights = np.arange(3, dtype='float32')
    server.data = pickle.dumps({'features.0.weight': weights, 'features.0.bias': weights}, 4)
    path = fetch(server.url + 'vgg19.pdparams', tmp_path)
    assert path == tmp_path / 'vgg19.pdparams'
    assert np.array_equal(read_weights(path)['features.0.bias'], weights)
    server.data = server.data[:-1]
    with pytest.raises(UserError, match='of no use'):
        fetch(server.url + 'other.pdparams', tmp_path)


def test_cache_that_can_not_be(server, tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'no vox-cpk\.pdparams can be kept there; set XDG'):
        fetch_weights('vox', tmp_path / 'file' / 'cache', server.url)
    with pytest.raises(UserError, match='can be kept there'):
        fetch_weights('vox', tmp_path / 'file', server.url)


def test_full_disk_is_no_network_failure(server, tmp_path, monkeypatch):
    def full(self, tag, append):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(download._Part, 'open', full)
    with pytest.raises(OSError, match='No space') as caught:
        fetch_weights('vox', tmp_path, server.url)
    assert caught.value.errno == 28


def test_progress_bar(server, tmp_path, monkeypatch):
    bars = []

    class Bar(download.tqdm):
        def __init__(self, **options):
            bars.append((self, options['initial'], options['total']))
            super().__init__(**{**options, 'disable': False, 'file': io.StringIO()})

    monkeypatch.setattr(download, 'tqdm', Bar)
    server.breaks = [70_000]
    fetch_weights('vox', tmp_path, server.url)
    size = len(server.data)
    assert [(initial, total) for _, initial, total in bars] == [(0, size), (70_000, size)]
    assert [bar.n for bar, _, _ in bars] == [70_000, size]


def test_two_processes_at_once(server, tmp_path):
    server.delay = 1  # second, in which the others start
    code = "from modules.checkpoints.download import fetch_weights; print(fetch_weights('vox'))"
    environment = {**os.environ, 'FOMM_WEIGHTS_URL': server.url, 'XDG_CACHE_HOME': str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, '-c', code], cwd=ROOT, env=environment, stdout=-1)
        for _ in range(3)
    ]
    target = tmp_path / 'first-order-model' / 'vox-cpk.pdparams'
    for process in processes:
        assert process.communicate(timeout=60)[0].decode().strip() == str(target)
    assert target.read_bytes() == server.data
    assert len(server.requests) == 1
