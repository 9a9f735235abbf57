"""Golden numbers of the official PyTorch code, and the tool that compares with them."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import paddle
import pytest
import yaml

from modules import test_mode
from modules.ops.convolution import upsample_nearest_x2
from modules.runtime.errors import UserError
from modules.runtime.seeding import seeded_value
from tests.support.places import ROOT
from tools import parity
from tools.official import parity as parity_torch

GOLDEN = ROOT / 'tests' / 'support' / 'data' / 'golden'
FILES = sorted(GOLDEN.glob('*.npz'))


def edited(tmp_path, file, change):
    """A copy of a golden file after `change(arrays)`."""
    with np.load(GOLDEN / file) as stored:
        arrays = {name: stored[name] for name in stored.files}
    change(arrays)
    path = tmp_path / file
    np.savez(path, **arrays)
    return path


def add(name, index=0, amount=1e-3):
    def change(arrays):
        arrays[name] = arrays[name].copy()
        arrays[name].reshape(-1)[index] += amount

    return change


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_golden_file_passes(path, capsys):
    assert parity.check([path])
    assert capsys.readouterr().out.strip().split('\n')[-1].startswith('PASS ')


@pytest.mark.parametrize(
    'file, name',
    [
        ('unit.align_corners_True.npz', 'grid_5x7'),
        ('unit.align_corners_True.npz', 'antialias_0.25'),
        ('unit.align_corners_False.npz', 'tps_jacobian_sq_grad'),
        ('unit.align_corners_False.npz', 'transform_frame'),
        ('unit.align_corners_True.npz', 'norm.adapt1_rel1_jac1.jacobian'),
        ('unit.align_corners_True.npz', 'norm.adapt0_rel0_jac1.value'),
        ('full_mgif.align_corners_True.npz', 'mask_mean'),
        ('full_mgif.align_corners_True.npz', 'prediction_stride4'),
        ('nets_a.align_corners_True.npz', 'eval.generator.occlusion_map'),
        ('nets_a.align_corners_True.npz', 'eval.discriminator.feature_maps_1.2'),
        ('nets_a.align_corners_True.npz', 'train.loss.perceptual'),
        ('nets_a.align_corners_True.npz', 'train.grad.kp_detector.jacobian.weight'),
        ('nets_a.align_corners_True.npz', 'train.buffer.generator.first.norm.running_var'),
        ('nets_a.align_corners_True.npz', 'tps_affine_noise'),
    ],
)
def test_one_changed_value_fails(tmp_path, capsys, file, name):
    assert not parity.check([edited(tmp_path, file, add(name))])
    last = capsys.readouterr().out.strip().split('\n')[-1]
    assert last.startswith('FAIL ')
    if name != 'tps_affine_noise':  # an input: everything after it differs
        assert last.endswith(name)


def test_the_other_corner_convention_fails(tmp_path):
    def flip(arrays):
        meta = json.loads(str(arrays['meta']))
        arrays['meta'] = json.dumps({**meta, 'align_corners': not meta['align_corners']})

    assert not parity.check([edited(tmp_path, 'nets_a.align_corners_True.npz', flip)])
    assert not parity.check([edited(tmp_path, 'full_mgif.align_corners_True.npz', flip)])


def test_the_first_differing_op_is_named(tmp_path, capsys, monkeypatch):
    """With an interpolation broken, the golden file's pins show where things go wrong first."""
    with np.load(GOLDEN / 'nets_a.align_corners_True.npz') as stored:
        arrays = {name: stored[name] for name in stored.files}
    meta = json.loads(str(arrays['meta']))
    from modules.parity import sets as parity_sets

    recorded = parity_sets.compute(meta, arrays, GOLDEN / 'x.npz')
    path = tmp_path / 'nets.npz'
    np.savez(path, **arrays, **{n: a for n, a in recorded.items() if n.startswith('train.op.')})
    assert parity.check([path])
    capsys.readouterr()

    def broken(x):
        y = x.repeat_interleave(2, axis=2).repeat_interleave(2, axis=3)
        factor = 1.001 if x.shape[1:3] == [32, 32] else 1.0  # the generator's last block
        return test_mode.tap_op('interpolate', y * factor)

    assert (
        broken(paddle.ones([1, 2, 3, 3])).shape
        == upsample_nearest_x2(paddle.ones([1, 2, 3, 3])).shape
    )
    monkeypatch.setattr('modules.ops.convolution.upsample_nearest_x2', broken)
    assert not parity.check([path])
    out = capsys.readouterr().out
    named = [line for line in out.split('\n') if line.startswith('first op that differs: ')]
    shapes = {name: array.shape for name, array in recorded.items() if '.interpolate' in name}
    assert named and shapes[named[0].rpartition(' ')[2]] == (2, 32, 64, 64)


