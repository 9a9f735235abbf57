"""Odd pictures in data sets: used where viewers show them, else named and left out."""

import struct

import numpy as np
import pytest
from PIL import Image

from frames_dataset import FramesDataset
from modules.runtime.errors import UserError
from tests.support.dataset_files import SIZE, frames, write_folder, write_strip, write_video

SHAPE = [SIZE, SIZE, 3]
# Orientation 6, and a resolution that is a text.
EXIF = (
    b'Exif\0\0II*\0\x08\0\0\0\2\0'
    + struct.pack('<HHIHH', 274, 3, 1, 6, 0)
    + struct.pack('<HHI4s', 282, 2, 3, b'72\0')
    + bytes(4)
)


def with_exif(path):
    data = path.read_bytes()
    path.write_bytes(data[:2] + b'\xff\xe1' + struct.pack('>H', len(EXIF) + 2) + EXIF + data[2:])


def cut(path):
    path.write_bytes(path.read_bytes()[:-60])


@pytest.fixture
def data(tmp_path):
    """Good clips, and in each part one of each odd kind."""
    for part in ('train', 'test'):
        folder = tmp_path / part
        write_video(folder / 'good.mp4', frames(4))
        write_folder(folder / 'turned', frames(4), '.jpg')
        for number in range(4):
            with_exif(folder / 'turned' / f'{number}.jpg')
        write_folder(folder / 'cut-first', frames(4), '.jpg')
        cut(folder / 'cut-first' / '0.jpg')
        write_folder(folder / 'cut-midway', frames(4), '.jpg')
        cut(folder / 'cut-midway' / '2.jpg')
        (folder / 'empty').mkdir()
        cut(write_strip(folder / 'strip.png', frames(4)))
        (folder / 'text.png').write_text('no picture')
    return tmp_path


LEFT_OUT = ('cut-first/0.jpg', 'empty', 'strip.png', 'text.png')


@pytest.mark.parametrize('is_train', [True, False])
def test_odd_clips_are_named_and_left_out(data, tmp_path, capsys, is_train):
    dataset = FramesDataset(data, SHAPE, cache_dir=tmp_path / 'cache', is_train=is_train)
    lines = capsys.readouterr().err.splitlines()
    assert dataset.names == ['cut-midway', 'good.mp4', 'turned']
    for name in LEFT_OUT:
        assert any(name in line for line in lines), name
    assert len(dataset.broken) == len(LEFT_OUT)


def test_training_goes_on_beside_them(data, tmp_path, capsys):
    dataset = FramesDataset(data, SHAPE, cache_dir=tmp_path / 'cache')
    drawn = {dataset[index, (0, 0, index)].name for index in range(40)}
    assert {'good.mp4', 'turned'} <= drawn
    assert list(dataset.unreadable) == ['cut-midway']
    assert capsys.readouterr().err.count('cut-midway/2.jpg: damaged picture') == 1


def test_turned_frames_are_those_that_viewers_show(data, tmp_path):
    dataset = FramesDataset(data, SHAPE, cache_dir=tmp_path / 'cache', is_train=False)
    clip = dataset.video(dataset.names.index('turned'))
    stored = np.asarray(Image.open(data / 'test' / 'turned' / '1.jpg'))
    np.testing.assert_array_equal(clip.read([1])[0], np.rot90(stored, -1))
    with pytest.raises(UserError, match=r'cut-midway/2\.jpg'):
        list(dataset.video(dataset.names.index('cut-midway')).frames())


def test_links_in_a_circle_are_named_and_left_out(tmp_path, capsys):
    write_strip(tmp_path / 'train' / 'a.png', frames(3))
    for name in ('x.mp4', 'y.png', 'z'):
        (tmp_path / 'train' / name).symlink_to(name)
    for _ in range(2):  # with and without a cache that is filled
        data = FramesDataset(tmp_path, (SIZE, SIZE, 3), cache_dir=tmp_path / 'cache')
        assert len(data) == 1
        error = capsys.readouterr().err
        assert '2 of 3 clips' in error and 'x.mp4: too many levels of symbolic links' in error
