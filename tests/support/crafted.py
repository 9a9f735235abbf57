"""Pickles and the files around them, byte by byte: what no writer of checkpoints would write."""

import io
import json
import struct
import zipfile
import zlib

MAGIC = b'\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.'
FACTS = b'\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.'


def text(value):
    return b'X' + struct.pack('<I', len(value)) + value.encode()


def integer(value):
    data = value.to_bytes(value.bit_length() // 8 + 1, 'little', signed=True)
    return b'\x8a' + bytes([len(data)]) + data


def integers(*values):
    return b'(' + b''.join(map(integer, values)) + b't'


def raw(value):
    return b'B' + struct.pack('<I', len(value)) + value


def name(dotted):
    module, _, last = dotted.rpartition('.')
    return f'c{module}\n{last}\n'.encode()


def call(dotted, *arguments):
    return name(dotted) + b'(' + b''.join(arguments) + b'tR'


def network(value, key='first.conv.weight'):
    """{'generator': {key: value}}"""
    return b'}' + text('generator') + b'}' + text(key) + value + b'ss'


def storage(key='0', length=4, kind='torch.FloatStorage'):
    return b'(' + text('storage') + name(kind) + text(key) + text('cpu') + integer(length) + b'tQ'


def tensor(shape, strides, offset=0, of=None):
    return call(
        'torch._utils._rebuild_tensor_v2',
        of or storage(), integer(offset), integers(*shape), integers(*strides),
        b'\x89', call('collections.OrderedDict'),
    )  # fmt: skip


def dtype(code):
    return call('numpy.dtype', text(code), b'\x89', b'\x88')


def array(shape, data, code='f4', content=None):
    made = call('numpy.core.multiarray._reconstruct', name('numpy.ndarray'), integers(0), raw(b'b'))
    state = integer(1) + integers(*shape) + dtype(code) + b'\x89' + (content or raw(data))
    return made + b'(' + state + b'tb'


def raw_zip(members):
    """A zip archive whose headers say what they are told: (name, method, size told, data)."""
    body, directory = b'', b''
    for member, method, size, data in members:
        facts = struct.pack(
            '<HHHHHIIIHH', 20, 0, method, 0, 33, zlib.crc32(b''), len(data), size, len(member), 0
        )
        directory += b'PK\x01\x02\x14\x00' + facts + struct.pack('<HHHII', 0, 0, 0, 0, len(body))
        directory += member.encode()
        body += b'PK\x03\x04' + facts + member.encode() + data
    counts = (0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b'PK\x05\x06' + struct.pack('<HHHHIIH', *counts)


def zipped(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', compression) as archive:
        for member, data in members:  # with one date: the same files every time
            archive.writestr(zipfile.ZipInfo(member), data, compression)
    return buffer.getvalue()


def torch_zip(body, numbers=bytes(16)):
    return zipped([('a/data.pkl', b'\x80\x02' + body + b'.'), ('a/data/0', numbers)])


def torch_legacy(body, length=4, numbers=bytes(16)):
    version, keys = b'\x80\x02M\xe9\x03.', b'\x80\x02]' + text('0') + b'a.'
    data = b'\x80\x02' + body + b'.'
    return MAGIC + version + FACTS + data + keys + struct.pack('<q', length) + numbers


def pdparams(body):
    return b'\x80\x02' + body + b'.'


def npy(descr="'<f4'", shape='(4,)', data=bytes(16), order='False', more=''):
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, {more}}}"
    header = header.ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + data


def npz(*members):
    return zipped([(f'{key}.npy', data) for key, data in members])


def npz_pickle(body):
    return npz(('arr_0', npy("'|O'", '()', b'\x80\x02' + body + b'.')))


def boxed(body):
    """The pickle of a 0-d object array of the object that `body` makes."""
    return array((), b'', 'O8', b']' + body + b'a')


def boxed_network(body):
    """Likewise of the single network in what `network` made; any other pickle as it is."""
    prefix = b'}' + text('generator')
    return boxed(body[len(prefix) : -1]) if body.startswith(prefix) else body


def safetensors(header, data=bytes(16), size=None):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(header) if size is None else size) + header + data
