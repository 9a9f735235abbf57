#!/bin/sh
# A predictor's product with a transposed picture takes many times as long with oneDNN as without it.
#
# Expected: reshape_transpose_matmul_fuse_pass, which create_predictor runs when oneDNN is enabled, saves a
# copy: oneDNN multiplies with the picture as it lies.
# Happens: channels that lie together, (1, h w, 2) -> reshape -> (1, h, w, 2) -> transpose -> (1, 2, h, w), make
# a matrix whose neighbours are two numbers apart, for which oneDNN has only its reference code. For
# the two coordinates of an optical flow field that is enlarged by a product, the usual way where
# interpolation is to be exact, it takes longer than all of a small network around it. The pass acts
# even if onednn_placement_pass is deleted so that oneDNN shall get convolutions alone.
# Seen with: paddlepaddle 3.3.1.
# Way out: Config.delete_pass('reshape_transpose_matmul_fuse_pass').

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 setuptools==80.9.0
cd "$folder"
cat > run.py <<'END'
import time

import numpy as np
import paddle
from paddle.inference import Config, create_predictor

SIZE, TARGET = 64, 128


class Net(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.rows = self.create_parameter([TARGET, SIZE])
        self.columns = self.create_parameter([SIZE, TARGET])

    def forward(self, flow):
        flow = (flow * 2).reshape([1, SIZE, SIZE, 2]).transpose([0, 3, 1, 2])
        return self.rows @ flow @ self.columns


net = Net()
net.eval()
shape = paddle.static.InputSpec([1, SIZE * SIZE, 2], 'float32')
paddle.jit.save(paddle.jit.to_static(net, full_graph=True, input_spec=[shape]), 'net')
x = np.random.default_rng(0).random((1, SIZE * SIZE, 2), np.float32)


def run(onednn, *unwanted):
    """The best time of a run, in ms, and the result."""
    config = Config('net.json', 'net.pdiparams')
    config.disable_gpu()
    config.disable_glog_info()
    config.enable_onednn() if onednn else config.disable_onednn()
    for name in unwanted:
        config.delete_pass(name)
    predictor = create_predictor(config)
    handle = predictor.get_input_handle(predictor.get_input_names()[0])
    handle.copy_from_cpu(x)
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        predictor.run()
        seconds.append(time.perf_counter() - start)
    (name,) = predictor.get_output_names()
    return 1e3 * min(seconds), predictor.get_output_handle(name).copy_to_cpu()


placement, fusion = 'onednn_placement_pass', 'reshape_transpose_matmul_fuse_pass'
plain, expected = run(False)
found = {
    'oneDNN': run(True),
    'oneDNN but for single operations': run(True, placement),
    'oneDNN without the pass': run(True, fusion),
    'without both': run(True, placement, fusion),
}
print(f'{"without oneDNN":36} {plain:6.2f} ms')
for words, (milliseconds, result) in found.items():
    print(f'{words:36} {milliseconds:6.2f} ms')
    np.testing.assert_allclose(result, expected, atol=1e-4)
*slow, without_pass, without_both = (milliseconds for milliseconds, _ in found.values())
assert min(slow) > 50 * max(plain, without_both), 'this has changed'
assert min(slow) > 20 * without_pass, 'this has changed'
END
"$folder/venv/bin/python" run.py 2> errors.txt || { cat errors.txt; exit 1; }
