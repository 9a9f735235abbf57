"""Where weights are: at a path, under a known name, in the folder of a run, where a config says."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.checkpoints.download import KNOWN_WEIGHTS, fetch_weights
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike

CHECKPOINT_NAME = re.compile(r'\d{8}-\d{8}-checkpoint\.safetensors')  # EPOCH-BATCH


def find_weights(path_or_name: PathLike) -> Path:
    """What has the weights: a file or folder as it is, the newest checkpoint in the folder of a
    training run, or the file of a name in KNOWN_WEIGHTS.

    Raises:
        UserError: it is neither, or the download fails.
    """
    if os.path.exists(path_or_name):  # False too for a name that no file can have
        path = Path(path_or_name)
        try:
            return [path, *find_checkpoints(path)][-1]
        except PermissionError:  # who reads it will say so
            return path
    name = str(path_or_name)
    if name in KNOWN_WEIGHTS:
        return fetch_weights(name)
    known = ', '.join(KNOWN_WEIGHTS)
    near = difflib.get_close_matches(name, KNOWN_WEIGHTS, 1)
    hint = f'did you mean {near[0]}? ' if near else ''
    raise UserError(f'{name}: no such file or folder; {hint}the names of known weights are {known}')


def listed_weights(config: Mapping[str, Any]) -> dict[str, str | None]:
    """Where the config's ckpt_model has the weights of each network; None: nowhere.

    Raises:
        UserError: it has none for the generator or the keypoint detector.
    """
    section = config.get('ckpt_model') or {}
    keys = {'generator': 'generator', 'kp_detector': 'kp', 'discriminator': 'discriminator'}
    paths = {name: section.get(key) for name, key in keys.items()}
    if not (paths['generator'] and paths['kp_detector']):
        raise UserError(
            'no weights: give --checkpoint, or ckpt_model.generator and ckpt_model.kp in the config'
        )
    return paths


def find_checkpoints(folder: Path) -> list[Path]:
    """Training checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if CHECKPOINT_NAME.fullmatch(p.name))
