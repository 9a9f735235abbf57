"""What tools/benchmark.py measures of this project, each time in a process of its own."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from modules.runtime.heap import keep_freed_memory
from modules.runtime.process import choose_device, prepare_process
from tools.benchmarking.common import SEED, read_inputs, read_job, timed, write_frames, write_result

ENGINES = {  # --engine and --precision of demo.py
    'eager': ('eager', 'fp32'),
    'onednn': ('onednn', 'fp32'),
    'onednn-bf16': ('onednn', 'bf16'),
}


def train(job: dict[str, Any], result: Path) -> None:
    """Training steps on the same batch, by the trainer that train.py builds."""
    import paddle

    from modules.parity.record import STEP_INPUTS, seed_networks, to_tensor
    from modules.training.setup import build_trainer
    from modules.transform import Transform

    keep_freed_memory()  # as train.py does
    trainer = build_trainer(job['config'], None, SEED)
    seed_networks(trainer.models, SEED)
    inputs = read_inputs(job['inputs'])
    arrays = [to_tensor(inputs[name], 'float32') for name in STEP_INPUTS if name in inputs]
    source, driving, *noise = arrays
    losses, seconds = [], []
    for _ in range(1 + job['steps']):
        start = time.perf_counter()
        step = trainer.step(source, driving, Transform(*noise))
        losses.append({name: loss.item() for name, loss in step.losses.items()})
        seconds.append(time.perf_counter() - start)
    write_result(result, seconds=seconds, losses=losses, version=f'paddle {paddle.__version__}')


def animate_frames(job: dict[str, Any], result: Path) -> None:
    """One animation; the models are built, with weights from their names, before it starts."""
    import paddle

    from modules.parity.record import seeded_models

    models = [seeded_models(job['config'], SEED, 'float32')]
    seconds = []
    for spent, frame in timed(relative_animation(job, models)):
        seconds.append(spent)
        write_frames(result, [frame])
    write_result(result, seconds=seconds, version=f'paddle {paddle.__version__}')


def write_weights(job: dict[str, Any], result: Path) -> None:
    """Weights from their names as a PyTorch checkpoint, which `first_frame` and others read."""
    from modules.checkpoints.reading import read_checkpoint
    from modules.checkpoints.writing import save_checkpoint
    from modules.parity.record import seeded_models
    from tools.convert_torch import list_outputs

    path = result.with_name('weights.safetensors')
    save_checkpoint(path, seeded_models(job['config'], SEED, 'float32')._asdict(), job['config'])
    [(_, write)] = list_outputs(read_checkpoint(path), 'torch', 'weights')
    write(Path(job['checkpoint']))
    path.unlink()
    write_result(result, seconds=[], version='')


def first_frame(job: dict[str, Any], result: Path) -> None:
    """From nothing but files to a frame in memory, as demo.py --relative does it."""
    moments = [time.perf_counter()]
    prepare_process(cpu=True)
    choose_device(cpu=True)
    import paddle

    moments.append(time.perf_counter())
    from modules.checkpoints.models import StoredModels

    models = [StoredModels(job['config'], job['checkpoint'])]
    write_frames(result, relative_animation(job, models))
    moments.append(time.perf_counter())
    write_result(result, seconds=np.diff(moments).tolist(), version=f'paddle {paddle.__version__}')


def relative_animation(job: dict[str, Any], models: list[Any]) -> Iterator[np.ndarray]:
    """As demo.py --relative does it. Whatever has to be prepared is done on the way to the first
    frame; `models` is emptied, since nobody else may keep them in memory.
    """
    from modules.animation.animator import animate
    from modules.animation.normalization import Normalization
    from modules.inference.choice import build_engine

    inputs, params = read_inputs(job['inputs']), job['config']['model_params']
    size = inputs['source'].shape[:2]
    engine = build_engine(models.pop(), params, size, *ENGINES[job['engine']])
    yield from animate(engine, inputs['source'], inputs['driving'], Normalization(True, True))


def main() -> None:
    job, result = read_job()
    if job['section'] != 'start':  # which times it
        prepare_process(cpu=True)
        choose_device(cpu=True)
    sections = {
        'training': train,
        'animation': animate_frames,
        'weights': write_weights,
        'start': first_frame,
    }
    sections[job['section']](job, result)


if __name__ == '__main__':
    main()
