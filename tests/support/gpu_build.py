"""Runs a script as if Paddle were its GPU build on a machine with GPUs; not a test by itself.

python tests/support/gpu_build.py train.py --cpu ...
python -m paddle.distributed.launch --nproc_per_node 2 tests/support/gpu_build.py train.py --cpu ...

It is one until the script seeds Paddle: networks would ask for flags that this build lacks. Asking
for the GPUs fails, unless they are hidden from the process, and so does computing on one.
"""

import os
import runpy
import sys
from pathlib import Path

import paddle

sys.path[0] = str(Path(__file__).resolve().parents[2])

core, seed = paddle.base.core, paddle.seed


def device_count() -> int:
    assert os.environ.get('CUDA_VISIBLE_DEVICES') == '', 'a GPU is touched'
    return 0


def last_seed(number: int) -> None:
    seed(number)
    core.is_compiled_with_cuda = lambda: False


core.is_compiled_with_cuda = lambda: True
core.get_cuda_device_count = device_count
paddle.seed = last_seed
if os.environ.pop('PADDLE_DISTRI_BACKEND', None):  # the launcher of this build has chosen
    # What that one would do instead.
    os.environ['FLAGS_selected_gpus'] = os.environ['PADDLE_LOCAL_RANK']  # noqa: SIM112
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
