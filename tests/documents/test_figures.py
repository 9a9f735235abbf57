"""Figures that documents show are those of doc/figures/, which commands have written."""

import json
import sys
import warnings

import pytest

from modules.runtime.errors import UserError
from tests.support.documents import DOCUMENTS, text_of
from tests.support.places import ROOT
from tools import document_figures
from tools.document_figures import FOLDER, KINDS, missing, read
from tools.provenance import changed_since, code_hash


def test_each_file_has_its_kind():
    assert {path.stem for path in FOLDER.glob('*.json')} == set(KINDS)


@pytest.mark.parametrize('name', KINDS)
def test_documents_show_the_figures(name):
    assert missing(name, text_of) == []
    shown = KINDS[name](read(name))
    assert shown and all(document in DOCUMENTS and texts for document, texts in shown)


@pytest.mark.parametrize('name', KINDS)
def test_where_figures_are_from_is_known(name):
    made = read(name)
    script = made['command'].split()[1]
    assert (ROOT / script).exists() and made['command'].startswith('python tools/')
    assert made['machine']['cpu'] and made['date'] and made['commit'] and made['code']
    if changed := changed_since(made):
        warnings.warn(f'doc/figures/{name}.json is older than {", ".join(changed)}', stacklevel=1)


def test_a_figure_that_differs_is_named(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['document_figures.py'])
    document_figures.main()
    assert capsys.readouterr().out.endswith('documents show these figures\n')
    changed = read('live')
    changed['live']['bundled, 128 x 128']['rate']['median'] = 1234.5
    other = json.loads(json.dumps(changed))
    monkeypatch.setattr(
        document_figures, 'read', lambda name: other if name == 'live' else read(name)
    )
    with pytest.raises(UserError, match=r'doc/live\.md: does not show .*1234\.5'):
        document_figures.main()


def test_code_that_has_changed_is_named(tmp_path):
    (tmp_path / 'room').mkdir()
    (tmp_path / 'room' / 'a.py').write_text('1')
    (tmp_path / 'b.py').write_text('2')
    made = {'code': {name: code_hash(tmp_path / name) for name in ('room', 'b.py')}}
    assert changed_since(made, tmp_path) == []
    (tmp_path / 'room' / 'c.txt').write_text('no source')
    assert changed_since(made, tmp_path) == []
    (tmp_path / 'room' / 'a.py').write_text('3')
    assert changed_since(made, tmp_path) == ['room']
    (tmp_path / 'b.py').unlink()
    assert changed_since(made, tmp_path) == ['room', 'b.py']
