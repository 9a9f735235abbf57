"""What demo.py makes of painted squares: pasted back, several faces, side by side, scaled."""

import sys
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image

import demo
from modules.animation import clip, composing, options
from modules.animation.boxes import Box, cut
from modules.animation.composing import Composer, scale_frame
from modules.animation.faces import Face, face_crop
from modules.eager import EagerEngine
from modules.runtime.errors import UserError
from modules.video import read_image
from tests.support.clips import far, one_line
from tests.support.demo_runs import DATA, frames_of, run_demo, write_clip

FACES = [Box(30, 30, 40, 40), Box(130, 40, 30, 30)]  # the largest first, as they are found


@pytest.fixture
def inputs(tmp_path):
    """A photograph of 201 x 131 pixels, and a clip of three frames -> demo.py's options."""
    y, x = np.mgrid[:131, :201]
    picture = np.stack([x, y, 120 + 40 * np.sin(x / 9)], axis=2).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / 'picture.png')
    write_clip(tmp_path / 'clip.mp4', num_frames=3, size=64)
    files = ['--source_image', tmp_path / 'picture.png', '--driving_video', tmp_path / 'clip.mp4']
    return [*files, '--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--engine', 'eager']


@pytest.fixture
def two_faces(monkeypatch):
    """A detector that finds two faces in the picture, and none in a clip."""

    def find(picture):
        return [Face(box, 0.9) for box in FACES] if picture.shape[1] == 201 else []

    monkeypatch.setattr(clip, 'load_face_detector', lambda: find)
    for module in (clip, options):
        monkeypatch.setattr(module, 'has_face_detector', lambda: True)


def crop_of(box):
    return ','.join(f'{number!r}' for number in face_crop(box))


def test_a_cropped_picture_comes_back_whole(inputs, tmp_path, monkeypatch):
    asked = [*inputs, '--crop', 'none', '--source_crop', '40,30,80.5,80.5', '--result_video']
    run_demo(monkeypatch, *asked, tmp_path / 'whole')
    run_demo(monkeypatch, *asked, tmp_path / 'said', '--paste_back')
    run_demo(monkeypatch, *asked, tmp_path / 'square', '--no_paste_back')
    picture, whole = read_image(tmp_path / 'picture.png'), frames_of(tmp_path / 'whole')
    assert whole.shape == (3, 131, 201, 3)
    outside = np.ones((131, 201), bool)
    outside[30:111, 40:121] = False
    assert (whole[:, outside] == picture[outside]).all()
    assert far(whole[:, 50:90, 60:100], np.stack([picture] * 3)[:, 50:90, 60:100]) > 3
    assert far(whole[0], whole[2]) > 0.1
    np.testing.assert_array_equal(frames_of(tmp_path / 'said'), whole)
    squares = frames_of(tmp_path / 'square')
    assert squares.shape == (3, 64, 64, 3)
    inner = scale_frame(squares[1][8:56, 8:56], (60, 60))[5:55, 5:55]
    shown = whole[1, 45:95, 55:105]
    assert np.corrcoef(inner.ravel(), shown.ravel())[0, 1] > 0.97  # but for what colours it takes


def test_what_is_not_cropped(inputs, tmp_path, monkeypatch):
    """It is given as it is painted, as ever, unless it is asked for in the picture's shape."""
    asked = [*inputs, '--crop', 'none', '--result_video']
    run_demo(monkeypatch, *asked, tmp_path / 'square')
    run_demo(monkeypatch, *asked, tmp_path / 'whole', '--paste_back')
    squares, whole = frames_of(tmp_path / 'square'), frames_of(tmp_path / 'whole')
    assert squares.shape == (3, 64, 64, 3) and whole.shape == (3, 131, 201, 3)
    np.testing.assert_array_equal(whole[1], scale_frame(squares[1], (131, 201)))


def test_several_faces(inputs, two_faces, tmp_path, monkeypatch, capsys):
    """Each as if it were alone, and driving frames are looked at once."""
    looks = []
    detect = EagerEngine.detect
    monkeypatch.setattr(
        EagerEngine, 'detect', lambda self, image: looks.append(len(image)) or detect(self, image)
    )
    asked = [*inputs, '--driving_crop', '0,0,64,64', '--result_video']
    run_demo(monkeypatch, *asked, tmp_path / 'both', '--faces', 'all')
    assert sum(looks) == 3 + 2  # frames, and each face
    out = capsys.readouterr().out
    assert out.count('face 1 of 2') == out.count('face 2 of 2') == 1
    run_demo(monkeypatch, *asked, tmp_path / 'three', '--faces', 3)
    assert '2 of 3 --faces could be found' in capsys.readouterr().err
    both = frames_of(tmp_path / 'both')
    np.testing.assert_array_equal(frames_of(tmp_path / 'three'), both)
    for name, box, columns in (('one', FACES[0], slice(0, 90)), ('two', FACES[1], slice(115, 201))):
        run_demo(monkeypatch, *asked, tmp_path / name, '--source_crop', crop_of(box))
        np.testing.assert_array_equal(
            frames_of(tmp_path / name)[..., columns, :], both[..., columns, :]
        )
    run_demo(monkeypatch, *asked, tmp_path / 'largest')
    np.testing.assert_array_equal(frames_of(tmp_path / 'largest'), frames_of(tmp_path / 'one'))


