"""Clips that go there and back."""

import numpy as np
import pytest

from modules.runtime.errors import UserError
from modules.video import VideoReader
from modules.video.spool import Spool
from tests.support.clips import drawn, far, open_files, write
from tests.support.places import full_disk


@pytest.mark.parametrize('name', ['a', 'a.mp4', 'a.mkv', 'a.gif'])
@pytest.mark.parametrize('count', [1, 2, 3, 8])
def test_neither_end_is_shown_twice(tmp_path, name, count):
    frames = drawn(count)
    writer = write(tmp_path / name, frames, there_and_back=True)
    expected = frames + frames[-2:0:-1]
    assert writer.frame_count == len(expected) == max(count, 2 * count - 2)
    with VideoReader(tmp_path / name) as reader:
        read = list(reader)
    assert len(read) == len(expected)
    if name == 'a':
        np.testing.assert_array_equal(read, expected)
    else:
        nearest = [min(range(count), key=lambda i: far(frames[i], one)) for one in read]
        assert nearest == [*range(count), *range(count - 2, 0, -1)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_odd_size(tmp_path):
    """What is put aside is as it was given, not as the encoder gets it."""
    frames = drawn(4, height=33, width=35)
    write(tmp_path / 'a.mp4', frames, there_and_back=True)
    with VideoReader(tmp_path / 'a.mp4') as reader:
        assert (reader.frame_count, reader.size) == (6, (34, 36))


def test_what_is_put_aside_is_kept_as_it_was(tmp_path):
    """Even if an array is used again, or shown again."""
    frame, given, before = np.zeros((8, 8, 3), np.uint8), [], open_files()
    with Spool(tmp_path) as spool:
        for level in (3, 3, 200, 7, 7, 7, 3):
            frame[:] = level
            spool.add(frame)
            given.append(level)
        sizes = len(set(spool._places))
        assert [int(one[0, 0, 0]) for one in reversed(spool)] == given[::-1]
        assert len(spool) == 7 and sizes == 4 and list(tmp_path.iterdir()) == []
    assert open_files() == before


def test_a_failure_leaves_nothing_behind(tmp_path):
    before = open_files()
    with pytest.raises(RuntimeError, match='stop'):
        write(tmp_path / 'a.mp4', failing(drawn(3)), there_and_back=True)
    assert list(tmp_path.iterdir()) == [] and open_files() == before


def failing(frames):
    yield from frames
    raise RuntimeError('stop')


def test_a_full_disk_is_said(tmp_path):
    rng = np.random.default_rng(0)
    noise = list(rng.integers(0, 256, (4, 128, 128, 3), np.uint8))
    with full_disk(100_000), pytest.raises(UserError, match=r'a\.gif: .*free space'):
        write(tmp_path / 'a.gif', noise, there_and_back=True)
    assert list(tmp_path.iterdir()) == []
