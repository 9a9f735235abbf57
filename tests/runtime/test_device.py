"""Which device the commands choose."""

import sys

import pytest

import demo


@pytest.mark.parametrize('flags', [('--cpu',), ()])
def test_cpu_is_passed_on(tmp_path, monkeypatch, flags):
    class ChosenError(Exception):
        pass

    def choose_device(cpu):
        raise ChosenError(cpu)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, 'choose_device', choose_device)
    monkeypatch.setattr(sys, 'argv', ['demo.py', *flags])
    with pytest.raises(ChosenError) as chosen:
        demo.main()
    assert chosen.value.args == (bool(flags),)
