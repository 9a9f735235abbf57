"""Published weights by name: downloaded once into a cache, resumed, verified."""

import errno
import http.client
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from tqdm import tqdm

from modules.checkpoints.reading import read_checkpoint, read_weights
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike, file_hash
from modules.runtime.locks import taking_turns
from modules.runtime.messages import note
from modules.runtime.user_cache import user_cache

BASE_URL = 'https://paddlegan.bj.bcebos.com/applications/first_order_model/'
KNOWN_WEIGHTS = {  # PaddleGAN's, converted from the official ones or trained on larger frames
    'vox': BASE_URL + 'vox-cpk.pdparams',
    'vox-512': BASE_URL + 'vox-cpk-512.pdparams',
}
CONFIGS = {'vox': 'vox-256.yaml', 'vox-512': 'vox-512.yaml'}  # of each, in config/
PUBLISHED = {  # checksums that owners of files publish, MD5: here in Paddle's source
    'https://paddle-hapi.bj.bcebos.com/models/vgg19.pdparams': '23b18bb13d8894f60f54e642be79a0dd',
}
# torchvision's files have the first digits of their SHA-256 in their names.
_IN_NAME = re.compile(r'.+-([0-9a-f]{8,64})\.pth')
BASE_URL_VARIABLE = 'FOMM_WEIGHTS_URL'  # a mirror: the folder that holds the files
ATTEMPTS = 4  # that bring nothing, in a row
PAUSE = 1.0  # seconds between them
TIMEOUT = 30  # seconds without a byte
CHUNK = 2**18


class _BrokenOffError(Exception):
    """The transfer broke off; another attempt may go on from there, unless it is `final`."""

    def __init__(self, reason: object, final: bool = False):
        super().__init__(reason)
        self.final = final


def fetch_weights(name: str, cache: PathLike | None = None, base_url: str | None = None) -> Path:
    """The file of known weights, downloaded unless it is in the cache.

    Args:
        name: a key of KNOWN_WEIGHTS.
        cache: a folder; by default first-order-model in $XDG_CACHE_HOME or ~/.cache.
        base_url: the folder to get the file from instead; by default $FOMM_WEIGHTS_URL, if set.

    Raises:
        UserError: it can't be had; the message says from where and how to put it there by hand.
    """
    url = KNOWN_WEIGHTS[name]
    base_url = base_url or os.environ.get(BASE_URL_VARIABLE)
    if base_url:
        url = f'{base_url.rstrip("/")}/{url.rpartition("/")[2]}'
    return fetch(url, cache, read_checkpoint)


def fetch(
    url: str, cache: PathLike | None = None, verify: Callable[[Path], object] = read_weights
) -> Path:
    """The file at an address, downloaded unless it is in the cache; see fetch_weights.

    Args:
        verify: reads the new file, and raises UserError unless it is whole.
    """
    if not url.startswith(('http://', 'https://')):
        raise UserError(f'{url}: no http or https address')
    folder = Path(cache) if cache else user_cache()
    target = folder / url.rpartition('/')[2]
    if target.exists():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with taking_turns(target.with_name(target.name + '.lock'), f'downloads {target.name}'):
            if not target.exists():  # another process may have been faster
                note(f'downloading {url}, once, into {folder}')
                _download(url, target, verify)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise UserError(
            f'{folder}: no {target.name} can be kept there; set XDG_CACHE_HOME to a folder of yours'
        ) from error
    return target


def _download(url: str, target: Path, verify: Callable[[Path], object]) -> None:
    part = _Part(target.with_name(target.name + '.part'), target.with_name(target.name + '.tag'))
    failures = 0
    while True:
        size = part.size()
        try:
            _transfer(url, part)
            break
        except _BrokenOffError as error:
            failures = 0 if part.size() > size else failures + 1
            if error.final or failures == ATTEMPTS:
                raise UserError(
                    f'{url}: the download failed ({error}); try again later to go on from there, or'
                    f' get the file by other means and put it as {target}'
                ) from error
        time.sleep(PAUSE)
    try:
        verify(part.path)
    except UserError as error:
        part.path.unlink()
        reason = str(error).rpartition(f'{part.path}: ')[2]
        raise UserError(f'{url}: what came from there is of no use: it {reason}') from error
    _check_sum(url, part.path, target)
    os.replace(part.path, target)
    part.tag_path.unlink(missing_ok=True)


