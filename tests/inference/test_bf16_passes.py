"""What Paddle's passes make of a program for bfloat16, on processors that can't run it, too."""

import copy
import re

from paddle.inference import Config, create_predictor

from modules.inference.engine import _decoder_inputs
from modules.inference.networks import FrameDecoder
from modules.ops.predictors import _NAME, _use_onednn, compile_program
from modules.parity.record import seeded_models
from tests.support.engines import CONFIGS


def test_no_convolution_stays_in_float32(tmp_path, capfd):
    """They leave one in float32 that stands between others in float32, without a word; and what is
    between convolutions and none itself.
    """
    config, size = CONFIGS['winograd']
    config = copy.deepcopy(config)
    config['model_params']['generator_params']['num_bottleneck_blocks'] = 3
    models = seeded_models(config, 1, 'float32')
    decoder = FrameDecoder(models.generator.eval(), size, bf16=True, direct=True)
    common = config['model_params']['common_params']
    shapes = _decoder_inputs(decoder, models.generator, common, size, batch=1)
    compile_program(decoder, shapes, tmp_path)
    predictor = Config(str(tmp_path / f'{_NAME}.json'), str(tmp_path / f'{_NAME}.pdiparams'))
    _use_onednn(predictor, shapes_kept=1, bf16=True)
    predictor.switch_ir_debug(True)  # prints the program before and after each pass
    capfd.readouterr()
    create_predictor(predictor)
    _, after = capfd.readouterr().out.split('after dead_code_elimination_pass', 1)
    after, *_ = after.split('IRPrinting', 1)
    types = re.findall(r'"onednn_op\.fused_conv2d".*mkldnn_data_type:"(\w*)"', after)
    assert len(types) > 10
    assert set(types) == {'bfloat16'}
    between = r'"(onednn_op\.fused_elementwise_add|pd_op\.(relu|pool2d))".*-> tensor<1(x\d+){3}x'
    assert not re.search(between, after)
