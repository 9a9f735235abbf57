"""Clips to test with: drawn, encoded without the code under test, listened to."""

import os
from fractions import Fraction

import av
import numpy as np

from modules.video import VideoWriter

NTSC = Fraction(30000, 1001)


def drawn(count=30, height=48, width=64):
    """Frames that all differ: a square that moves over a gradient."""
    y, x = np.mgrid[:height, :width]
    frames = []
    for i in range(count):
        frame = np.stack([x * 255 / width, y * 255 / height, np.full_like(x, 8 * i % 256)], axis=2)
        top, left = (5 * i) % (height - 12), (7 * i) % (width - 12)
        frame[top : top + 12, left : left + 12] = (250, 40 + 5 * i % 150, 90)
        frames.append(frame.astype(np.uint8))
    return frames


def encode(path, frames, codec='libx264', fps=25, pix_fmt='yuv420p', times=None, **options):
    """Writes a clip without the code under test; `times` are in frames, `g` and such options."""
    with av.open(
        str(path), 'w', options={'movflags': '+faststart'} if 'mp4' in str(path) else {}
    ) as c:
        stream = c.add_stream(codec, rate=fps, options={k: str(v) for k, v in options.items()})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        for i, frame in enumerate(frames):
            image = av.VideoFrame.from_ndarray(frame, 'rgba' if frame.shape[2] == 4 else 'rgb24')
            image = image.reformat(format=pix_fmt)
            image.pts, image.time_base = times[i] if times else i, 1 / Fraction(fps)
            c.mux(stream.encode(image))
        c.mux(stream.encode(None))
    return path


def beep(path, codec, rate=44100, seconds=2.0, onset=0.5, start=0, late=0):
    """A clip with a tone from second `onset` on; all starts at `start`, pictures `late` more."""
    with av.open(str(path), 'w') as c:
        images = c.add_stream('libx264', rate=25)
        images.height, images.width, images.pix_fmt = 48, 64, 'yuv420p'
        sound = c.add_stream(codec, rate=rate, layout='mono')
        for i, frame in enumerate(drawn(int(25 * seconds))):
            image = av.VideoFrame.from_ndarray(frame, 'rgb24').reformat(format='yuv420p')
            image.pts, image.time_base = i + round(25 * (start + late)), Fraction(1, 25)
            c.mux(images.encode(image))
        c.mux(images.encode(None))
        time = np.arange(int(rate * seconds)) / rate
        wave = np.where(time >= onset, 0.5 * np.sin(2 * np.pi * 880 * time), 0).astype(np.float32)
        for i in range(0, len(wave), 1024):
            samples = av.AudioFrame.from_ndarray(wave[None, i : i + 1024], 'fltp', 'mono')
            samples.sample_rate, samples.time_base = rate, Fraction(1, rate)
            samples.pts = i + rate * start
            c.mux(sound.encode(samples))
        c.mux(sound.encode(None))
    return path


def heard(path):
    """(second of the first sound, second of the end) of a clip's sound track."""
    with av.open(str(path)) as c:
        onset, end = None, None
        for frame in c.decode(audio=0):
            wave = np.abs(frame.to_ndarray().astype(float)).max(axis=0)
            loud = np.flatnonzero(wave > 0.1)
            if onset is None and len(loud):
                onset = frame.pts * float(frame.time_base) + loud[0] / frame.sample_rate
            end = frame.pts * float(frame.time_base) + frame.samples / frame.sample_rate
        return onset, end


def far(ours, theirs):
    return np.abs(np.asarray(ours, float) - np.asarray(theirs, float)).mean()


def open_files():
    """How many files this process holds open (on Linux; elsewhere always 0)."""
    return len(os.listdir('/proc/self/fd')) if os.path.isdir('/proc/self/fd') else 0


def one_line(error):
    assert '\n' not in str(error.value)
    return str(error.value)


def write(path, frames, fps=25, **options):
    """Writes a clip with the code under test -> its writer."""
    with VideoWriter(path, fps, **options) as writer:
        for frame in frames:
            writer.write(frame)
    return writer
