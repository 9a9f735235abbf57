"""The compiled engine: the same numbers as the networks, whatever the config and the cache."""

import copy

import numpy as np
import paddle
import pytest
from paddle.static import InputSpec

from modules.animation.animator import Painter, animate, detected, explained_animation
from modules.animation.driving import find_best_frame
from modules.eager import EagerEngine
from modules.inference import choice
from modules.inference import engine as engine_module
from modules.inference import layers as inference_layers
from modules.inference.choice import build_engine
from modules.inference.engine import CompiledEngine
from modules.inference.layers import LeanConvRelu
from modules.inference.networks import FrameDecoder
from modules.parity.record import seeded_models
from modules.runtime.process import has_instructions
from tests.support.engines import CONFIGS, RELATIVE, clip, frames_of


@pytest.mark.parametrize('name', CONFIGS)
def test_frames_are_those_of_the_networks(name):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    frames = clip(size)
    compiled = build_engine(models, config['model_params'], size, 'onednn', explain=True)
    assert compiled.name == 'onednn'
    np.testing.assert_allclose(
        frames_of(compiled, frames), frames_of(models, frames), atol=2e-5, rtol=0
    )
    steps = [
        next(explained_animation(engine, frames[0], frames[1:2], RELATIVE))
        for engine in (compiled, EagerEngine(models))
    ]
    for part in steps[1].generated._fields:
        found, expected = (getattr(step.generated, part) for step in steps)
        assert (found is None) == (expected is None), part
        if found is not None:
            assert found.shape == expected.shape
            np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4, err_msg=part)


@pytest.mark.parametrize('bf16, batch', [(False, 1), (True, 1), (False, 3)])
@pytest.mark.parametrize('scale', [1, 0])  # of a batch norm: 0 needs another way
def test_what_is_reshaped_in_place_has_no_other_reader(scale, bf16, batch):
    config, size = CONFIGS['winograd']
    config = copy.deepcopy(config)
    config['model_params']['generator_params']['num_bottleneck_blocks'] = 3
    models = seeded_models(config, 1, 'float32')
    norm = models.generator.bottleneck[1].norm1
    norm.weight.set_value(norm.weight * scale)
    decoder = FrameDecoder(models.generator.eval(), size, bf16, explain=True, batch=batch)
    shapes = engine_module._decoder_inputs(
        decoder, models.generator, config['model_params']['common_params'], size, batch
    )
    specs = [InputSpec(shape, 'float32') for shape in shapes]
    static = paddle.jit.to_static(decoder, full_graph=True, input_spec=specs)
    operations = static.forward.concrete_program.main_program.global_block().ops
    reshaped = [op.operand_source(0) for op in operations if op.name() == 'pd_op.reshape_']
    assert len(reshaped) > 20
    assert all(len(value.all_used_ops()) == 1 for value in reshaped)


@pytest.mark.parametrize('name', ['tiny', 'nothing halved, odd'])
def test_convolutions_with_many_weights(name, cache, monkeypatch):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    forward, shapes = LeanConvRelu.forward, set()

    def watched(self, x):
        shapes.add(tuple(x.shape[2:]))
        return forward(self, x)

    monkeypatch.setattr(LeanConvRelu, 'forward', watched)
    monkeypatch.setattr(inference_layers, '_MANY', 1)
    frames = clip(size)
    compiled = CompiledEngine(models, config['model_params'], size)
    assert len(shapes) >= 2
    np.testing.assert_allclose(frames_of(compiled, frames), frames_of(models, frames), atol=2e-5)


@pytest.mark.parametrize('scales', [(0, 1, 1), (1, -0.5, -0.7), (1e-6, 1, 1)])
def test_scales_of_any_sign_and_size(scales):
    """Batch norms before a residual block."""
    config, size = CONFIGS['winograd']
    config = copy.deepcopy(config)
    config['model_params']['generator_params']['num_bottleneck_blocks'] = 3
    models = seeded_models(config, 1, 'float32')
    blocks = models.generator.bottleneck
    weight = blocks[1].norm1.weight.numpy()
    weight[:3] = scales
    blocks[1].norm1.weight.set_value(weight)
    frames = clip(size)
    compiled = CompiledEngine(models, config['model_params'], size)
    np.testing.assert_allclose(frames_of(compiled, frames), frames_of(models, frames), atol=2e-5)


@pytest.mark.skipif(
    not has_instructions('avx512bw'),
    reason='without AVX-512 oneDNN cannot even emulate bfloat16: it ends the process',
)
@pytest.mark.parametrize('name', ['tiny', 'winograd'])
def test_bf16_is_close_and_finds_the_same_keypoints(name, monkeypatch):
    monkeypatch.setattr(choice, 'has_bf16', lambda: True)
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    frames = clip(size)
    engine = build_engine(models, config['model_params'], size, 'onednn', 'bf16')
    expected = frames_of(models, frames)
    error = np.square(frames_of(engine, frames) - expected).mean()
    assert -10 * np.log10(error) > 40
    image = paddle.to_tensor(frames[:1].transpose(0, 3, 1, 2))
    for found, wanted in zip(engine.detect(image), models.kp_detector(image)):
        np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=1e-5)


def test_two_sources_by_turns():
    """What the decoder holds of a source is replaced by the next one's."""
    config, size = CONFIGS['tiny']
    models = seeded_models(config, 1, 'float32')
    engine = CompiledEngine(models, config['model_params'], size)
    frames = clip(size)
    turns = zip(*(animate(engine, source, frames) for source in frames[:2]))
    alone = zip(*(animate(models, source, frames) for source in frames[:2]))
    for found, expected in zip(turns, alone):
        assert np.abs(expected[0] - expected[1]).max() > 1e-3
        np.testing.assert_allclose(found, expected, atol=2e-5)
    kp_source = Painter(engine, frames[1]).kp_source
    assert find_best_frame(kp_source, detected(engine, frames))[0] == 1


# ---- cache ----


# ---- the choice ----
