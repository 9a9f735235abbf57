"""tools/compare.py, and the official code's animations that it and other tools lay beside ours."""

import copy
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.animation.animator import animate
from modules.animation.normalization import Normalization
from modules.build import build_models
from modules.checkpoints.models import load_models
from modules.checkpoints.reading import read_checkpoint
from modules.checkpoints.writing import save_checkpoint
from modules.runtime.errors import UserError
from modules.video import VideoReader
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import CONFIG, LEGACY, TINY, assert_same
from tools import compare
from tools.benchmarking.runs import Contender, Official
from tools.compare import Difference, describe, measure
from tools.official import animation as official_animation
from tools.official.animation import Animation, read_official_weights

OFFICIAL = Official('python', ROOT, '2.1')
# Stands for tools/official/benchmark.py: half of each driving frame, and its job kept as seen.json.
STAND_IN = f"""
import json, sys
sys.path.insert(0, {str(ROOT)!r})
from tools.benchmarking.common import *
job, result = read_job()
for animation in job['animations']:
    inputs = read_inputs(animation['inputs'])
    write_frames(result, inputs['driving'] / 2)
    animation['source'] = inputs['source'].tolist()
import shutil
shutil.copy(job['checkpoint'], 'weights.pth.tar')
Path('seen.json').write_text(json.dumps(job))
write_result(result, seconds=[], version='v')
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Runs a program in the place of the official code's; files that it leaves are in tmp_path."""
    program = tmp_path / 'program.py'
    program.write_text(STAND_IN)
    monkeypatch.chdir(tmp_path)
    original = official_animation.official_contender

    def contender(*arguments):
        return Contender('official', [sys.executable, str(program)], original(*arguments).job)

    monkeypatch.setattr(official_animation, 'official_contender', contender)
    return tmp_path


@pytest.fixture
def models():
    models = build_models(CONFIG)
    load_models(CONFIG, models, LEGACY)
    return models


# ---- the official code's animations ----


def test_it_gets_the_weights_the_frames_and_the_settings(stand_in):
    rng = np.random.default_rng(0)
    clips = [rng.random((length, 8, 8, 3), np.float32) for length in (2, 3)]
    animations = [
        Animation(clips[0][1], clips[0], relative=False),
        Animation(clips[1][0], clips[1], relative=True, adapt_scale=True),
    ]
    config = copy.deepcopy(CONFIG)
    config['model_params']['common_params']['align_corners'] = False
    with official_animation.official_animation(OFFICIAL, config, LEGACY) as animate_theirs:
        found = animate_theirs(animations)
    assert [len(frames) for frames in found] == [2, 3]
    for frames, clip in zip(found, clips):
        np.testing.assert_array_equal(frames, clip / 2)
    job = json.loads((stand_in / 'seen.json').read_text())
    assert job['align_corners'] is False
    assert 'align_corners' not in job['config']['model_params']['common_params']
    settings = [(a['relative'], a['adapt_movement_scale']) for a in job['animations']]
    assert settings == [(False, False), (True, True)]
    for seen, animation in zip(job['animations'], animations):
        np.testing.assert_array_equal(seen['source'], animation.source)
    weights = read_checkpoint(stand_in / 'weights.pth.tar').networks
    official = read_checkpoint(LEGACY).networks
    for name in ('generator', 'kp_detector'):
        assert_same(weights[name], official[name])


def test_weights_of_the_config_or_of_the_checkpoint(tmp_path, models):
    networks = read_checkpoint(LEGACY).networks
    files = {}
    for name, factor in (('generator', 2), ('kp_detector', 3)):
        files[name] = tmp_path / f'{name}.safetensors'
        scaled = {
            network: {key: array * factor for key, array in state.items()}
            for network, state in networks.items()
        }
        save_checkpoint(files[name], scaled)
    section = {'generator': str(files['generator']), 'kp': str(files['kp_detector'])}
    weights = read_official_weights({'ckpt_model': section}, None)
    first = 'first.conv.weight', 'kp.weight'
    for (name, state), key, factor in zip(weights.items(), first, (2, 3)):
        np.testing.assert_array_equal(state[key], networks[name][key] * factor)
        assert any(name.endswith('num_batches_tracked') for name in state)
    weights = read_official_weights({'ckpt_model': section}, LEGACY)
    np.testing.assert_array_equal(weights['generator'][first[0]], networks['generator'][first[0]])
    with pytest.raises(UserError, match='no weights'):
        read_official_weights({'ckpt_model': {**section, 'kp': None}}, None)


# ---- the command ----


def write_inputs(folder):
    frames = np.load(TINY / 'driving.npy')[:4]
    (folder / 'driving').mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / 'driving' / f'{number}.png')
    options = ('--config', TINY / 'tiny.yaml', '--checkpoint', LEGACY, '--cpu')
    return [*options, '--source_image', TINY / 'source.png', '--driving_video', folder / 'driving']


def run_compare(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['compare.py', *map(str, arguments)])
    compare.main()


def frames_of(path):
    with VideoReader(path) as reader:
        return np.stack(list(reader))


