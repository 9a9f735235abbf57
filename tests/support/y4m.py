"""Clips as a fake camera of Chromium plays them, again and again."""

import numpy as np
from PIL import Image

CAMERA = 480, 640


def camera_frames(frames):
    """Frames (H, W, 3) uint8, square, in the middle of a camera's."""
    height, width = CAMERA
    side = (width - height) // 2
    for frame in frames:
        large = Image.fromarray(frame).resize((height, height), Image.Resampling.BICUBIC)
        yield np.pad(np.asarray(large), ((0, 0), (side, side), (0, 0)), 'edge')


def write_y4m(path, frames, fps=30):
    """Frames (H, W, 3) uint8 of even sides, in 4:2:0 of full range."""
    with open(path, 'wb') as file:
        for number, frame in enumerate(frames):
            if number == 0:
                height, width = frame.shape[:2]
                head = f'YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n'
                file.write(head.encode())
            luma, *colours = (
                np.asarray(c) for c in Image.fromarray(frame).convert('YCbCr').split()
            )
            file.write(b'FRAME\n' + luma.tobytes())
            for colour in colours:
                quarter = colour.reshape(height // 2, 2, width // 2, 2).mean((1, 3))
                file.write(np.rint(quarter).astype('uint8').tobytes())
