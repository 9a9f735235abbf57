"""A clip that ends the process that decodes it is named; the data set does without it."""

import sys

import pytest

from frames_dataset import FramesDataset
from modules.data import frame_cache
from modules.runtime.errors import UserError
from tests.support import crashing
from tests.support.dataset_files import SIZE, frames, write_video
from tools import check_dataset

LINE = 'crash.mp4: ends its decoder (SIGABRT); convert it to H.264 in mp4'


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for part in ('train', 'test'):
        for name in ('a', 'crash'):
            write_video(tmp_path / 'data' / part / f'{name}.mp4', frames(3))
    return tmp_path / 'data'


@pytest.mark.parametrize('is_train', [True, False])
def test_on_opening(root, is_train, monkeypatch, capsys):
    monkeypatch.setattr('modules.data.opening.open_clip', crashing.open_clip)
    data = FramesDataset(root, (SIZE, SIZE, 3), is_train=is_train)
    assert data.names == ['a.mp4'] and data.broken[0].endswith(LINE)
    assert LINE in capsys.readouterr().err


def test_on_filling_the_cache(root, monkeypatch, capsys):
    monkeypatch.setattr(frame_cache, 'write_entry', crashing.write_entry)
    data = FramesDataset(root, (SIZE, SIZE, 3))
    assert data.names == ['a.mp4'] and data.broken[0].endswith(LINE)
    assert LINE in capsys.readouterr().err
    assert data[0, (0, 0, 0)].name == 'a.mp4'
    (root / 'train' / 'a.mp4').unlink()
    with pytest.raises(UserError, match=r'no clip can be decoded; .*ends its decoder'):
        FramesDataset(root, (SIZE, SIZE, 3))


@pytest.mark.parametrize('what', ['open_clip', 'read_through'])
def test_in_check_dataset(root, what, monkeypatch, capsys):
    monkeypatch.setattr(check_dataset, what, getattr(crashing, what))
    monkeypatch.setattr(sys, 'argv', ['check_dataset.py', str(root)])
    check_dataset.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in lines if LINE in line] == [
        f'{root}/{part}/{LINE}' for part in ('train', 'test')
    ]
    assert lines[-1].startswith('ready for training')
