"""Twelve clips as phones take them, small; see tools/creature_drawing/phone_clips.py."""

from pathlib import Path

from tools.creature_drawing.phone_clips import KINDS, write_phone_clip

COUNT, SIZE, FRAMES = len(KINDS), 96, 32
OPTIONS = ('--size', '48', '--min_size', '30', '--min_frames', '10')  # that suit them


def write_phone_clips(folder: Path) -> Path:
    """Draws them into a new folder."""
    folder.mkdir()
    for index in range(COUNT):
        write_phone_clip(folder, index, SIZE, FRAMES, seed=0)
    return folder
