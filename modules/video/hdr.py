"""HDR as phones and cameras record it (HLG or PQ, Rec. ITU-R BT.2100), shown as BT.709.

Light is what counts: codes become the light of a display, what is brighter than an SDR display can
be is compressed, colours move into the primaries of BT.709, and light becomes codes again.
"""

import functools

import numpy as np

# libav's numbers for the transfer functions, and for primaries.
TRANSFERS = PQ, HLG = 16, 18
BT709, DCI_P3, DISPLAY_P3 = 1, 11, 12
# Candela per square metre: of white paper in HDR, which becomes the white of SDR (BT.2408), and of
# the brightest that HDR is usually made on.
WHITE, PEAK = 203.0, 1000.0
SDR_GAMMA = 2.4  # of displays for BT.709 (BT.1886)
# Linear light in primaries, as many rows as results: to those of BT.709.
FROM_BT2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
FROM_P3 = np.array([[1.2249, -0.2247, 0.0], [-0.0420, 1.0419, 0.0], [-0.0197, -0.0786, 1.0979]])
LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020
STEPS = 1 << 14  # of the tables that light is looked up in
ROWS = (
    64  # of a frame at a time: what stays in the processor's caches is done in a third of the time
)


def hdr_to_sdr(codes: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """(H, W, 3) uint16, HDR -> (H, W, 3) uint8, BT.709.

    Args:
        transfer: `PQ` or `HLG`.
        primaries: libav's number; unknown ones are taken for those of BT.2020.
    """
    linear, scale, matrix = _tables(transfer, primaries)
    encode = _encoding()
    result = np.empty(codes.shape, np.uint8)
    for row in range(0, len(codes), ROWS):
        light = linear[codes[row : row + ROWS]]
        # The brightest channel decides alone on how much is taken away, so that hues stay.
        level = light @ LUMINANCE if transfer == HLG else light.max(axis=-1)
        if transfer == HLG:
            light *= (level ** np.float32(0.2))[..., None]
            level = light.max(axis=-1)
        light *= scale[_index(level)][..., None]
        result[row : row + ROWS] = encode[_index(light @ matrix)]
    return result


def _index(light: np.ndarray) -> np.ndarray:
    """Where relative light stands in a table: dark tones are told apart as eyes do."""
    return (np.sqrt(np.clip(light, 0, 1)) * np.float32(STEPS - 1) + np.float32(0.5)).astype(
        np.int32
    )


@functools.lru_cache(maxsize=4)
def _tables(transfer: int, primaries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes -> light, with `PEAK` as 1; light -> what it is multiplied by; colours -> BT.709."""
    codes = np.arange(65536) / 65535
    linear = hlg_light(codes) if transfer == HLG else np.minimum(pq_light(codes) / PEAK, 1)
    level = np.maximum((np.arange(STEPS) / (STEPS - 1)) ** 2, 1e-9)
    scale = compress(level * PEAK) / (level * WHITE)
    if primaries in (DCI_P3, DISPLAY_P3):
        matrix = FROM_P3
    else:
        matrix = np.eye(3) if primaries == BT709 else FROM_BT2020
    light, factors, to_bt709 = (t.astype(np.float32) for t in (linear, scale, matrix.T))
    return light, factors, to_bt709


@functools.lru_cache(maxsize=1)
def _encoding() -> np.ndarray:
    """SDR light -> codes."""
    light = (np.arange(STEPS) / (STEPS - 1)) ** 2
    return np.rint(255 * light ** (1 / SDR_GAMMA)).astype(np.uint8)


def hlg_light(codes: np.ndarray) -> np.ndarray:
    """HLG codes -> the light of the scene, both in [0, 1] (BT.2100, table 5)."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


# Constants of PQ (BT.2100, table 4).
M1, M2, C1, C2, C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def pq_light(codes: np.ndarray) -> np.ndarray:
    """PQ codes -> candela per square metre."""
    power = codes ** (1 / M2)
    return 10000 * (np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1)


def pq_codes(light: np.ndarray) -> np.ndarray:
    """The inverse of `pq_light`."""
    power = (light / 10000) ** M1
    return ((C1 + C2 * power) / (1 + C3 * power)) ** M2


def compress(light: np.ndarray) -> np.ndarray:
    """Light up to `PEAK` -> light up to `WHITE`; dark and middle tones stay (BT.2390, 5.4.1)."""
    peak, most = pq_codes(np.array(PEAK)), pq_codes(np.array(WHITE))
    code, limit = pq_codes(np.minimum(light, PEAK)) / peak, most / peak
    knee = 1.5 * limit - 0.5
    t = (code - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (-2 * t**3 + 3 * t**2) * limit
    )
    return pq_light(np.where(code < knee, code, spline) * peak)
