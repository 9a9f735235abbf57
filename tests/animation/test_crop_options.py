"""Cropping as users of demo.py ask for it."""

import numpy as np
import pytest

from modules.animation import options as crop_options
from modules.animation.boxes import Box, overlap
from modules.runtime.errors import UserError
from modules.video import read_image, write_picture
from tests.support.demo_runs import frames_of, run_demo
from tools.creature_drawing.placements import placements

RUN = ('--engine', 'eager', '--frames', '2', '--no_paste_back', '--result_video')


@pytest.fixture(scope='module')
def case():
    """A creature in a scene, its frame, and a driving frame of the bundled networks' size."""
    (placement,) = placements(1, 128, seed=4)
    return placement


@pytest.fixture
def inputs(case, tmp_path):
    """The same as options: a picture, and a folder with a clip."""
    write_picture(tmp_path / 'scene.png', case.picture)
    (tmp_path / 'clip').mkdir()
    for number in range(2):
        write_picture(tmp_path / 'clip' / f'{number}.png', case.driving)
    return ['--source_image', tmp_path / 'scene.png', '--driving_video', tmp_path / 'clip']


def test_an_object_is_found_and_shown(case, inputs, tmp_path, monkeypatch, capsys):
    shown = tmp_path / 'crop.png'
    run_demo(monkeypatch, *inputs, '--crop', 'object', '--show_crop', shown, *RUN, tmp_path / 'r')
    out = capsys.readouterr().out
    box = Box(*map(float, out.split('cropped to ')[1].split(':')[0].split(',')))
    assert overlap(box, case.box) > 0.75
    assert f'written: {shown}' in out
    picture = read_image(shown)
    assert picture.shape[0] == 512
    assert (picture == (255, 64, 64)).all(axis=2).sum() > 1000  # two boxes, drawn in
    assert frames_of(tmp_path / 'r').shape == (2, 128, 128, 3)


def test_a_box_by_hand_is_what_cropping_by_hand_gives(inputs, tmp_path, monkeypatch):
    scene = read_image(tmp_path / 'scene.png')
    write_picture(tmp_path / 'cropped.png', np.ascontiguousarray(scene[30:190, 20:180]))
    by_option = [*inputs, '--crop', 'none', '--source_crop', '20,30,160,160']
    run_demo(monkeypatch, *by_option, *RUN, tmp_path / 'option')
    inputs[1] = tmp_path / 'cropped.png'
    run_demo(monkeypatch, *inputs, '--crop', 'none', *RUN, tmp_path / 'hand')
    np.testing.assert_array_equal(frames_of(tmp_path / 'option'), frames_of(tmp_path / 'hand'))


def test_the_clip_is_cropped_by_hand_for_all_that_looks_at_it(inputs, tmp_path, monkeypatch):
    """The result, the picture beside it and the search for the best frame."""
    clip = inputs[3]
    inputs[3] = tmp_path / 'larger'
    inputs[3].mkdir()
    for path in clip.iterdir():
        larger = np.pad(read_image(path), ((40, 20), (60, 10), (0, 0)))
        write_picture(inputs[3] / path.name, larger)
    flags = ['--crop', 'none', '--relative', '--find_best_frame', '--side_by_side']
    flags += ['--source_crop', '20,30,160,160']
    by_hand = ['--driving_crop', '60,40,128,128']
    run_demo(monkeypatch, *inputs, *flags, *by_hand, *RUN, tmp_path / 'option')
    inputs[3] = clip
    run_demo(monkeypatch, *inputs, *flags, *RUN, tmp_path / 'hand')
    np.testing.assert_array_equal(frames_of(tmp_path / 'option'), frames_of(tmp_path / 'hand'))


def test_the_bundled_demo_is_not_cropped(tmp_path, monkeypatch, capsys):
    run_demo(monkeypatch, *RUN, tmp_path / 'auto')
    assert capsys.readouterr() == (f'written: {tmp_path}/auto\n', '')
    run_demo(monkeypatch, '--crop', 'none', *RUN, tmp_path / 'none')
    np.testing.assert_array_equal(frames_of(tmp_path / 'auto'), frames_of(tmp_path / 'none'))


def test_nothing_found_leaves_nothing(inputs, tmp_path, monkeypatch):
    write_picture(tmp_path / 'scene.png', np.full((90, 160, 3), 90, np.uint8))
    shown = tmp_path / 'crop.png'
    with pytest.raises(UserError, match=r'scene\.png: .*--source_crop x,y,w,h, or --crop none'):
        run_demo(monkeypatch, *inputs, '--show_crop', shown, *RUN, tmp_path / 'r.mp4')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['clip', 'scene.png']


@pytest.mark.parametrize('text', ['1,2,3', '1,2,3,4,5', 'a,b,c,d', '0,0,0,5', '0,0,nan,5', ''])
def test_a_box_is_four_numbers(text, monkeypatch):
    with pytest.raises(UserError, match='give four numbers x,y,w,h'):
        run_demo(monkeypatch, f'--source_crop={text}')


def test_negative_numbers_of_a_box(inputs, tmp_path, monkeypatch):
    run_demo(
        monkeypatch, *inputs, '--crop', 'none', '--source_crop=-9,-8,99,99', *RUN, tmp_path / 'r'
    )


def test_faces_need_an_extra(monkeypatch):
    monkeypatch.setattr(crop_options, 'has_face_detector', lambda: False)
    with pytest.raises(UserError, match=r'--crop face: .* -r requirements-faces\.txt'):
        run_demo(monkeypatch, '--crop', 'face')


def test_where_boxes_are_shown(inputs, tmp_path, monkeypatch):
    for name, reason in (
        ('a.jpg', 'is written as PNG'),
        ('scene.png', 'would replace'),
        ('clip/a.png', 'join'),
        ('nowhere/a.png', 'no such folder'),
    ):
        with pytest.raises(UserError, match=reason):
            run_demo(monkeypatch, *inputs, '--show_crop', tmp_path / name)


def test_options_are_in_their_group(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        run_demo(monkeypatch, '--help')
    group = capsys.readouterr().out.split('cropping:\n')[1]
    assert group.index('--crop {auto,face,object,none}') < group.index('--show_crop FILE.png')
