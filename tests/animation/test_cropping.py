"""What --crop chooses for picture and clip: stand-ins for detectors and networks."""

import argparse

import numpy as np
import pytest

from modules.animation.boxes import Box, cut, overlap
from modules.animation.cropping import (
    FILLED,
    Crops,
    Material,
    choose_crops,
    cut_frames,
    cut_source,
)
from modules.animation.faces import Face, face_crop
from modules.animation.finding import Finder
from modules.animation.following import Way
from modules.animation.inputs import BUNDLED
from modules.runtime.errors import UserError
from modules.video import resize_frame
from tests.support.patches import SIZE, detect_patches, patches

GRAY = np.full((90, 160, 3), 128, np.uint8)
SQUARE = np.full((200, 200, 3), 128, np.uint8)
FACE = Box(60, 20, 30, 40)


def sees(*boxes):
    """A detector that finds the same faces in whatever it is shown."""
    return lambda picture: [Face(box, 0.9) for box in boxes]


def material(frames, option):
    frames = list(frames)
    return Material(option[2:], option, frames[0], lambda: iter(frames), 25, len(frames))


def crops(source, driving, faces=None, crop='auto', detect=detect_patches, **by_hand):
    """`driving`: a frame or several."""
    driving = [driving] if isinstance(driving, np.ndarray) else driving
    settings = {'source_crop': None, 'driving_crop': None, 'data': 'data/own', **by_hand}
    data = {'root_dir': settings.pop('data'), 'frame_shape': [*SIZE, 3]}
    options = argparse.Namespace(
        crop=crop, source_image='a.png', driving_video='b.mp4', checkpoint=None, config='own.yaml',
        **settings,
    )  # fmt: skip
    return choose_crops(
        options,
        {'dataset_params': data},
        material([source], '--source_crop'),
        material(driving, '--driving_crop'),
        Finder(detect, SIZE),
        faces,
    )


def test_faces_are_cropped(capsys):
    found = crops(GRAY, [GRAY] * 30, sees(FACE))
    assert found.source == face_crop(FACE)
    assert found.driving.stands_still and found.driving.box(7) == face_crop(FACE)
    captured = capsys.readouterr()
    assert captured.out.count('cropped to 45,6,60,60: its face in ') == 2
    assert captured.err == ''


def test_of_several_faces_the_largest_is_taken_and_stayed_with():
    """Though another one is the largest later on."""
    left, right = Box(14, 20, 20, 30), Box(110, 20, 18, 26)
    grown = [Face(Box(105, 15, 28, 40), 0.9), Face(left, 0.9)]
    first = [Face(left, 0.9), Face(right, 0.9)]
    frames = [GRAY] * 10 + [GRAY + 1] * 50
    found = crops(GRAY, frames, lambda picture: first if picture[0, 0, 0] == 128 else grown)
    assert overlap(found.driving.box(0), face_crop(left)) > 0.9
    assert overlap(found.driving.box(59), face_crop(left)) > 0.9


def test_what_is_cropped_already_stays_whole(capsys):
    filling = Box(50, 50, 90, 120)
    assert overlap(face_crop(filling), Box(0, 0, 200, 200)) > FILLED
    assert crops(SQUARE, SQUARE, sees(filling)) == Crops(None, None)
    assert 'not cropped, for it is as the model wants it: source_crop and driving_crop' in (
        capsys.readouterr().out
    )
    # Explicitly, it is cropped.
    assert crops(SQUARE, SQUARE, sees(filling), 'face').source is not None


def test_what_has_the_models_size_is_not_even_looked_at():
    made = np.zeros((*SIZE, 3), np.uint8)

    def never(_):
        raise AssertionError

    assert crops(made, made, never, detect=never) == Crops(None, None)


def test_a_face_in_a_square_that_does_not_fill_it():
    found = crops(SQUARE, np.zeros((*SIZE, 3), np.uint8), sees(FACE))
    assert found.source == face_crop(FACE) and found.driving is None


def test_a_head_at_the_border_shows_less_that_is_mirrored():
    at_the_top = Box(60, 2, 30, 40)
    assert face_crop(at_the_top).y < 0
    found = crops(GRAY, GRAY, sees(at_the_top)).source
    assert face_crop(at_the_top).y < found.y <= 0 and found.w == found.h


def test_without_a_face_the_object_is_cropped(capsys):
    box = Box(20, 40, 70, 70)
    driving = patches(100, 100, Box(0, 0, 100, 100))
    for faces in (None, sees()):
        found = crops(patches(120, 200, box), driving, faces)
        assert overlap(found.source, box) > 0.85 and found.driving is None
        captured = capsys.readouterr()
        assert 'its object, found with a certainty of 0.' in captured.out
        assert ('requirements-faces.txt' in captured.err) == (faces is None)


def test_a_clip_is_framed_as_the_picture_where_that_fits():
    box = Box(90, 20, 80, 80)
    found = crops(patches(100, 100, Box(0, 0, 100, 100)), [patches(120, 200, box)] * 8)
    assert found.source is None
    assert overlap(found.driving.box(3), box) > 0.85


