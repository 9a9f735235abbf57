"""Pickles that do what no checkpoint needs, or are damaged."""

import struct

from tests.support.crafted import (
    array,
    call,
    dtype,
    integer,
    integers,
    name,
    network,
    raw,
    storage,
    tensor,
    text,
)

# A tuple that is small in memory and endless to walk through: of 50 tuples of 50 tuples of ...
LAUGHS = b'(]q\x00' + b''.join(b'(' + b'h%c' % n * 50 + b'tq%c' % (n + 1) for n in range(60)) + b't'
TOUCH = text('touch executed')
SYSTEM_ARGUMENTS = b'(' + name('os.system') + b'(' + TOUCH + b'tt'
PYTHON = text("open('executed', 'w').close()")
EXECUTING = {  # these do run in pickle.loads: the test below sees to it
    'reduce': call('os.system', TOUCH),
    'reduce-posix': call('posix.system', TOUCH),
    'eval': call('builtins.eval', PYTHON),
    'exec': call('builtins.exec', PYTHON),
    'inst': b'(' + TOUCH + b'ios\nsystem\n',
    'obj': b'(' + name('os.system') + TOUCH + b'o',
    'newobj': call('builtins.list', name('builtins.map') + SYSTEM_ARGUMENTS + b'\x81'),
    'newobj-ex': call('builtins.list', name('builtins.map') + SYSTEM_ARGUMENTS + b'}\x92'),
    'stack-global': text('os') + text('system') + b'\x93(' + TOUCH + b'tR',
    'import-alone': name('hostile_module.anything'),
    'partial': call('functools.partial', name('os.system'), TOUCH) + b')R',
    'getattr': call('builtins.getattr', call('builtins.__import__', text('os')), text('system'))
    + b'(' + TOUCH + b'tR',
    'nested-pickle': call(
        'pickle.loads', raw(b'\x80\x02' + call('os.system', TOUCH) + b'.')
    ),
    'map': call('builtins.list', call('builtins.map', name('os.system'), b'(' + TOUCH + b't')),
    'in-dict-key': b'}' + call('os.system', TOUCH) + b'Ns',
}  # fmt: skip
PICKLES = {
    **EXECUTING,
    'ext1': b'\x82\x01',
    'ext2': b'\x83\x01\x00',
    'ext4': b'\x84\x01\x00\x00\x00',
    'persid': b'P/etc/passwd\n',
    'binpersid': text('/etc/passwd') + b'Q',
    'f2py': call('numpy.f2py.crackfortran.myeval', PYTHON),
    'runstring': call('numpy.testing._private.utils.runstring', PYTHON, b'}'),
    'numpy-load': call('numpy.load', text('/etc/passwd')),
    'memmap': call('numpy.memmap', text('executed'), text('f4'), text('w+')),
    'torch-load': call('torch.load', text('/etc/passwd')),
    'torch-hub': call('torch.hub.load', text('a/b')),
    'nt': call('nt.system', TOUCH),
    'dotted-name': text('collections') + text('OrderedDict.__class__') + b'\x93)R',
    'name-in-table-as-module': text('collections OrderedDict') + text('x') + b'\x93)R',
    'global-no-text': b'NN\x93',
    'setstate': call('collections.OrderedDict') + b'}' + text('__setstate__') + name('os.system')
    + b's' + b'b' + TOUCH + b'b',
    'class-swap': call('collections.OrderedDict') + b'}' + text('__class__') + TOUCH + b'sb',
    'build-list': b']}b',
    'build-tuple': b')' + TOUCH + b'b',
    'call-text': TOUCH + b')R',
    'call-dict': b'})R',
    'arguments-no-tuple': name('collections.OrderedDict') + b']R',
    'too-many-arguments': call('collections.OrderedDict', b'N', b'N', b'N'),
    'dict-key-list': b'}]Ns',
    'dict-key-dict': b'}}Ns',
    'dict-key-tuple': b'}' + integers(1) + b'Ns',
    'odd-items': b'}(' + text('a') + b'u',
    'append-to-none': b'NNa',
    'setitem-of-list': b'](NNu',
    'unset-memo': b'h\x07',
    'unset-memo-long': b'j\xff\xff\xff\x7f',
    'memo-slot-2**32': network(b'Nr\xff\xff\xff\xff'),
    'underflow': b'R',
    'underflow-tuple': b'\x87',
    'no-mark': b't',
    'dup': b'N2',
    'pop': b'NN0',
    'frozenset': b'(N\x91',
    'set': b'\x8f',
    'bytearray-2**62': b'\x96' + struct.pack('<Q', 2**62),
    'bytes-2**62': b'\x8e' + struct.pack('<Q', 2**62),
    'text-2**62': b'\x8d' + struct.pack('<Q', 2**62),
    'bytes-2**32': b'B\xff\xff\xff\xff',
    'text-2**32': b'X\xff\xff\xff\xff',
    'frame-2**63': b'\x95' + b'\xff' * 8,
    'negative-string': b'T\xff\xff\xff\xff',
    'decimal-bomb': b'L' + b'9' * 2_000_000 + b'L\n',
    'integer-bomb': b'\x8b' + struct.pack('<I', 2_000_000) + b'\x7f' * 2_000_000,
    'equal-hashes': b'}(' + b''.join(integer(n * (2**61 - 1)) + b'N' for n in range(60_000)) + b'u',
    'many-marks': b'(' * 3_000_000,
    'many-lists': b']' * 3_000_000,
    'deep-lists': network(b']' * 150_000 + b'a' * 149_999),
    'deep-tuple-key': b'}' + b')' + b'\x85' * 300_000 + b'Ns',
    'laughs': network(LAUGHS),
    'laughs-as-key': b'}' + LAUGHS + b'Ns',
    'laughs-as-name': LAUGHS + LAUGHS + b'\x93',
    'laughs-as-argument': name('collections.OrderedDict') + LAUGHS + b'R',
    'contains-itself': b'}q\x00' + text('generator') + b'h\x00s',
    'surrogate': network(b'N', '\\\x1b[31m'),
    'newline-in-key': network(b'N', 'a\nb'),
    'function-as-weight': network(name('collections.OrderedDict')),
    'text-as-weight': network(TOUCH),
    'list-of-networks': b']',
    'copied-dict': network(
        b'](' + (b'](' + 2 * integer(1) + b'e') * 2_000 + b'eq\x01'
        + name('collections.OrderedDict') + b'q\x02](' + b'h\x02h\x01\x85R' * 2_000 + b'e0'
    ),
    'long-global': text('a' * 1_000) + b'q\x01h\x01\x93',
    'call-of-20': network(call('collections.OrderedDict', b'N' * 20)),
    'number': integer(5),
    'nothing': b'}',
    'empty': b'',
}  # fmt: skip
NUMPY_PICKLES = {
    'object-array': network(array((2,), b'', 'O8', b'](NNe')),
    'object-array-scalar': network(array((), b'', 'O8', b'](' + TOUCH + b'e')),
    'object-array-of-bytes': network(array((1,), b'\x00' * 8, 'O8')),
    'void': network(array((4,), b'\x00' * 16, 'V4')),
    'text-dtype': network(array((1,), b'', 'U1000000000')),
    'dates': network(array((1,), b'\x00' * 8, 'M8')),
    'dtype-list': call('numpy.dtype', b'](' + text('f4') + b'e'),
    'dtype-laughs': call('numpy.dtype', LAUGHS),
    # Slow, if all of the text is looked at each time.
    'dtype-long': text('<' * 2**20) + b'q\x01' + name('numpy.dtype') + b'q\x02]('
    + b'h\x02(h\x01tR' * 2_000 + b'e',
    'dtype-deep': call('numpy.dtype', b']' * 100_000 + b'a' * 99_999),
    'shape-laughs': network(array((), b'') + b'(' + integer(1) + LAUGHS + dtype('f4') + b'NNtb'),
    'codec-laughs': call('_codecs.encode', LAUGHS, LAUGHS),
    'dtype-expression': call('numpy.dtype', text('f4,' * 1000)),
    'records': dtype('f4') + b'(' + integer(3) + text('<') + b'NN}t' + b'b',
    'dtype-subarray': dtype('f4') + b'(' + integer(3) + text('<') + integers(2**30) + b'NNtb',
    'shape-2**60': network(array((2**60,), b'\x00' * 16)),
    'shape-overflow': network(array((2**32, 2**32), b'\x00' * 16)),
    'shape-negative': network(array((-4,), b'\x00' * 16)),
    'shape-zero-axes': network(array((0, 2**62), b'')),
    'shape-of-20-axes': network(array((1,) * 20, b'\x00' * 4)),
    'bytes-as-text': network(array((4,), b'', content=text('x' * 16))),
    'bytes-as-list': network(array((4,), b'', content=b'](' + b'N' * 16 + b'e')),
    'shape-too-short': network(array((3,), b'\x00' * 16)),
    'reconstruct-class': call(
        'numpy.core.multiarray._reconstruct', name('os.system'), integers(0), raw(b'b')
    ),
    'reconstructed-huge': network(
        call(
            'numpy.core.multiarray._reconstruct', name('numpy.ndarray'), integers(2**40), raw(b'b')
        )
    ),
    'state-of-numbers': network(
        call('numpy.core.multiarray._reconstruct', name('numpy.ndarray'), b'N', b'N') + b'Nb'
    ),
    'scalar-of-objects': call('numpy.core.multiarray.scalar', dtype('O8'), raw(b'\x00' * 8)),
    'scalar-short': call('numpy.core.multiarray.scalar', dtype('f8'), raw(b'')),
    'codec': call('_codecs.encode', text('x'), text('zlib_codec')),
    'codec-lookup': call('_codecs.lookup', text('hostile_module')),
    'encode-bomb': b']' + text('x' * 2**20) + b'q\x00a' + b''.join(
        name('_codecs.encode') + b'(h\x00' + text('latin1') + b'tRa' for _ in range(2_000)
    ),
    'shared-array-bomb': b'}(' + text('x') + array((2**19,), b'\x00' * 2**20, 'u2') + b'q\x05'
    + text('generator') + b'}('
    + b''.join(text(f'k{n}') + b'h\x05' for n in range(10_000)) + b'uu',
    'tuple-of-list': call('builtins.tuple', b']'),
    'tuple-of-two': network(integers(1, 2)),
}  # fmt: skip
TORCH_PICKLES = {
    'offset-beyond': network(tensor((4,), (1,), offset=1)),
    'offset-negative': network(tensor((4,), (1,), offset=-1)),
    'offset-2**62': network(tensor((1,), (1,), offset=2**62)),
    'stride-beyond': network(tensor((2, 2), (3, 1))),
    'stride-negative': network(tensor((4,), (-1,))),
    'stride-2**62': network(tensor((2,), (2**62,))),
    'stride-0': network(tensor((2**30,), (0,))),
    'stride-overlapping': network(tensor((2**15, 2**15), (0, 0))),
    'size-beyond': network(tensor((5,), (1,))),
    'size-2**60': network(tensor((2**60,), (1,))),
    'size-negative': network(tensor((-1,), (1,))),
    'size-empty': network(tensor((0, 2**62), (1, 1))),
    'axes-differ': network(tensor((2, 2), (1,))),
    'axes-20': network(tensor((1,) * 20, (1,) * 20)),
    'storage-2**60': network(tensor((4,), (1,), of=storage(length=2**60))),
    'storage-negative': network(tensor((4,), (1,), of=storage(length=-1))),
    'storage-other-size': network(tensor((2,), (1,), of=storage(length=3))),
    'storage-absent': network(tensor((4,), (1,), of=storage(key='7'))),
    'storage-path': network(tensor((4,), (1,), of=storage(key='../../etc/passwd'))),
    'storage-laughs': b'(' + text('storage') + LAUGHS * 4 + b'tQ',
    'storage-key-laughs': b'(' + text('storage') + name('torch.FloatStorage') + LAUGHS * 3 + b'tQ',
    'storage-key-deep': b'(' + text('storage') + name('torch.FloatStorage')
    + b']' * 100_000 + b'a' * 99_999 + b'N' + integer(4) + b'tQ',
    'storage-type': network(tensor((4,), (1,), of=storage(kind='os.system'))),
    'storage-type-text': network(
        tensor((4,), (1,), of=b'(' + text('storage') + TOUCH + TOUCH + TOUCH + integer(4) + b'tQ')
    ),
    'storage-as-double': network(tensor((4,), (1,), of=storage(kind='torch.DoubleStorage'))),
    'storage-view': network(
        tensor(
            (4,), (1,),
            of=storage()[:-2] + b'(' + text('1') + integer(0) + integer(4) + b'ttQ',
        )
    ),
    'two-sizes': network(
        tensor((1,), (1,), of=b'(' + storage() + storage(length=2) + b't')
    ),
    'module-source': b'(' + text('module') + name('collections.OrderedDict') + TOUCH + b'tQ',
    'tensor-of-text': network(
        call('torch._utils._rebuild_tensor_v2', TOUCH, b'N', b'N', b'N', b'N', b'N')
    ),
    'parameter-of-text': network(call('torch._utils._rebuild_parameter', TOUCH, b'N', b'N')),
    'storage-key-long': network(tensor((4,), (1,), of=storage(key='0' * 41))),
    'storage-as-weight': network(storage()),
    'shared-storage-bomb': b'}(' + text('x') + storage(length=2**18) + b'q\x05'
    + text('generator') + b'}('
    + b''.join(
        text(f'k{n}') + tensor((2**9, 2**9), (1, 2**9), of=b'h\x05') for n in range(8_000)
    ) + b'uu',
}  # fmt: skip
