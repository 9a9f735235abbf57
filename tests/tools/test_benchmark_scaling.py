"""The section `scaling` of the benchmark: what it runs and says; never how fast anything was."""

import json
import sys

import numpy as np
import pytest
import yaml

from modules.runtime.errors import UserError
from modules.runtime.process import available_cores
from tests.support.tiny import TINY
from tools import benchmark
from tools.benchmarking.runs import Run
from tools.benchmarking.scaling import scaling_report


@pytest.fixture
def run_benchmark(tmp_path, monkeypatch, capsys):
    """Runs the section with the tiny networks, whose batch is of 4 -> figures, what it printed."""
    (tmp_path / 'tiny.yaml').write_text(yaml.safe_dump(TINY))
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)

    def run_it(*arguments):
        out = tmp_path / 'figures.json'
        command = ['benchmark.py', '--config', tmp_path / 'tiny.yaml', '--only', 'scaling']
        command += ['--repeats', 1, '--steps', 2, '--out', out, *arguments]
        monkeypatch.setattr(sys, 'argv', [*map(str, command)])
        benchmark.main()
        return json.loads(out.read_text())['scaling'], capsys.readouterr().out

    return run_it


def a_run(processes, seconds, waits, peaks):
    extra = {'processes': processes, 'threads': 4 // processes, 'waits': waits, 'peaks': peaks}
    return Run(seconds, 5, 'v', [{'pixel': 1.0}], None, extra)


def test_what_is_said_of_the_runs():
    runs = {
        '1 process': [a_run(1, [9, 2, 2], [0, 0, 0], [3_000_000])] * 2,
        '2 processes': [
            a_run(2, [9, 1.5, 1.5], [8, 0.5, 0.25], [2_000_000, 4_000_000]),
            a_run(2, [9, 2.5, 2.5], [8, 1, 1.5], [2_000_000, 1_000_000]),
        ],
    }
    report = scaling_report(runs, batch=6)
    text = '\n'.join(report.lines)
    assert '| 1 process | 4 | 3.00 | 1.00x |  | 3 MB |' in text
    assert '| 2 processes | 2 | 3.20 | 1.07x | 38 % | 3 MB |' in text
    figures = report.figures['2 processes']
    assert figures['samples_per_second']['values'] == [4, 2.4]
    assert figures['peak_bytes']['values'] == [4_000_000, 2_000_000]  # the largest of each run
    assert figures['waiting_share'] == pytest.approx((0.25 + 0.5) / 2)
    assert [*report.series] == [f'{name}, samples per second' for name in runs]


def test_a_batch_that_does_not_divide_is_refused_before_anything_runs(run_benchmark):
    with pytest.raises(UserError, match='batch_size: 4 does not divide among 3 processes'):
        run_benchmark('--processes', 1, 3)


@pytest.mark.slow
def test_several_processes_do_the_work_of_one(run_benchmark):
    """Each with its share of the cores; the joint losses are those of one process."""
    figures, text = run_benchmark('--processes', 2, 1, 2, '--joint_batch', 8)
    assert [*figures] == ['1 process', '2 processes']
    one, two = figures.values()
    assert [one['processes'], two['processes']] == [1, 2]
    assert one['threads'] == available_cores() and two['threads'] == max(1, one['threads'] // 2)
    assert one['waiting_share'] == 0 < two['waiting_share'] < 1
    assert two['ratio'] == two['samples_per_second']['median'] / one['samples_per_second']['median']
    names = one['losses'][0]
    assert set(names) == set(two['losses'][0]) and len(one['losses']) == 3
    assert '| training, joint batch of 8 | threads of each | samples per second |' in text
    assert min(one['peak_bytes']['median'], two['peak_bytes']['median']) > 1e8
    pixel = [np.array([losses['pixel'] for losses in found['losses']]) for found in (one, two)]
    np.testing.assert_allclose(*pixel, rtol=1e-3)