def test_the_picture_and_its_figures(stand_in, monkeypatch, capsys, models):
    """With a stand-in that darkens the driving frames, in a clone that has what one is known by."""
    monkeypatch.setattr(compare, 'require_official', lambda *given: OFFICIAL)
    options = write_inputs(stand_in)
    outputs = [stand_in / name for name in ('out', 'out.mp4', 'out.gif')]
    settings = ('--relative', '--adapt_scale', '--frames', 3)
    run_compare(monkeypatch, *options, '--torch_repo', 'c', '--out', *outputs, *settings)
    panels = np.split(frames_of(stand_in / 'out'), 5, axis=2)
    driving = np.load(TINY / 'driving.npy')[:3] / np.float32(255)
    source = np.asarray(Image.open(TINY / 'source.png'))
    ours = np.stack(
        list(animate(models, source / np.float32(255), driving, Normalization(True, True, True)))
    )
    apart = np.abs(ours - driving / 2)
    wanted = [np.stack([source / 255] * 3), driving, ours, driving / 2, np.minimum(10 * apart, 1)]
    for panel, expected in zip(panels, wanted):
        assert np.abs(panel - 255 * expected).max() < 0.51
    for path in outputs[1:]:
        assert frames_of(path).shape == (3, 64, 5 * 64, 3)
    job = json.loads((stand_in / 'seen.json').read_text())
    (animation,) = job['animations']
    assert (animation['relative'], animation['adapt_movement_scale']) == (True, True)
    out = capsys.readouterr().out
    assert f'largest {apart.max():.1e}, mean {apart.mean():.1e}\n' in out
    assert 'torch 2.1: 3 frames of 64x64\n' in out
    assert out.endswith(f'written: {", ".join(map(str, outputs))}\n')


def test_known_differences():
    ours = np.full((2, 4, 5, 3), 0.5)
    theirs = ours.copy()
    assert measure(ours, theirs) == (0, 0, 0, 0)
    theirs[1, 2, 3, 0] -= 0.25
    theirs[0, 0, 0, 1] += 1e-6
    found = measure(ours, theirs)
    assert found.largest == pytest.approx(0.25)
    assert found.mean == pytest.approx((0.25 + 1e-6) / 120)
    assert found.largest_level == 64 and found.other_levels == 1 / 120
    text = describe(found)
    assert 'largest 2.5e-01, mean 2.1e-03' in text
    assert 'largest 64 levels, 0.83 % of the values differ' in text
    assert 'largest 1 level, 0' in describe(Difference(0.0, 0.0, 1, 0.0))


@pytest.mark.parametrize(
    'options, named',
    [
        ((), '--torch_repo'),
        (('--torch_repo', '.'), r'\.: not a clone of the official'),
        (('--torch_repo', 'clone'), 'has no PyTorch; pip install torch there, or name'),
        (('--torch_repo', 'clone', '--torch_python', 'no/python'), 'no/python: no such file'),
        (('--torch_repo', '.', '--frames', 0), '--frames 0: give a number of at least 1'),
        (('--torch_repo', '.', '--out', 'a.mp4', 'a.xyz'), r'a\.xyz: clips of the kind'),
        (('--torch_repo', '.', '--source_image', 'a.png', '--out', 'a.png'), 'would replace'),
        (('--torch_repo', '.', '--driving_video', 'none.mp4'), r'none\.mp4: no such file'),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, options, named):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'clone' / 'modules').mkdir(parents=True)
    (tmp_path / 'clone' / 'modules' / 'keypoint_detector.py').touch()
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, 'executable', str(python))  # has no PyTorch
    with pytest.raises(UserError, match=named):
        run_compare(monkeypatch, *options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['clone', 'python']


@pytest.mark.skipif(
    not {'TORCH_REPO', 'TORCH_PYTHON'} <= set(os.environ),
    reason='needs TORCH_REPO=clone and TORCH_PYTHON=interpreter with PyTorch',
)
@pytest.mark.parametrize('corners', [True, False])
def test_the_official_code_gives_the_same_frames(corners):
    """Under both conventions of the corners, which differ by far more than the bar."""
    driving = np.load(TINY / 'driving.npy')[:3] / np.float32(255)
    source = np.asarray(Image.open(TINY / 'source.png')) / np.float32(255)
    config = copy.deepcopy(CONFIG)
    config['model_params']['common_params']['align_corners'] = corners
    models = build_models(config)
    load_models(config, models, LEGACY)
    official = official_animation.require_official(
        Path(os.environ['TORCH_REPO']), os.environ['TORCH_PYTHON']
    )
    settings = [(False, False), (True, False), (True, True)]
    with official_animation.official_animation(official, config, LEGACY) as animate_theirs:
        theirs = animate_theirs([Animation(source, driving, *setting) for setting in settings])
    for frames, (relative, adapt) in zip(theirs, settings):
        normalization = Normalization(relative, relative, adapt)
        ours = np.stack(list(animate(models, source, driving, normalization)))
        assert np.abs(ours - frames).max() < 2e-5
