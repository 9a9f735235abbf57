"""A few of the cases, and that those who watch them notice what they are there for."""

import json
import os
import subprocess
import sys

import pytest

from tests.fuzz import faulty, report
from tests.fuzz.campaign import Block, Campaign, Process, blocks, counts, environment
from tests.fuzz.cases import make_case
from tests.fuzz.readers import READERS
from tests.support.places import ROOT

CASES = 2000

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='watches processes as Linux can')


@pytest.fixture(autouse=True)
def single_threads(monkeypatch):
    for name in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS', 'NO_COLOR'):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setitem(os.environ, name, '1')
    environment()


@pytest.mark.slow
def test_files_that_lie(tmp_path):
    campaign = Campaign(tmp_path, READERS)
    records = campaign.run(CASES, tell=lambda line: None)
    finds = [(record['reader'], *find) for record in records for find in record['finds']]
    assert finds == []
    rows = {row['reader']: row for row in report.summary(READERS, records)}
    assert rows['all']['cases'] == CASES
    assert set(rows) == {reader.title for reader in READERS.values()} | {'all'}
    for reader in READERS.values():  # neither so broken that nothing is read, nor so little
        row = rows[reader.title]
        assert row['cases'] < 100 or (row['read'] > 0 and row['refused'] > 0), row


def changed(reader):
    """The first case whose file is another than the sound one."""
    return next(n for n in range(99) if make_case(reader, n, 0) != {'a': faulty.SOUND})


@pytest.fixture(scope='module')
def process():
    one = Process('tests.fuzz.faulty:FAULTY', faulty.FAULTY, 0)
    yield one
    one.close()


@pytest.mark.parametrize('name', faulty.FAULTY)
def test_fault_is_noticed(process, name):
    number = changed(faulty.FAULTY[name])
    (outcome,) = process.run(Block(name, range(number, number + 1)))
    told = next(text for fault, text in faulty.FAULTS.items() if fault.__name__ == name)
    assert outcome.kind == 'find'
    assert told in outcome.text


def test_the_same_cases_every_time():
    code = (
        'import hashlib, sys; from tests.fuzz.cases import make_case; '
        'from tests.fuzz.readers import READERS; '
        'made = {n: [make_case(r, i, 3) for i in range(40)] for n, r in READERS.items()}; '
        'print({n: hashlib.sha256(repr(files).encode()).hexdigest() for n, files in made.items()})'
    )
    run = [sys.executable, '-c', code]
    texts = {
        subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(texts) == 1


def test_each_reader_has_its_share():
    shares = counts(READERS, 100_000)
    assert sum(shares.values()) == 100_000
    assert shares['doors'] >= 50
    numbers = [(b.reader, number) for b in blocks(READERS, shares) for number in b.numbers]
    assert len(set(numbers)) == len(numbers) == 100_000


def test_goes_on_where_it_was_and_keeps_finds(tmp_path):
    told = []
    campaign = Campaign(tmp_path, faulty.MIXED, 'tests.fuzz.faulty:MIXED')
    records = campaign.run(12, tell=told.append)
    finds = {record['reader']: record['finds'] for record in records}
    assert finds['soundly'] == [] and finds['dying']  # and the process is another one after each
    assert len(list((tmp_path / 'finds').iterdir())) == len(finds['dying'])
    number, text = finds['dying'][0]
    kept = tmp_path / 'finds' / f'dying-{number}'
    assert (kept / 'what.txt').read_text() == f'{text}\n'
    assert (kept / 'a').read_bytes() == make_case(faulty.MIXED['dying'], number, 0)['a']

    progress = tmp_path / 'progress.jsonl'
    lines = progress.read_text().splitlines()
    progress.write_text(f'{lines[0]}\n{lines[1][:20]}')  # it was killed
    again = Campaign(tmp_path, faulty.MIXED, 'tests.fuzz.faulty:MIXED').run(12, tell=told.append)
    assert len(told) == 3
    rows = report.summary(faulty.MIXED, again)
    assert [row['cases'] for row in rows] == [9, 3, 12]
    assert rows[-1]['read'] + rows[-1]['refused'] + rows[-1]['finds'] == 12
    table = report.write(tmp_path, faulty.MIXED, again)
    assert (tmp_path / 'summary.md').read_text() == table
    assert json.loads((tmp_path / 'summary.json').read_text()) == rows