def test_picture_and_clip_that_both_need_a_crop_are_framed_alike():
    one, other = Box(90, 20, 80, 80), Box(10, 30, 100, 100)
    found = crops(patches(180, 120, other), [patches(120, 200, one)] * 8, crop='object')
    source, driving = found.source, found.driving.box(0)
    assert (source.x - other.x) / other.w == pytest.approx((driving.x - one.x) / one.w, abs=0.08)
    assert source.w / other.w == pytest.approx(driving.w / one.w, rel=0.08)


def test_an_object_that_wanders_is_followed():
    frames = [patches(120, 400, Box(10 + 4 * n, 20, 80, 80)) for n in range(60)]
    way = crops(patches(100, 100, Box(0, 0, 100, 100)), frames).driving
    assert not way.stands_still
    assert all(overlap(way.box(n), Box(10 + 4 * n, 20, 80, 80)) > 0.7 for n in range(60))


def test_an_object_that_fills_a_square_stays_whole():
    whole = patches(200, 200, Box(0, 0, 190, 190))
    assert crops(whole, whole) == Crops(None, None)
    small = patches(200, 200, Box(100, 20, 80, 80))
    assert overlap(crops(small, whole).source, Box(100, 20, 80, 80)) > 0.85


def test_models_of_bodies_are_not_given_faces():
    box = Box(90, 20, 80, 80)
    picture, driving = patches(120, 200, box), patches(100, 100, Box(0, 0, 100, 100))
    assert overlap(crops(picture, driving, sees(FACE), data='data/taichi-png').source, box) > 0.85
    found = crops(picture, driving, sees(FACE), crop='face', data='data/taichi-png')
    assert found.source == face_crop(FACE)


def test_nothing_found_says_what_to_do():
    with pytest.raises(UserError, match=r'neither a face nor an object .* --crop none'):
        crops(GRAY, SQUARE, sees())
    with pytest.raises(UserError, match=r'(?s)no face .*--source_crop x,y,w,h'):
        crops(GRAY, SQUARE, sees(), 'face')
    with pytest.raises(UserError, match=r'requirements-faces.*--driving_crop x,y,w,h'):
        crops(patches(100, 100, Box(0, 0, 100, 100)), GRAY)
    with pytest.raises(UserError, match='no object could be found'):
        crops(SQUARE, patches(100, 100, Box(0, 0, 100, 100)), crop='object')
    # A square is no worse off than without cropping.
    assert crops(SQUARE, SQUARE, sees()) == Crops(None, None)


def test_boxes_by_hand(capsys):
    box = Box(-10, 5, 64, 64)
    found = crops(GRAY, GRAY, None, 'none', source_crop=box, driving_crop=box)
    assert found.source == box and found.driving.box(3) == box
    assert capsys.readouterr().err == ''
    crops(GRAY, GRAY, sees(FACE), source_crop=Box(0, 0, 80, 40))  # the clip goes on by itself
    err = capsys.readouterr().err
    assert '--source_crop 0,0,80,40 of source_crop: 80 x 40 is squeezed to 64 x 64' in err
    for outside in (Box(160, 0, 10, 10), Box(0, 0, 10_000, 10_000)):
        with pytest.raises(UserError, match=r'--driving_crop .* 160 x 90'):
            crops(GRAY, GRAY, None, 'none', driving_crop=outside)


def test_none_squeezes_with_a_line(capsys):
    assert crops(GRAY, SQUARE, sees(FACE), 'none') == Crops(None, None)
    assert capsys.readouterr().err.count('is squeezed to 64 x 64') == 1


def test_what_is_bundled_is_never_cropped(capsys):
    picture = Material('a', '--source_crop', GRAY, lambda: [GRAY], 25, 1)
    options = argparse.Namespace(
        crop='auto', source_image=BUNDLED / 'source.png', driving_video=BUNDLED / 'driving.mp4',
        source_crop=None, driving_crop=None, checkpoint=None, config='demo.yaml',
    )  # fmt: skip
    config = {'dataset_params': {'root_dir': 'data', 'frame_shape': [*SIZE, 3]}}
    finder = Finder(detect_patches, SIZE)
    assert choose_crops(options, config, picture, picture, finder, sees(FACE)) == Crops(None, None)
    assert capsys.readouterr().out == ''


def test_what_goes_into_the_model():
    picture = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)
    np.testing.assert_array_equal(cut_source(picture, None, SIZE), resize_frame(picture, SIZE))
    box = Box(10, 20, 50, 50)
    np.testing.assert_array_equal(cut_source(picture, box, SIZE), cut(picture, box, SIZE))
    other = picture[::-1].copy()
    plain = list(cut_frames([picture, picture, other], None, SIZE))
    assert plain[0] is plain[1] and plain[2] is not plain[1]
    np.testing.assert_array_equal(plain[2], resize_frame(other, SIZE))
    (still,) = cut_frames([picture], Way.still(box), SIZE)
    np.testing.assert_array_equal(still, cut(picture, box, SIZE))
