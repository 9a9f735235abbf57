"""What decodes a clip, but ends its process on one that is called crash.mp4."""

import os

from modules.data import clips, frame_cache


def open_clip(path, *options):
    if os.path.basename(path) == 'crash.mp4':
        os.abort()
    return clips.open_clip(path, *options)


def read_through(clip):
    return open_clip(clip.path) and clips.read_through(clip)


def write_entry(path, clip):
    return open_clip(clip.path) and frame_cache.write_entry(path, clip)
