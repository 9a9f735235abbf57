"""The benchmark: what it compares, what it says of it; never how fast anything was."""

import copy
import json
import os
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import yaml

from frames_dataset import FramesDataset
from modules.animation.animator import animate
from modules.animation.normalization import Normalization
from modules.parity.record import STEP_INPUTS, seed_networks, seeded_models, to_tensor
from modules.runtime.errors import UserError
from modules.runtime.seeding import seeded_inputs
from modules.training.setup import build_trainer
from modules.transform import Transform
from tests.support.tiny import TINY, tiny_config
from tools import benchmark
from tools.benchmarking import animation as benchmark_animation
from tools.benchmarking import runs as benchmark_runs
from tools.benchmarking.common import Report, Series
from tools.benchmarking.loading import WholeClips, load, measure
from tools.benchmarking.runs import OFFICIAL, Official, Run, find_official, lack_of
from tools.benchmarking.training import losses_table, training_config

JITTER = {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'hue': 0.1}


@pytest.fixture
def config_file(tmp_path):
    """The tiny config, with augmentation and without the loss that the official code lacks."""
    config = copy.deepcopy(TINY)
    config['dataset_params']['augmentation_params'] = {'jitter_param': JITTER}
    config['train_params']['loss_weights']['pixel'] = 0
    path = tmp_path / 'tiny.yaml'
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture
def run_benchmark(monkeypatch, tmp_path, config_file, capsys):
    """Runs the command with small settings -> (its figures, what it printed)."""

    def run_it(*arguments):
        out = tmp_path / 'figures.json'
        small = ['--repeats', '1', '--steps', '1', '--driving', '3', '--clips', '2']
        command = ['benchmark.py', '--config', config_file, *small, '--out', out, *arguments]
        monkeypatch.setattr(sys, 'argv', [str(argument) for argument in command])
        benchmark.main()
        return json.loads(out.read_text()), capsys.readouterr().out

    return run_it


def a_run(seconds=(9, 1, 2, 3), peak=100, losses=None, frames=None):
    return Run(list(seconds), peak, 'v', [losses or {}], frames)


# ---- loading ----


def test_loading_gives_both_paces_with_and_without_augmentation(run_benchmark, tmp_path):
    data = tmp_path / 'clips'
    figures, text = run_benchmark(
        '--only', 'loading', '--frames', 12, '--samples', 24, '--data', data, '--repeats', 2
    )
    names = ['without augmentation', "with the config's augmentation"]
    for name in names:
        row = figures['loading'][name]
        ours, naive = row['ours']['rate'], row['naive']['rate']
        assert len(ours['values']) == len(naive['values']) == 2 and min(naive['values']) > 0
        assert row['ratio'] == ours['median'] / naive['median']
        assert row['cpu_ratio'] == row['naive']['cpu']['median'] / row['ours']['cpu']['median']
        assert f'| {name} | {ours["median"]:.1f} | {naive["median"]:.1f} |' in text
        assert f'| {name}, naive | ' in text  # its spread
    assert '2 clips of 12 frames, 2 worker processes' in text
    assert len(list((data / 'train').iterdir())) == 2
    before = {path: path.stat().st_mtime_ns for path in (data / 'train').iterdir()}
    run_benchmark('--only', 'loading', '--samples', 8, '--data', data)
    assert {path: path.stat().st_mtime_ns for path in (data / 'train').iterdir()} == before
    assert figures['loading']['cache']['gigabytes'] > 0


@pytest.fixture
def ways(tmp_path):
    """Both datasets over the same drawn clips."""
    folder = tmp_path / 'clips'
    from tools.benchmarking.loading import draw_clips

    draw_clips(folder, 2, 10, [32, 32, 3])
    params = {'root_dir': folder, 'frame_shape': [32, 32, 3]}
    params['augmentation_params'] = {'jitter_param': JITTER}
    return FramesDataset(**params, cache_dir=tmp_path / 'cache'), WholeClips(**params, cache_gb=0)


def test_the_naive_way_gives_the_same_samples(ways):
    for position in range(6):
        ours, naive = (way[position, (0, 0, position)] for way in ways)
        assert ours.name == naive.name
        np.testing.assert_array_equal(ours.source, naive.source)
        np.testing.assert_array_equal(ours.driving, naive.driving)


def test_the_naive_way_decodes_whole_clips(ways, monkeypatch):
    decoded = []
    clip = type(ways[1].clips[0])
    frames = clip.frames
    monkeypatch.setattr(
        clip, 'frames', lambda self: (decoded.append(self.name) or f for f in frames(self))
    )
    ways[1][0, (0, 0, 0)]
    assert len(decoded) == 10
    ways[0][0, (0, 0, 0)]
    assert len(decoded) == 10  # ours has none to decode


