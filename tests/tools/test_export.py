"""Exports: what is written equals the networks, or nothing is written."""

import importlib.util
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from modules.animation.api import Animator
from modules.config import load_config
from modules.parity.record import seeded_models
from modules.runtime.errors import UserError
from modules.video import VideoReader, read_image
from tests.support.engines import CONFIGS, clip
from tests.support.places import ROOT
from tools.exporting import formats
from tools.exporting.programs import INPUTS
from tools.exporting.writing import export

HAS_ONNX = all(importlib.util.find_spec(name) for name in ('onnx', 'onnxruntime'))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason='onnx and onnxruntime are not installed')
DEMO = ROOT / 'doc' / 'demo'


def run(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


FORMS = ['paddle', 'onnx'] if HAS_ONNX else ['paddle']


def export_tiny(folder, name='tiny', forms=FORMS, batch=1):
    config, size = CONFIGS[name]
    frames = clip(size)
    models = seeded_models(config, 1, 'float32')
    return export(models, config, forms, batch, frames[0], frames[1:], folder)


# Tiles mean nothing to an export.
@pytest.mark.parametrize('name', [name for name in CONFIGS if 'winograd' not in name])
def test_networks_of_all_kinds(name, tmp_path):
    found = export_tiny(tmp_path, name)
    assert 'paddle.inference' in found
    assert ('ONNX Runtime' in found) == HAS_ONNX
    assert all(largest < 2e-5 for largest in found.values())


@pytest.mark.parametrize('batch', [3, None])
def test_several_at_once(batch, tmp_path):
    for largest in export_tiny(tmp_path, batch=batch).values():
        assert largest < 2e-5
    described = json.loads((tmp_path / 'export.json').read_text())
    assert described['batch'] == (batch or 'dynamic')
    assert described['programs']['frame']['inputs']['driving_value'][0] == (batch or 'N')


@needs_onnx
def test_the_bundled_networks_as_a_user_exports_them(tmp_path):
    folder, result = tmp_path / 'exported', tmp_path / 'result.mp4'
    made = run('tools/export.py', '--out', folder)
    assert (made.returncode, made.stderr) == (0, '')
    assert made.stdout.splitlines()[-1] == f'written: {folder}'
    differences = json.loads((folder / 'export.json').read_text())['largest_differences']
    assert {'paddle.inference', 'ONNX Runtime'} <= set(differences)
    assert max(differences.values()) < 1e-4

    asked = run(folder / 'example.py')
    assert (asked.returncode, 'python example.py PICTURE CLIP' in asked.stderr) == (1, True)
    assert 'Traceback' not in asked.stderr

    picture, driving = DEMO / 'source.png', DEMO / 'driving.mp4'
    shown = run(folder / 'example.py', picture, driving, result)
    assert shown.returncode == 0, shown.stderr
    with VideoReader(driving) as reader:
        expected = Animator(cpu=True, engine='eager').animate(
            read_image(picture), reader, relative=True
        )
    with VideoReader(result) as reader:
        assert reader.fps == 25
        found = np.stack(list(reader))
    assert found.shape == expected.shape
    # The example resizes by Pillow, and videos are compressed.
    assert np.abs(found.astype(int) - expected).mean() < 3

    page = (folder / 'example.html').read_text()
    assert set(INPUTS['frame']) - {'reduced', 'features'} <= set(re.findall(r'\w+', page))


@needs_onnx
@pytest.mark.slow
def test_a_published_config(tmp_path):
    config = load_config(ROOT / 'config' / 'vox-256.yaml')
    models = seeded_models(config, 0, 'float32')
    frames = clip((256, 256))
    found = export(models, config, FORMS, 1, frames[0], frames[1:], tmp_path)
    assert {'paddle.inference', 'ONNX Runtime'} <= set(found)
    assert max(found.values()) < 2e-5


@needs_onnx
@pytest.mark.parametrize('operation', ['_scale', '_grid_sample', '_conv2d'])
def test_what_a_converter_loses_is_found(operation, tmp_path, monkeypatch):
    """A factor and what is added, the corners, a padding."""
    from tools.exporting.onnx_graph import Graph

    write = getattr(Graph, operation)

    def forgetful(self, made, attrs):
        if operation == '_scale':
            self._let(made.result(0), self._operand(made))
        elif operation == '_grid_sample':
            write(self, made, {**attrs, 'align_corners': not attrs['align_corners']})
        else:
            rows, columns = attrs['paddings']
            write(self, made, {**attrs, 'paddings': [2 * rows, 0, columns, columns]})

    monkeypatch.setattr(Graph, operation, forgetful)
    with pytest.raises(UserError, match='ONNX Runtime: its frames differ by up to'):
        export_tiny(tmp_path, forms=['onnx'])


def test_nothing_is_kept_of_what_differs(tmp_path, monkeypatch, capsys):
    from tools import export as command

    def noisy(folder, name):
        program = formats.run_paddle(folder, name)
        return lambda inputs: [array + np.float32(2e-4) for array in program(inputs)]

    form = formats.FORMATS['paddle']
    runtime = form.runtimes[0]._replace(load=noisy)
    monkeypatch.setitem(formats.FORMATS, 'paddle', form._replace(runtimes=(runtime,)))
    arguments = ['export.py', '--out', str(tmp_path / 'out'), '--format', 'paddle']
    monkeypatch.setattr(sys, 'argv', arguments)
    with pytest.raises(UserError, match=r'paddle.inference: .* nothing is written'):
        command.main()
    assert list(tmp_path.iterdir()) == []


@needs_onnx
def test_an_unknown_operation_is_named(tmp_path, monkeypatch):
    from tools.exporting.onnx_graph import Graph

    monkeypatch.delattr(Graph, '_softmax')
    with pytest.raises(UserError, match=r'the operation pd_op\.softmax has no form in ONNX here'):
        export_tiny(tmp_path, forms=['onnx'])


@pytest.mark.parametrize('batch', ['0', '-1', 'many', '1.5'])
def test_a_batch_that_is_none(batch, tmp_path):
    made = run('tools/export.py', '--out', tmp_path / 'out', f'--batch={batch}')
    assert made.returncode == 2
    assert made.stderr.count('\n') == 1 and '--batch' in made.stderr


def test_a_folder_that_is_taken(tmp_path):
    (tmp_path / 'something').touch()
    made = run('tools/export.py', '--out', tmp_path, '--format', 'paddle')
    assert made.returncode == 2
    assert made.stderr.count('\n') == 1 and str(tmp_path) in made.stderr
    assert [path.name for path in tmp_path.iterdir()] == ['something']


def test_without_the_extra(tmp_path, monkeypatch):
    from tools import export as command

    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match='needs onnx and onnxruntime: python -m pip install'):
        command.require_extras(['onnx'])
    command.require_extras(['paddle'])
