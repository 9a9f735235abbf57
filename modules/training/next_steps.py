"""What can be done with a run that is over, or was interrupted: its checkpoint and a command."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from modules.training.run_folder import RunFolder


def tell_end(head: str, checkpoint: Path, config: Path) -> None:
    """Prints `head`, the last checkpoint, and how to animate with it."""
    is_beside = os.path.realpath(config) == os.path.realpath(checkpoint.parent / 'config.yaml')
    named = [] if is_beside else ['--config', config]  # demo.py finds it there by itself
    command = ['python', 'demo.py', *named, '--checkpoint', checkpoint]
    inputs = '--source_image PICTURE --driving_video CLIP --relative'
    print(f'{head}; the checkpoint is {checkpoint}')
    print(f'next: {_line(command)} {inputs}', flush=True)


def tell_interruption(folder: RunFolder, options: Sequence[object], processes: int) -> None:
    """Prints the newest checkpoint, and how to go on from it.

    Args:
        options: of train.py, which a resumed run does not know by itself.
        processes: that train together.
    """
    saved = folder.checkpoints()
    if not saved:
        print(f'interrupted before the first checkpoint of {folder.path}', flush=True)
        return
    launcher = ['-m', 'paddle.distributed.launch'] if processes > 1 else []
    command = ['python', *launcher, 'train.py', *options, '--resume', folder.path]
    print(f'interrupted; the newest checkpoint is {saved[-1]}')
    print(f'next: {_line(command)}', flush=True)


def _line(command: Sequence[object]) -> str:
    """As it can be pasted into a shell."""
    return shlex.join(map(str, command))
