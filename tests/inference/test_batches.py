"""Engines whose runs are of several frames: the same frames, and how many there are of them."""

import itertools

import numpy as np
import paddle
import pytest

from modules.animation.animator import detect_all, explained_animation, to_batch
from modules.inference import choice
from modules.inference import engine as engine_module
from modules.inference import layers as inference_layers
from modules.inference.choice import BATCHES, build_engine, choose_batch
from modules.inference.engine import CompiledEngine
from modules.parity.record import seeded_models
from modules.runtime import process
from tests.support.engines import CONFIGS, RELATIVE, clip, entries, frames_of
from tests.support.marks import needs_onednn

BATCH, COUNT = 3, 7

# Tiled and not; with and without Jacobians, occlusion maps and aligned corners.
NAMES = 'winograd', 'winograd, one halving', 'zero order', 'no occlusion, corners of pixels'


def frames_and_reasons(engine, frames):
    """All that there is of each frame, as arrays by name."""
    found = []
    for step in explained_animation(engine, frames[0], frames, RELATIVE):
        parts = {'kp': step.kp_driving.value, 'kp_jacobian': step.kp_driving.jacobian}
        parts.update(step.generated._asdict())
        found.append({name: part.numpy() for name, part in parts.items() if part is not None})
    return found


@pytest.mark.parametrize(
    'name, engine',
    [
        *((name, 'eager') for name in ('winograd', NAMES[-1], 'zero order')),
        *(pytest.param(name, 'onednn', marks=needs_onednn) for name in NAMES),
    ],
)
def test_a_batch_is_its_frames(name, engine, monkeypatch):
    """In order, the last batch being short; the source is encoded once."""
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    single, batched = (
        build_engine(models, config['model_params'], size, engine, explain=True, batch=batch)
        for batch in (1, BATCH)
    )
    assert (single.name, batched.name, batched.batch) == (engine, engine, BATCH)
    counts = {'detect': [], 'encode': [], 'decode': []}
    for method, lengths in counts.items():
        watch(monkeypatch, batched, method, lengths)
    frames = clip(size, COUNT)
    found, expected = (frames_and_reasons(engine, frames) for engine in (batched, single))
    assert counts == {'detect': [3, 1, 3, 1], 'encode': [1], 'decode': [3, 3, 1]}
    assert len(found) == len(expected) == COUNT
    for number, (parts, wanted) in enumerate(zip(found, expected)):
        assert parts.keys() == wanted.keys()
        for part, array in wanted.items():
            assert parts[part].shape == array.shape and len(array) == 1
            np.testing.assert_allclose(
                parts[part], array, atol=2e-5, rtol=0, err_msg=f'{part} of frame {number}'
            )
    for before, after in itertools.pairwise(expected):
        assert np.abs(before['prediction'] - after['prediction']).max() > 1e-3


def watch(monkeypatch, engine, method, lengths):
    """Notes how many frames a method is called for."""
    original = getattr(engine, method)

    def watched(*arguments):
        of_driving = arguments[1].value if method == 'decode' else arguments[0]
        lengths.append(len(of_driving))
        return original(*arguments)

    monkeypatch.setattr(engine, method, watched)


@needs_onednn
def test_convolutions_with_many_weights(cache, monkeypatch):
    monkeypatch.setattr(inference_layers, '_MANY', 1)
    config, size = CONFIGS['no whole tiles']
    models = seeded_models(config, 1, 'float32')
    compiled = CompiledEngine(models, config['model_params'], size, batch=BATCH)
    eager = build_engine(models, config['model_params'], size, 'eager')
    frames = clip(size, 4)
    found, expected = (frames_of(engine, frames) for engine in (compiled, eager))
    np.testing.assert_allclose(found, expected, atol=2e-5)


@needs_onednn
def test_programs_are_for_a_batch(cache, monkeypatch):
    """Compiled once for each number of frames, but for the source's, which is the same for all."""
    made = []
    compile_it = engine_module.compile_program
    monkeypatch.setattr(
        engine_module, 'compile_program', lambda *a: made.append(1) or compile_it(*a)
    )
    config, size = CONFIGS['tiny']
    models = seeded_models(config, 1, 'float32')
    for batch, count in ((1, 3), (3, 5), (3, 5), (1, 5)):
        engine = CompiledEngine(models, config['model_params'], size, batch=batch)
        assert len(made) == len(entries(cache)) == count and engine.batch == batch
    frames = clip(size, 4)
    with paddle.no_grad():
        engine = CompiledEngine(models, config['model_params'], size, batch=3)
        with pytest.raises(ValueError, match='4 frames for an engine of 1 to 3 a run'):
            engine.detect(to_batch(*frames))
        found = [kp.value.numpy() for kp in detect_all(engine, frames)]
        expected = models.kp_detector.eval()(to_batch(*frames)).value.numpy()
    assert [array.shape for array in found] == [(1, *expected.shape[1:])] * 4
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-5)


@pytest.fixture
def machine(monkeypatch):
    """Sets what the machine is like."""

    def describe(cpu, gigabytes, gpu_gigabytes=80):
        monkeypatch.setattr(process, 'describe_cpu', lambda: cpu)
        memory = gigabytes and gigabytes * 2**30
        monkeypatch.setattr(choice, 'available_memory', lambda: memory)
        monkeypatch.setattr(choice, '_memory_of_gpu', lambda number: gpu_gigabytes * 2**30)

    return describe


AMX = 'flags\t: avx512_bf16 amx_bf16 amx_tile'


def test_the_automatic_choice(machine):
    size = (256, 256)
    several, on_gpu = BATCHES['CPU, bf16 by AMX'], BATCHES['GPU']
    assert several > 1 and on_gpu > 1 and BATCHES['CPU'] == 1
    for cpu, chosen in (('flags\t: avx2 avx512_bf16', 1), (AMX, several)):
        for gigabytes in (16, None):  # None: the system does not tell
            machine(cpu, gigabytes)
            assert choose_batch(size) == 1
            assert choose_batch(size, bf16=True) == chosen
            assert choose_batch(size, gpu=0) == on_gpu
    assert choose_batch(size, bf16=True, explain=True) == choose_batch(size, 0, explain=True) == 1
    assert choose_batch((64, 64), bf16=True) == several
    assert choose_batch((512, 256), bf16=True) == several // 2
    assert choose_batch((1024, 1024), bf16=True) == choose_batch((4096, 4096), gpu=0) == 1
    machine(AMX, 0.01, gpu_gigabytes=3)
    assert choose_batch(size, bf16=True) == 1
    assert 1 < choose_batch(size, gpu=0) < on_gpu


def test_engines_take_one_frame_unless_asked(machine, monkeypatch):
    """A number, or None for the automatic choice; that of bf16 is not that of fp32."""
    made = []

    def compiled(*arguments, batch, **options):
        made.append(batch)
        return 'compiled'

    monkeypatch.setattr(choice, 'CompiledEngine', compiled)
    monkeypatch.setattr(choice, '_lack_of_onednn', lambda: None)
    machine(AMX, 16)
    for precision in ('fp32', 'bf16'):
        for options in ({}, {'batch': 5}, {'batch': None}):
            assert build_engine(None, {}, (256, 256), 'onednn', precision, **options) == 'compiled'
    assert made == [1, 5, 1, 1, 5, BATCHES['CPU, bf16 by AMX']]