def test_frames_that_are_repeated_are_made_once():
    """And a picture that moves, as a clip's frames do, is pasted into as it is then."""
    asked = Namespace(
        paste_back=True, no_paste_back=False, side_by_side=False, size=None, upscale=None
    )
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (2, 90, 120, 3), dtype=np.uint8)
    box, square = Box(20, 10, 64, 64), rng.random((64, 64, 3), dtype=np.float32)
    made = []
    for picture in pictures:
        composer = Composer(asked, picture, [box], [cut(picture, box, (64, 64))])
        made.append(composer.frame((square,), None).copy())
    squares = (square,)
    composer = Composer(asked, pictures[0], [box], [cut(pictures[0], box, (64, 64))])
    first = composer.frame(squares, None)
    assert composer.frame(squares, None) is first
    np.testing.assert_array_equal(first, made[0])
    composer.onto(pictures[1], [cut(pictures[1], box, (64, 64))])
    np.testing.assert_array_equal(composer.frame(squares, None), made[1])
    np.testing.assert_array_equal(composer.frame((1 - square,), None)[80:], pictures[1][80:])


def test_side_by_side_and_scaled(inputs, tmp_path, monkeypatch, capsys):
    asked = [*inputs, '--crop', 'none', '--source_crop', '40,30,80,80', '--frames', 1]
    run_demo(monkeypatch, *asked, '--side_by_side', '--result_video', tmp_path / 'beside')
    beside = frames_of(tmp_path / 'beside')[0]
    assert beside.shape == (131, 201 + 131 + 201, 3)  # the driving frame as high as the picture
    picture = read_image(tmp_path / 'picture.png')
    np.testing.assert_array_equal(beside[:, :201], picture)
    np.testing.assert_array_equal(beside[:25, 332:], picture[:25])
    for scaling, size in ((('--upscale', '1.5'), (196, 302)), (('--size', '80,52'), (52, 80))):
        run_demo(monkeypatch, *asked, *scaling, '--result_video', tmp_path / scaling[0][2:])
        assert frames_of(tmp_path / scaling[0][2:])[0].shape[:2] == size
        said = capsys.readouterr()
        assert ('by Lanczos interpolation, which adds no detail' in said.out) == (size[0] == 196)
        assert 'squeezes' not in said.err
    run_demo(monkeypatch, *asked, '--size', '80,80', '--result_video', tmp_path / 'squeezed')
    assert '--size 80,80: squeezes a result of 201 x 131; 80,52 would' in capsys.readouterr().err


def test_odd_sizes_of_a_movie(inputs, tmp_path, monkeypatch, capsys):
    asked = [*inputs, '--crop', 'none', '--source_crop', '40,30,80,80', '--frames', 1]
    run_demo(monkeypatch, *asked, '--result_video', tmp_path / 'a.mp4')
    assert frames_of(tmp_path / 'a.mp4')[0].shape == (132, 202, 3)
    run_demo(monkeypatch, *asked, '--size', '81,53', '--result_video', tmp_path / 'b.mp4')
    assert '.mp4 holds even sizes alone' in capsys.readouterr().err
    assert frames_of(tmp_path / 'b.mp4')[0].shape == (54, 82, 3)


def test_a_large_result(inputs, tmp_path, monkeypatch, capsys):
    asked = [*inputs, '--crop', 'none', '--paste_back', '--frames', 1]
    asked += ['--result_video', tmp_path / 'large', '--upscale', 3]
    monkeypatch.setattr(composing, 'PLAYED', (400, 300))
    run_demo(monkeypatch, *asked)
    assert 'the result is 603 x 393; players may stop at 400 x 300; then give --size 400,260' in (
        capsys.readouterr().err
    )
    monkeypatch.setattr(composing, 'LARGEST', 600)
    with pytest.raises(UserError, match='would be 603 x 393, and 600 pixels are the most'):
        run_demo(monkeypatch, *asked[:-3], tmp_path / 'larger', *asked[-2:])
    assert not (tmp_path / 'larger').exists()


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        (['--faces', '0'], 'give all, or a number'),
        (['--faces', 'some'], 'give all, or a number'),
        (['--faces', 'all', '--crop', 'object'], '--faces all: --crop object looks for no faces'),
        (['--faces', '2', '--source_crop', '1,1,9,9'], '--source_crop is the one face'),
        (['--faces', '2', '--no_paste_back'], 'leave out --no_paste_back'),
        (['--paste_back', '--no_paste_back'], 'not allowed with'),
        (['--size', '12'], 'give width and height'),
        (['--size', '0,12'], 'give width and height'),
        (['--upscale', 'nan'], 'give a factor above 0'),
        (['--upscale', '2', '--size', '10,10'], 'not allowed with'),
    ],
)
def test_mistakes(monkeypatch, arguments, said):
    monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments])
    with pytest.raises(UserError) as error:
        demo.parse_arguments()
    assert said in one_line(error)


def test_without_the_extra(monkeypatch):
    monkeypatch.setattr(options, 'has_face_detector', lambda: False)
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--faces', 'all'])
    with pytest.raises(UserError, match='--faces all: faces are found by an extra: python -m pip'):
        demo.parse_arguments()
