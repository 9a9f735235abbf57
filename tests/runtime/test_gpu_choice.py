"""Which GPUs processes are spread over, with a GPU machine's answers instead of one."""

import pytest

from modules.runtime import gpu_choice
from modules.runtime.errors import UserError
from modules.runtime.gpu_choice import find_gpus


@pytest.fixture
def machine(monkeypatch):
    """Sets what driver and Paddle say."""

    def set_up(count, cuda='12.6', driver=(12, 8), visible=None):
        monkeypatch.setattr(gpu_choice, 'driver_version', lambda: driver)
        monkeypatch.setattr(gpu_choice, 'call_apart', lambda function: (count, cuda))
        if visible is None:
            monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
        else:
            monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)

    return set_up


@pytest.mark.parametrize(
    ('device', 'visible', 'gpus'),
    [
        ('auto', None, ['0', '1', '2']),
        ('gpu', None, ['0', '1', '2']),
        ('cpu', None, []),
        ('gpu:2,0', None, ['2', '0']),
        ('gpu:1,1', None, ['1']),
        ('auto', '5, 3,GPU-ab', ['5', '3', 'GPU-ab']),
        ('gpu:2', '5,3,GPU-ab', ['GPU-ab']),
    ],
)
def test_gpus_by_their_names(machine, device, visible, gpus):
    machine(3, visible=visible)
    assert find_gpus(device) == gpus


def test_no_gpu(machine):
    machine(0, driver=None)
    assert find_gpus('auto') == []
    with pytest.raises(UserError, match=r'--device gpu: .* no NVIDIA driver'):
        find_gpus('gpu')
    machine(0, visible='')
    assert find_gpus('auto') == []
    with pytest.raises(UserError, match='CUDA_VISIBLE_DEVICES is empty'):
        find_gpus('gpu:0')
    machine(0, cuda=None)
    assert find_gpus('auto') == []
    with pytest.raises(UserError, match='is for the CPU'):
        find_gpus('gpu')


def test_without_a_driver_paddle_is_not_asked(machine, monkeypatch):
    machine(0, driver=None)
    monkeypatch.setattr(gpu_choice, 'call_apart', None)
    assert find_gpus('auto') == []


@pytest.mark.parametrize('device', ['gpu:3', 'gpu:', 'gpu:a', 'gpu0', '0', 'GPU', ''])
def test_no_such_device(machine, device):
    machine(3)
    with pytest.raises(UserError, match=f'--device {device}: '):
        find_gpus(device)


def test_this_paddle_is_asked():
    """In a process of its own, whatever it says here."""
    count, cuda = gpu_choice.call_apart(gpu_choice._ask_paddle)
    gpu_choice.close_children()
    assert count >= 0 and (cuda is not None or count == 0)
