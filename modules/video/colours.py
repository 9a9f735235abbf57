"""Decoded frames of any pixel format as RGB."""

import struct
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type as SideDataType

from modules.video.hdr import TRANSFERS, hdr_to_sdr
from modules.video.opening import PYAV
from modules.video.pictures import Size, hides_all, over_white

# PyAV 17 and later convert colours with several threads, which takes five times as long for frames
# of our size.
ONE_THREAD = {'threads': 1} if PYAV >= 17 else {}

# libav's numbers for colours: unspecified, BT.601, BT.709, BT.2020; the range 0-255.
UNSPECIFIED, BT709, BT601, BT2020, FULL = 2, 1, 6, 9, 2
# The matrices that swscale knows, beside none at all (0) and unspecified (2).
MATRICES = (BT709, 4, 5, BT601, 7, BT2020)
# swscale's numbers for BT.601 and for bicubic interpolation.
SWS_BT601, SWS_BICUBIC = 5, 4
# Players take clips that don't say for BT.709 from so many lines on.
HD_LINES = 720

if PYAV < 19:

    def _unnamed(cls: Any, value: object) -> Any:
        """Names kinds of side data that are newer than PyAV, as its version 19 does.

        Without a name, none of a frame's side data can be read.
        """
        member = object.__new__(cls)
        member._name_, member._value_ = f'UNKNOWN_{value}', value
        return cls._value2member_map_.setdefault(value, member)

    SideDataType._missing_ = classmethod(_unnamed)  # type: ignore[method-assign, assignment]


def colour_tags(stream: av.VideoStream) -> dict[str, int]:
    """What a container says of a track's colours, before anything is decoded."""
    context = stream.codec_context
    tags = {name: getattr(context, name) for name in ('colorspace', 'color_trc', 'color_primaries')}
    return {name: value for name, value in tags.items() if value != UNSPECIFIED}


def complete_tags(frame: av.VideoFrame, tags: dict[str, int]) -> None:
    """Gives a frame the tags that it lacks: decoders of H.264 and HEVC forget the container's."""
    for name, value in tags.items():
        if getattr(frame, name) == UNSPECIFIED:
            setattr(frame, name, value)


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int]:
    """(a, b, c, d): what is stored at (x, y) is shown at (a x + c y, b x + d y), up to a shift."""
    data = frame.side_data.get(SideDataType.DISPLAYMATRIX)
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack('5i', bytes(data)[:20])
    return a, b, c, d


def alpha_hides_all(frame: av.VideoFrame) -> bool | None:
    """`hides_all` of a frame; what a palette calls transparent is meant to be."""
    if not any(part.is_alpha for part in frame.format.components):
        return False
    pixels = _convert(frame, 'rgba', frame.color_trc, None)
    return hides_all(pixels[..., :3], pixels[..., 3])


def to_rgb(
    frame: av.VideoFrame,
    turn: tuple[int, int, int, int],
    size: Size | None = None,
    ignore_alpha: bool = False,
) -> np.ndarray:
    """A decoded frame of any pixel format -> (H, W, 3) uint8, RGB, opaque and upright.

    The clip's own colour matrix and range count; without a matrix that swscale knows, BT.709 from
    720 lines on and BT.601 below, as players guess. HDR (HLG or PQ) is converted to BT.709; other
    primaries and transfer functions stay as they are.

    Args:
        turn: its display matrix; one that is no quarter turn or mirror image is left alone.
        size: (height, width) to scale to, as stored, before it is turned; None: its own.
        ignore_alpha: leave transparency out, instead of laying it over white.
    """
    has_alpha = any(part.is_alpha for part in frame.format.components)
    has_alpha = has_alpha or frame.format.name == 'pal8'  # its palette may hold alpha
    has_alpha = has_alpha and not ignore_alpha
    transfer, primaries = frame.color_trc, frame.color_primaries
    if transfer in TRANSFERS:
        codes = _convert(frame, 'rgba64le' if has_alpha else 'rgb48le', transfer, size)
        pixels = hdr_to_sdr(codes[..., :3], transfer, primaries)
        if has_alpha:
            pixels = np.dstack([pixels, (codes[..., 3:] >> 8).astype(np.uint8)])
    else:
        pixels = _convert(frame, 'rgba' if has_alpha else 'rgb24', transfer, size)
    if has_alpha:
        pixels = over_white(pixels[..., :3], pixels[..., 3])
    a, b, c, d = turn
    if a == d == 0 and b and c:
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    elif b or c or not (a and d):
        return pixels
    return np.ascontiguousarray(pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1])


def _convert(
    frame: av.VideoFrame, pixel_format: str, transfer: int, size: Size | None
) -> np.ndarray:
    if PYAV == 17:  # fails on numbers that swscale lacks, though nothing is converted by them
        frame.color_trc = frame.color_primaries = UNSPECIFIED
    height, width = size or (frame.height, frame.width)
    # All arguments are given because their defaults differ between PyAV's versions.
    return frame.to_ndarray(
        width=width,
        height=height,
        format=pixel_format,
        src_colorspace=_matrix(frame, transfer),
        dst_colorspace=SWS_BT601,
        src_color_range=frame.color_range,
        dst_color_range=FULL,
        interpolation=SWS_BICUBIC,
        **ONE_THREAD,
    )


def _matrix(frame: av.VideoFrame, transfer: int) -> int:
    """The number of a frame's colour matrix for swscale."""
    if frame.colorspace in MATRICES:
        return frame.colorspace
    if transfer in TRANSFERS:
        frame.colorspace = BT2020  # for PyAV 17, which knows the numbers up to 7 only
        return BT2020
    return BT709 if frame.height >= HD_LINES else SWS_BT601