def _check_sum(url: str, path: Path, target: Path) -> None:
    """Compares a new file with the checksum that its owner publishes, else with that of the first
    file of this name that came here, which is kept beside it.

    Raises:
        UserError: it is another file, and is removed.
    """
    name, record = target.name, target.with_name(target.name + '.sha256')
    with open(path, 'rb') as file:
        found = file_hash(file)
        file.seek(0)
        md5 = file_hash(file, 'md5') if url in PUBLISHED else ''
    in_name = _IN_NAME.fullmatch(name)
    problem = ''
    if md5 != PUBLISHED.get(url, '') or (in_name and not found.startswith(in_name[1])):
        problem = 'its checksum is not the one that its owner publishes; try again later'
    elif url not in PUBLISHED and in_name is None:
        if not record.exists():
            record.write_text(found + '\n', encoding='ascii')
        elif record.read_text(encoding='ascii', errors='replace').strip() != found:
            problem = (
                f'it is another file than the first time; if its owner has replaced it, remove '
                f'{record} and start again'
            )
    if problem:
        path.unlink()
        raise UserError(f'{url}: what came from there is of no use: {problem}')


class _Part(NamedTuple):
    """A file on its way, and what tells whether the server still has the same one."""

    path: Path
    tag_path: Path

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def read_tag(self) -> str:
        """The ETag or date of the file of which a beginning is here; '' to start anew."""
        if not self.path.exists() or not self.tag_path.exists():
            return ''
        return self.tag_path.read_text(encoding='utf-8')

    def open(self, tag: str, append: bool) -> BinaryIO:
        self.tag_path.write_text(tag, encoding='utf-8')
        return open(self.path, 'ab' if append else 'wb')


def _transfer(url: str, part: _Part) -> None:
    """Fetches the file, or the rest of it where a beginning is here. Raises _BrokenOffError."""
    request = urllib.request.Request(url)
    tag = part.read_tag()
    start = part.size() if tag else 0
    if start:
        # If the file has changed since, the server sends the whole new one.
        request.add_header('Range', f'bytes={start}-')
        request.add_header('If-Range', tag)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            if error.headers.get('Content-Range') == f'bytes */{start}':
                return  # it was all here
            part.tag_path.unlink(missing_ok=True)  # so that the next attempt starts anew
        final = 400 <= error.code < 500 and error.code != 416
        raise _BrokenOffError(f'HTTP status {error.code}', final) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _BrokenOffError(_why(getattr(error, 'reason', None) or error)) from error
    with response:
        start, total = _find_range(response, start)
        tag = response.headers.get('ETag', '')
        if not tag or tag.startswith('W/'):
            tag = response.headers.get('Last-Modified', '')
        bar = tqdm(
            total=total, initial=start, unit='B', unit_scale=True, desc=url.rpartition('/')[2],
            disable=None,
        )  # fmt: skip
        with part.open(tag, append=start > 0) as file, bar:
            for chunk in _chunks(response):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.size() != total:
        raise _BrokenOffError(f'{part.size()} of {total} bytes came')


def _why(reason: object) -> str:
    """Why nothing comes from a server, for a user who need not know how names are resolved."""
    unreachable = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ETIMEDOUT)
    if isinstance(reason, socket.gaierror) or getattr(reason, 'errno', None) in unreachable:
        return f'no connection to the server: {getattr(reason, "strerror", reason)}'
    return str(reason)


def _find_range(response: http.client.HTTPResponse, start: int) -> tuple[int, int | None]:
    """(first byte that comes, size of the whole file if told) of a response."""
    if response.status == 206:
        match = re.fullmatch(r'bytes (\d+)-\d+/(\d+)', response.headers.get('Content-Range', ''))
        if match is None or int(match[1]) != start:
            raise _BrokenOffError('the server sent another part of the file than asked for')
        return start, int(match[2])
    length = response.headers.get('Content-Length', '')
    return 0, int(length) if length.isdigit() else None


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        try:
            chunk = response.read(CHUNK)
        except (OSError, http.client.HTTPException) as error:  # not those of our own disk
            raise _BrokenOffError(error) from error
        if not chunk:
            return
        yield chunk
