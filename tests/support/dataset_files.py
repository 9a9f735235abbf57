"""Small datasets to test with."""

import numpy as np
from PIL import Image

from tests.support.clips import write

SIZE = 32


def frames(count, seed=0, size=SIZE):
    """(count, size, size, 3) uint8: smooth, so that lossy formats keep them near; all different.

    The mean of the red channel tells the number of a frame: 4 * number + 40, about.
    """
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 40, (4, 4, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(small).resize((size, size), Image.BILINEAR))
    clip = np.repeat(texture[None], count, axis=0)
    clip[..., 0] += (4 * np.arange(count) + 20).astype(np.uint8)[:, None, None]
    return clip


def write_video(path, clip, fps=25):
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, clip, fps)
    return path


def write_folder(path, clip, suffix='.png'):
    path.mkdir(parents=True)
    for number, frame in enumerate(clip):
        Image.fromarray(frame).save(path / f'{number}{suffix}', quality=95)
    return path


def write_strip(path, clip):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(list(clip), axis=1)).save(path, quality=95)
    return path


def write_mixed(folder, count=6):
    """A clip of each kind -> their frames by name, as far as the format keeps them."""
    clips = {}
    for number, name in enumerate(
        ('a.mp4', 'b.gif', 'c.mov', 'd', 'e.png', 'f.jpg', 'g#1', 'h.MP4')
    ):
        clips[name] = clip = frames(count, seed=number)
        path = folder / name
        if name in ('d', 'g#1'):
            write_folder(path, clip, '.png' if name == 'd' else '.jpg')
        elif name.endswith(('.png', '.jpg')):
            write_strip(path, clip)
        else:
            write_video(path, clip)
    return clips


def cut_short(path, part=0.6):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    return path
