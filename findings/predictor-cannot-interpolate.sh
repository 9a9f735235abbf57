#!/bin/sh
# Paddle's predictor, as it is, can't run a network that doubles an image.
#
# Expected: a network with F.interpolate, nearest or bilinear, by a factor or to a size, runs in
# paddle.inference as in dynamic graph.
# Happens: saving and create_predictor succeed; run() raises NotImplementedError,
# "ConvertPirAttribute2RuntimeAttribute not support". On CPUs oneDNN is on unless it is switched off, and
# its form of the operation takes the list of factors in a type that cannot be handed on; an empty list,
# where a size is given, is no better. Bicubic, which oneDNN has not, runs.
# Seen with: paddlepaddle 3.3.1.
# Way out: Config.delete_pass('onednn_placement_pass'), which leaves convolutions with oneDNN; or
# Config.disable_onednn(); or repeat pixels by reshape and expand.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check paddlepaddle==3.3.1 setuptools==80.9.0
cd "$folder"
cat > doubling.py <<'END'
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.inference import Config, create_predictor

WAYS = {
    'nearest, by a factor': {'scale_factor': 2, 'mode': 'nearest'},
    'nearest, to a size': {'size': [32, 32], 'mode': 'nearest'},
    'bilinear, to a size': {'size': [32, 32], 'mode': 'bilinear'},
    'bicubic, to a size': {'size': [32, 32], 'mode': 'bicubic'},
}


class Doubling(paddle.nn.Layer):
    def __init__(self, way):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3, padding=1)
        self.way = way

    def forward(self, x):
        return F.relu(F.interpolate(self.conv(x), **self.way))


def outcome(way, without_pass=False):
    """Whether the predictor gives what the network gives; if it raises, the error's name."""
    net = Doubling(way)
    net.eval()
    image = np.random.default_rng(0).random((1, 3, 16, 16), np.float32)
    expected = net(paddle.to_tensor(image)).numpy()
    spec = paddle.static.InputSpec([1, 3, 16, 16], 'float32')
    paddle.jit.save(paddle.jit.to_static(net, full_graph=True, input_spec=[spec]), 'net')
    config = Config('net.json', 'net.pdiparams')
    config.disable_gpu()
    config.disable_glog_info()
    if without_pass:
        config.delete_pass('onednn_placement_pass')
    predictor = create_predictor(config)
    predictor.get_input_handle(predictor.get_input_names()[0]).copy_from_cpu(image)
    try:
        predictor.run()
    except NotImplementedError as error:
        return type(error).__name__
    found = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
    return 'the same' if np.allclose(found, expected, atol=1e-5) else 'wrong values'


found = {name: (outcome(way), outcome(way, True)) for name, way in WAYS.items()}
for name, (plain, without) in found.items():
    print(f'{name}: {plain}; without onednn_placement_pass: {without}')
raised = [name for name, (plain, _) in found.items() if plain == 'NotImplementedError']
assert len(raised) == 3 and 'bicubic, to a size' not in raised, 'this has changed'
assert all(without == 'the same' for _, without in found.values()), 'this has changed'
END
"$folder/venv/bin/python" doubling.py 2> errors.txt || { cat errors.txt; exit 1; }
