"""tools/coverage_table.py: rooms, percentages and what is too little."""

import json

import pytest

from modules.runtime.errors import UserError
from tools import coverage_table

FILES = {
    'modules/a/x.py': (10, 9, 4, 3),
    'modules/a/y.py': (10, 9, 4, 4),
    'modules/z.py': (5, 5, 0, 0),
}


@pytest.mark.parametrize('least, passes', [(87.5, True), (87.6, False)])
def test_coverage_by_rooms(tmp_path, monkeypatch, capsys, least, passes):
    figures = tmp_path / 'figures.json'
    keys = ('num_statements', 'covered_lines', 'num_branches', 'covered_branches')
    files = {name: {'summary': dict(zip(keys, counts))} for name, counts in FILES.items()}
    figures.write_text(json.dumps({'files': files}))
    monkeypatch.setattr('sys.argv', ['coverage_table.py', str(figures), '--least', str(least)])
    if passes:
        coverage_table.main()
    else:
        with pytest.raises(UserError, match=r'^87.5 % of the branches are taken, not 87.6 %$'):
            coverage_table.main()
    assert capsys.readouterr().out.splitlines()[2:] == [
        '| `modules/` | 5 | 100.0 | 0 | 100.0 |',
        '| `modules/a/` | 20 | 90.0 | 8 | 87.5 |',
        '| all | 25 | 92.0 | 8 | 87.5 |',
    ]


@pytest.mark.parametrize('text', [None, '{', '{"other": 1}'])
def test_without_figures(tmp_path, monkeypatch, text):
    figures = tmp_path / 'figures.json'
    if text is not None:
        figures.write_text(text)
    monkeypatch.setattr('sys.argv', ['coverage_table.py', str(figures)])
    with pytest.raises(UserError, match=r'figures.json: .*; run `make coverage`'):
        coverage_table.main()
