"""What tools/benchmark.py measures of this project, each time in a process of its own."""

import functools
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from modules.runtime.heap import keep_freed_memory
from modules.runtime.process import choose_device, num_threads, prepare_process
from tools.benchmarking.common import (
    SEED,
    peak_memory,
    read_inputs,
    read_job,
    timed,
    write_frames,
    write_result,
)

ENGINES = {  # --engine and --precision of demo.py
    'eager': ('eager', 'fp32'),
    'onednn': ('onednn', 'fp32'),
    'onednn-bf16': ('onednn', 'bf16'),
}

# A camera as browsers have it, and the stages from its frame to one of the result.
CAMERA_SIZE, CAMERA_FPS = (480, 640), 30
STAGES = ('decode', 'cut and scale', 'keypoints', 'paint', 'encode')
_STAGE_RUNS = 30
_ALONE_RUNS = 10


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


def train_jointly(job: dict[str, Any], result: Path) -> None:
    """Training steps on the same joint batch, by one of the processes that Paddle's launcher has
    started; the first of them tells how long it took, and how much memory each of them.
    """
    import paddle

    from modules.parity.record import seed_networks, to_tensor
    from modules.runtime import distributed
    from modules.training.setup import build_trainer

    keep_freed_memory()
    distributed.start()
    trainer = build_trainer(job['config'], None, SEED)
    seed_networks(trainer.models, SEED)
    inputs = read_inputs(job['inputs'])
    share = len(inputs['source']) // distributed.world_size()
    mine = slice(distributed.rank() * share, (distributed.rank() + 1) * share)
    frames = [to_tensor(inputs[name][mine], 'float32') for name in ('source', 'driving')]
    waits = [0.0]  # for messages, of each step

    def timed_call(call: Callable[..., Any]) -> Callable[..., Any]:
        def wait(values: Any) -> Any:
            start = time.perf_counter()
            total = call(values)
            total.numpy()  # it has come
            waits[-1] += time.perf_counter() - start
            return total

        return wait

    distributed.summed = timed_call(distributed.summed)
    distributed.gathered = timed_call(distributed.gathered)
    losses, seconds = [], []
    for _ in range(1 + job['steps']):
        start = time.perf_counter()
        found = trainer.step(*frames).losses
        means = distributed.mean_over_processes(paddle.stack(list(found.values())))
        losses.append(dict(zip(found, means.tolist())))
        seconds.append(time.perf_counter() - start)
        waits.append(0.0)
    peaks = paddle.to_tensor([float(peak_memory())], 'float64')
    if distributed.world_size() > 1:
        peaks = distributed.gathered(peaks)
    if distributed.rank() == 0:
        extra = {
            'processes': distributed.world_size(),
            'threads': num_threads(),
            'waits': waits[: len(seconds)],
            'peaks': peaks.flatten().tolist(),
        }
        version = f'paddle {paddle.__version__}'
        write_result(result, seconds=seconds, losses=losses, extra=extra, version=version)


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


def whole_demo(job: dict[str, Any], result: Path) -> None:
    """demo.py, from files to a file.

    `seconds`: the whole process; of a frame, the median from one run of the networks to the next
    and its share of the file's end; and what they take for one, nothing read or written beside.
    """
    engine, precision = ENGINES[job['engine']]
    names = ('checkpoint', 'source_image', 'driving_video', 'result_video')
    options = [word for name in names for word in (f'--{name}', job[name])]
    sys.argv = ['demo.py', '--config', job['config_file'], *options, '--relative', '--adapt_scale']
    sys.argv += ['--cpu', '--crop', 'none', '--engine', engine, '--precision', precision]
    prepare_process(cpu=True)
    from modules.inference import choice
    from modules.runtime import commands

    runs: list[tuple[float, int]] = []  # of the decoder: when it was done, and of how many frames
    last: dict[str, Callable[[], Any]] = {}  # of each kind

    def noted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            last[name] = functools.partial(call, *args, **kwargs)
            made = call(*args, **kwargs)
            if name == 'decode':
                runs.append((time.perf_counter(), len(made.prediction)))
            return made

        return run

    def build_engine(*args: Any, **kwargs: Any) -> Any:
        engine = build(*args, **kwargs)
        for name in ('detect', 'decode'):
            setattr(engine, name, noted(name, getattr(engine, name)))
        return engine

    build, choice.build_engine = choice.build_engine, build_engine
    with mock.patch.object(commands, 'run_command', lambda main: main()):  # it ends the process
        runpy.run_path(str(ROOT / 'demo.py'), run_name='__main__')
    seconds, end, peak = [time.time() - job['started']], time.perf_counter(), peak_memory()
    times, counts = zip(*runs)
    if len(runs) > 1:  # all of as many frames: the last ones are filled up
        alone = sum(median_seconds(last[name]) for name in ('detect', 'decode'))
        run = float(np.median(np.diff(times)))
        seconds += [run / counts[0] + (end - times[-1]) / sum(counts), alone / counts[0]]
    import paddle

    write_result(result, seconds=seconds, version=f'paddle {paddle.__version__}', peak_bytes=peak)


