#!/bin/sh
# On the CPU, the running variance of batch norm is that of the batch divided by n, not by n - 1.
#
# Expected: the unbiased variance, which other frameworks keep for evaluation, and which cuDNN, behind
# the same layer on GPUs, gives.
# Happens: the biased one. A network that is trained, or has its statistics estimated anew, on the CPU
# evaluates differently by the factor n / (n - 1), n being the values of a channel in a batch: next to
# nothing for large pictures, a third for the last 2x2 features of a single picture. Comparisons of a
# port with its original fail by just that.
# Seen with: PaddlePaddle 3.3.1, BatchNorm2D, on the CPU.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'END'
import numpy as np
import paddle

values = np.array([1.0, 2.0, 4.0, 9.0], 'float32')
norm = paddle.nn.BatchNorm2D(1, momentum=0.0)  # the statistics of the last batch alone
norm(paddle.to_tensor(values.reshape(1, 1, 2, 2)))
kept = norm._variance.item()
print(f'running variance after one batch of {values}: {kept:g}')
print(f'variance with n: {values.var():g}, with n - 1: {values.var(ddof=1):g}')
assert np.isclose(kept, values.var()), 'this has changed'
END
