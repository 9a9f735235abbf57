"""Files made to harm, by name."""

import io
import pickle
import random
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tests.support.crafted import (
    FACTS,
    boxed,
    boxed_network,
    call,
    network,
    npy,
    npz,
    npz_pickle,
    pdparams,
    raw_zip,
    safetensors,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
    zipped,
)
from tests.support.hostile_pickles import NUMPY_PICKLES, PICKLES, TORCH_PICKLES, TOUCH

TINY = Path(__file__).resolve().parent / 'data' / 'demo_tiny'


def weight(**changes):
    entry = {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 16], **changes}
    return {'generator.first.conv.bias': entry}


def inflating(megabytes):
    """A deflated stream of zeros, a thousandth of their size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * megabytes + b'\x03\x00'


def containers():
    """Files whose fault is not in a pickle."""
    good = network(tensor((4,), (1,)))
    pkl = ('a/data.pkl', b'\x80\x02' + good + b'.')
    plain = npy()
    ours = {'format': 'first-order-model', 'version': '1', 'config': 'null', 'meta': '{}'}
    deep = '[' * 100_000
    rng = random.Random(0)
    return {
        'empty': b'',
        'one-byte': b'\x80',
        'random': rng.getrandbits(8 * 4096).to_bytes(4096, 'little'),
        'random-pickle': b'\x80\x04' + rng.getrandbits(8 * 4096).to_bytes(4096, 'little'),
        'random-zip': b'PK\x03\x04' + rng.getrandbits(8 * 4096).to_bytes(4096, 'little'),
        'web-page': b'<!DOCTYPE html><html><body>404</body></html>',
        'shell-script': b'#!/bin/sh\ntouch executed\n',
        'python-2-pickle': b"cos\nsystem\n(S'touch executed'\ntR.",
        'zip-empty': zipped([]),
        'zip-without-pickle': zipped([('a/data/0', bytes(16))]),
        'zip-two-pickles': zipped([pkl, ('b/data.pkl', pkl[1]), ('a/data/0', bytes(16))]),
        'zip-absent-member': zipped([pkl]),
        'zip-short-member': zipped([pkl, ('a/data/0', bytes(15))]),
        'zip-duplicate-member': raw_zip([
            (pkl[0], 0, len(pkl[1]), pkl[1]), ('a/data/0', 0, 16, bytes(16)),
            ('a/data/0', 0, 16, bytes(16)),
        ]),
        'zip-traversal': zipped([pkl, ('a/data/0', bytes(16)), ('../executed', b'')]),
        'zip-absolute': zipped([pkl, ('a/data/0', bytes(16)), ('/tmp/executed', b'')]),
        'zip-backslash': zipped([pkl, ('a/data/0', bytes(16)), ('..\\executed', b'')]),
        'zip-drive': zipped([pkl, ('a/data/0', bytes(16)), ('c:executed', b'')]),
        'zip-bad-sum': zipped([pkl, ('a/data/0', b'\x01' * 16)]).replace(b'\x01' * 16, bytes(16)),
        'zip-big-endian': zipped([pkl, ('a/data/0', bytes(16)), ('a/byteorder', b'big')]),
        'zip-bomb': raw_zip([
            (pkl[0], 0, len(pkl[1]), pkl[1]), ('a/data/0', 8, 700 * 2**20, inflating(700)),
        ]),
        'zip-bomb-pickle': raw_zip([('a/data.pkl', 8, 700 * 2**20, inflating(700))]),
        'zip-bomb-false-size': raw_zip([('a/data.pkl', 8, 100, inflating(700))]),
        'zip-bomb-bzip2': zipped([pkl, ('a/data/0', bytes(16))], zipfile.ZIP_BZIP2),
        'zip-size-2**32': raw_zip([('a/data.pkl', 0, 2**32 - 2, pkl[1])]),
        'zip-encrypted': raw_zip([('a/data.pkl', 0, len(pkl[1]), pkl[1])]).replace(
            b'\x14\x00\x00\x00\x00', b'\x14\x00\x01\x00\x00'
        ),
        'torchscript': zipped([
            ('a/data.pkl', b'\x80\x02c__torch__\nNet\n)\x81.'), ('a/code/__torch__.py', b'x'),
        ]),
        'legacy-length-2**60': torch_legacy(good, length=2**60),
        'legacy-both-lengths-2**60': torch_legacy(
            network(tensor((4,), (1,), of=storage(length=2**60))), length=2**60
        ),
        'legacy-length-negative': torch_legacy(good, length=-1),
        'legacy-no-numbers': torch_legacy(good, numbers=b''),
        # None of its pickles is too long, but all together.
        'legacy-many-opcodes': torch_legacy(b']q\x00' + b'h\x00q\x00' * 150_000 + good).replace(
            FACTS, FACTS[:2] + b']q\x00' + b'h\x00q\x00' * 150_000 + FACTS[2:]
        ),
        'legacy-cut-at-length': torch_legacy(good)[: -16 - 5],
        'legacy-other-version': torch_legacy(good).replace(b'M\xe9\x03', b'M\xe8\x03'),
        'legacy-big-endian': torch_legacy(good).replace(b'little_endian\x88', b'little_endian\x89'),
        'legacy-other-key': torch_legacy(good).replace(b']' + text('0'), b']' + text('1')),
        'legacy-keys-no-list': torch_legacy(good).replace(b']' + text('0') + b'a', b'}'),
        'npz-object-array': npz(('final.weight', npy("'|O'", '(1,)', pickle.dumps([1])))),
        'npz-object-named': npz(('final.weight', npy("'|O'", '()', pickle.dumps({})))),
        'npz-shape-2**60': npz(('final.weight', npy(shape=f'({2**60},)'))),
        'npz-shape-overflow': npz(('final.weight', npy(shape=f'({2**32}, {2**32})'))),
        'npz-shape-negative': npz(('final.weight', npy(shape='(-4,)'))),
        'npz-shape-long-number': npz(('final.weight', npy(shape='(' + '9' * 60_000 + ',)'))),
        'npz-shape-expression': npz(('final.weight', npy(shape='(2**2,)'))),
        'npz-header-call': npz(('final.weight', npy(shape="__import__('os').system('ls')"))),
        'npz-header-deep': npz(('final.weight', npy(shape='(' * 60_000))),
        'npz-header-size': npz(('final.weight', plain[:8] + b'\xff\xff' + plain[10:])),
        'npz-header-2**32': npz(
            ('final.weight', b'\x93NUMPY\x02\x00\xff\xff\xff\xff' + plain[10:])
        ),
        'npz-records': npz(('final.weight', npy("[('a', '<f4')]"))),
        'npz-text': npz(('final.weight', npy("'<U4'"))),
        'npz-short': npz(('final.weight', npy(data=bytes(15)))),
        'npz-long': npz(('final.weight', npy(data=bytes(17)))),
        'npz-no-magic': npz(('final.weight', bytes(200))),
        'npz-nothing': npz(('final.weight', b'')),
        'npz-unnamed': npz(('arr_0', plain)),
        'npz-other-names': npz(('a', plain), ('b', plain)),
        'npz-name-path': npz(('final.weight', plain), ('../x', plain)),
        'npz-name-odd': npz(('final.weight', plain), ('a b\x1b[31m', plain)),
        'npz-bomb': raw_zip([('final.weight.npy', 8, 700 * 2**20, inflating(700))]),
        'npz-bomb-false-size': raw_zip([('final.weight.npy', 8, 144, inflating(700))]),
        'npz-boxed-list': npz_pickle(boxed(b']')),
        'npz-boxed-tuple-axis': npz(('arr_0', npy("'|O'", '(1,)', b'\x80\x02]}a.'))),
        'npz-boxed-call': npz_pickle(boxed(call('os.system', TOUCH))),
        'npz-boxed-object': npz_pickle(
            boxed(b'}' + text('final.weight') + boxed(b'N') + b's')
        ),
        'npz-unboxed': npz_pickle(b'}'),
        'npz-weight-twice': npz(
            ('final.weight', plain), ('n._mean', plain), ('n.running_mean', plain)
        ),
        'safetensors-header-2**60': safetensors(weight(), size=2**60),
        'safetensors-header-beyond': safetensors(weight(), size=10_000),
        'safetensors-header-0': safetensors(b'{', size=0),
        'safetensors-no-json': safetensors(b'{' + b'x' * 100),
        'safetensors-deep': safetensors(b'{"a":' + deep.encode()),
        'safetensors-offset': safetensors(weight(data_offsets=[0, 2**40])),
        'safetensors-shape': safetensors(weight(shape=[2**40])),
        'safetensors-shape-overflow': safetensors(weight(shape=[2**32, 2**32, 2**32])),
        'safetensors-dtype': safetensors(weight(dtype='OBJ')),
        'safetensors-complex': safetensors(weight(dtype='C64', shape=[2])),
        'safetensors-unsigned': safetensors(weight(dtype='U32')),
        'safetensors-17-axes': safetensors(weight(shape=[4] + [1] * 16)),
        'safetensors-65-axes': safetensors(weight(shape=[1] * 65, dtype='F8_E5M2'), b'\0'),
        'safetensors-axis-2**31': safetensors(
            weight(shape=[0, 2**31], data_offsets=[0, 0], dtype='BF16'), b''
        ),
        'safetensors-axes-2**62': safetensors(
            weight(shape=[0, 2**62, 2**62], data_offsets=[0, 0], dtype='BF16'), b''
        ),
        'safetensors-short': safetensors(weight(), data=bytes(15)),
        'safetensors-long': safetensors(weight(), data=bytes(17)),
        'safetensors-others': safetensors({'a': weight()['generator.first.conv.bias']}),
        'safetensors-newer': safetensors({'__metadata__': {**ours, 'version': '2'}, **weight()}),
        'safetensors-no-config': safetensors(
            {'__metadata__': {'format': ours['format'], 'version': '1'}, **weight()}
        ),
        'safetensors-config-deep': safetensors(
            {'__metadata__': {**ours, 'config': deep}, **weight()}
        ),
        'safetensors-meta-list': safetensors({'__metadata__': {**ours, 'meta': '[]'}, **weight()}),
        **{
            f'safetensors-{name}-sum': safetensors(
                {'__metadata__': {**ours, 'crc32': sums}, **weight()}
            )
            for name, sums in (
                ('deep', deep), ('list', '[1]'), ('no', '{"a": 1}'),
                ('other', '{"generator.first.conv.bias": 1}'),
            )
        },
    }  # fmt: skip


def truncated():
    """The beginnings of sound files of each format."""
    arrays = {'final.weight': np.zeros((2, 3), np.float32), 'final.bias': np.ones(3, np.float32)}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    sound = {
        'legacy': (TINY / 'tiny-nets-legacy.pth.tar').read_bytes(),
        'zip': (TINY / 'tiny-part-zip.pth.tar').read_bytes(),
        'pickled-npz': (TINY / 'D.npz').read_bytes(),
        'npz': buffer.getvalue(),
        'pdparams': pickle.dumps({'generator': arrays, 'kp_detector': arrays}, 4),
        'safetensors': safetensors(weight()),
    }
    parts = (0.001, 0.01, 0.02, 0.1, 0.3, 0.5, 0.9, 0.99)
    for kind, data in sound.items():
        for size in {1, 8, 20, len(data) - 1, *(int(len(data) * part) for part in parts)}:
            yield f'cut-{kind}-{size}', data[:size]


def hostile_files():
    for key, body in PICKLES.items():
        yield f'torch-zip-{key}', torch_zip(body)
        yield f'torch-legacy-{key}', torch_legacy(body)
        yield f'pdparams-{key}', pdparams(body)
        yield f'npz-pickle-{key}', npz_pickle(boxed_network(body))
    for key, body in NUMPY_PICKLES.items():
        yield f'pdparams-{key}', pdparams(body)
        yield f'npz-pickle-{key}', npz_pickle(boxed_network(body))
    for key, body in TORCH_PICKLES.items():
        length = 2**18 if key == 'shared-storage-bomb' else 4
        yield f'torch-zip-{key}', torch_zip(body, bytes(4 * length))
        yield f'torch-legacy-{key}', torch_legacy(body, length, bytes(4 * length))
    yield from containers().items()
    yield from truncated()