def median_seconds(call: Callable[[], Any]) -> float:
    """Of some runs after a first one."""
    times = []
    for _ in range(1 + _ALONE_RUNS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


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


def watch_live(job: dict[str, Any], result: Path) -> None:
    """A picture that follows a camera for some seconds, from JPEG bytes to JPEG bytes.

    Frames come at the camera's rate, by a thread of its own, as over a socket. `seconds` are the
    latencies, from bytes to bytes.
    """
    import paddle

    from modules.animation.inputs import BUNDLED
    from modules.animation.live import Live
    from modules.checkpoints.models import StoredModels
    from modules.inference.choice import build_engine
    from modules.parity.record import seeded_models
    from modules.video import read_image
    from modules.video.jpeg import encode_jpeg

    config, size = job['config'], tuple(job['config']['dataset_params']['frame_shape'][:2])
    checkpoint = job.get('checkpoint')
    models = (
        seeded_models(config, SEED, 'float32')
        if checkpoint is None
        else StoredModels(config, checkpoint)
    )
    engine = build_engine(models, config['model_params'], size, *ENGINES[job['engine']])
    del models
    frames = camera_frames()
    live = Live(engine, read_image(BUNDLED / 'source.png'), size)
    stages = time_stages(engine, frames, size)
    alone = 1 / (stages['keypoints'] + stages['paint'])

    came: dict[int, float] = {}  # when, by number
    latencies, times = [], []

    def show() -> None:
        start = time.perf_counter()
        for number in range(round(job['seconds'] * CAMERA_FPS)):
            came[number] = start + number / CAMERA_FPS  # also where this thread wakes up late
            time.sleep(max(0.0, came[number] - time.perf_counter()))
            live.show(frames[number % len(frames)], number)
        time.sleep(1)
        live.close()

    camera = threading.Thread(target=show)
    camera.start()
    for shown in live.results():
        encode_jpeg(shown.picture)
        times.append(time.perf_counter())
        latencies.append(times[-1] - came[shown.number])
    camera.join()
    extra = {'rate': (len(times) - 1) / (times[-1] - times[0]), 'alone': alone, 'stages': stages}
    write_result(result, seconds=latencies, extra=extra, version=f'paddle {paddle.__version__}')


def camera_frames() -> list[bytes]:
    """The bundled clip as a camera would give it, its creature in the middle: JPEG bytes."""
    from modules.animation.inputs import BUNDLED
    from modules.video import VideoReader
    from modules.video.jpeg import encode_jpeg
    from modules.video.resizing import fit_frame

    shown = VideoReader(BUNDLED / 'driving.mp4')
    return [encode_jpeg(fit_frame(frame, CAMERA_SIZE, crop=False), 80) for frame in shown]


def time_stages(engine: Any, frames: Sequence[bytes], size: tuple[int, int]) -> dict[str, float]:
    """The median time of each of STAGES alone, in seconds."""
    from modules.animation.animator import Painter, detect_all
    from modules.animation.live import cut_middle
    from modules.video.jpeg import decode_jpeg, encode_jpeg
    from modules.video.levels import to_bytes

    painter = Painter(engine, cut_middle(decode_jpeg(frames[0], size), size))
    spent: dict[str, list[float]] = {stage: [] for stage in STAGES}

    def timed_as(stage: str, call: Callable[..., Any], *given: Any) -> Any:
        start = time.perf_counter()
        value = call(*given)
        spent[stage].append(time.perf_counter() - start)
        return value

    for number in range(_STAGE_RUNS):
        frame = timed_as('decode', decode_jpeg, frames[number % len(frames)], size)
        cut = timed_as('cut and scale', cut_middle, frame, size)
        (keypoints,) = timed_as('keypoints', detect_all, engine, [cut])
        if number == 0:
            painter.start(keypoints)
        (painted,) = timed_as('paint', painter.frames, [keypoints])
        timed_as('encode', encode_jpeg, to_bytes(painted))
    return {stage: float(np.median(values)) for stage, values in spent.items()}


def main() -> None:
    job, result = read_job()
    if job['section'] not in ('start', 'demo'):  # which time it
        prepare_process(cpu=True)
        choose_device(cpu=True)
    sections = {
        'training': train,
        'scaling': train_jointly,
        'animation': animate_frames,
        'weights': write_weights,
        'start': first_frame,
        'demo': whole_demo,
        'live': watch_live,
    }
    sections[job['section']](job, result)


if __name__ == '__main__':
    main()