@pytest.mark.parametrize(
    'make',
    [
        lambda path: path.write_bytes(b''),
        lambda path: path.write_bytes(b'no archive'),
        lambda path: np.savez(path, x=np.zeros(3)),
        lambda path: np.savez(path, meta='[1, 2]'),
        lambda path: np.savez(path, meta='{"set": "poems"}'),
        lambda path: np.savez(path, meta=np.array([{}], dtype=object)),
        lambda path: np.savez(path, meta='{"set": "unit", "seed": 0, "align_corners": true}'),
        lambda path: np.savez(path, meta='{"set": "unit"}', grid_2x2=np.zeros((2, 2, 2))),
        lambda path: np.savez(path, meta='{"set": "nets"}', train=np.zeros(2)),
        lambda path: np.savez(path, meta='{"set": "full", "config": 3}', mask_mean=np.zeros(2)),
        lambda path: np.savez(path, meta='{"set": "demo", "checkpoint": 7}', x=np.zeros(2)),
        lambda path: None,
    ],
)
def test_what_cannot_be_compared_fails(tmp_path, capsys, make):
    path = tmp_path / 'file.npz'
    make(path)
    assert not parity.check([path])
    assert capsys.readouterr().out.strip().split('\n')[-1].startswith('FAIL 1 of 1')


def test_missing_and_nan_values_fail(tmp_path):
    def put_nan(arrays):
        arrays['grid_5x7'] = np.full_like(arrays['grid_5x7'], np.nan)

    def put_unknown(arrays):
        arrays['unheard_of'] = np.zeros(2)

    for change in (put_nan, put_unknown):
        assert not parity.check([edited(tmp_path, 'unit.align_corners_True.npz', change)])


def test_kernels_of_the_file_are_computed_with(tmp_path, capsys):
    """Compared with ours, up to the last bits, and taken: what follows agrees with what was run."""
    from modules.parity import sets as parity_sets

    golden = GOLDEN / 'nets_a.align_corners_True.npz'
    with np.load(golden) as stored:
        arrays = {name: stored[name] for name in stored.files}
    meta = json.loads(str(arrays['meta']))
    ours = parity_sets.compute(meta, arrays, golden)
    names = [name for name in ours if name.startswith('blur.')]
    assert sorted(names) == [
        'blur.generator.dense_motion_network.down.weight',
        'blur.kp_detector.down.weight',
        'blur.pyramid.downs.0-5.weight',
    ]
    for name in names:
        kernels = {name: ours[name] * (1 + 1e-2)}
        shifted = parity_sets.compute(meta, {**arrays, **kernels}, golden)
        np.testing.assert_array_equal(shifted[name], ours[name])
        taken = [n for n in arrays if n in shifted and (shifted[n] != ours[n]).any()]
        assert taken and not any(n.startswith('blur.') for n in taken)

    def put(factor):
        return lambda arrays: arrays.update({name: ours[name] * factor for name in names})

    assert parity.check([edited(tmp_path, golden.name, put(1 + 1e-9))])
    assert not parity.check([edited(tmp_path, golden.name, put(1 + 1e-2))])
    assert 'blur.kp_detector.down.weight' in capsys.readouterr().out
    assert not parity.check(
        [edited(tmp_path, golden.name, lambda a: a.update({names[0]: np.ones((3, 1, 2, 2))}))]
    )
    assert 'shape (3, 1, 2, 2), not' in capsys.readouterr().out


