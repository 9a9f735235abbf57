#!/bin/sh
# paddle.gather takes rows of a matrix on a single thread, F.embedding the same rows on all.
#
# Expected: once the CPU may use several threads (paddle.base.core.set_num_threads), an operation on
# megabytes uses them, as matmul does; gather(rows, places) and F.embedding(places, rows), which give
# the same numbers, take the same time.
# Happens: gather and index_select copy row by row on one thread, as does the predictor's gather;
# embedding copies on all. With 256 floats in a row it takes two thirds of the time on two cores, and
# less the more there are. Where images are cut into windows, or pixels warped row by row, that is most of the
# time that is not spent in products.
# Seen with: PaddlePaddle 3.3.1.
# Way out: F.embedding with the matrix as its table; it is differentiable, too.

set -eu
[ "$(getconf _NPROCESSORS_ONLN)" -ge 2 ] || { echo 'needs two cores'; exit 1; }
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
cat > run.py <<'END'
import time

import paddle
import paddle.nn.functional as F

paddle.base.core.set_num_threads(2)
rows = paddle.rand([4096, 256])
places = paddle.randint(0, 4096, [16384])
factor = paddle.rand([256, 256])
assert paddle.gather(rows, places).equal_all(F.embedding(places, rows))
calls = {
    'matmul': lambda: rows @ factor,
    'gather': lambda: paddle.gather(rows, places),
    'index_select': lambda: paddle.index_select(rows, places),
    'embedding': lambda: F.embedding(places, rows),
}
for name, call in calls.items():
    call()
    time.sleep(1)  # threads that were at work go on turning for a while
    busiest, least = 0, 1e9
    for _ in range(5):  # neighbours may take a core for a while
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(100):
            call()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        busiest, least = max(busiest, cpu / wall), min(least, 10 * wall)
    print(name, f'{busiest:.2f} {least:.2f}')
END
"$folder/venv/bin/python" run.py > out.txt 2> log.txt || { cat log.txt; exit 1; }
printf '%-14s%-16s%s\n' operation 'cores in use' 'ms'
while read -r name cores milliseconds; do
    printf '%-14s%-16s%s\n' "$name" "$cores" "$milliseconds"
done < out.txt
awk '{ busy[$1] = $2 } END { exit !(busy["gather"] < 1.3 && busy["index_select"] < 1.3 \
    && busy["embedding"] > 1.6 && busy["matmul"] > 1.6) }' out.txt \
    || { echo 'this has changed, or the cores were busy'; exit 1; }
