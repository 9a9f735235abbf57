"""doc/first-steps.ipynb: stored without outputs, in two languages, and run from top to bottom."""

import json
import os
import re

import pytest

from tests.support.places import ROOT

PATH = ROOT / 'doc' / 'first-steps.ipynb'
PARTS = ('modules', 'tools', 'config', 'doc')
TEXT = PATH.read_text(encoding='utf-8')
CELLS = json.loads(TEXT)['cells']
CODE = [''.join(cell['source']) for cell in CELLS if cell['cell_type'] == 'code']


def test_it_is_stored_without_outputs():
    assert len(TEXT) < 30_000
    for cell in CELLS:
        assert not cell.get('outputs') and not cell.get('execution_count')


def test_it_names_no_place_of_a_machine():
    assert not re.search(r'(?<![\w.])/(home|root|work|tmp|usr|opt|mnt)\b', TEXT)
    assert not re.search(r'[A-Z]:\\\\', TEXT)


def test_it_is_plain_python():
    """No magic, so that cells can be copied into a program."""
    for code in CODE:
        compile(code, PATH.name, 'exec')
        assert not re.search(r'^\s*[!%]', code, re.M)


def test_prose_is_in_both_languages():
    for cell in CELLS:
        text = ''.join(cell['source'])
        if cell['cell_type'] == 'markdown':
            assert re.search('[\u4e00-\u9fff]', text) and re.search('[A-Za-z]{4}', text), text


def test_links_lead_somewhere():
    links = [
        link
        for cell in CELLS
        if cell['cell_type'] == 'markdown'
        for link in re.findall(r'\]\(([^)\s]+)\)', ''.join(cell['source']))
    ]
    assert len(links) > 8
    assert [link for link in links if not (PATH.parent / link).exists()] == []


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(tmp_path):
    reason = 'running the notebook needs the packages of requirements-notebook.txt'
    nbformat = pytest.importorskip('nbformat', reason=reason)
    nbclient = pytest.importorskip('nbclient', reason=reason)
    pytest.importorskip('ipykernel', reason=reason)
    for path in (*ROOT.glob('*.py'), *ROOT.glob('requirements*'), *map(ROOT.joinpath, PARTS)):
        (tmp_path / path.name).symlink_to(path)
    notebook = nbformat.reads(TEXT, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook,
        timeout=400,
        kernel_name='python3',
        resources={'metadata': {'path': str(tmp_path)}},
    )
    client.execute(env={**os.environ, 'CUDA_VISIBLE_DEVICES': ''})

    (results,) = tmp_path.glob('log/first-steps_*')
    assert f'results · 结果: log/{results.name}' in printed(notebook)
    for name in ('demo.mp4', 'from-python.mp4', 'mine.mp4', 'run/log.txt', 'exported/frame.json'):
        assert (results / name).stat().st_size > 0
    assert 'keypoints · 关键点: (4, 10, 2)' in printed(notebook)
    assert re.search(r'perceptual: \d+\.\d+ -> \d+\.\d+', printed(notebook))
    shown = [
        kind
        for cell in notebook.cells
        for output in cell.get('outputs', [])
        for kind in output.get('data', {})
    ]
    assert shown.count('image/png') == 4 and shown.count('image/svg+xml') == 1
    videos = [text for text in htmls(notebook) if '<video' in text and 'base64,' in text]
    assert len(videos) == 3


def printed(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    return ''.join(output.get('text', '') for output in outputs)


def htmls(notebook):
    outputs = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    return [output['data'].get('text/html', '') for output in outputs if 'data' in output]
