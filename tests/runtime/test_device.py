"""Which device the commands choose."""

import sys

import pytest

import demo
from modules.runtime.process import choose_device


@pytest.mark.parametrize('flags', [('--cpu',), ()])
def test_cpu_is_passed_on(tmp_path, monkeypatch, flags):
    class Chosen(Exception):
        pass

    def choose_device(cpu):
        raise Chosen(cpu)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, 'choose_device', choose_device)
    monkeypatch.setattr(sys, 'argv', ['demo.py', *flags])
    with pytest.raises(Chosen) as chosen:
        demo.main()
    assert chosen.value.args == (bool(flags),)


def test_the_gpu_is_chosen_unless_told_otherwise(monkeypatch):
    monkeypatch.setattr('paddle.is_compiled_with_cuda', lambda: True)
    monkeypatch.setattr('paddle.device.cuda.device_count', lambda: 1)
    asked = []
    monkeypatch.setattr('paddle.set_device', asked.append)
    for cpu in (False, True):
        choose_device(cpu)
    monkeypatch.setattr('paddle.device.cuda.device_count', lambda: 0)
    choose_device(False)
    assert asked == ['gpu', 'cpu', 'cpu']
