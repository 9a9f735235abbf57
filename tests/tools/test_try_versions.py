"""tools/try_versions.py, with interpreters that are none."""

import json

import pytest

from modules.runtime.errors import UserError
from tools import try_versions
from tools.try_versions import Pair, cells, outcomes

REPORT = """\
<testsuites><testsuite tests="5">
<testcase classname="tests.test_a" name="test_good"/>
<testcase classname="tests.test_a" name="test_bad[1]"><failure>x</failure></testcase>
<testcase classname="tests.test_a" name="test_broken"><error>x</error></testcase>
<testcase classname="tests.test_b" name="test_not_here"><skipped/></testcase>
<testcase classname="tests.test_b" name="test_too"/>
</testsuite></testsuites>
"""


def test_pytests_report_is_counted(tmp_path):
    path = tmp_path / 'report.xml'
    path.write_text(REPORT)
    counts, names = outcomes(path)
    assert counts == {'passed': 2, 'failed': 2, 'skipped': 1}
    assert names == ['tests.test_a::test_bad[1]', 'tests.test_a::test_broken']


def test_a_row_names_the_first_tests_that_failed():
    pair = Pair('3.12.1', '3.1.1', counts={'passed': 7, 'failed': 5}, demo='45 frames')
    pair.failed_tests, pair.seconds = [*'abcde'], {'install': 61.4, 'tests': 80.0, 'demo': 9.9}
    row = (
        '3.12.1',
        '3.1.1',
        '7 passed, 5 failed',
        '45 frames',
        '61 + 80 + 10',
        'a, b, c and 2 more',
    )
    assert cells(pair) == row


def run(monkeypatch, *options):
    monkeypatch.setattr('sys.argv', ['try_versions.py', *map(str, options)])
    try_versions.main()


@pytest.fixture
def python(tmp_path):
    """A Python that knows its version, and has no wheels."""
    path = tmp_path / 'python'
    message = 'ERROR: No matching distribution found for paddlepaddle==3.1.*'
    path.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] && echo 3.13.0 && exit\necho "{message}" >&2; exit 1\n'
    )
    path.chmod(0o755)
    return path


def test_a_pair_without_a_wheel_is_a_row_too(tmp_path, monkeypatch, capsys, python):
    out = tmp_path / 'versions.md'
    run(monkeypatch, '--pythons', python, '--paddles', '3.1', '3.2', '--out', out)
    lines = out.read_text().splitlines()
    assert lines[0].startswith('| Python | Paddle | quick tests | demo |')
    assert [line.split(' | ')[:2] for line in lines[2:4]] == [
        ['| 3.13.0', '3.1'],
        ['| 3.13.0', '3.2'],
    ]
    assert lines[2].endswith('| no wheel for this Python |')
    pairs = json.loads(out.with_suffix('.json').read_text())['pairs']
    assert [(pair['paddle'], pair['demo']) for pair in pairs] == [('3.1', ''), ('3.2', '')]
    assert str(tmp_path) not in out.read_text()


@pytest.mark.parametrize(
    'options, words',
    [
        (('--pythons', 'no-such-python'), '--pythons no-such-python: is no Python that runs'),
        (('--out', 'a.json'), 'a.json: is where the figures go'),
    ],
)
def test_mistakes_are_told(monkeypatch, tmp_path, options, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=words):
        run(monkeypatch, *options)
    assert not list(tmp_path.iterdir())
