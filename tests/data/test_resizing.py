"""dataset_params.resize: clips of any size, brought to one, once."""

import numpy as np
import pytest
from PIL import Image

from frames_dataset import FramesDataset
from modules.data.clips import open_clip
from modules.runtime.errors import UserError
from modules.video.resizing import fit_frame
from tests.support.dataset_files import write_folder, write_strip, write_video

SHAPE = (32, 32, 3)


def wide(count, side=64):
    """Frames twice as wide as high: black, white in the middle, gray; what changes is a row."""
    clip = np.zeros((count, side, 2 * side, 3), np.uint8)
    clip[:, :, side // 2 : side // 2 + side] = 255
    clip[:, :, 3 * side // 2 :] = 128
    clip[np.arange(count), np.arange(count)] = 60
    return clip


def test_crop_keeps_the_middle_and_pad_keeps_all():
    frame = wide(1)[0]
    frame[0] = frame[1]
    assert (fit_frame(frame, (32, 32), crop=True) == 255).all()
    padded = fit_frame(frame, (32, 32), crop=False)
    assert padded.shape == (32, 32, 3)
    assert (padded == padded[:1]).all()  # the border goes on above and below
    assert padded[0, 0, 0] == 0 and padded[0, 16, 0] == 255 and padded[0, 31, 0] == 128


def test_fine_stripes_become_gray_and_no_moire():
    stripes = np.zeros((96, 96, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = fit_frame(stripes, (32, 32), crop=True)[4:-4, 4:-4].astype(int)
    assert abs(inner - 127).max() < 30


@pytest.mark.parametrize('resize', ['crop', 'pad'])
@pytest.mark.parametrize('write', [write_video, write_folder])
def test_the_cache_holds_frames_of_the_size_and_is_used(tmp_path, monkeypatch, resize, write):
    name = 'a.mp4' if write is write_video else 'a'
    path = write(tmp_path / 'data' / 'train' / name, wide(4))
    settings = {'resize': resize, 'cache_dir': tmp_path / 'cache'}
    first = FramesDataset(tmp_path / 'data', SHAPE, **settings)
    assert len(list((tmp_path / 'cache').glob('*.frames'))) == 1
    whole = np.stack(list(open_clip(path, SHAPE[:2], resize).frames()))
    assert whole.shape == (4, *SHAPE)
    with monkeypatch.context() as patch:
        patch.setattr('modules.data.clips.fit_frame', None)  # once is enough
        second = FramesDataset(tmp_path / 'data', SHAPE, **settings)
        np.testing.assert_array_equal(second._read(0, [1, 3]), whole[[1, 3]])
    for entry in (tmp_path / 'cache').glob('*.frames'):
        entry.unlink()
    for dataset in (first, second):  # from the clip itself, where the entry is gone
        np.testing.assert_array_equal(dataset._read(0, [1, 3]), whole[[1, 3]])
    plain = FramesDataset(tmp_path / 'data', SHAPE, resize=resize, cache_gb=0)
    np.testing.assert_array_equal(plain._read(0, [1, 3]), whole[[1, 3]])


def test_strips_are_cut_by_their_height(tmp_path):
    write_strip(tmp_path / 'train' / 'a.png', wide(3)[:, :, :64])
    dataset = FramesDataset(tmp_path, SHAPE, resize='crop', cache_dir=tmp_path / 'cache')
    assert dataset.clips[0].frame_count == 3 and dataset._read(0, [2]).shape == (1, *SHAPE)


def test_a_picture_that_is_replaced_is_seen(tmp_path):
    folder = write_folder(tmp_path / 'data' / 'train' / 'a', wide(2))
    settings = {'resize': 'crop', 'cache_dir': tmp_path / 'cache'}
    FramesDataset(tmp_path / 'data', SHAPE, **settings)
    picture = sorted(folder.iterdir())[0]
    Image.fromarray(np.full((64, 128, 3), 7, np.uint8)).save(picture)
    assert (FramesDataset(tmp_path / 'data', SHAPE, **settings)._read(0, [0]) == 7).all()


def test_test_clips_are_resized_and_exact_names_the_mend(tmp_path):
    write_folder(tmp_path / 'train' / 'a', wide(2))
    write_folder(tmp_path / 'test' / 'a', wide(2))
    tests = FramesDataset(tmp_path, SHAPE, resize='pad', is_train=False)
    assert next(tests.video(0).frames()).shape == SHAPE
    with pytest.raises(UserError, match=r'dataset_params\.resize to crop or pad'):
        FramesDataset(tmp_path, SHAPE, cache_gb=0)
