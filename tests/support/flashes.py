"""Clips whose pictures flash while their sound clicks, and what of both is in a result."""

from fractions import Fraction

import av
import numpy as np

LASTING = Fraction(1, 5)  # seconds of a flash and of its tone
TONE = 1000  # Hz


def write_flashes(path, codec, moments, fps=25, seconds=4, rate=48000, start=0, size=64):
    """A clip that is black and silent but for `LASTING` from each of the moments on, in seconds.

    Args:
        start: of pictures and sound, in seconds, in formats that keep it.
    """
    fps = Fraction(fps)

    def shines(time):
        return (time[:, None] >= moments) & (time[:, None] < np.add(moments, float(LASTING)))

    with av.open(str(path), 'w') as clip:
        pictures = clip.add_stream('libx264', rate=fps, options={'g': '12', 'bf': '2'})
        pictures.height, pictures.width, pictures.pix_fmt = size, size, 'yuv420p'
        sound = clip.add_stream(codec, rate=rate, layout='mono')
        count = int(fps * seconds)
        time = np.arange(count) / float(fps)
        for i, light in enumerate(shines(time + 1e-6).any(axis=1)):
            frame = np.full((size, size, 3), 235 * light, np.uint8)
            image = av.VideoFrame.from_ndarray(frame, 'rgb24').reformat(format='yuv420p')
            image.pts, image.time_base = i + round(fps * start), 1 / fps
            clip.mux(pictures.encode(image))
        clip.mux(pictures.encode(None))
        time = np.arange(int(rate * seconds)) / rate
        wave = 0.5 * np.sin(2 * np.pi * TONE * time) * shines(time).any(axis=1)
        wave = wave.astype(np.float32)
        for i in range(0, len(wave), 1024):
            samples = av.AudioFrame.from_ndarray(wave[None, i : i + 1024], 'fltp', 'mono')
            samples.sample_rate, samples.time_base = rate, Fraction(1, rate)
            samples.pts = i + round(rate * start)
            clip.mux(sound.encode(samples))
        clip.mux(sound.encode(None))
    return path


def onsets(times, levels, floor):
    """When what was below `floor` for 0.3 s begins to be above it."""
    loud = times[levels > floor]
    return loud[np.diff(loud, prepend=-1.0) > 0.3]


def seen(path):
    """(seconds of the first frames of all flashes, the second at which the pictures end).

    They may be seen in a part of the pictures alone.
    """
    with av.open(str(path)) as clip:
        track = clip.streams.video[0]
        frames = [(float(frame.pts * track.time_base), frame) for frame in clip.decode(track)]
    times = np.array([time for time, _ in frames])
    levels = np.array([frame.to_ndarray(format='gray').mean() for _, frame in frames])
    middle = (levels.min() + levels.max()) / 2
    return onsets(times, levels, middle), times[-1] + np.median(np.diff(times))


def heard(path):
    """The same of the sound, on the same clock."""
    times, levels = [], []
    with av.open(str(path)) as clip:
        for frame in clip.decode(audio=0):
            wave = np.abs(frame.to_ndarray().astype(np.float64)).max(axis=0)
            wave = wave / (32768 if 's16' in frame.format.name else 1)
            start = float(frame.pts * frame.time_base)
            times.append(start + np.arange(len(wave)) / frame.sample_rate)
            levels.append(wave)
    times, levels = np.concatenate(times), np.concatenate(levels)
    return onsets(times, levels, 0.1), times[-1]
