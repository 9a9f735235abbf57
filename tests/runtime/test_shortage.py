"""Out of memory, as Paddle and NVIDIA's libraries say it, and in our one line."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from paddle.autograd import PyLayer

from modules.runtime.errors import UserError
from modules.runtime.shortage import (
    ANIMATION_MEND,
    memory_shortage,
    shortage_explained,
    training_mend,
)
from modules.training import loop
from tests.support.places import ROOT
from tests.support.tiny import tiny_config
from tests.support.training_runs import write_clips, write_config

# Paddle 3.3's message (cuda_allocator.cc), at the size of a real one.
OF_GPU = (
    '(ResourceExhausted) \n\nOut of memory error on GPU 1. Cannot allocate 1.000000GB memory on '
    'GPU 1, 7.084717GB memory has been allocated and available memory is only 716.750000MB.\n\n'
    'Please check whether there is any other process using GPU 1.\n1. If yes, please stop them, or '
    'start PaddlePaddle on another GPU.\n2. If no, please decrease the batch size of your model. \n'
)


class Hungry(PyLayer):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient + paddle.zeros([10**13])[:1]


def backward_of_a_pylayer():
    x = paddle.ones([1])
    x.stop_gradient = False
    Hungry.apply(x).backward()


@pytest.mark.parametrize(
    'allocate',
    [
        lambda: paddle.zeros([10**13]),
        lambda: paddle.ones([10**7, 1]) + paddle.ones([1, 10**6]),
        lambda: np.zeros(10**15),
        backward_of_a_pylayer,  # an OSError that says MemoryError
    ],
)
def test_what_this_paddle_says(allocate):
    with pytest.raises((MemoryError, OSError)) as error:
        allocate()
    assert memory_shortage(error.value) == 'out of memory'


@pytest.mark.parametrize(
    'error, words',
    [
        (MemoryError(OF_GPU), 'out of memory on GPU 1 (1 GB more are needed, 717 MB are free)'),
        (OSError(f'(External) {{ MemoryError: {OF_GPU}'), 'on GPU 1 (1 GB more are needed'),
        (RuntimeError('(External) CUDNN error(2), CUDNN_STATUS_ALLOC_FAILED.'), 'on the GPU'),
        (OSError('(External) CUBLAS error(3).\n [Hint: CUBLAS_STATUS_ALLOC_FAILED]'), 'on the GPU'),
        (OSError('(External) CUDA error(2), out of memory.'), 'out of memory on the GPU'),
        (RuntimeError('could not execute a primitive: out_of_memory'), 'out of memory'),
        (RuntimeError('std::bad_alloc'), 'out of memory'),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), 'out of memory'),
    ],
)
def test_what_others_say(error, words):
    found = memory_shortage(error)
    assert found is not None and words in found and '\n' not in found


@pytest.mark.parametrize(
    'error',
    [
        UserError('x.png: needs more memory than there is: out of memory'),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError('(External) CUDA error(209), no kernel image is available'),
        ValueError('(InvalidArgument) dimension mismatch'),
        KeyboardInterrupt(),
    ],
)
def test_what_is_none(error):
    assert memory_shortage(error) is None
    with pytest.raises(type(error)) as raised, shortage_explained('lower it'):
        raise error
    assert raised.value is error


def test_what_training_can_do():
    params = tiny_config(batch_size=8, accumulation_steps=2)['train_params']
    mend = training_mend(params, processes=2)
    assert 'batch_size is 8, accumulation_steps 2, which holds 2 samples at once' in mend
    assert 'raise accumulation_steps' in mend and 'lower batch_size' in mend
    mend = training_mend(params, processes=4)
    assert 'a single sample' in mend and 'amp to bf16' in mend and 'raise' not in mend
    assert 'bf16' not in training_mend({**params, 'amp': 'bf16'}, processes=4)


def run_train(tmp_path, *prelude):
    """What train.py says, after some lines of Python."""
    config = write_config(tmp_path / 'c.yaml', write_clips(tmp_path / 'data'), num_epochs=1)
    arguments = ['train.py', '--cpu', '--config', str(config), '--save_dir', str(tmp_path / 'run')]
    script = [
        f'import runpy, sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = {arguments!r}',
        *prelude,
        f'runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")',
    ]
    return subprocess.run(
        [sys.executable, '-c', '\n'.join(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_training_without_memory_is_one_line(tmp_path):
    done = run_train(
        tmp_path,
        'from modules.runtime.process import prepare_process; prepare_process()',
        'import paddle; from modules.ops import recomputing',
        'recomputing._gradient = lambda tensor: paddle.zeros([10**13])',
    )
    assert done.returncode == 2
    assert done.stderr == (
        'error: out of memory: train_params.batch_size is 4, accumulation_steps 1, which holds 4 '
        'samples at once; raise accumulation_steps, by which a batch is computed in parts, or '
        'lower batch_size\n'
    )


def test_paddle_does_not_warn_beside_its_exception():
    """As it would of a hand-written operation that fails in backward."""
    script = [
        f'import sys; sys.path.insert(0, {str(ROOT)!r})',
        'from modules.runtime.process import prepare_process; prepare_process()',
        'from tests.runtime.test_shortage import backward_of_a_pylayer',
        'try: backward_of_a_pylayer()',
        'except OSError: print("raised")',
    ]
    environment = {k: v for k, v in os.environ.items() if k != 'GLOG_minloglevel'}
    environment['PYTHONPATH'] = str(ROOT / 'tests')
    done = subprocess.run(
        [sys.executable, '-c', '\n'.join(script)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, 'raised\n', '')


def test_a_run_that_diverges_is_not_short_of_memory():
    """What checked_step makes of a failed step, it makes before."""
    trainer = SimpleNamespace(step=lambda *_: paddle.zeros([10**13]), step_count=3)
    log = SimpleNamespace(fetch=lambda: None, diverged=lambda step: UserError(f'step {step}'))
    for finite, message in ((True, r'^out of memory: lower it'), (False, r'^step 4$')):
        trainer.has_finite_weights = lambda finite=finite: finite
        with pytest.raises(UserError, match=message), shortage_explained('lower it'):
            loop.checked_step(trainer, None, None, log)


@pytest.mark.parametrize('door', ['demo', 'animate', 'evaluate'])
def test_animation_without_memory_is_one_line(door, tmp_path, monkeypatch):
    import animate
    import demo
    from tools import evaluate

    def fail(*arguments, **options):
        raise MemoryError(OF_GPU)

    for module in ('modules.animation.clip', 'modules.animation.pairs', 'tools.evaluation.clips'):
        monkeypatch.setattr(f'{module}.build_engine', fail)
    config = write_config(tmp_path / 'c.yaml', write_clips(tmp_path / 'data'))
    with config.open('a') as file:
        file.write('animate_params: {num_pairs: 1, format: .mp4, normalization_params: {}}\n')
    weights = str(ROOT / 'doc' / 'demo' / 'demo-128.safetensors')
    given = ['--config', str(config), '--checkpoint', weights]
    monkeypatch.setattr('modules.checkpoints.models.StoredModels.load', lambda self: None)
    monkeypatch.setattr('modules.animation.pairs.run_of', lambda *_: {}, raising=False)
    arguments = {
        'demo': ['--result_video', str(tmp_path / 'r.mp4')],
        'animate': [*given, '--save_dir', str(tmp_path)],
        'evaluate': [*given, '--out', str(tmp_path / 'o')],
    }[door]
    monkeypatch.setattr(sys, 'argv', [door, '--cpu', *arguments])
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')  # which --cpu sets for the rest of the process
    main = {'demo': demo, 'animate': animate, 'evaluate': evaluate}[door].main
    with pytest.raises(UserError) as error:
        main()
    shortage = 'out of memory on GPU 1 (1 GB more are needed, 717 MB are free)'
    assert str(error.value) == f'{shortage}: {ANIMATION_MEND}'
    assert not list(tmp_path.glob('r.mp4')) and not (tmp_path / 'o').exists()
