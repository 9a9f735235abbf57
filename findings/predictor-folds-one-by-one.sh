#!/bin/sh
# Most of the time that a predictor takes to load goes into programs for the shapes of its reshapes.
#
# Expected: create_predictor reads a program of some hundred small operations in a few milliseconds.
# Happens: constant_folding_pass computes each constant that differs from all others, be it no more than
# the three integers of a reshape, by an executor of its own, with threads that are started for it and
# ended after it: about half a millisecond each. Config.switch_ir_optim(False) doesn't leave the pass out,
# nor does Config.enable_custom_passes([...], True), which is to run the passes of the list alone.
# Seen with: paddlepaddle 3.3.1.
# Way out: Config.delete_pass('constant_folding_pass'), for a program in which nothing is computed from
# constants alone; and a convolution's bias is, see bias-of-another-run.sh.

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


class Net(paddle.nn.Layer):
    def forward(self, x):
        for rows in range(1, 101):
            x = x[: 60 * rows].reshape([-1, rows, 2]) * 1.5
            x = paddle.concat([x.flatten(), x.flatten()])
        return x


net = Net()
net.eval()
shape = paddle.static.InputSpec([6000], 'float32')
paddle.jit.save(paddle.jit.to_static(net, full_graph=True, input_spec=[shape]), 'net')
x = np.linspace(0, 1e-9, 6000, dtype='float32')


def load(change):
    seconds = []
    for _ in range(5):
        config = Config('net.json', '')
        config.disable_gpu()
        config.disable_glog_info()
        config.disable_onednn()
        change(config)
        start = time.perf_counter()
        predictor = create_predictor(config)
        seconds.append(time.perf_counter() - start)
    handle = predictor.get_input_handle(predictor.get_input_names()[0])
    handle.copy_from_cpu(x)
    predictor.run()
    (name,) = predictor.get_output_names()
    return min(seconds), predictor.get_output_handle(name).copy_to_cpu()


folded, expected = load(lambda config: None)
unoptimized, _ = load(lambda config: config.switch_ir_optim(False))
chosen, _ = load(lambda config: config.enable_custom_passes(['conv2d_bias_fuse_pass'], True))
left, found = load(lambda config: config.delete_pass('constant_folding_pass'))
print(f'loaded in {1e3 * folded:.0f} ms, with switch_ir_optim(False) {1e3 * unoptimized:.0f},')
print(f'with a list of a single other pass {1e3 * chosen:.0f},')
print(f'without constant_folding_pass {1e3 * left:.0f}; same results: {bool((found == expected).all())}')
assert (found == expected).all()
assert min(folded, unoptimized, chosen) > 2 * left, 'this has changed'
END
"$folder/venv/bin/python" run.py 2> errors.txt || { cat errors.txt; exit 1; }
