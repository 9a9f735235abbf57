"""Programs from the cache that fail when a GPU runs them: made anew, or else done without."""

import json

import numpy as np
import pytest

from modules.animation.animator import animate
from modules.build import build_models
from modules.inference import engine as engine_module
from modules.inference.choice import build_engine
from modules.inference.program_cache import SUMS, _sums
from tests.support.tiny_checkpoint import CONFIG

SIZE = (64, 64)


@pytest.fixture
def models():
    return build_models(CONFIG)


def frames_of(models):
    random = np.random.default_rng(0)
    frames = random.random((3, *SIZE, 3), np.float32)
    engine = build_engine(models, CONFIG['model_params'], SIZE, 'cudnn')
    return engine.name, np.stack(list(animate(engine, frames[0], frames)))


def spoil(cache):
    """Makes the programs fail, without a sign of damage: with inputs of one channel too many."""
    for shapes in cache.glob('*/shapes.json'):
        first, *others = json.loads(shapes.read_text())
        first[1] += 1
        shapes.write_text(json.dumps([first, *others]))
        (shapes.parent / SUMS).write_text(json.dumps(_sums(shapes.parent)))


def test_one_that_fails_at_its_first_run(gpu, cache, models, monkeypatch, capsys):
    """It is made anew, once; where that fails, too, the networks compute."""
    name, frames = frames_of(models)
    assert name == 'cudnn'
    spoil(cache)
    made = []
    compile_program = engine_module.compile_program
    monkeypatch.setattr(
        engine_module, 'compile_program', lambda *a: made.append(1) or compile_program(*a)
    )
    for _ in range(2):
        name, again = frames_of(models)
        assert name == 'cudnn' and len(made) == 3
        np.testing.assert_array_equal(again, frames)
    assert 'note' not in capsys.readouterr().err

    def fail(*arguments):
        raise RuntimeError('no more of this')

    monkeypatch.setattr(engine_module, 'compile_program', fail)
    spoil(cache)
    name, again = frames_of(models)
    assert name == 'eager'
    note = 'note: the eager engine is used: its compiler failed (no more of this)\n'
    assert capsys.readouterr().err.endswith(note)
    np.testing.assert_allclose(again, frames, atol=1e-3)
