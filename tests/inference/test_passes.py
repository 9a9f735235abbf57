"""What Paddle's passes find in our programs, and make of them."""

import pytest

from modules.inference import engine as engine_module
from modules.inference.engine import CompiledEngine
from modules.ops import predictors
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


@pytest.mark.parametrize('name', ['tiny', 'winograd', 'full scale, one Jacobian'])
def test_every_convolution_is_onednns(name, cache, compiled, monkeypatch, capfd):
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
