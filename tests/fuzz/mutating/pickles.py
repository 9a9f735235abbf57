"""Changes of pickles, opcode by opcode."""

import pickletools
import struct
from random import Random

from tests.fuzz.mutating.plain import NUMBERS
from tests.support.crafted import integer, name, text
from tests.support.hostile_pickles import NUMPY_PICKLES, PICKLES, TORCH_PICKLES

_SNIPPETS = [
    body
    for group in (PICKLES, NUMPY_PICKLES, TORCH_PICKLES)
    for body in group.values()
    if len(body) < 2000
]
_GLOBALS = (
    *('os.system', 'builtins.eval', 'builtins.getattr', 'numpy.core.multiarray._reconstruct'),
    *(
        'numpy._core.multiarray._reconstruct',
        'numpy.core.multiarray.scalar',
        'numpy.ndarray',
        'numpy.dtype',
    ),
    *('collections.OrderedDict', '_codecs.encode', 'torch._utils._rebuild_tensor_v2', 'a.b'),
    *(
        'torch._utils._rebuild_parameter',
        'torch.FloatStorage',
        'torch.BFloat16Storage',
        'torch.Size',
    ),
    *('copy_reg._reconstructor', 'builtins.object', 'builtins.set', 'argparse.Namespace'),
)
_BARE = [op.code.encode('latin1') for op in pickletools.opcodes if op.arg is None]


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The opcodes of the pickle that data start with, and what follows it."""
    starts = []
    for _, _, position in pickletools.genops(data):
        starts.append(position)
        if len(starts) > 20_000:
            raise ValueError
    end = starts[-1] + 1
    return [data[a:b] for a, b in zip(starts, [*starts[1:], end])], data[end:]


def mutate(rng: Random, data: bytes) -> bytes:
    """One change in one of the first pickles of a file."""
    head = b''
    for _ in range(rng.choice((0, 0, 1, 2, 3)) if data.startswith(b'\x80\x02\x8a\x0a') else 0):
        ops, rest = split(data)  # of a file that has several
        head, data = head + b''.join(ops), rest
    ops, rest = split(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change(rng, ops)
    return head + b''.join(ops) + rest


def _change(rng: Random, ops: list[bytes]) -> None:
    at, way = rng.randrange(len(ops)), rng.randrange(10)
    if way == 0:
        del ops[at]
        ops or ops.append(b'.')
    elif way == 1:
        ops[at:at] = [ops[at]] * rng.choice((1, 2, 50, 3000))
    elif way == 2:
        other = rng.randrange(len(ops))
        ops[at], ops[other] = ops[other], ops[at]
    elif way == 3:
        ops.insert(at, rng.choice(_SNIPPETS))
    elif way == 4:
        ops.insert(at, rng.choice(_BARE))
    elif way == 5:
        ops[at] = _value(rng)
    elif way == 6:  # a name for another
        places = [i for i, op in enumerate(ops) if op[:1] == b'c'] or [at]
        ops[rng.choice(places)] = name(rng.choice(_GLOBALS))
    elif way == 7:  # a number for another
        places = [i for i, op in enumerate(ops) if op[:1] in (b'K', b'M', b'J', b'\x8a')] or [at]
        ops[rng.choice(places)] = integer(rng.choice(NUMBERS) * rng.choice((1, 1, -1)))
    elif way == 8:  # a length that lies
        places = [i for i, op in enumerate(ops) if op[:1] in b'XBTUC\x8c\x8d\x8e'] or [at]
        chosen = rng.choice(places)
        if len(ops[chosen]) > 5:
            ops[chosen] = (
                ops[chosen][:1] + struct.pack('<I', rng.choice(NUMBERS) % 2**32) + ops[chosen][5:]
            )
    else:
        end = min(len(ops), at + rng.choice((2, 5, 20)))
        ops[at:at] = ops[at:end]


def _value(rng: Random) -> bytes:
    return rng.choice((
        b'N', b'\x88', b'\x89', b')', b']', b'}', b'\x8f', integer(rng.choice(NUMBERS)), text('0'),
        text('a' * rng.choice((0, 1, 30, 3000))), b'G' + struct.pack('>d', 1e300), text('\x1b[31m'),
        b'h' + bytes([rng.randrange(256)]), b'q' + bytes([rng.randrange(256)]), b'B\x04\0\0\0abcd',
        b'r' + rng.randbytes(4), b'(', b't', b'R', b'b', b'Q', b'P1\n', b'I1\n', b'L12L\n',
            b"S'a'\n",
        b'V\\u0041\n', b'F1.5\n', b'g1\n', b'p1\n', b'ios\nsystem\n', b'o', b'\x81', b'\x92',
            b'\x93',
    ))  # fmt: skip
