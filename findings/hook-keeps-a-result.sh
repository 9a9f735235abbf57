#!/bin/sh
# A hook for saved tensors that returns what it got, unchanged, loses memory at every step.
#
# Expected: within paddle.autograd.saved_tensors_hooks(pack, unpack), pack may return a tensor as it
# is, as it would for those that are too small to be moved or compressed. After backward, and once
# nobody holds the result any more, its memory is free again, as without hooks.
# Happens: where an operation saves its own result for backward (relu, sigmoid, softmax, batch_norm,
# max_pool2d), a result that pack returned as it is holds the operation, which holds the result.
# Neither backward nor gc.collect() frees it: a training loop grows by all such results in each step.
# Operations that save their inputs alone (a square, matmul) lose nothing.
# Seen with: PaddlePaddle 3.3.1.
# Way out: pack returns tensor.detach(), which shares the memory, not the operation.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
cat > run.py <<'END'
import contextlib
import gc

import paddle
import paddle.nn.functional as F
from paddle.autograd import saved_tensors_hooks

STEPS = 10


def megabytes():
    return paddle.base.core.host_memory_stat_current_value('Allocated', 0) / 2**20


def lost(operation, pack):
    """Megabytes that a step leaves behind; the tensors have one each."""
    held = []
    for _ in range(1 + STEPS):
        x = paddle.rand([512, 512])
        x.stop_gradient = False
        hooks = saved_tensors_hooks(pack, lambda kept: kept) if pack else contextlib.nullcontext()
        with hooks:
            y = operation(x)
        y.sum().backward()
        del x, y
        gc.collect()
        held.append(megabytes())
    return (held[-1] - held[0]) / STEPS


operations = {
    'relu': F.relu,
    'sigmoid': F.sigmoid,
    'softmax': F.softmax,
    'square': lambda x: x * x,
    'matmul': lambda x: x @ x,
}
packs = {'none': None, 'as-it-is': lambda tensor: tensor, 'detached': lambda tensor: tensor.detach()}
for name, operation in operations.items():
    print(name, *(f'{lost(operation, pack):.2f}' for pack in packs.values()))
END
"$folder/venv/bin/python" run.py > out.txt 2> log.txt || { cat log.txt; exit 1; }
echo 'MB lost by a step on 1 MB:'
printf '%-10s%-12s%-16s%s\n' operation 'no hooks' 'pack: as it is' 'pack: detached'
while read -r name none same detached; do
    printf '%-10s%-12s%-16s%s\n' "$name" "$none" "$same" "$detached"
done < out.txt
loses=$(awk '$2 < 0.1 && $3 > 0.9 && $4 < 0.1' out.txt | wc -l)
does_not=$(awk '$2 < 0.1 && $3 < 0.1 && $4 < 0.1' out.txt | wc -l)
[ "$loses" -eq 3 ] && [ "$does_not" -eq 2 ] || { echo 'this has changed'; exit 1; }
