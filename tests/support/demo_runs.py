"""Runs of demo.py within the tests, and their clips."""

import sys
from fractions import Fraction

import av
import numpy as np

import demo
from modules.video import VideoReader
from tests.support.clips import write
from tests.support.places import ROOT

DATA = ROOT / 'tests' / 'support' / 'data' / 'demo_tiny'


def run_demo(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--cpu', *map(str, arguments)])
    demo.main()


def frames_of(path):
    with VideoReader(path) as reader:
        return np.stack(list(reader))


def write_clip(path, num_frames=4, fps=Fraction(30000, 1001), size=48):
    rng = np.random.RandomState(0)
    coarse = rng.randint(0, 255, (num_frames, size // 8, size // 8, 3)).astype('uint8')
    write(path, coarse.repeat(8, 1).repeat(8, 2), fps)
    return path


def write_webm(path, num_frames=4):
    """VP8, which the project reads and does not write."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libvpx', rate=25, width=64, height=64, pix_fmt='yuv420p')
        for level in range(num_frames):
            frame = np.full((64, 64, 3), 50 * level, 'uint8')
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    return path
