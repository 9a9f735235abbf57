"""Animations by the official PyTorch code, to lay beside this project's."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.checkpoints.places import find_weights, listed_weights
from modules.checkpoints.reading import read_checkpoint
from modules.checkpoints.torch_file import write_torch
from modules.checkpoints.weight_names import State
from modules.runtime.files import PathLike
from tools.benchmarking.runs import Official, find_official, official_contender, run, save_inputs
from tools.convert_torch import with_counters

NEEDED = ('generator', 'kp_detector')


class Animation(NamedTuple):
    """What is to be animated, and how."""

    source: np.ndarray  # (H, W, 3) float32 in [0, 1]
    driving: np.ndarray  # (T, H, W, 3) float32 in [0, 1]
    relative: bool
    adapt_scale: bool = False


# Animations of one size -> their frames (T, H, W, 3) float32 in [0, 1]; UserError if it fails.
Animate = Callable[[Sequence[Animation]], list[np.ndarray]]


def require_official(torch_repo: Path, torch_python: str | None) -> Official:
    """The official code.

    Args:
        torch_repo: clone of its repository.
        torch_python: interpreter that has PyTorch; None: this one.

    Raises:
        UserError: no clone there, or no PyTorch in the interpreter.
    """
    return find_official(torch_repo, torch_python or sys.executable)


def read_official_weights(
    config: Mapping[str, Any], checkpoint: PathLike | None
) -> dict[str, State]:
    """Weights of generator and keypoint detector as the official networks take them.

    They are read from `checkpoint`, else from the config's ckpt_model, and not taken from this
    project's networks: what these would do to them does not go unseen.

    Raises:
        UserError: there are none, or they can't be read.
    """
    paths = listed_weights(config) if checkpoint is None else dict.fromkeys(NEEDED, checkpoint)
    return {
        name: with_counters(read_checkpoint(find_weights(path)).networks[name])
        for name, path in paths.items()
        if name in NEEDED and path is not None
    }


@contextlib.contextmanager
def official_animation(
    official: Official, config: Mapping[str, Any], checkpoint: PathLike | None
) -> Iterator[Animate]:
    """Gives what animates by the official code, in a process of its own for each call.

    Args:
        official: from `require_official`.
        config, checkpoint: as for modules.checkpoint.load_models, which has accepted the weights.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        weights = folder / 'weights.pth.tar'
        write_torch(weights, read_official_weights(config, checkpoint), epoch=0)

        def animate(animations: Sequence[Animation]) -> list[np.ndarray]:
            jobs = [
                {
                    'inputs': save_inputs(
                        folder, {'source': item.source, 'driving': item.driving}, f'inputs{n}'
                    ),
                    'relative': item.relative,
                    'adapt_movement_scale': item.adapt_scale,
                }
                for n, item in enumerate(animations)
            ]
            job = {'section': 'clips', 'checkpoint': str(weights), 'animations': jobs}
            height, width, _ = animations[0].source.shape
            frames = run(official_contender(official, config, job), folder, (height, width)).frames
            ends = np.cumsum([len(item.driving) for item in animations])
            assert frames is not None and len(frames) == ends[-1], 'frames are missing'
            return np.split(frames, ends[:-1])

        yield animate
