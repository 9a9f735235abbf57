"""What is remembered of clips that were cut out of another, when that is damaged."""

import json

import pytest

from modules.animation.track_clips import Record
from modules.runtime.errors import UserError

SETTINGS = {'clip': 'a.mp4', 'sha256': 'ab', 'rules': {'every': 8}}
BOX = [1.5, -2.5, 30.0, 30.0]
HELD = {**SETTINGS, 'tracks': [[0, 40, BOX]], 'claimed': True, 'looks': {'0': [BOX]}}


def record(tmp_path, **changes):
    path = tmp_path / 'a.json'
    path.write_text(json.dumps({**HELD, **changes}))
    return Record(path, SETTINGS, '--out')


def test_what_was_found(tmp_path):
    (track,) = record(tmp_path).tracks
    assert (track.start, track.end, list(track.box)) == (0, 40, BOX)


@pytest.mark.parametrize(
    'changes',
    [
        {'tracks': [[0, float('inf'), BOX]]},
        {'tracks': [[0, 40, [10**400, 0, 1, 1]]]},
        {'tracks': [[0, 40, [float('nan'), 0, 1, 1]]]},
        {'tracks': [[0, 40]]},
        {'tracks': 5},
        {'looks': {'0': [[1e300, 0, 1, 1]]}},
        {'looks': {'x': []}},
        {'looks': [[]]},
    ],
    ids=str,
)
def test_damage_is_told(tmp_path, changes):
    with pytest.raises(UserError, match=r'a\.json: damaged; take another --out'):
        record(tmp_path, **changes)


@pytest.mark.parametrize('text', ['', '[1]', '{', '[' * 100_000, '\xff'])
def test_no_record(tmp_path, text):
    path = tmp_path / 'a.json'
    path.write_text(text, encoding='latin1')
    with pytest.raises(UserError, match='damaged'):
        Record(path, SETTINGS, '--out')


@pytest.mark.parametrize(
    'changes',
    [
        {'rules': {'every': 8, 'odd': 1}},
        {'rules': {'every': 8, 'odd': None}},
        {'rules': [0] * 50_000},
        {'rules': 'a' * 9000},
    ],
)
def test_other_settings_are_told_in_a_line(tmp_path, changes):
    with pytest.raises(UserError, match=r'holds clips of a\.mp4 made with') as caught:
        record(tmp_path, **changes)
    assert len(str(caught.value)) < 400 + 2 * len(str(tmp_path))
