"""Pictures and frames in, frames out.

    from modules.animation import Animator

gives what programs use (modules/animation/api.py). It brings Paddle along, and so is imported when
it is asked for: commands check their arguments first.
"""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name == 'Animator':
        return importlib.import_module(f'{__name__}.api').Animator
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
