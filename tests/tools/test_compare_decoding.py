"""tools/compare_decoding.py: the table, and that it tells what differs."""

import sys

import pytest

from modules.runtime.errors import UserError
from modules.video import VideoReader
from tools import compare_decoding
from tools.compare_decoding import KINDS

CHOSEN = ('H.264, 10 bit', 'H.264, turned by 90 degrees', 'Motion JPEG')


def run(monkeypatch, out):
    kinds = [kind for kind in KINDS if kind.name in CHOSEN]
    monkeypatch.setattr(compare_decoding, 'KINDS', kinds)
    monkeypatch.setattr(sys, 'argv', ['compare_decoding.py', '--out', str(out)])
    compare_decoding.main()


def test_every_kind_once():
    assert len({(kind.name, kind.suffix) for kind in KINDS}) == len(KINDS) >= 40


def test_the_table(tmp_path, monkeypatch):
    run(monkeypatch, tmp_path / 'table.md')
    lines = (tmp_path / 'table.md').read_text().splitlines()
    assert sum(line.endswith(' | 50 | 50 | equal | 0.0 |') for line in lines) == 4
    assert any('4 of them alike' in line for line in lines)


def test_what_differs_is_named(tmp_path, monkeypatch):
    whole = VideoReader.__iter__
    monkeypatch.setattr(VideoReader, '__iter__', lambda reader: iter(list(whole(reader))[1:]))
    with pytest.raises(UserError, match=r'4 of 4 kinds differ: H\.264, 10 bit \(\.mp4\), '):
        run(monkeypatch, tmp_path / 'table.md')
    assert '| 49 | 50 | ' in (tmp_path / 'table.md').read_text()
