"""Several processes that train together: what they compute, share and are refused."""

import subprocess
import sys

import numpy as np
import paddle
import pytest

from frames_dataset import FramesDataset
from modules.data.loader import share_of_batch
from modules.runtime import distributed, process
from modules.runtime.errors import UserError
from tests.support.joint_results import assert_as_one_process
from tests.support.places import ROOT
from tests.support.training_runs import run, write_clips, write_config

SUPPORT = ROOT / 'tests' / 'support'


def launched(tmp_path, *command):
    """Runs a script as two processes -> what the first printed."""
    launch = ['-m', 'paddle.distributed.launch', '--nproc_per_node', '2', '--log_dir']
    done = subprocess.run(
        [sys.executable, *launch, str(tmp_path / 'logs'), *map(str, command)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    log = tmp_path / 'logs' / 'workerlog.0'
    assert log.exists(), done.stdout + done.stderr  # the launcher refused
    return done.returncode, log.read_text(errors='replace')


@pytest.fixture(scope='module')
def joint_steps(tmp_path_factory):
    """The arrays of tests/support/joint_steps.py: of one process, and of two."""
    folder = tmp_path_factory.mktemp('joint')
    script = SUPPORT / 'joint_steps.py'
    subprocess.run(
        [sys.executable, str(script), str(folder / 'one.npz')], check=True, capture_output=True
    )
    status, log = launched(folder, script, folder / 'two.npz')
    assert status == 0, log[-2000:]
    return np.load(folder / 'one.npz'), np.load(folder / 'two.npz')


def test_two_processes_equal_one_on_the_joint_batch(joint_steps):
    """Batch norm is synchronised (its statistics are the joint batch's), gradients are averaged."""
    one, two = joint_steps
    assert_as_one_process(one, two)
    assert np.abs(one['losses'][0] - one['losses'][-1]).max() > 1e-3  # something was learnt


def test_a_step_sends_two_messages_a_norm_and_one_for_all_gradients(joint_steps):
    one, two = joint_steps
    assert one['calls'].tolist() == [0, 0]
    norms = two['norms'].item()
    assert norms == 3 * 4 + 4 + 7  # keypoints of three images, motion, generator
    assert two['calls'].tolist() == [norms, norms + 1]


@pytest.mark.parametrize('dtype', ['float16', 'bfloat16', 'float32', 'float64'])
def test_nothing_of_16_bits_is_summed(dtype, monkeypatch):
    """gloo sums float16 wrongly, without an error."""
    seen = []

    def double(values):
        seen.append(values.dtype)
        paddle.assign(values + values, values)

    monkeypatch.setattr(paddle.distributed, 'all_reduce', double)
    total = distributed.summed(paddle.to_tensor([1.5, -2.0], dtype))
    assert total.astype('float32').tolist() == [3.0, -4.0]
    assert total.dtype == getattr(paddle, dtype)
    assert seen == [getattr(paddle, 'float32' if '16' in dtype else dtype)]


def test_with_cpu_processes_of_a_gpu_build_touch_no_gpu(tmp_path):
    config = write_config(tmp_path / 'c.yaml', write_clips(tmp_path / 'data'), num_epochs=1)
    status, log = launched(
        tmp_path, SUPPORT / 'gpu_build.py', ROOT / 'train.py', '--cpu',
        '--config', config, '--save_dir', tmp_path / 'run',
    )  # fmt: skip
    assert status == 0, log[-2000:]
    assert 'on cpu\n' in log
    assert list((tmp_path / 'run').glob('*.safetensors'))


@pytest.mark.parametrize(
    'device, chosen, backend',
    [
        ('cpu', None, 'gloo'),
        ('cpu', 'nccl', 'gloo'),
        ('gpu:1', None, None),
        ('gpu:0', 'gloo', 'gloo'),
    ],
)
def test_backends(monkeypatch, device, chosen, backend):
    environment = {} if chosen is None else {'PADDLE_DISTRI_BACKEND': chosen}
    joined = []
    monkeypatch.setattr(distributed.os, 'environ', environment)
    monkeypatch.setattr(distributed, 'world_size', lambda: 2)
    monkeypatch.setattr(distributed.paddle.device, 'get_device', lambda: device)
    monkeypatch.setattr(
        distributed.dist, 'init_parallel_env', lambda: joined.append(dict(environment))
    )
    distributed.start()
    assert [found.get('PADDLE_DISTRI_BACKEND') for found in joined] == [backend]


@pytest.mark.parametrize(
    'arguments, share', [((8, 1), 8), ((8, 2), 4), ((8, 2, 2), 4), ((6, 1, 3), 6), ((6, 3), 2)]
)
def test_batches_that_divide(arguments, share):
    assert share_of_batch(*arguments) == share


@pytest.mark.parametrize(
    'arguments, message',
    [
        ((10, 2, 4), '10 does not divide among 2 processes x 4 accumulation_steps; take 8 or 16'),
        ((6, 4), '6 does not divide among 4 processes; take 4 or 8'),
        ((2, 2, 2), '2 does not divide among 2 processes x 2 accumulation_steps; take 4'),
        ((5, 1, 2), '5 does not divide among 2 accumulation_steps; take 4 or 6'),
    ],
)
def test_batches_that_do_not(arguments, message):
    with pytest.raises(UserError, match=f'^train_params.batch_size: {message}$'):
        share_of_batch(*arguments)


def test_a_batch_that_does_not_divide_ends_a_run_before_it_begins(tmp_path):
    """4 samples: two processes would hold 2 each, which 4 accumulation steps can't part."""
    dataset = write_clips(tmp_path / 'data')
    config = write_config(tmp_path / 'c.yaml', dataset, accumulation_steps=4)
    _, err = run(
        '--config', config, '--save_dir', tmp_path / 'run', status=2, PADDLE_TRAINERS_NUM='2'
    )
    assert err == (
        'error: train_params.batch_size: 4 does not divide among 2 processes x 4 '
        'accumulation_steps; take 8\n'
    )
    assert not (tmp_path / 'run').exists()


def test_local_processes_share_the_cores(monkeypatch):
    monkeypatch.setattr(process, 'available_cores', lambda: 6)
    for count, cores in (('', 6), ('1', 6), ('2', 3), ('4', 1), ('8', 1), ('none', 6)):
        monkeypatch.setenv('PADDLE_LOCAL_SIZE', count)
        assert process.cores_of_process() == cores, count


def test_local_processes_share_the_memory_of_preload(tmp_path, monkeypatch):
    """Each of them holds the frames: 8 clips of 6 frames of 32 x 32."""
    dataset = write_clips(tmp_path / 'data')
    need = 8 * 6 * 32 * 32 * 3
    monkeypatch.setattr('frames_dataset.available_memory', lambda: 2 * need)
    for count in ('1', '2'):
        monkeypatch.setenv('PADDLE_LOCAL_SIZE', count)
        FramesDataset(dataset, (32, 32, 3), preload=True)
    monkeypatch.setenv('PADDLE_LOCAL_SIZE', '3')
    with pytest.raises(UserError, match=r'--preload: .* GB in each of 3 processes and'):
        FramesDataset(dataset, (32, 32, 3), preload=True)
