"""The tiny checkpoint that the tests read, and how they compare weights."""

from modules.config import load_config
from tests.support.places import ROOT

TINY = ROOT / 'tests' / 'support' / 'data' / 'demo_tiny'
LEGACY = TINY / 'tiny-nets-legacy.pth.tar'
PART = TINY / 'tiny-part-zip.pth.tar'  # keypoint detector, discriminator and its optimizer
CONFIG = load_config(TINY / 'tiny.yaml')


def values(layer):
    return {key: tensor.numpy().copy() for key, tensor in layer.state_dict().items()}


def assert_same(state, expected):
    assert set(state) == set(expected)
    for key, array in expected.items():
        assert state[key].dtype == array.dtype, key
        assert state[key].shape == array.shape, key
        assert state[key].tobytes() == array.tobytes(), key
