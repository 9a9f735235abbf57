#!/usr/bin/env python3
"""Converts checkpoints between PyTorch and Paddle, without PyTorch.

python tools/convert_torch.py vox-cpk.pth.tar --out weights     G.npz, D.npz and KP.npz
python tools/convert_torch.py weights --to torch --out .        weights.pth.tar
"""

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from modules.runtime.packages import require_packages

require_packages(paddle=False)

import numpy as np

from modules.checkpoints.npz_file import write_npz
from modules.checkpoints.places import find_weights
from modules.checkpoints.reading import NPZ_FILES, Checkpoint, read_checkpoint
from modules.checkpoints.torch_file import write_torch
from modules.checkpoints.weight_names import COUNTER, NETWORKS, State, to_paddle_names
from modules.checkpoints.writing import save_checkpoint, save_pdparams
from modules.runtime.commands import ArgumentParser, run_command
from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import atomic_output
from modules.runtime.process import prepare_process

SUFFIXES = ('.pth.tar', '.pth', '.pt', '.tar', '.npz', '.pdparams', '.safetensors')

Output = tuple[str, Callable[[Path], None]]  # a file's name, and what writes it


def with_counters(state: State) -> State:
    """An official state whose batch norms have their step counters; 0 where there was none."""
    counted = {}
    for name, array in state.items():
        counted[name] = array
        layer, _, last = name.rpartition('.')
        if last == 'running_var':
            counted.setdefault(f'{layer}.{COUNTER}', np.zeros((), np.int64))
    return counted


def list_outputs(checkpoint: Checkpoint, form: str, stem: str) -> list[Output]:
    """The files to write for --to `form`."""
    networks = checkpoint.networks
    if form == 'npz':
        return [
            (NPZ_FILES[name], functools.partial(write_npz, arrays=to_paddle_names(state)))
            for name, state in networks.items()
        ]
    if form == 'torch':
        counted = {name: with_counters(state) for name, state in networks.items()}
        epoch = checkpoint.meta.get('epoch')
        epoch = epoch if type(epoch) is int and abs(epoch) < 2**63 else 0
        return [(f'{stem}.pth.tar', lambda path: write_torch(path, counted, epoch))]
    if form == 'paddle':
        return [(f'{stem}.pdparams', lambda path: save_pdparams(path, networks))]
    save = save_checkpoint
    config, meta = checkpoint.config, checkpoint.meta
    return [(f'{stem}.safetensors', lambda path: save(path, networks, config, extra_meta=meta))]


def write_outputs(outputs: list[Output], folder: Path, source: Path) -> list[Path]:
    """Writes all files or none, nor a folder for them.

    Raises:
        UserError: one would replace the source, or `folder` is none and can't become one.
    """
    paths, original = [folder / name for name, _ in outputs], source.resolve()
    for path in paths:
        if os.path.exists(path) and path.resolve() in (original, original / path.name):
            raise UserError(f'{path}: is the checkpoint to convert; choose another --out')
    new = [part for part in (folder, *folder.parents) if not os.path.exists(part)]
    try:
        make_folder(folder)
        with contextlib.ExitStack() as stack:
            for path, (_, write) in zip(paths, outputs):
                write(stack.enter_context(atomic_output(path)))
    except BaseException:
        for part in new:
            with contextlib.suppress(OSError):  # which would hide the reason
                part.rmdir()
        raise
    return paths


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f'{folder}: is no folder; choose another --out') from error
    except OSError as error:
        raise UserError(f'{folder}: {reason_of(error)}; choose another --out') from error


def describe_rest(checkpoint: Checkpoint, form: str) -> list[str]:
    """A line for each thing that the user may have expected in the output and won't find."""
    lines = []
    rest = list(checkpoint.left_out)
    if form != 'safetensors':
        rest += [key for key in checkpoint.meta if (form, key) != ('torch', 'epoch')]
    if rest:
        lines.append(f'left out, since only the networks are converted: {", ".join(rest)}')
    absent = [name for name in NETWORKS if name not in checkpoint.networks]
    if absent:
        lines.append(f'not in the checkpoint, so not in the output: {", ".join(absent)}')
    return lines


def main() -> None:
    parser = ArgumentParser(description='Converts checkpoints between PyTorch and Paddle.')
    parser.add_argument(
        'checkpoint',
        metavar='WEIGHTS',
        help='.pth.tar, .pdparams, .safetensors, or a folder with G.npz and KP.npz',
    )
    parser.add_argument(
        '--out', required=True, type=Path, metavar='FOLDER', help='folder of what is written'
    )
    parser.add_argument(
        '--to',
        default='npz',
        choices=('npz', 'torch', 'paddle', 'safetensors'),
        help='format to write; npz: G.npz, KP.npz and D.npz',
    )
    options = parser.parse_args()

    if options.to == 'paddle':
        require_packages()
        prepare_process()
    source = find_weights(options.checkpoint)
    checkpoint = read_checkpoint(source)
    stem = source.resolve().name
    suffix = next((s for s in SUFFIXES if stem.endswith(s) and stem != s), '')
    outputs = list_outputs(checkpoint, options.to, stem[: len(stem) - len(suffix)])
    for path in write_outputs(outputs, options.out, source):
        print(f'wrote {path}')
    for line in describe_rest(checkpoint, options.to):
        print(line)


if __name__ == '__main__':
    run_command(main)