def test_what_the_file_lacks_is_told(tmp_path, capsys):
    """And is no failure, as long as something is there."""

    def drop(arrays):
        for name in [n for n in arrays if n.startswith('train.')]:
            del arrays[name]

    def drop_all(arrays):
        drop(arrays)
        for name in [n for n in arrays if n.startswith('eval.')]:
            del arrays[name]

    file = 'nets_a.align_corners_True.npz'
    assert parity.check([edited(tmp_path, file, drop)])
    pattern = r'^not in the file, so not compared: \d{3} arrays \((.*train\..*), \.\.\.\)$'
    told = re.search(pattern, capsys.readouterr().out, re.MULTILINE)
    assert told and 'source' not in told[1].split(', ')
    assert not parity.check([edited(tmp_path, file, drop_all)])
    assert 'holds nothing to compare' in capsys.readouterr().out


@pytest.mark.parametrize(
    'out, pixel, message',
    [
        ('dump.txt', 0, r'dump\.txt: the file is an \.npz'),
        ('dump', 0, 'dump: the file is an'),
        ('nowhere/dump.npz', 0, 'nowhere: no such folder'),
        ('dump.npz', 10, r'c\.yaml: .*loss_weights\.pixel: the official code has no such loss'),
        ('dump.npz', 0, 'the official code failed'),
    ],
)
def test_what_dump_refuses_before_it_runs(tmp_path, monkeypatch, capfd, out, pixel, message):
    """The last case shows that nothing else is amiss: a clone of empty files is run, in vain."""
    config = yaml.safe_load((ROOT / 'config' / 'demo-64.yaml').read_text())
    config['train_params']['loss_weights']['pixel'] = pixel
    (tmp_path / 'c.yaml').write_text(yaml.safe_dump(config))
    (tmp_path / 'clone' / 'modules').mkdir(parents=True)
    (tmp_path / 'clone' / 'modules' / 'keypoint_detector.py').touch()
    # as if it were here
    monkeypatch.setattr(parity_torch, 'package_version', lambda python, package: '2')
    with pytest.raises(UserError, match=message):
        parity_torch.dump(tmp_path / 'clone', tmp_path / 'c.yaml', None, tmp_path / out, 0)
    assert ('Traceback' in capfd.readouterr().err) == ('failed' in message)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['c.yaml', 'clone']


def test_dump_takes_the_python_that_has_pytorch(tmp_path, monkeypatch):
    """A program that stands for one is asked, and then runs the official code."""
    (tmp_path / 'clone' / 'modules').mkdir(parents=True)
    (tmp_path / 'clone' / 'modules' / 'keypoint_detector.py').touch()
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\nif [ "$1" = -c ]; then echo 2; else echo "$3" > ran; fi\n')
    python.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    config, out = ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml', tmp_path / 'dump.npz'
    options = ['dump', '--torch_repo', 'clone', '--config', str(config), '--out', str(out)]

    def run(*more):
        monkeypatch.setattr(sys, 'argv', ['parity.py', *options, *more])
        parity.main()

    with pytest.raises(FileNotFoundError):  # that program writes no file
        run('--torch_python', str(python))
    assert (tmp_path / 'ran').read_text().strip().endswith('dump.npz')
    with pytest.raises(UserError, match='--torch_python /no/python: no such file'):
        run('--torch_python', '/no/python')
    python.write_text('#!/bin/sh\nexit 1\n')
    with pytest.raises(UserError, match=r'/python: has no PyTorch.*by --torch_python'):
        run('--torch_python', str(python))


def test_a_missing_file_is_a_mistake(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['parity.py', 'check', *map(str, FILES[:1]), 'missing.npz'])
    monkeypatch.setattr(parity, 'check', lambda *_: pytest.fail('the work begins'))
    with pytest.raises(UserError, match=r'missing\.npz: no such file'):
        parity.main()


