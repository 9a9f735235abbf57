#!/bin/sh
# A batch norm whose scale is frozen does not train its bias either, and nothing says so.
#
# Expected: with weight.stop_gradient = True, or weight_attr=False, the bias goes on being trained, as
# it does in LayerNorm and GroupNorm here, and in other frameworks.
# Happens: bias.grad is None. The optimizer passes over it, so fine-tuning with frozen scales leaves
# the biases at their old values. The same the other way round: a frozen bias freezes the scale.
# Seen with: PaddlePaddle 3.3.1, BatchNorm1D, 2D and 3D, on the CPU.
# Way out: leave stop_gradient alone and give the optimizer only the parameters to be trained.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import paddle
from paddle import nn


def has_gradient(norm, shape):
    """Of its bias, with the scale frozen."""
    if norm.weight is not None:
        norm.weight.stop_gradient = True
    norm(paddle.rand(shape)).square().sum().backward()
    return norm.bias.grad is not None


shape = [3, 2, 4, 4]
found = {
    'BatchNorm2D': has_gradient(nn.BatchNorm2D(2), shape),
    'BatchNorm2D, weight_attr=False': has_gradient(nn.BatchNorm2D(2, weight_attr=False), shape),
    'BatchNorm1D': has_gradient(nn.BatchNorm1D(2), shape[:3]),
    'BatchNorm3D': has_gradient(nn.BatchNorm3D(2), [*shape, 4]),
    'LayerNorm': has_gradient(nn.LayerNorm(4), shape),
    'GroupNorm': has_gradient(nn.GroupNorm(1, 2), shape),
}
print('scale frozen: does the bias get a gradient?')
for name, answer in found.items():
    print(f'  {name:32}{answer}')
assert [answer for answer in found.values()] == [False] * 4 + [True] * 2, 'this has changed'
END
