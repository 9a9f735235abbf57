"""The checkpoints of a training run, in its folder."""

import re
from pathlib import Path

CHECKPOINT_NAME = re.compile(r'\d{8}-\d{8}-checkpoint\.safetensors')  # EPOCH-BATCH


def find_checkpoints(folder: Path) -> list[Path]:
    """Training checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if CHECKPOINT_NAME.fullmatch(p.name))


def newest_of_run(path: Path) -> Path:
    """The newest checkpoint in the folder of a training run; any other path as it is."""
    try:
        found = find_checkpoints(path)
    except PermissionError:  # who reads it will say so
        return path
    return found[-1] if found else path
