#!/bin/sh
# A convolution of bfloat16 tensors in a compiled program is computed by oneDNN in float32.
#
# Expected: with FLAGS_use_mkldnn a program of paddle.jit.to_static computes F.conv2d of two bfloat16
# tensors in bfloat16, as it does both of its gradients.
# Happens: oneDNN's log shows that both tensors are first cast to float32, and that the convolution is
# one of float32. Nothing is said, and the result calls itself bfloat16. The gradients of the same
# convolution are computed in bfloat16. So training in bfloat16 on a CPU gains nothing in forward,
# which takes longer by the casts, while the log of backward looks as it should.
# Seen with: paddlepaddle 3.3.1, on a CPU with AVX-512, where oneDNN computes bfloat16 also if the CPU
# has no instructions for it; on one without AVX-512 it computes none, which the script says.
# Way out: a convolution is the gradient, with respect to its image, of a convolution by the turned
# kernels.

set -eu
if ! grep -q avx512bw /proc/cpuinfo; then
    echo 'this CPU has no AVX-512: oneDNN computes no bfloat16 here'
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check paddlepaddle==3.3.1 setuptools==80.9.0
cd "$folder"
cat > convolution.py <<'END'
import sys

import paddle
import paddle.nn.functional as F
from paddle.static import InputSpec


def convolution(x, weight, dy):
    return F.conv2d(x, weight, padding=1).clone()


def gradients(x, weight, dy):
    # Of the operations for gradients that programs have, the one that takes any number of groups.
    dx, dweight = paddle._pir_ops.depthwise_conv2d_grad(
        x, weight, dy, [1, 1], [1, 1], 'EXPLICIT', 1, [1, 1], 'NCHW'
    )
    return dx.clone(), dweight.clone()


function = {'convolution': convolution, 'gradients': gradients}[sys.argv[1]]
x, weight, dy = (
    paddle.randn(shape).astype('bfloat16')
    for shape in ([2, 32, 16, 16], [32, 32, 3, 3], [2, 32, 16, 16])
)
program = paddle.jit.to_static(
    function, full_graph=True, input_spec=[InputSpec(t.shape, 'bfloat16') for t in (x, weight, dy)]
)
paddle.set_flags({'FLAGS_use_mkldnn': True})
with paddle.no_grad():
    program(x, weight, dy)
END
for kind in convolution gradients; do
    ONEDNN_VERBOSE=1 venv/bin/python convolution.py "$kind" 2> err > log || { tail -n 5 err; exit 1; }
    grep 'exec,cpu,convolution' log | cut -d , -f 6-9 | cut -c 1-110 | sed "s/^/$kind: /" | tee "$kind"
done
[ "$(grep -c src:f32 convolution) $(grep -c src:bf16 gradients)" = '1 2' ] \
    || { echo 'this has changed' >&2; exit 1; }