def test_paces_count_samples_and_cpu(ways, monkeypatch):
    from tools.benchmarking import loading as benchmark_loading

    clock = iter([10.0, 14.0])
    monkeypatch.setattr(benchmark_loading.time, 'perf_counter', lambda: next(clock))
    used = iter([1.0, 9.0])
    monkeypatch.setattr(benchmark_loading, 'cpu_seconds', lambda: next(used))
    assert load(ways[0], 19) == (16 / 4, 8 / 16)  # full batches of 8 only


def test_both_ways_are_measured_in_turns(monkeypatch):
    from tools.benchmarking import loading as benchmark_loading

    turns = []
    monkeypatch.setattr(
        benchmark_loading, 'load', lambda dataset, count: turns.append((dataset, count)) or (1, 2)
    )
    paces = measure('ours', 'naive', 600, 2)
    assert turns == [('ours', 600), ('naive', 30)] * 2
    assert paces.ours.rate.values == (1, 1) and paces.naive.cpu.values == (2, 2)


def test_only_square_clips_are_drawn(tmp_path):
    from tools.benchmarking.loading import draw_clips

    with pytest.raises(UserError, match='clips of 32x48 are not drawn'):
        draw_clips(tmp_path / 'clips', 1, 4, [32, 48, 3])


# ---- training and animation ----


def test_training_measures_the_trainers_step(run_benchmark):
    figures, text = run_benchmark('--only', 'training', '--batch_size', 3, '--steps', 2)
    ours = figures['training']['this project']
    config = tiny_config({'pixel': 0}, batch_size=3)
    trainer = build_trainer(config, None, 0)
    seed_networks(trainer.models, 0)
    transform = config['train_params']['transform_params']
    inputs = seeded_inputs(0, [32, 32, 3], **transform, batch_size=3)
    source, driving, *noise = (to_tensor(inputs[name], 'float32') for name in STEP_INPUTS)
    for measured in ours['losses']:
        losses = trainer.step(source, driving, Transform(*noise)).losses
        assert {name: value.item() for name, value in losses.items()} == pytest.approx(
            measured, rel=1e-4
        )
    assert len(ours['losses']) == 3  # a first step and two timed ones
    assert len(ours['seconds']['values']) == 1 and ours['seconds']['median'] > 0
    assert ours['peak_bytes']['median'] > 50e6
    assert '| training step, batch of 3 | time | peak memory |' in text
    assert '| official | not measured: --torch_repo names no clone of it |' in text
    assert '| perceptual |' not in text and '| disc_gan | ' in text
    assert 'Measured once: no spread.' in text


def test_animation_measures_the_frames_of_the_engine(run_benchmark, monkeypatch):
    found = {}
    report = benchmark_animation.animation_report
    monkeypatch.setattr(
        benchmark_animation,
        'animation_report',
        lambda runs, *rest: found.update(runs) or report(runs, *rest),
    )
    figures, text = run_benchmark('--only', 'animation', '--engine', 'eager')
    inputs = benchmark_animation.animation_inputs([32, 32, 3], 3)
    models = seeded_models(tiny_config(), 0, 'float32')
    frames = animate(models, inputs['source'], inputs['driving'], Normalization(True, True))
    (run_of_eager,) = found['eager']
    np.testing.assert_allclose(run_of_eager.frames, np.stack(list(frames)), atol=1e-5)
    assert run_of_eager.frames[0].std() > 0.01
    assert np.abs(np.diff(run_of_eager.frames, axis=0)).max() > 1e-3  # the picture moves
    assert len(run_of_eager.seconds) == 3
    eager = figures['animation']['eager']
    assert eager['largest_difference'] == 0 and eager['psnr'] is None
    assert eager['first_frame_seconds']['values'] == run_of_eager.seconds[:1]
    assert eager['frame_seconds']['median'] == pytest.approx(np.mean(run_of_eager.seconds[1:]))
    assert '| animation, 32x32, 3 frames | first frame |' in text


