#!/bin/sh
# The weights of a process' first predictor are copied once more when another predictor has run.
#
# Expected: oneDNN puts the weights of a convolution in an order of its own at the first run of a predictor
# and keeps that copy for all others.
# Happens: so it does, but for the process' first one. Run it, then a second predictor, then the first
# again: it makes all copies anew, and those of before stay, too, as long as the process lives. The
# copies' names end with that of the executor they were made for, but the first executor of a process
# sets no such name: its copies bear that of whichever ran before it on this thread. So memory, as much
# as its weights take, and time are lost once for each other predictor that runs right before it.
# Seen with: paddlepaddle 3.3.1, by oneDNN's own log. With constant folding one of its many executors may be
# the first, and no predictor is concerned (see predictor-folds-one-by-one.sh).
# Way out: run anything else as the first, such as an executor of an empty program, and keep that.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 setuptools==80.9.0
cd "$folder"
cat > run.py <<'END'
import sys

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.inference import Config, create_predictor

SHAPE = [1, 64, 16, 16]


class Net(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.weight = self.create_parameter([64, 64, 3, 3])
        self.bias = self.create_parameter([1, 64, 1, 1])

    def forward(self, x):
        return F.relu(F.conv2d(x, self.weight, padding=1) + self.bias)


def load(name):
    net = Net()
    net.eval()
    spec = paddle.static.InputSpec(SHAPE, 'float32')
    paddle.jit.save(paddle.jit.to_static(net, full_graph=True, input_spec=[spec]), name)
    config = Config(f'{name}.json', f'{name}.pdiparams')
    config.disable_gpu()
    config.enable_onednn()
    config.delete_pass('constant_folding_pass')
    predictor = create_predictor(config)
    handle = predictor.get_input_handle(predictor.get_input_names()[0])
    handle.copy_from_cpu(np.ones(SHAPE, np.float32))
    return predictor


if sys.argv[1] == 'empty':
    paddle.enable_static()
    executor = paddle.static.Executor(paddle.CPUPlace())
    executor.run(paddle.static.Program())
    paddle.disable_static()
a, b = load('a'), load('b')
for predictor in (a, b, a, b, a):
    print('a run', flush=True)
    predictor.run()
END

# copies empty|nothing -> how many copies of weights each of the five runs has made
copies() {
    ONEDNN_VERBOSE=profile_exec "$folder/venv/bin/python" run.py "$1" > out.txt 2> log.txt \
        || { cat log.txt; exit 1; }
    awk '/^a run/ { run++ } /,exec,cpu,reorder,.*64x64x3x3/ { made[run]++ }
        END { for (number = 1; number <= run; number++) printf "%d ", made[number] }' out.txt
}

plain=$(copies nothing)
mended=$(copies empty)
echo "copies of weights made by runs of a, b, a, b, a:     $plain"
echo "the same after an executor of an empty program:      $mended"
[ "$plain" = '1 1 1 0 0 ' ] && [ "$mended" = '1 1 0 0 0 ' ] || { echo 'this has changed'; exit 1; }
