"""Fixtures for tests of engines."""

import paddle
import pytest

from modules.ops import predictors


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'first-order-model' / 'programs'


@pytest.fixture
def gpu(monkeypatch):
    """A second GPU, as far as engines are chosen; what would run on it runs on the CPU, by Paddle's
    own operations. Gives the numbers of the GPUs that programs are for.
    """
    monkeypatch.setattr(paddle.device, 'get_device', lambda: 'gpu:1')
    monkeypatch.setattr(paddle.device.cuda, 'get_device_name', lambda number: f'No. {number}')
    monkeypatch.setattr(paddle.device.cuda, 'get_device_capability', lambda: (8, 0))
    used = []

    def use(config, number):
        config.disable_gpu()
        config.disable_mkldnn()
        config.delete_pass('inplace_pass')
        used.append(number)

    monkeypatch.setattr(predictors, '_use_gpu', use)
    return used