def test_engines_are_compared_with_eager_and_the_official_code():
    frames = np.full((2, 4, 4, 3), 0.5, np.float32)
    runs = {
        'eager': [a_run((9, 2, 4), 300, frames=frames)] * 2,
        'other': [a_run((6, 1, 1), 100, frames=frames + 0.1)] * 2,
        OFFICIAL: [a_run((3, 3, 3), 200, frames=frames)] * 2,
    }
    runs['OpenVINO'] = [a_run((3, 2, 2), frames=frames), a_run((3, 4, 4), frames=frames)]
    lacking = {'official, bf16': 'not measured: so it is'}
    report = benchmark_animation.animation_report(runs, lacking, (4, 4, 3))
    other = report.figures['other']
    assert other['largest_difference'] == pytest.approx(0.1, rel=1e-5)
    assert other['psnr'] == pytest.approx(20, rel=1e-5)
    assert other['ratios'] == {
        'first_frame_seconds': 2, 'frame_seconds': pytest.approx(1 / 3), 'peak_bytes': 0.5
    }  # fmt: skip
    lines = '\n'.join(report.lines)
    assert '| other | 6.00 s | 1000 ms | 1.00 | 0 MB | 1.0e-01 | 20.0 dB |' in lines
    assert '| eager / official | 3.00 | 1.00 | 1.50 |' in lines
    assert 'ratios' not in report.figures[OFFICIAL]
    assert '| frame, best of 2 (median) | official | OpenVINO |' in lines
    assert '| other / ... | 0.33 (0.33) | 0.50 (0.33) |' in lines
    assert other['frame_ratios']['OpenVINO'] == {'best': 0.5, 'median': pytest.approx(1 / 3)}
    assert '| official, bf16 | not measured: so it is |' in lines
    assert report.figures['official, bf16'] == 'not measured: so it is'


def test_a_peer_is_measured_where_its_package_and_the_instructions_are(monkeypatch):
    packages = {'torch'}
    monkeypatch.setattr(
        benchmark_runs, 'package_version', lambda python, name: '2' if name in packages else None
    )
    official = Official('python', Path('clone'), '2.0')
    for bf16 in (False, True):
        monkeypatch.setattr(benchmark_runs, 'has_bf16', lambda bf16=bf16: bf16)
        assert lack_of(official, 'official, compiled') == ''
        assert lack_of(official, 'OpenVINO') == 'not measured: no openvino in python'
        assert ('instructions' in lack_of(official, 'official, bf16')) is not bf16
    assert lack_of(Official(reason='no clone'), OFFICIAL) == 'no clone'


def test_training_is_compared_with_the_official_code():
    from tools.benchmarking.training import OURS_LOW, training_report

    runs = {
        'this project': [a_run((9, 2, 4), 300, {'a': 1.0, 'b': 2.0})],
        OFFICIAL: [a_run((9, 6, 6), 200, {'a': 1.1, 'c': 3.0})],
    }
    report = training_report(runs, {OURS_LOW: 'not measured'}, 2)
    assert report.figures['ratios'] == {'seconds': 0.5, 'peak_bytes': 1.5}
    lines = '\n'.join(report.lines)
    assert '| this project / official | 0.50 | 1.50 |' in lines
    assert '| this project, bf16 | not measured |' in lines
    runs[OURS_LOW] = [a_run((9, 1.5, 1.5), 300, {'a': 1.0})]
    low = training_report(runs, {}, 2)
    assert low.figures['ratios'] == report.figures['ratios']
    assert low.figures[OURS_LOW]['ratios'] == {'seconds': 0.25, 'peak_bytes': 1.5}
    assert '| this project, bf16 / official | 0.25 | 1.50 |' in '\n'.join(low.lines)
    assert '| a | 1 | 1.1 | 1.0e-01 |' in lines
    assert '| b | 2 | nan | nan |' in lines and '| c | nan | 3 | nan |' in lines


def test_one_contender_has_no_one_to_differ_from():
    header, _, row = losses_table({'this project': {'a': 0.25}})
    assert header == '| loss of the first step | this project |' and row == '| a | 0.25 |'


def test_training_config_is_checked_anew():
    config = tiny_config(accumulation_steps=2, vgg19_weights='imagenet')
    changed = training_config(config, 6)
    assert changed['train_params']['batch_size'] == 6
    assert changed['train_params']['vgg19_weights'] == 'random'
    assert config['train_params']['batch_size'] == 4
    with pytest.raises(UserError, match='accumulation_steps'):
        training_config(config, 5)


def test_the_official_code_has_no_pixel_loss(monkeypatch):
    from tools.benchmarking import training as benchmark_training

    names = []
    monkeypatch.setattr(
        benchmark_training,
        'run_in_turns',
        lambda contenders, *rest: (
            names.extend(c.name for c in contenders) or {names[0]: [a_run(losses={'a': 1.0})]}
        ),
    )
    options = Namespace(batch_size=2, steps=1, repeats=1)
    official = Official('python', Path('clone'), '2.0')
    report = benchmark_training.compare_training(tiny_config(), official, options)
    assert names == ['this project']
    assert 'no pixel loss' in report.figures[OFFICIAL]


# ---- the official code ----


def clone_at(tmp_path):
    (tmp_path / 'modules').mkdir()
    (tmp_path / 'modules' / 'keypoint_detector.py').write_text('')
    return tmp_path


