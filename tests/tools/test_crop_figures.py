"""tools/crop_figures.py: a small run, and what it measures by."""

import json
import sys

import numpy as np
import pytest

from modules.animation.boxes import Box, overlap
from modules.animation.faces import Face
from modules.runtime.errors import UserError
from modules.video import write_picture
from tools import crop_figures
from tools.creature_drawing.placements import placements


def test_a_table_of_objects(monkeypatch, capsys, tmp_path):
    out = tmp_path / 'crops.json'
    monkeypatch.setattr(sys, 'argv', ['crop_figures.py', '--cases', '2', '--out', str(out)])
    crop_figures.main()
    assert json.loads(out.read_text())['crops']['objects']['right'] == 1
    header, line, row = capsys.readouterr().out.splitlines()
    assert 'overlap of at least 0.75' in header and set(line) <= set('| -')
    assert row.startswith('| objects | 2 | 100.0 % | 0.')


def test_a_face_lies_where_it_was_placed():
    picture = np.full((300, 200, 3), 200, np.uint8)
    picture[100:140, 60:90] = (255, 0, 255)  # 'the face', a colour that no scene has
    for seed in range(5):
        rng = np.random.default_rng(seed)
        scene, box = crop_figures.place_face(picture, Box(60, 100, 30, 40), rng)
        rows, columns = np.nonzero((np.abs(scene.astype(int) - (255, 0, 255)) < 60).all(axis=2))
        seen = Box(columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
        assert overlap(seen, box) > 0.8


def test_faces_are_counted_right(tmp_path):
    path = tmp_path / 'face.png'
    picture = np.full((100, 100, 3), 200, np.uint8)
    write_picture(path, picture)
    calls = []

    def faces(shown):
        calls.append(shown.shape)
        return [Face(Box(40, 40, 20, 20), 0.9)] if len(calls) == 1 else []

    measured = list(crop_figures.measure_faces([path], 3, 0, faces))
    assert [found for found, _ in measured] == [0, 0, 0]
    measured = {'faces': crop_figures.summary([(0.8, 1), (0.7, 2)])}
    assert crop_figures.crop_rows(measured)[0][1:4] == ('2', '50.0 %', '0.75')
    with pytest.raises(UserError, match=r'face\.png: has no face'):
        list(crop_figures.measure_faces([path], 3, 0, lambda picture: []))


def test_placements_are_inside_their_scenes():
    for case in placements(4, 64):
        height, width = case.picture.shape[:2]
        x, y, w, h = case.box
        assert w == h and x >= 0 and y >= 0 and x + w <= width and y + h <= height
        assert case.driving.shape == (64, 64, 3)


@pytest.mark.parametrize('arguments', [['--cases', '0'], ['--seed', '-1'], ['--faces', 'no']])
def test_what_can_not_be_measured(arguments, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['crop_figures.py', *arguments])
    with pytest.raises(UserError):
        crop_figures.main()
