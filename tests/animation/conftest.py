"""Data sets and runs of animate.py."""

import pytest

from modules.build import build_models
from modules.checkpoints.models import load_models
from tests.support.animation_runs import NTSC, driving_frames, run, write_config
from tests.support.dataset_files import write_folder, write_strip, write_video
from tests.support.tiny_checkpoint import CONFIG, LEGACY


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """A test part of three clips, one of each kind."""
    root = tmp_path_factory.mktemp('data')
    frames = driving_frames()
    write_video(root / 'test' / 'a.mp4', frames[:4], fps=NTSC)
    write_folder(root / 'test' / 'b', frames[5:2:-1])
    write_strip(root / 'test' / 'c.png', frames[2:6, :, ::-1])
    return root


@pytest.fixture(scope='module')
def whole(dataset, tmp_path_factory):
    """A config and the folder of its uninterrupted run."""
    folder = tmp_path_factory.mktemp('whole')
    config = write_config(folder / 'c.yaml', dataset)
    return config, run(config, folder / 'run')


@pytest.fixture(scope='module')
def models():
    models = build_models(CONFIG)
    load_models(CONFIG, models, LEGACY)
    return models
