"""The section `live` of the benchmark: what it measures and says; never how fast anything was."""

import json
import sys

import numpy as np

from modules.video.jpeg import decode_jpeg
from tools import benchmark
from tools.benchmarking.live import live_report
from tools.benchmarking.ours import STAGES, camera_frames
from tools.benchmarking.runs import Run


def a_run(seconds, rate, alone):
    extra = {'rate': rate, 'alone': alone, 'stages': dict.fromkeys(STAGES, 0.002)}
    return Run(seconds, 3_000_000, 'v', [], None, extra)


def test_what_is_said_of_the_runs():
    late = [0.05] * 90 + [0.2] * 10
    runs = {'bundled': [a_run(late, 20.0, 22.0), a_run(late, 18.0, 22.0)]}
    report = live_report(runs)
    lines = '\n'.join(report.lines)
    assert '| bundled | 19.0 | 22.0 | 50 ms | 200 ms | 3 MB |' in lines
    assert '| bundled | 2.00 ms | 2.00 ms | 2.00 ms | 2.00 ms | 2.00 ms |' in lines
    figures = report.figures['bundled']
    assert figures['rate']['values'] == [20, 18] and figures['engine_rate']['median'] == 22
    assert figures['latency_seconds']['median'] == 0.05
    assert figures['latency_95_seconds']['median'] == 0.2
    assert figures['peak_bytes']['median'] == 3_000_000
    assert figures['stage_seconds']['paint']['median'] == 0.002


def test_the_bundled_networks_follow_a_camera(monkeypatch, tmp_path, capsys):
    out = tmp_path / 'figures.json'
    command = ['benchmark.py', '--only', 'live', '--engine', 'eager', '--repeats', '1']
    monkeypatch.setattr(sys, 'argv', [*command, '--seconds', '1', '--out', str(out)])
    benchmark.main()
    figures = json.loads(out.read_text())['live']
    assert list(figures) == ['bundled']  # the config's networks by compiled engines alone
    bundled = figures['bundled']
    assert bundled['rate']['median'] > 0
    assert 0 < bundled['latency_seconds']['median'] <= bundled['latency_95_seconds']['median']
    assert {*bundled['stage_seconds']} == {*STAGES}
    text = capsys.readouterr().out
    assert '| live, camera of 640x480, 30 per second | results per second | engine alone |' in text
    assert f'| bundled | {bundled["rate"]["median"]:.1f} |' in text


def test_the_camera_s_frames_are_a_webcam_s():
    frames = [decode_jpeg(data) for data in camera_frames()]
    assert len(frames) > 20 and {frame.shape for frame in frames} == {(480, 640, 3)}
    assert np.abs(frames[0].astype(int) - frames[5]).max() > 50  # something moves
