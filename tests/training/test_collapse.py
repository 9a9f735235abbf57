"""Keypoints that are of no use any more."""

import numpy as np
import pytest

from modules.training.collapse import collapse
from modules.training.reports import Reports
from tests.support.training_runs import run, write_clips, write_config


def spread(batch=3, count=10):
    return np.random.default_rng(0).uniform(-0.9, 0.9, (batch, count, 2))


def test_keypoints_that_move_with_the_object_are_fine():
    assert collapse(spread()) is None
    assert collapse(spread() * 0.1) is None
    at_one_place = spread()
    at_one_place[1] = 0.2  # one sample of a batch may be odd
    assert collapse(at_one_place) is None
    assert collapse(np.zeros((2, 1, 2))) is None  # a single keypoint has one place


@pytest.mark.parametrize('centre', [0, 0.4])
def test_all_at_one_place(centre):
    places = np.full((3, 10, 2), centre) + 0.01 * spread()
    places += np.array([0, 0.3, -0.3])[:, None, None]  # another in each sample
    assert collapse(places) == 'are all at one place'


def test_outside():
    places = spread()
    places[:, :6, 0] = 1.0
    assert 'outside' in collapse(places)
    places[:, 4:, 0] = 0.5
    assert collapse(places) is None
    assert 'outside' in collapse(3 * np.sign(spread()))


def test_it_is_said_once_as_long_as_it_lasts(capsys):
    reports = Reports(None, None, None, None)
    bad = 0.001 * spread()
    for places, said in ((spread(), 0), (bad, 1), (bad, 0), (spread(), 0), (bad, 1)):
        reports.keypoints(places)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == said
        assert not lines or lines[0].startswith(
            'warning: the keypoints are all at one place; usual cures: a lower lr_kp_detector'
        )


def test_a_run_warns(tmp_path):
    """A temperature at which heatmaps are flat: every keypoint is in the middle."""
    config = write_config(tmp_path / 'c.yaml', write_clips(tmp_path / 'data'), num_epochs=2)
    text = config.read_text().replace('temperature: 0.1', 'temperature: 1.0e+6')
    config.write_text(text)
    _, err = run('--config', config, '--save_dir', tmp_path / 'run')
    assert err.count('warning: the keypoints are all at one place') == 1