def test_command_line(tmp_path):
    def run(path):
        command = [sys.executable, str(ROOT / 'tools' / 'parity.py'), 'check', str(path)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    good = run(GOLDEN / 'unit.align_corners_True.npz')
    assert good.returncode == 0 and good.stdout.strip().split('\n')[-1].startswith('PASS ')
    bad = run(edited(tmp_path, 'unit.align_corners_True.npz', add('grid_5x7')))
    assert bad.returncode == 1 and bad.stdout.strip().split('\n')[-1].startswith('FAIL 1 of ')


def test_error_measure():
    one = np.ones(3)
    assert parity.error(one * 1.5, one, 0) == pytest.approx(0.5)
    assert parity.error(one * 1e-9, one * 0, 1) == pytest.approx(1e-9)
    assert parity.error(one * 0, one * 0, 0) == 0
    assert parity.error(one, one * 0, 0) == float('inf')
    levels = np.array([255, 0], 'uint8')
    assert parity.error(levels - np.array([2, 0], 'uint8'), levels, 0) == 2


def test_seeded_values_are_those_of_the_recipe():
    """The recipe of the golden files, worked by hand for one name of each kind."""
    import zlib

    rng = np.random.RandomState((zlib.crc32(b'generator.final.weight') + 7) % 2**31)
    expected = (rng.uniform(-1, 1, (3, 4, 7, 7)) * np.sqrt(3 / 196)).astype('float32')
    np.testing.assert_array_equal(seeded_value('generator.final.weight', (3, 4, 7, 7), 7), expected)
    u = seeded_value('discriminator.discs.1.conv.weight_u', (5,), 0)
    assert np.linalg.norm(u) == pytest.approx(1)
    bias = seeded_value('kp_detector.jacobian.bias', (8,), 0).reshape(2, 2, 2)
    assert np.abs(bias - np.eye(2)).max() <= 0.05
    with pytest.raises(ValueError, match='no rule'):
        seeded_value('generator.unknown', (2,), 0)


def test_taps_cost_nothing_when_off():
    x = paddle.ones([2])
    assert test_mode.tap('x', x) is x and test_mode.tap_op('interpolate', x) is x


def test_pins_replace_values_and_keep_gradients():
    x = paddle.to_tensor([1.0, 2.0])
    x.stop_gradient = False
    with test_mode.record({'square': np.array([5.0, 5.0])}) as tape:
        y = test_mode.tap('square', x * x)
        y.sum().backward()
    np.testing.assert_array_equal(y, [5, 5])
    np.testing.assert_array_equal(tape.values['square'], [1, 4])
    np.testing.assert_array_equal(x.grad, [2, 4])


@pytest.mark.skipif('TORCH_REPO' not in os.environ, reason='needs TORCH_REPO=clone and PyTorch')
@pytest.mark.parametrize('scale', [0.5, 1 / 3])  # at a third the blur kernels differ by a bit
def test_dump_of_the_official_code_passes(tmp_path, scale):
    out = tmp_path / 'dump.npz'
    config = ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml'
    if scale != 0.5:
        params = yaml.safe_load(config.read_text())
        model = params['model_params']
        params['dataset_params']['frame_shape'] = [96, 96, 3]
        params['train_params']['scales'] = [1, scale]
        motion = model['generator_params']['dense_motion_params']
        for section in (model['kp_detector_params'], motion):
            section.update(scale_factor=scale, num_blocks=2)
        config = tmp_path / 'third.yaml'
        config.write_text(yaml.safe_dump(params))
    options = ['--torch_repo', os.environ['TORCH_REPO'], '--config', str(config)]
    options += ['--torch_python', os.environ.get('TORCH_PYTHON', sys.executable)]
    command = [sys.executable, str(ROOT / 'tools' / 'parity.py'), 'dump', *options, '--out', out]
    subprocess.run(command, check=True)
    assert parity.check([out])
