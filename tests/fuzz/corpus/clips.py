"""Clips of six frames of 32 x 32 pixels, in many containers and codecs."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np

from tests.fuzz.cases import Seed
from tests.fuzz.corpus.pictures import pictures

_KINDS: Mapping[str, tuple[str, str, str, dict[str, str]]] = {
    # suffix, codec, pixel format, options of the container
    'mp4': ('.mp4', 'libx264', 'yuv420p', {}),
    'mp4-fast': ('.mp4', 'libx264', 'yuv420p', {'movflags': '+faststart'}),
    'mp4-parts': ('.mp4', 'libx264', 'yuv420p', {'movflags': 'frag_keyframe+empty_moov'}),
    'mov': ('.mov', 'mpeg4', 'yuv420p', {}),
    'mov-alpha': ('.mov', 'qtrle', 'argb', {}),
    'mkv': ('.mkv', 'libx264', 'yuv444p', {}),
    'webm-vp8': ('.webm', 'libvpx', 'yuv420p', {}),
    'webm-vp9': ('.webm', 'libvpx-vp9', 'yuv420p', {}),
    'avi': ('.avi', 'mpeg4', 'yuv420p', {}),
    'avi-raw': ('.avi', 'rawvideo', 'bgr24', {}),
    'avi-mjpeg': ('.avi', 'mjpeg', 'yuvj420p', {}),
    'gif': ('.gif', 'gif', 'rgb8', {}),
    'apng': ('.apng', 'apng', 'rgb24', {}),
    'ts': ('.ts', 'libx264', 'yuv420p', {}),
    'mpg': ('.mpg', 'mpeg2video', 'yuv420p', {}),
    'flv': ('.flv', 'flv', 'yuv420p', {}),
    'wmv': ('.wmv', 'wmv2', 'yuv420p', {}),
    '3gp': ('.3gp', 'mpeg4', 'yuv420p', {}),
    'y4m': ('.y4m', 'wrapped_avframe', 'yuv420p', {}),
    'h264': ('.h264', 'libx264', 'yuv420p', {}),
    'nut': ('.nut', 'ffv1', 'yuv420p', {}),
    'mxf': ('.mxf', 'mpeg2video', 'yuv420p', {}),
    'av1': ('.mp4', 'libaom-av1', 'yuv420p', {}),
    'hevc': ('.mp4', 'libx265', 'yuv420p', {}),
}
_SOUND = {'mp4-fast': 'aac', 'mkv': 'flac', 'avi': 'pcm_s16le', 'ts': 'mp2', 'webm-vp8': 'libopus'}
_SILENT = {'libx265': {'x265-params': 'log-level=none:pools=1'}}


def _frames() -> list[np.ndarray]:
    tiles = np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return [np.roll(tiles, 3 * number, 1) for number in range(6)]


def _encoded(path: Path, name: str) -> bytes:
    suffix, codec, pixels, options = _KINDS[name]
    told = {**options, 'fflags': '+bitexact'}
    kind = 'h264' if suffix == '.h264' else None
    with av.open(str(path), 'w', format=kind, options=told) as container:
        stream = container.add_stream(
            codec, rate=25, options={'threads': '1', **_SILENT.get(codec, {})}
        )
        stream.width = stream.height = 32
        stream.pix_fmt = pixels
        sound = (
            container.add_stream(_SOUND[name], rate=48000, layout='mono')
            if name in _SOUND
            else None
        )
        for number, pixels_of_frame in enumerate(_frames()):
            frame = av.VideoFrame.from_ndarray(pixels_of_frame, 'rgb24').reformat(format=pixels)
            # One frame is shown for longer than the others where a container can tell.
            frame.pts, frame.time_base = (
                number + (number > 3) * (suffix in ('.mp4', '.mkv')),
                Fraction(1, 25),
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            wave = (np.sin(np.arange(960 * 12) / 9) * 9000).astype(np.int16)
            samples = av.AudioFrame.from_ndarray(wave[None], 's16', 'mono')
            samples.sample_rate, samples.pts = 48000, 0
            container.mux(sound.encode(samples))
            container.mux(sound.encode(None))
    return path.read_bytes()


def clips() -> dict[str, Seed]:
    """Those whose encoders this build of libav has, and animated pictures."""
    seeds = {}
    with TemporaryDirectory() as folder:
        for name, (suffix, *_) in _KINDS.items():
            try:
                data = _encoded(Path(folder, f'a{suffix}'), name)
            except (av.FFmpegError, ValueError):
                continue
            seeds[name] = Seed({f'a{suffix}': data})
    moving = {
        name: seed
        for name, seed in pictures().items()
        if name.endswith('moving') and 'TIFF' not in name
    }
    joined = seeds['ts'].files['a.ts']
    return {**seeds, **moving, 'ts-joined': Seed({'a.ts': joined + joined})}
