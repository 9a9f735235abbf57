"""The section `demo` of tools/benchmark.py."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.support.tiny import tiny_config
from tools.benchmarking import demo
from tools.benchmarking.runs import OFFICIAL, Official, Run


def a_run(seconds, peak=100):
    return Run(list(seconds), peak, 'v', [], None)


@pytest.mark.slow
def test_demo_py_is_measured_from_files_to_a_file(monkeypatch, tmp_path):
    """Three processes that import Paddle: weights, what has to be compiled, what is measured."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)).save(
        tmp_path / 'me.png'
    )
    frames = tmp_path / 'clip'
    frames.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (36, 36, 3), np.uint8)
        Image.fromarray(pixels).save(frames / f'{number}.png')
    found = {}
    report = demo.demo_report
    monkeypatch.setattr(
        demo, 'demo_report', lambda runs, *rest: found.update(runs) or report(runs, *rest)
    )
    options = SimpleNamespace(
        engines=['onednn'], peers=[OFFICIAL], picture=tmp_path / 'me.png', clip=frames, repeats=1
    )
    figures = demo.compare_demo(tiny_config(), Official(reason='no clone'), options).figures
    (run,) = found['onednn']
    whole, frame, networks = run.seconds
    assert whole / 5 > frame > networks / 2 > 0
    assert figures['frames'] == 5 and figures[OFFICIAL] == 'no clone'
    assert figures['onednn']['frame_milliseconds']['best'] == pytest.approx(1000 * frame)


def test_time_memory_and_what_is_beside_the_networks():
    runs = {
        'onednn': [a_run((4, 0.1, 0.09), 3e6), a_run((6, 0.15, 0.12), 3e6)],
        OFFICIAL: [a_run((8,), 2e6), a_run((10,), 2e6)],
        'OpenVINO': [a_run((16, 0.2), 4e6), a_run((16, 0.2), 4e6)],
    }
    report = demo.demo_report(runs, {'OpenVINO, bf16': 'not measured: so it is'}, 20)
    lines = '\n'.join(report.lines)
    ours = '| 4.00 s (5.00) | 100 ms (125) | 5.0 % (7.5) | 3 MB | 0.50 (0.56); 1.50 |'
    assert f'| onednn {ours}' in lines
    assert '| official | 8.00 s (9.00) |  |  | 2 MB | 1.00 (1.00); 1.00 |' in lines
    assert '| OpenVINO | 16.00 s (16.00) | 200 ms (200) |  | 4 MB | 2.00 (1.78); 2.00 |' in lines
    assert '| OpenVINO, bf16 | not measured: so it is |' in lines
    ratios = report.figures['onednn']['ratios']
    assert ratios == {'best': 0.5, 'median': pytest.approx(5 / 9), 'peak_bytes': 1.5}


def test_without_the_official_code_there_is_nothing_to_compare():
    report = demo.demo_report({'onednn': [a_run((4, 0.06, 0.05), 3e6)]}, {}, 32)
    assert 'ratios' not in report.figures['onednn']
    assert report.lines[0].count('|') == 6


def test_the_official_demo_needs_packages_that_read_and_write_files(monkeypatch):
    there = Official('python', None, '2.13')
    monkeypatch.setattr(demo, 'lack_of', lambda *args: '')
    monkeypatch.setattr(demo, 'package_version', lambda python, name: name != 'skimage' or None)
    assert demo._lack(there, OFFICIAL) == 'not measured: no skimage in python'
    monkeypatch.setattr(demo, 'package_version', lambda python, name: '1')
    assert demo._lack(there, OFFICIAL) == ''
    monkeypatch.setattr(demo, 'lack_of', lambda *args: 'no clone')
    assert demo._lack(there, OFFICIAL) == 'no clone'
