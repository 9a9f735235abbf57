"""Small ICC profiles (version 2) made byte by byte."""

import struct

import numpy as np

# Columns are the primaries, as XYZ of the white D50.
PRIMARIES = {
    'srgb': [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]],
    'p3': [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]],
    'adobe': [
        [0.60974, 0.20528, 0.14919],
        [0.31111, 0.62567, 0.06322],
        [0.01947, 0.06087, 0.74457],
    ],
}
WHITE = (0.9642, 1.0, 0.8249)


def srgb_curve(value):
    """From values in [0, 1] to light."""
    value = np.asarray(value, float)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def srgb_values(light):
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055) * 255


def curve_of(name):
    return (lambda value: np.asarray(value) ** 2.19921875) if name == 'adobe' else srgb_curve


def in_srgb(name, colour):
    """What a colour of 0 to 255, of one of PRIMARIES, is in sRGB."""
    light = np.array(PRIMARIES[name]) @ curve_of(name)(np.array(colour) / 255)
    return srgb_values(np.linalg.solve(np.array(PRIMARIES['srgb']), light))


def rgb_profile(name):
    tags = {b'wtpt': _xyz(WHITE)}
    for letter, primary in zip(b'rgb', np.array(PRIMARIES[name]).T):
        tags[bytes([letter]) + b'XYZ'] = _xyz(primary)
        tags[bytes([letter]) + b'TRC'] = _curve(curve_of(name))
    return _profile(b'mntr', b'RGB ', b'XYZ ', tags)


def gray_profile(gamma):
    tags = {b'wtpt': _xyz(WHITE), b'kTRC': _curve(lambda value: value**gamma)}
    return _profile(b'mntr', b'GRAY', b'XYZ ', tags)


def cmyk_profile():
    """Paper of L* 95; each ink takes 20 of it, black 70; the others have their hue."""
    lab = []
    for corner in np.ndindex(2, 2, 2, 2):
        c, m, y, k = corner
        lab += [95 - 20 * (c + m + y) * (1 - k) - 70 * k, 30 * (m - c) * (1 - k), 40 * y * (1 - k)]
    scaled = np.array(lab).reshape(-1, 3) * [2.55, 1, 1] + [0, 128, 128]
    ramp = bytes(range(256))
    table = b'mft1\0\0\0\0' + struct.pack('>4B', 4, 3, 2, 0)
    table += struct.pack('>9i', *(65536 * (n % 4 == 0) for n in range(9)))
    table += ramp * 4 + scaled.round().astype(np.uint8).tobytes() + ramp * 3
    return _profile(b'prtr', b'CMYK', b'Lab ', {b'wtpt': _xyz(WHITE), b'A2B0': table})


def _xyz(values):
    return b'XYZ \0\0\0\0' + struct.pack('>3i', *(round(value * 65536) for value in values))


def _curve(light):
    table = np.rint(light(np.linspace(0, 1, 1024)) * 65535).astype('>u2')
    return b'curv\0\0\0\0' + struct.pack('>I', len(table)) + table.tobytes()


def _profile(kind, colours, space, tags):
    tags = {b'desc': b'desc\0\0\0\0\0\0\0\2a\0' + bytes(78), b'cprt': b'text\0\0\0\0none\0', **tags}
    body, entries = b'', b''
    for name, content in tags.items():
        start = 132 + 12 * len(tags) + len(body)
        entries += name + struct.pack('>II', start, len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack('>I4sI', 132 + len(entries) + len(body), b'\0' * 4, 0x02400000)
    head += kind + colours + space + bytes(12) + b'acsp' + bytes(28)
    head += struct.pack('>3i', *(round(value * 65536) for value in WHITE))
    return head.ljust(128, b'\0') + struct.pack('>I', len(tags)) + entries + body
