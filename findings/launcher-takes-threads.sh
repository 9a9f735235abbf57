#!/bin/sh
# Under paddle.distributed.launch a process on the CPU computes with one thread.
#
# Expected: a script computes with as many threads as it does when it is started by itself, or the
# launcher says that it shares the cores out.
# Happens: the launcher imports Paddle, which sets OMP_NUM_THREADS to 1 in its own environment (where
# nobody has set it), and hands that environment on. In each process OpenMP, oneDNN and MKL then start
# with one thread, even with a single process on a machine of many cores. Started by itself the
# script finds the variable unset when it begins, and other libraries that were imported before
# Paddle use all cores. Nothing is printed.
# Seen with: PaddlePaddle 3.3.1.
# Way out: set OMP_NUM_THREADS before the launcher starts: cores / processes.

set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    paddlepaddle==3.3.1 numpy==2.2.6
cd "$folder"
unset OMP_NUM_THREADS
cat > run.py <<'END'
import os

print('OMP_NUM_THREADS =', os.environ.get('OMP_NUM_THREADS'), flush=True)
END
python=$folder/venv/bin/python
alone=$("$python" run.py)
"$python" -m paddle.distributed.launch --nproc_per_node 1 --log_dir logs run.py > launch.log 2>&1 \
    || { cat launch.log; exit 1; }
launched=$(grep -h -o 'OMP_NUM_THREADS = .*' logs/workerlog.0)
OMP_NUM_THREADS=2 "$python" -m paddle.distributed.launch --nproc_per_node 1 --log_dir others run.py \
    > launch.log 2>&1 || { cat launch.log; exit 1; }
set_by_user=$(grep -h -o 'OMP_NUM_THREADS = .*' others/workerlog.0)
printf 'by itself:                    %s\n' "$alone"
printf 'by the launcher:              %s\n' "$launched"
printf 'by the launcher, with 2 set:  %s\n' "$set_by_user"
[ "$alone" = 'OMP_NUM_THREADS = None' ] && [ "$launched" = 'OMP_NUM_THREADS = 1' ] \
    && [ "$set_by_user" = 'OMP_NUM_THREADS = 2' ] || { echo 'this has changed'; exit 1; }
