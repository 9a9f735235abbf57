"""Files, names and requests that are made to harm whoever takes pictures and clips."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.support.places import ROOT


def picture(size=(64, 48), kind='PNG', **settings) -> bytes:
    file = io.BytesIO()
    Image.new('RGB', size, (90, 140, 60)).save(file, kind, **settings)
    return file.getvalue()


def png(width, height, *chunks, rows=b'') -> bytes:
    """A PNG of gray pixels, of any claims: chunks are (name, content)."""
    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    parts = [(b'IHDR', header), *chunks, (b'IDAT', rows), (b'IEND', b'')]
    data = b'\x89PNG\r\n\x1a\n'
    for name, content in parts:
        checksum = zlib.crc32(name + content)
        data += struct.pack('>I', len(content)) + name + content + struct.pack('>I', checksum)
    return data


def zeros(megabytes) -> bytes:
    """Deflated zeros, a thousandth of their size."""
    packer = zlib.compressobj(9)
    return b''.join([*(packer.compress(bytes(2**20)) for _ in range(megabytes)), packer.flush()])


def names() -> list[str]:
    """Of files that would lie elsewhere, or run, if anybody took them as they are."""
    return [
        '../../../../etc/passwd',
        '..\\..\\windows\\system32\\x.png',
        '/etc/cron.d/x.png',
        'a' * 5000 + '.png',
        '画' * 300 + '.png',
        '.htaccess',
        'con.png',
        '; touch harmed; .png',
        '<img src=x onerror=alert(1)>.png',
        '....//....//x.png',
        'x.png/../../y.png',
        '%2e%2e%2fx.png',
    ]


def wrong_kinds() -> dict[str, bytes]:
    """Files that are not what their names say."""
    clip = (ROOT / 'doc/demo/driving.mp4').read_bytes()
    whole = (ROOT / 'doc/demo/source.png').read_bytes()
    noise = np.random.default_rng(0).integers(0, 256, 4096, 'uint8').tobytes()
    return {
        'empty': b'',
        'a text': b'hello ' * 1000,
        'noise': noise,
        'noise after a PNG signature': whole[:8] + noise,
        'noise after a JPEG signature': b'\xff\xd8\xff\xe0' + noise,
        'a clip': clip,
        'half a PNG': whole[: len(whole) // 2],
        'an archive': b'PK\x03\x04' + noise,
        'a pickle': b'\x80\x04cos\nsystem\n(S"touch harmed"\ntR.',
        'a program': b'\x7fELF' + noise,
        'an SVG with a script': b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>',
        'PostScript': b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n',
    }


def bombs() -> dict[str, bytes]:
    """Small files that are huge once they are unpacked."""
    large = io.BytesIO()
    Image.new('1', (20000, 20000)).save(large, 'TIFF', compression='tiff_adobe_deflate')
    gif = b'GIF89a' + struct.pack('<HH', 65535, 65535) + b'\x80\0\0\0\0\0\xff\xff\xff'
    gif += b',' + struct.pack('<HHHH', 0, 0, 65535, 65535) + b'\0\x02\x02D\x01\0;'
    note = b'Comment\0\0' + zeros(200)
    return {
        'PNG of 30000 x 30000': png(30000, 30000, rows=zeros(900)),
        'PNG that claims 2147483647 x 2147483647': png(2**31 - 1, 2**31 - 1, rows=zeros(1)),
        'PNG of 7000 x 7000': png(7000, 7000, rows=zeros(47)),
        'small PNG, 900 MB behind it': png(8, 8, rows=zeros(900)),
        'PNG with a text of 200 MB': png(8, 8, (b'zTXt', note), rows=zlib.compress(bytes(72))),
        'PNG with a profile of 200 MB': png(
            8, 8, (b'iCCP', b'x\0\0' + zeros(200)), rows=zlib.compress(bytes(72))
        ),
        'TIFF of 20000 x 20000': large.getvalue(),
        'GIF of 65535 x 65535': gif,
    }


def requests(boundary: str = 'xxxx') -> Iterator[tuple[str, bytes]]:
    """Requests to /en/gradio_api/upload, byte by byte, without the empty line after their headers
    where that is their fault.
    """
    start = b'POST /en/gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\n'
    form = f'Content-Type: multipart/form-data; boundary={boundary}\r\n'.encode()
    part = f'--{boundary}\r\nContent-Disposition: form-data; name="files"; '.encode()
    end = f'\r\n--{boundary}--\r\n'.encode()

    def sent(headers: bytes, body: bytes) -> bytes:
        return start + headers + f'Content-Length: {len(body)}\r\n\r\n'.encode() + body

    yield 'a header of 1 MB', start + form + b'X-Large: ' + b'a' * 2**20 + b'\r\n\r\n'
    yield '5000 headers', start + form + b'X: y\r\n' * 5000 + b'\r\n'
    huge = part + b'filename="' + b'a' * 2**17 + b'"\r\n\r\nx' + end
    yield "a file's header of 128 KB", sent(form, huge)
    yield 'a claim of 1 TB', start + form + b'Content-Length: 1000000000000\r\n\r\n'
    yield 'a length below zero', start + form + b'Content-Length: -5\r\n\r\n'
    yield 'no boundary', sent(b'Content-Type: multipart/form-data\r\n', part + end)
    yield 'another type', sent(b'Content-Type: application/json\r\n', b'[' * 10000)
    fields = f'--{boundary}\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'.encode()
    yield '5000 fields', sent(form, fields * 5000 + end)
    one = part + b'filename="a.png"\r\n\r\n' + picture() + b'\r\n'
    yield '1000 files at once', sent(form, one * 1000 + end)
    yield 'no file', sent(form, end)
    chunks = b'100000\r\n' + b'a' * 2**20 + b'\r\n'
    opened = b'1000\r\n' + (part + b'filename="a.png"\r\n\r\n').ljust(4096, b'a') + b'\r\n'
    endless = start + form + b'Transfer-Encoding: chunked\r\n\r\n' + opened + chunks * 12
    yield 'more than is taken, in chunks', endless + b'0\r\n\r\n'
    yield 'broken off', start + form + b'Content-Length: 900000\r\n\r\n' + one
    yield 'broken off in its header', start + form + b'Content-Length: 900000\r\n\r\n' + part[:40]
    yield 'a lone byte', b'\xff'
    yield (
        'a name with line breaks',
        sent(form, part + b'filename="a\r\nSet-Cookie: x=y\r\n.png"\r\n\r\nx' + end),
    )
    yield 'two lengths', start + form + b'Content-Length: 5\r\nContent-Length: 900\r\n\r\nxxxxx'
    yield 'a path with ..', start.replace(b'/en/', b'/en/../en/../../') + form + b'\r\n'
    yield 'a compressed body', sent(form + b'Content-Encoding: gzip\r\n', zeros(10))
