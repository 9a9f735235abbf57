"""tools/motion_transfer.py: its two figures, and the whole command on tiny networks."""

import contextlib
import json
import sys

import numpy as np
import pytest

from modules.build import build_models
from modules.checkpoints.models import load_models
from modules.runtime.errors import UserError
from modules.video import VideoReader
from tests.support.tiny_checkpoint import CONFIG, LEGACY, TINY
from tools import motion_transfer
from tools.creature_drawing.creatures import held_out_cases
from tools.motion_transfer import TASKS, compare
from tools.provenance import changed_since


def moving_square():
    """A source and two frames, of which the second one differs in 4 of 64 pixels."""
    source = np.full((8, 8, 3), 0.5, 'float32')
    truth = np.stack([source, source])
    truth[1, :2, :2] += 0.2
    return source, truth


def test_truth_is_perfect_and_the_source_is_the_unit():
    source, truth = moving_square()
    assert compare(truth, truth, source) == (0, 0)
    unmoved = compare(np.stack([source, source]), truth, source)
    assert unmoved.moving == pytest.approx(1)
    assert unmoved.frame == pytest.approx(0.2 * 4 / 128)


def test_moving_pixels_are_those_where_a_channel_changes_enough():
    source, truth = moving_square()
    result = truth.copy()
    result[0] += 0.1  # where nothing moves: counts for whole frames only
    errors = compare(result, truth, source)
    assert errors.moving == 0
    assert errors.frame == pytest.approx(0.05)
    result = truth.copy()
    result[1, :2, :2, 0] += 0.1  # of 0.2, in one channel of three
    assert compare(result, truth, source).moving == pytest.approx(1 / 6)
    truth[1, 7, 7, 1] += 16 / 255  # moves, in one channel, and is missed
    assert compare(np.stack([source, truth[1]]), truth, source).moving == pytest.approx(0)
    missed = truth.copy()
    missed[1, 7, 7] = source[7, 7]
    change = 4 * 3 * 0.2 + 16 / 255
    assert compare(missed, truth, source).moving == pytest.approx((16 / 255) / change, rel=1e-4)
    truth[1, 7, 7, 1] = source[7, 7, 1] + 14 / 255  # too little
    assert compare(missed, truth, source).moving == 0


def test_nothing_that_moves_is_an_error():
    source, _ = moving_square()
    with pytest.raises(ValueError, match='no pixel moves'):
        compare(source[None], source[None], source)


def run(monkeypatch, *options):
    monkeypatch.setattr(sys, 'argv', ['motion_transfer.py', *map(str, options)])
    motion_transfer.main()


def test_command(tmp_path, monkeypatch, capsys):
    out, videos = tmp_path / 'figures.json', tmp_path / 'videos'
    options = ('--config', TINY / 'tiny.yaml', '--checkpoint', LEGACY, '--cases', 2, '--frames', 3)
    run(monkeypatch, *options, '--out', out, '--videos', videos)
    figures = json.loads(out.read_text())
    rows = figures['cases']
    assert figures['command'].startswith('python ') and changed_since(figures) == []
    cases = list(held_out_cases(2, 64, 3))
    assert [row['case'] for row in rows] == [case.name for case in cases]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '2 cases of 3 frames, 3 tasks each, on cpu'  # before the wait
    for task, line in zip(TASKS, lines[-3:]):
        mean = np.mean([row[task]['moving'] for row in rows])
        assert line.startswith(f'| {task} | {mean:.3f} ± ')
    # Relative and absolute keypoints agree on the clip that the source is from, not elsewhere.
    assert all(row['absolute'] != row['relative'] for row in rows)
    with VideoReader(videos / f'{cases[0].name}_absolute.mp4') as reader:
        frame = np.stack(list(reader))[2]
    assert frame.shape == (64, 4 * 64, 3)
    for place, wanted in ((0, cases[0].clip[0]), (1, cases[0].driving[2]), (3, cases[0].clip[2])):
        shown = frame[:, 64 * place : 64 * (place + 1)].astype(int)
        assert np.abs(shown - wanted).mean() < 6


def test_the_official_code_beside(tmp_path, monkeypatch, capsys):
    """By a stand-in that is off by 1/8 in one value of one frame of one task."""

    @contextlib.contextmanager
    def stand_in(official, config, checkpoint):
        assert (official, checkpoint) == ('clone', str(LEGACY))
        assert config == CONFIG
        models = build_models(config)
        load_models(config, models, checkpoint)

        def animate_theirs(animations):
            assert [a.relative for a in animations] == [False, False, True]
            results = [motion_transfer.transfer(models, animation) for animation in animations]
            results[1][0, 3, 4, 0] += 0.125
            return results

        yield animate_theirs

    monkeypatch.setattr(motion_transfer, 'require_official', lambda repo, python: str(repo))
    monkeypatch.setattr(motion_transfer, 'official_animation', stand_in)
    out = tmp_path / 'figures.json'
    options = ('--config', TINY / 'tiny.yaml', '--checkpoint', LEGACY, '--cases', 2, '--frames', 3)
    run(monkeypatch, *options, '--out', out, '--torch_repo', 'clone')
    titles = [title for task in TASKS for title in (task, f'{task}, official code')]
    for row in json.loads(out.read_text())['cases']:
        assert set(row) == {'case', 'largest_difference', *titles}
        assert row['largest_difference'] == pytest.approx(0.125)
        same = [row[task] == row[f'{task}, official code'] for task in TASKS]
        assert same == [True, False, True]
    *lines, last = capsys.readouterr().out.splitlines()
    assert last.endswith('of values in [0, 1]: 1.2e-01')
    assert [line.split(' | ')[0] for line in lines[-6:]] == [f'| {title}' for title in titles]


@pytest.mark.parametrize('option', ['cases', 'frames', 'seed'])
def test_mistakes_are_named(monkeypatch, option):
    with pytest.raises(UserError, match=f'--{option} -1'):
        run(monkeypatch, f'--{option}', -1)


def test_a_clone_is_needed_for_the_official_code(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r'--torch_python: .*add --torch_repo'):
        run(monkeypatch, '--torch_python', 'python')
    with pytest.raises(UserError, match='not a clone of the official'):
        run(monkeypatch, '--torch_repo', tmp_path)
