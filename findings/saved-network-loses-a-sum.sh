#!/bin/sh
# A saved network whose output is its input plus a number gives back the input, without a word.
#
# Expected: paddle.jit.load runs what paddle.jit.save wrote, with the same results.
# Happens: of an output x + 1 or x - 0.5, x being an input, the number is lost: the loaded network
# returns x itself. Outputs such as 2 * x, or relu(x) + 1, or the sum used further on, are right. A
# network that undoes its normalisation beside its result, say, is wrong in that output alone, and only
# after export. (paddle.inference refuses the same file: "More than one shadow output named with x
# found".)
# Seen with: PaddlePaddle 3.3.1, on the CPU, to_static with full_graph=True.
# Way out: write such an output as a sum of tensors: x + paddle.full_like(x, 1).

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
cat > run.py <<'END'
import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.static import InputSpec

x = paddle.to_tensor(np.arange(6, dtype='float32').reshape(2, 3))
OUTPUTS = {
    'x + 1': lambda x: x + 1,
    'x - 0.5': lambda x: x - 0.5,
    '2 * x': lambda x: 2 * x,
    'relu(x) + 1': lambda x: F.relu(x) + 1,
    'x + ones': lambda x: x + paddle.full_like(x, 1),
}


class Net(paddle.nn.Layer):
    def __init__(self, output):
        super().__init__()
        self.linear = paddle.nn.Linear(3, 3)
        self.output = output

    def forward(self, x):
        return self.linear(x), self.output(x)


errors = {}
for number, (name, output) in enumerate(OUTPUTS.items()):
    net = Net(output)
    net.eval()
    spec = [InputSpec([2, 3], 'float32')]
    static = paddle.jit.to_static(net, full_graph=True, input_spec=spec)
    paddle.jit.save(static, f'net{number}')
    result = paddle.jit.load(f'net{number}')(x)[1]
    errors[name] = (result - output(x)).abs().max().item()
    print(f'{name:12} saved and loaded: wrong by {errors[name]:g}')
assert list(errors.values()) == [1, 0.5, 0, 0, 0], 'this has changed'
END
"$folder/venv/bin/python" -W ignore run.py 2> log || { cat log; exit 1; }
