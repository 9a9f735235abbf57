"""Which GPU a process takes, and what is said where there is none that serves."""

import os
import sys

import paddle
import pytest

import train
from modules import test_mode
from modules.runtime import gpu
from modules.runtime.errors import UserError
from modules.runtime.process import choose_device
from tests.support.tiny import tiny_config
from tools import parity

core = paddle.base.core


@pytest.fixture
def machine(monkeypatch):
    """A GPU build of Paddle as far as devices are chosen. Returns how to give it GPUs; what was
    asked of Paddle is in `asked`.
    """

    class Machine:
        def __init__(self):
            self.asked = []

        def has(self, count, capability=(8, 6), archs=(70, 80, 90)):
            monkeypatch.setattr(paddle.device.cuda, 'device_count', lambda: count)
            monkeypatch.setattr(paddle.device.cuda, 'get_device_name', lambda: 'Card')
            monkeypatch.setattr(paddle.device.cuda, 'get_device_capability', lambda: capability)
            monkeypatch.setattr(paddle.version, 'cuda_archs', lambda: list(archs))

    monkeypatch.setattr(paddle, 'is_compiled_with_cuda', lambda: True)
    made = Machine()
    monkeypatch.setattr(paddle, 'set_device', made.asked.append)
    monkeypatch.setattr(paddle.version, 'cuda', lambda: '12.6')
    monkeypatch.setattr(gpu, 'driver_version', lambda: (12, 8))
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    return made


@pytest.fixture(autouse=True)
def whole_float32():
    """Puts Paddle's switches, and the variable for NVIDIA's libraries, back after each test."""
    before = core.get_cublas_switch(), core.get_cudnn_switch(), os.environ.copy()
    yield
    core.set_cublas_switch(before[0])
    core.set_cudnn_switch(before[1])
    os.environ.clear()
    os.environ.update(before[2])


def test_the_gpu_is_chosen_unless_told_otherwise(machine, capsys):
    machine.has(1)
    for cpu in (False, True):
        choose_device(cpu)
    machine.has(0)
    choose_device(False)
    assert machine.asked == ['gpu', 'cpu', 'cpu']
    assert capsys.readouterr().err == (
        'note: this PaddlePaddle is for GPUs and sees none: its driver shows none; nvidia-smi may '
        'tell more; the CPU is used\n'
    )


def test_with_cpu_nobody_asks_for_gpus(machine, monkeypatch):
    monkeypatch.setattr(paddle.device.cuda, 'device_count', lambda: pytest.fail('asked'))
    choose_device(True)
    environment = {'FLAGS_selected_gpus': '0', 'CUDA_VISIBLE_DEVICES': '0,1', 'HOME': '/'}
    gpu.hide_gpus(environment)
    assert environment == {'CUDA_VISIBLE_DEVICES': '', 'HOME': '/'}


def test_a_build_for_cpus_says_nothing(capsys):
    choose_device(False)
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    'visible, driver, reason',
    [
        ('', (12, 8), 'CUDA_VISIBLE_DEVICES is empty'),
        (' ', (12, 8), 'CUDA_VISIBLE_DEVICES is empty'),
        ("''", None, 'CUDA_VISIBLE_DEVICES is empty'),
        ('-1', (12, 8), 'CUDA_VISIBLE_DEVICES is -1'),
        (None, None, 'there is no NVIDIA driver'),
        ('0', None, 'there is no NVIDIA driver'),
        (None, (11, 4), 'serves CUDA 11.4 and older, and it was built for 12.6; update the driver'),
        (None, (12, 2), 'nvidia-smi may tell more'),  # serves any minor version
        ('7', (12, 8), 'CUDA_VISIBLE_DEVICES is 7, which names none'),
        (None, (13, 0), 'nvidia-smi may tell more'),
    ],
)
def test_why_there_is_no_gpu(visible, driver, reason):
    assert reason in gpu.why_no_gpu(visible, driver, '12.6')


def test_the_driver_is_asked_without_one():
    assert gpu.driver_version() is None or gpu.driver_version() >= (9, 0)


@pytest.mark.parametrize(
    'capability, archs, hopeless',
    [
        ((8, 0), [70, 80], None),
        ((8, 9), [70, 80], None),  # programs run on later minor versions
        ((8, 6), [70, 86], None),
        ((12, 0), [], None),  # not known
        ((12, 0), [70, 80, 90], False),
        ((9, 0), [80, 120], False),
        ((8, 0), [86], True),
        ((6, 1), [70, 80], True),
        ((7, 0), [75, 80], True),
        ((10, 3), [90, 100], None),
    ],
)
def test_programs_that_a_paddle_lacks(capability, archs, hopeless):
    lack = gpu.lack_of_programs('Card', capability, archs)
    assert (lack and lack.hopeless) == hopeless
    if lack:
        assert lack.message.startswith(f'Card has compute capability {capability[0]}.')


def test_a_gpu_that_is_too_old_is_refused(machine):
    machine.has(1, (6, 1), [75, 80])
    message = (
        r'Card has compute capability 6\.1, for which this PaddlePaddle holds no programs '
        r'\(it has 7\.5, 8\.0\): install a PaddlePaddle that has them, or add --cpu'
    )
    with pytest.raises(UserError, match=message):
        choose_device(False)


def test_a_gpu_that_is_too_new_is_tried(machine, monkeypatch, capsys):
    machine.has(1, (12, 0), [80, 90])
    choose_device(False)
    err = capsys.readouterr().err
    assert err.startswith('note: Card has compute capability 12.0') and err.count('\n') == 1

    def fail(shape):
        raise OSError('(External) CUDA error(209), no kernel\nimage is available')

    monkeypatch.setattr(paddle, 'ones', fail)
    with pytest.raises(
        UserError, match=r'newer CUDA, or add --cpu \(.*no kernel image is'
    ) as error:
        choose_device(False)
    assert '\n' not in str(error.value)


# --- TF32 ---


def is_whole():
    off = not core.get_cublas_switch() and not core.get_cudnn_switch()
    return off and os.environ.get('NVIDIA_TF32_OVERRIDE') == '0'


def round_factors():
    core.set_cublas_switch(True)
    core.set_cudnn_switch(True)
    os.environ.pop('NVIDIA_TF32_OVERRIDE', None)


class AskedError(Exception):
    """What a command is to begin with."""


def test_parity_computes_in_whole_float32(monkeypatch, tmp_path):
    def check(files, engine):
        raise AskedError(is_whole())

    round_factors()
    monkeypatch.setattr(parity, 'check', check)
    file = tmp_path / 'x.npz'
    file.touch()
    monkeypatch.setattr(sys, 'argv', ['parity.py', 'check', str(file)])
    with pytest.raises(AskedError, match='True'):
        parity.main()


def test_test_mode_computes_in_whole_float32(monkeypatch):
    def record(*arguments):
        raise AskedError(is_whole())

    round_factors()
    monkeypatch.setattr(test_mode, 'ENABLED', True)
    monkeypatch.setattr('modules.parity.record.record_training_step', record)
    monkeypatch.setattr(train, 'load_config', lambda path, need: tiny_config())
    monkeypatch.setattr(sys, 'argv', ['train.py', '--config', 'c.yaml', '--cpu'])
    monkeypatch.setattr(train, 'keep_freed_memory', lambda: None)
    with pytest.raises(AskedError, match='True'):
        train.main()
