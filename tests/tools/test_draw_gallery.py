"""tools/draw_gallery.py and tools/draw_method.py: what they read, and pictures of small things."""

import sys

import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import read_image
from tests.support.places import ROOT
from tools import draw_gallery, draw_method

DOCUMENT = (ROOT / 'doc' / 'gallery.md').read_text(encoding='utf-8')


def test_each_picture_of_the_gallery_has_its_command():
    strips = draw_gallery.list_strips(DOCUMENT)
    assert len(strips) == DOCUMENT.count('](gallery/') == 10
    for name, words in strips:
        assert words[:2] == ['python', 'demo.py'] and words[-1] == f'{name}.mp4'
        size = (ROOT / 'doc' / 'gallery' / f'{name}.jpg').stat().st_size
        assert 5_000 < size < 80_000


def test_what_the_commands_are_given_is_drawn(tmp_path):
    draw_gallery.write_inputs(tmp_path)
    given = {word for _, words in draw_gallery.list_strips(DOCUMENT) for word in words}
    wanted = {word.removeprefix('things/') for word in given if word.startswith('things/')}
    assert wanted <= {path.name for path in tmp_path.iterdir()}
    with Image.open(tmp_path / 'transparent.png') as image:
        alpha = np.asarray(image)[..., 3]
    assert image.mode == 'RGBA' and alpha.min() == 0 and alpha.max() == 255
    assert np.array_equal(
        read_image(tmp_path / 'left.png'), read_image(tmp_path / 'trot.png')[:, ::-1]
    )


def test_a_strip_shows_frames_below_each_other():
    colours = np.arange(0, 240, 30, np.uint8)
    driving = [np.full((40, 20, 3), level, np.uint8) for level in colours]
    result = [255 - frame for frame in driving]
    shown = draw_gallery.strip(np.zeros((30, 30, 3), np.uint8), driving, result)
    side = draw_gallery.TILE + draw_gallery.GAP
    middle = draw_gallery.TILE // 2
    for column, number in enumerate((0, 2, 5, 7), 1):
        x = column * side + middle
        assert shown[middle, x, 0] == colours[number]
        assert shown[side + middle, x, 0] == 255 - colours[number]
        assert shown[middle, column * side + 2, 0] == 255  # beside an upright frame


def test_an_unknown_strip_is_named(monkeypatch, tmp_path):
    command = ['draw_gallery.py', 'strips', str(tmp_path), '--only', 'nothing']
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(UserError, match='--only nothing: give names of trot, '):
        draw_gallery.main()


def test_heat_is_red_above_zero_and_blue_below():
    shown = draw_method.heat(np.array([[1, -1], [0, 2]]), 4)
    assert shown.shape == (4, 4, 3) and tuple(shown[3, 0]) == (255, 255, 255)
    assert shown[0, 0].argmax() == 0 and shown[0, 3].argmax() == 2
    assert np.array_equal(shown[3, 3], shown[0, 0])  # what is above 1 is as 1


def test_a_frame_that_is_not_there(monkeypatch, tmp_path):
    command = ['draw_method.py', '--out', str(tmp_path), '--frame', '1000']
    monkeypatch.setattr(sys, 'argv', command)
    with pytest.raises(UserError, match='--frame 1000: give a number from 0 to '):
        draw_method.main()


def test_figures_of_the_method_are_small():
    sizes = [path.stat().st_size for path in (ROOT / 'doc' / 'method').iterdir()]
    assert len(sizes) == 5 and sum(sizes) < 600_000


@pytest.mark.parametrize(
    ('tool', 'arguments'), [(draw_gallery, ['inputs']), (draw_method, ['--out'])]
)
def test_a_file_is_no_folder(tool, arguments, monkeypatch, tmp_path):
    there = tmp_path / 'there'
    there.write_text('mine')
    monkeypatch.setattr(sys, 'argv', ['draw.py', *arguments, str(there)])
    with pytest.raises(UserError, match='there: is no folder; choose another name'):
        tool.main()
    assert there.read_text() == 'mine'
