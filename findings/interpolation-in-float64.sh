#!/bin/sh
# Bilinear interpolation in float64 is right to seven digits only.
#
# Expected: a float64 picture, enlarged, is right to some fifteen digits, as convolutions, products and
# grid samples in float64 are.
# Happens: the kernel computes the weights of the neighbours in float32, whatever the dtype. Whoever
# compares a port in float64, to tell mistakes from rounding, finds a mistake of 3e-7 here, and a
# check of gradients by differences fails.
# Seen with: PaddlePaddle 3.3.1, F.interpolate(mode='bilinear'), on the CPU.
# Way out: the same as two products with matrices of weights.

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
import paddle.nn.functional as F


def weights(old, new):
    """(new, old): of the old pixels in each new one, by half-pixel centres."""
    place = np.clip((np.arange(new)[:, None] + 0.5) * old / new - 0.5, 0, old - 1)
    return np.maximum(0, 1 - np.abs(place - np.arange(old)))


picture = np.random.RandomState(0).rand(8, 8)
enlarged = F.interpolate(paddle.to_tensor(picture[None, None]), size=[21, 21], mode='bilinear')
error = np.abs(enlarged.numpy()[0, 0] - weights(8, 21) @ picture @ weights(8, 21).T).max()
product = paddle.to_tensor(weights(8, 21)) @ paddle.to_tensor(picture)
other = np.abs(product.numpy() - weights(8, 21) @ picture).max()
print(f'dtype of the result: {enlarged.dtype}')
print(f'largest error of interpolate: {error:.1e}; of a matrix product: {other:.1e}')
assert 1e-8 < error < 1e-5 and other < 1e-14, 'this has changed'
END
