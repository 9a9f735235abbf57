"""Where weights are: at a path, under a known name, in the folder of a run, where a config says."""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modules.checkpoints.download import KNOWN_WEIGHTS, fetch_weights
from modules.checkpoints.reading import read_checkpoint
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import warn

CHECKPOINT_NAME = re.compile(r'\d{8}-\d{8}-checkpoint\.safetensors')  # EPOCH-BATCH


def find_weights(path_or_name: PathLike) -> Path:
    """What has the weights: a file or folder as it is, the newest checkpoint in the folder of a
    training run whose weights are whole, or the file of a name in KNOWN_WEIGHTS.

    Raises:
        UserError: it is neither, no checkpoint of the run is whole, or the download fails.
    """
    if os.path.exists(path_or_name):  # False too for a name that no file can have
        path = Path(path_or_name)
        return newest_whole(path) if is_run(path) else path
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


def newest_whole(run: Path, training_state: bool = False) -> Path:
    """The newest checkpoint in the folder of a run that is whole; a line for each that is not.

    Args:
        training_state: all of it is to be whole, not the weights alone.

    Raises:
        UserError: none is; about the newest one.
    """
    problems: list[str] = []
    for path in reversed(find_checkpoints(run)):
        try:
            read_checkpoint(path, training_state)
        except UserError as error:
            problems.append(str(error))
            continue
        for problem in problems:
            warn(f'{problem}; the checkpoint before is taken')
        return path
    raise UserError(problems[0])


def is_run(path: Path) -> bool:
    """Whether it is the folder of a training run that has left checkpoints."""
    try:
        return bool(find_checkpoints(path))
    except PermissionError:  # who reads it will say so
        return False


def find_checkpoints(folder: Path) -> list[Path]:
    """Training checkpoints in a folder, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if CHECKPOINT_NAME.fullmatch(p.name))
