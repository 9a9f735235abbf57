import atexit
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# Tests that run side by side share the cores; before Paddle is loaded.
_SIDE_BY_SIDE = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', 0))
if _SIDE_BY_SIDE:
    os.environ.setdefault('OMP_NUM_THREADS', str(max(1, (os.cpu_count() or 1) // _SIDE_BY_SIDE)))

from modules.runtime.process import prepare_process

prepare_process()

# Compiled programs are shared by the tests, and by the processes that run them, not with the user.
if not _SIDE_BY_SIDE:
    _CACHE = tempfile.mkdtemp()
    os.environ['XDG_CACHE_HOME'] = _CACHE
    atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)

_DEVICES = {k: v for k, v in os.environ.items() if k == 'CUDA_VISIBLE_DEVICES'}

# What `make test-quick` runs of each room, beside the style and the types.
QUICK = (
    *('test_house.py', 'test_networks.py', 'test_losses.py', 'test_transform.py'),
    *('animation/test_animator.py', 'animation/test_normalization.py'),
    *('checkpoints/test_reading.py', 'config/test_config.py', 'data/test_augmentation.py'),
    *('inference/test_folding.py', 'ops/test_linalg.py', 'ops/test_onednn.py'),
    *('runtime/test_commands.py', 'tools/test_metrics.py', 'training/test_loss_scaler.py'),
    *('video/test_pictures.py', 'video/test_timing.py'),
)


def pytest_collection_modifyitems(items):
    for item in items:
        name = item.path.relative_to(Path(__file__).parent).as_posix()
        if name in QUICK and not item.get_closest_marker('slow'):
            item.add_marker(pytest.mark.quick)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """
    A command with --cpu hides GPUs from all that its process starts: here from one test only.

    A hook and no fixture: a module's fixtures, which run commands too, come before a test's.
    """
    os.environ.pop('CUDA_VISIBLE_DEVICES', None)
    os.environ.update(_DEVICES)


@pytest.fixture
def interruptible():
    """Programs that the test starts can be interrupted, even where the tests ignore it (nohup)."""
    numbers = signal.SIGINT, signal.SIGHUP
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    yield
    for number, handler in zip(numbers, before):
        signal.signal(number, handler)


@pytest.fixture(scope='module')
def official():
    """The tiny checkpoint's networks as states; test_checkpoint_reading.py checks that reading."""
    from modules.checkpoints.models import read_checkpoint
    from tests.support.tiny_checkpoint import LEGACY

    return read_checkpoint(LEGACY).networks


@pytest.fixture
def models():
    """Networks of the tiny checkpoint's config, with initial weights."""
    from modules.build import build_models
    from tests.support.tiny_checkpoint import CONFIG

    return build_models(CONFIG)


@pytest.fixture
def golden_clip(tmp_path):
    """The golden demo's driving frames as a folder of PNGs."""
    folder = tmp_path / 'driving'
    folder.mkdir()
    from tests.support.tiny_checkpoint import TINY

    for i, frame in enumerate(np.load(TINY / 'driving.npy')):
        Image.fromarray(frame).save(folder / f'{i}.png')
    return folder
