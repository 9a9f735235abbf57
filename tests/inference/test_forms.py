"""A program that has several forms is kept in the fastest; all compute the same."""

import numpy as np
import paddle.nn.functional as F
import pytest
from paddle import nn

from modules.inference import engine as engine_module
from modules.inference import winograd
from modules.inference.engine import CompiledEngine, _Store
from modules.inference.networks import FrameDecoder, has_winograd_form
from modules.parity.record import seeded_models
from tests.support.engines import CONFIGS, clip, entries, frames_of


@pytest.mark.parametrize('name', CONFIGS)
def test_the_direct_form_computes_the_same(name, cache, monkeypatch):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    tiled = []

    def direct(*arguments):
        decoder = FrameDecoder(*arguments[:6], direct=True)
        tiled.append(decoder.tiled)
        return decoder

    monkeypatch.setattr(engine_module, 'FrameDecoder', direct)
    frames = clip(size)
    compiled = CompiledEngine(models, config['model_params'], size)
    assert tiled == [False]
    np.testing.assert_allclose(frames_of(compiled, frames), frames_of(models, frames), atol=2e-5)


@pytest.mark.parametrize('avx512', [False, True])
def test_windows_are_transformed_by_either_product(avx512, cache, monkeypatch):
    """Which of the two is the faster one depends on the CPU."""
    config, size = CONFIGS['winograd']
    models = seeded_models(config, 1, 'float32')
    monkeypatch.setattr(winograd, 'has_instructions', lambda *names: avx512)
    frames = clip(size)
    compiled = CompiledEngine(models, config['model_params'], size)
    np.testing.assert_allclose(frames_of(compiled, frames), frames_of(models, frames), atol=2e-5)


@pytest.mark.parametrize('name', CONFIGS)
def test_the_config_tells_whether_there_are_two(name):
    config, size = CONFIGS[name]
    params = config['model_params']
    models = seeded_models(config, 1, 'float32')
    decoder = FrameDecoder(models.generator.eval(), size)
    assert decoder.tiled == has_winograd_form(params['generator_params'], size)


class Times(nn.Layer):
    def __init__(self, factor):
        super().__init__()
        self.weight = self.create_parameter([3, 3])
        self.weight.set_value(factor * np.eye(3, dtype=np.float32))

    def forward(self, x):
        return F.relu(x @ self.weight)


@pytest.mark.parametrize('fastest', [0, 1, 2])
def test_the_fastest_is_kept(fastest, cache, monkeypatch):
    """Their factors differ, so that it shows which one was kept."""
    made = []

    class Timed(engine_module.Program):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.number = len(made)
            made.append(self)

        def seconds(self):
            return 1.0 if self.number == fastest else 2.0

    monkeypatch.setattr(engine_module, 'Program', Timed)
    forms = [lambda factor=factor: (Times(factor), [[1, 3]]) for factor in (1.0, 2.0, 3.0)]
    x = np.float32([[1, 2, 3]])
    for _ in range(2):  # made, and from the cache
        program = _Store({'size': '3x3'}).program('times', *forms)
        program.set(0, x)
        (found,) = program.run()
        np.testing.assert_allclose(found, (fastest + 1) * x)
    assert len(made) == 4 and len(entries(cache)) == 1


def test_a_program_is_timed(cache):
    program = _Store({'size': '3x3'}).program('times', lambda: (Times(1.0), [[1, 3]]))
    assert 0 < program.seconds() < 1


def test_a_form_that_does_not_compile_is_no_loss(cache):
    def broken():
        raise RuntimeError('this machine has no such operation')

    program = _Store({'size': '3x3'}).program('times', lambda: (Times(2.0), [[1, 3]]), broken)
    program.set(0, np.float32([[1, 2, 3]]))
    np.testing.assert_allclose(program.run()[0], [[2, 4, 6]])
    with pytest.raises(RuntimeError, match='no such operation'):
        _Store({'size': '4x4'}).program('times', broken)