def test_a_clone_and_an_interpreter_with_torch_are_needed(tmp_path):
    assert 'no clone' in find_official(None, None).reason
    with pytest.raises(UserError, match='not a clone'):
        find_official(tmp_path, None)
    clone = clone_at(tmp_path)
    with pytest.raises(UserError, match='--torch_python /no/python: no such file'):
        find_official(clone, '/no/python')
    for text, ok in (('exit 1', False), ('echo 2.1', True)):
        python = tmp_path / 'python'
        python.write_text(f'#!/bin/sh\n{text}\n')
        python.chmod(0o755)
        if ok:
            official = find_official(clone, str(python))
            assert official == Official(str(python), clone.resolve(), '2.1')
        else:
            with pytest.raises(UserError, match='has no PyTorch'):
                find_official(clone, str(python))


def test_without_torch_the_section_says_so(tmp_path, monkeypatch):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(python))
    assert 'no PyTorch' in find_official(clone_at(tmp_path), None).reason


@pytest.mark.slow
@pytest.mark.skipif(
    not {'TORCH_REPO', 'TORCH_PYTHON'} <= set(os.environ),
    reason='needs TORCH_REPO=clone and TORCH_PYTHON=interpreter with PyTorch',
)
def test_the_official_code_does_the_same_work(run_benchmark):
    figures, text = run_benchmark(
        '--only', 'training,animation', '--peer', OFFICIAL, '--peer', 'official, channels last',
        '--torch_repo', os.environ['TORCH_REPO'], '--torch_python', os.environ['TORCH_PYTHON'],
    )  # fmt: skip
    ours, theirs = (figures['training'][name]['losses'] for name in ('this project', OFFICIAL))
    assert ours[0] == pytest.approx(theirs[0], rel=1e-4)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-2)  # after the optimizers' first step
    for peer in (OFFICIAL, 'official, channels last'):
        assert figures['animation'][peer]['largest_difference'] < 1e-4
    assert '| this project / official |' in text and '| eager / official |' in text


# ---- the command ----


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--only', 'loading,speed'], "'speed' is none of loading, training, scaling, animation"),
        (['--engine', 'warp'], "'warp' is none of eager"),
        (['--repeats', '0'], '--repeats 0: give a number of at least 1'),
        (['--driving', '1'], '--driving 1: give a number of at least 2'),
    ],
)
def test_mistakes_are_named(run_benchmark, arguments, message):
    with pytest.raises(UserError, match=message):
        run_benchmark(*arguments)


def test_sections_come_in_order_and_all_by_default(monkeypatch, run_benchmark):
    seen = []
    empty = Report(('nothing',), {'a': Series((1.0,))}, {})
    for name in benchmark.SECTIONS:
        monkeypatch.setattr(
            benchmark, f'compare_{name}', lambda *rest, n=name: seen.append(n) or empty
        )
    figures, text = run_benchmark()
    assert seen == list(benchmark.SECTIONS)
    titles = [line for line in text.split('\n') if line.startswith('## ')]
    assert titles == [f'## {name}' for name in benchmark.SECTIONS]
    del seen[:]
    figures, _ = run_benchmark('--only', 'animation,loading')
    assert seen == ['loading', 'animation']
    about = {'command', 'date', 'commit', 'machine', 'code', 'config'}
    assert set(figures) == {*about, 'loading', 'animation'}


def test_the_machine_is_described(run_benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, 'compare_loading', lambda *rest: Report((), {}, {}))
    figures, text = run_benchmark('--only', 'loading')
    machine = figures['machine']
    assert machine['cores'] >= 1 and machine['memory_bytes'] > 1e8
    assert machine['cpu'] and machine['torch'] == 'none'
    for package in ('numpy', 'paddle'):
        assert machine[package] == sys.modules[package].__version__
        assert f'{package} {machine[package]}' in text
    assert machine['cpu'] in text


def test_spread_is_shown_and_a_large_one_warned_of():
    series = {'calm': Series((9.0, 10.0, 10.5)), 'wild': Series((8.0, 10.0, 11.0))}
    assert series['calm'].spread == pytest.approx(0.15) and series['wild'].median == 10
    lines = benchmark.spread_lines(Report((), series, {}))
    assert '| calm | 15 % |' in lines and '| wild | 30 % |' in lines
    (warning,) = (line for line in lines if line.startswith('WARNING'))
    assert warning.startswith('WARNING: wild: spread of 30 %')


def test_engines_that_this_cpu_lacks_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, 'has_bf16', lambda: False)
    assert benchmark.engines_here(['eager', 'onednn-bf16', 'onednn']) == ['eager', 'onednn']
    assert 'onednn-bf16: not measured' in capsys.readouterr().err
    with pytest.raises(UserError, match='give one of eager, onednn'):
        benchmark.engines_here(['onednn-bf16'])
    monkeypatch.setattr(benchmark, 'has_bf16', lambda: True)
    assert benchmark.engines_here(['onednn-bf16']) == ['onednn-bf16']
