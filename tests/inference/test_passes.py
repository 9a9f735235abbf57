"""What Paddle's passes find in our programs, and make of them."""

import re

import pytest

from modules.inference import engine as engine_module
from modules.inference import winograd
from modules.inference.engine import CompiledEngine, _decoder_inputs
from modules.inference.networks import FrameDecoder
from modules.ops import predictors
from modules.ops.predictors import compile_program
from modules.parity.record import seeded_models
from tests.support.engines import CONFIGS

CONSTANTS = ('builtin.parameter', 'pd_op.full', 'pd_op.full_int_array')


@pytest.fixture
def compiled(monkeypatch):
    """All layers that an engine of a config has compiled."""
    layers = []
    compile_program = engine_module.compile_program

    def watched(layer, shapes, folder):
        compile_program(layer, shapes, folder)
        layers.append(layer)

    def compiled(name, batch=1):
        config, size = CONFIGS[name]
        models = seeded_models(config, 1, 'float32')
        CompiledEngine(models, config['model_params'], size, explain=True, batch=batch)
        return layers

    monkeypatch.setattr(engine_module, 'compile_program', watched)
    return compiled


def computed_from_constants(layer):
    operations = layer.forward.concrete_program.main_program.global_block().ops
    assert len(operations) > 10
    for operation in operations:
        sources = [value.get_defining_op().name() for value in operation.operands_source()]
        if sources and all(source in CONSTANTS for source in sources):
            yield operation.name()


@pytest.mark.parametrize('batch', [1, 2])
@pytest.mark.parametrize('name', CONFIGS)
def test_nothing_is_computed_from_constants_alone(name, batch, cache, compiled, monkeypatch):
    """Each run would do it anew; and oneDNN would go on to read where the first run had put it."""
    monkeypatch.setattr('modules.inference.layers._MANY', 500)
    layers = compiled(name, batch)
    assert len(layers) == 3
    assert [list(computed_from_constants(layer)) for layer in layers] == [[], [], []]


@pytest.mark.parametrize('direct', [True, False])
@pytest.mark.parametrize('name', ['winograd', 'zero order'])
def test_nor_in_bfloat16(name, direct, tmp_path):
    config, size = CONFIGS[name]
    models = seeded_models(config, 1, 'float32')
    decoder = FrameDecoder(models.generator.eval(), size, bf16=True, direct=direct)
    common = config['model_params']['common_params']
    shapes = _decoder_inputs(decoder, models.generator, common, size, batch=1)
    compile_program(decoder, shapes, tmp_path)
    assert not list(computed_from_constants(decoder))


RELU, RESIDUAL = 'fuse_activation:"relu"', 'fuse_residual_connection:true'
# What is oneDNN's in a decoder: sums, products, convolutions with a ReLU or another sum after it.
FUSED = (
    'fused_elementwise_add"',
    'fused_matmul"',
    f'fused_matmul".*{RELU}',
    f'fused_conv2d".*{RELU}',
    f'fused_conv2d".*{RESIDUAL}',
)


@pytest.mark.parametrize(
    ('name', 'counts'),
    [
        ('tiny', (1, 0, 0, 7, 1)),
        ('winograd', (0, 11, 3, 5, 0)),
        ('full scale, one Jacobian', (1, 0, 0, 7, 1)),
    ],
)
def test_what_layers_leave_to_onednn_is_its(name, counts, cache, compiled, monkeypatch, capfd):
    monkeypatch.setattr(winograd, 'has_instructions', lambda *names: True)
    use_onednn = predictors._use_onednn

    def watched(config, *arguments):
        use_onednn(config, *arguments)
        config.switch_ir_debug(True)  # prints the program before and after each pass

    monkeypatch.setattr(predictors, '_use_onednn', watched)
    compiled(name)
    texts = capfd.readouterr().out.split('after dead_code_elimination_pass')[1:]
    texts = [text.split('IRPrinting', 1)[0] for text in texts]
    programs = [text for text in texts if 'conv2d' in text]
    assert len(programs) == 3
    for text in programs:
        assert '"onednn_op.fused_conv2d"' in text
        assert 'pd_op.conv2d' not in text
        assert 'pd_op.depthwise_conv2d' not in text
    found = tuple(len(re.findall(f'onednn_op.{pattern}', programs[-1])) for pattern in FUSED)
    assert found == counts
