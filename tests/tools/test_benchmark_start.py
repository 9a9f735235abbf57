"""The section `start` of tools/benchmark.py."""

from types import SimpleNamespace

import numpy as np
import pytest

from modules.animation.animator import animate
from modules.animation.normalization import Normalization
from modules.parity.record import seeded_models
from tests.support.tiny import tiny_config
from tools.benchmarking import start
from tools.benchmarking.animation import animation_inputs
from tools.benchmarking.runs import OFFICIAL, Official, Run


def a_run(seconds, peak=100):
    return Run(list(seconds), peak, 'v', [], None)


@pytest.mark.slow
def test_the_frame_is_that_of_the_weights_in_the_file(monkeypatch):
    """Three processes, each of which imports Paddle: one writes weights, two animate by them."""
    found = {}
    report = start.start_report
    monkeypatch.setattr(
        start, 'start_report', lambda runs, *rest: found.update(runs) or report(runs, *rest)
    )
    config = tiny_config()
    figures = start.compare_start(
        config, Official(reason='no clone'), SimpleNamespace(repeats=1)
    ).figures
    inputs = animation_inputs(config['dataset_params']['frame_shape'], 1)
    models = seeded_models(config, 0, 'float32')
    (frame,) = animate(models, inputs['source'], inputs['driving'], Normalization(True, True))
    ((run,),) = found.values()
    np.testing.assert_allclose(run.frames[0], frame, atol=1e-5)
    assert frame.std() > 0.01 and len(run.seconds) == 2 and min(run.seconds) > 0
    assert figures[OFFICIAL] == 'no clone'


def test_the_import_and_what_follows_stand_side_by_side():
    runs = {
        start.OURS: [a_run((1, 2), 3e6), a_run((1.5, 4), 3e6)],
        OFFICIAL: [a_run((2, 4)), a_run((2, 5))],
    }
    report = start.start_report(runs, '')
    lines = '\n'.join(report.lines)
    assert '| this project | 1.00 s (1.25) | 2.00 s (3.00) | 3 MB |' in lines
    assert '| this project / official |  | 0.50 (0.67) |  |' in lines
    assert report.figures['ratios'] == {'best': 0.5, 'median': pytest.approx(2 / 3)}
    assert set(report.series) >= {'this project, import', 'official, first frame'}
