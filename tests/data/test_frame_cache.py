"""The cache of decoded frames: lossless, bounded, whole or absent."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from frames_dataset import FramesDataset
from modules.data import clips, frame_cache
from modules.data.clips import Clip, open_clip
from modules.data.frame_cache import FrameCache, default_cache_dir, read_entry
from modules.runtime.errors import UserError
from tests.support.dataset_files import (
    SIZE,
    cut_short,
    frames,
    write_folder,
    write_strip,
    write_video,
)
from tests.support.places import ROOT

SHAPE = [SIZE, SIZE, 3]


@pytest.fixture(autouse=True)
def user_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'user_cache'))
    return tmp_path / 'user_cache'


@pytest.fixture
def cache(tmp_path):
    return FrameCache(tmp_path / 'cache')


def entries(folder):
    return sorted(folder.glob('*.frames'))


def clip_of(path):
    return open_clip(path, (SIZE, SIZE))


def fill(cache, *paths):
    return cache.fill([clip_of(path) for path in paths])


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def here(monkeypatch):
    """Clips are decoded in this process, where tests can change how."""
    monkeypatch.setattr(clips, 'call_apart', lambda function, *arguments: function(*arguments))


@pytest.fixture
def never_decode(monkeypatch, here):
    """Whatever is not in the cache can't be had."""

    def refuse(self, *args):
        raise AssertionError(f'{self} decoded')

    def forbid():
        monkeypatch.setattr(Clip, 'read', refuse)
        monkeypatch.setattr(Clip, 'frames', refuse)
        monkeypatch.setattr('modules.data.opening.open_clip', refuse)

    return forbid


def test_the_very_pixels_without_decoding(tmp_path, cache, never_decode):
    # Noise shows every loss; a strip keeps it as it is.
    paths = [
        write_video(tmp_path / 'a.mp4', noise(7)),
        write_video(tmp_path / 'b.gif', noise(7)),
        write_strip(tmp_path / 'c.png', noise(7)),
    ]
    assert fill(cache, *paths) == ([], [], 0, '', [])
    expected = [np.stack(list(clip_of(path).frames())) for path in paths]
    never_decode()
    for path, clip in zip(paths, expected):
        entry = cache.entry(path, (SIZE, SIZE))
        np.testing.assert_array_equal(read_entry(entry, list(range(7))), clip)
        np.testing.assert_array_equal(read_entry(entry, [5, 0, 5]), clip[[5, 0, 5]])
        assert cache.find(path, (SIZE, SIZE)) == clip_of(path)


def test_frames_of_any_size(tmp_path, cache, monkeypatch):
    clip = noise(3)[:, :17, :31]
    path = write_strip(tmp_path / 'a.png', clip)
    for largest in (frame_cache._WEBP_LARGEST, 20):  # beyond what WebP can hold, PNG
        monkeypatch.setattr(frame_cache, '_WEBP_LARGEST', largest)
        cache.fill([open_clip(path, (17, 31))])
        entry = cache.entry(path, (17, 31))
        np.testing.assert_array_equal(read_entry(entry, [0, 1, 2]), clip)
        entry.unlink()


def test_a_dataset_reads_from_the_cache(tmp_path, never_decode):
    write_video(tmp_path / 'train' / 'a.mp4', frames(6))
    FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'cache')
    [entry] = entries(tmp_path / 'cache')
    written = entry.read_bytes()
    never_decode()
    data = FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'cache')
    for position in range(10):
        assert data[0, (0, 0, position)].name == 'a.mp4'
    assert entries(tmp_path / 'cache') == [entry] and entry.read_bytes() == written


def test_default_folder_is_the_users(tmp_path, user_cache, monkeypatch):
    write_video(tmp_path / 'train' / 'a.mp4', frames(2))
    FramesDataset(tmp_path, SHAPE)
    assert len(entries(user_cache / 'first-order-model' / 'frames')) == 1
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert default_cache_dir() == tmp_path / 'home' / '.cache' / 'first-order-model' / 'frames'


def test_neither_folders_nor_tests_need_it(tmp_path, user_cache):
    write_folder(tmp_path / 'train' / 'a', frames(3))
    write_video(tmp_path / 'test' / 'b.mp4', frames(3))
    FramesDataset(tmp_path, SHAPE)
    FramesDataset(tmp_path, SHAPE, is_train=False)
    assert not entries(user_cache / 'first-order-model' / 'frames')


def test_a_changed_clip_gets_a_new_entry(tmp_path, cache):
    path = write_video(tmp_path / 'a.mp4', frames(4))
    fill(cache, path)
    write_video(path, frames(4, seed=1))
    assert cache.find(path, (SIZE, SIZE)) is None
    fill(cache, path)
    entry = cache.entry(path, (SIZE, SIZE))
    expected = np.stack(list(clip_of(path).frames()))
    np.testing.assert_array_equal(read_entry(entry, range(4)), expected)
    os.utime(path, (1, 1))  # same size, another time
    assert cache.entry(path, (SIZE, SIZE)) != entry


def test_strips_cut_at_another_width_are_other_clips(tmp_path, cache):
    path = write_strip(tmp_path / 'a.png', frames(4))
    assert cache.entry(path, (SIZE, SIZE)) != cache.entry(path, (SIZE, 2 * SIZE))


@pytest.mark.parametrize('harm', ['cut', 'flip', 'empty', 'gone', 'text'])
def test_a_harmed_entry_only_costs_time(tmp_path, harm):
    write_strip(tmp_path / 'train' / 'a.png', noise(3))
    data = FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'cache')
    keys = [(0, (0, 0, position)) for position in range(10)]
    expected = [data[key].source for key in keys]
    [entry] = entries(tmp_path / 'cache')
    whole = entry.read_bytes()
    if harm == 'gone':
        entry.unlink()
    else:
        flipped = bytearray(whole)
        for part in (1, 3, 5):  # in the middle of each frame
            flipped[len(whole) * part // 6] ^= 1
        harmed = {'cut': whole[:-9], 'flip': flipped, 'empty': b'', 'text': b'x' * len(whole)}
        entry.write_bytes(harmed[harm])
    for key, source in zip(keys, expected):
        np.testing.assert_array_equal(data[key].source, source)
    assert not data.unreadable
    FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'cache')
    if harm != 'flip':  # not seen until the frame is read
        assert entry.read_bytes() == whole


def test_a_flipped_bit_in_header_or_table_makes_the_entry_anew(tmp_path, cache):
    path, images = write_strip(tmp_path / 'a.png', noise(3)), noise(3)
    assert fill(cache, path) == ([], [], 0, '', [])
    [entry] = entries(cache.folder)
    whole = entry.read_bytes()
    table = len(whole) - 3 * frame_cache._ROW.itemsize
    for place in (*range(frame_cache._HEAD), *range(table, len(whole))):
        for bit in (1, 128):
            flipped = bytearray(whole)
            flipped[place] ^= bit
            entry.write_bytes(flipped)
            assert cache.find(path, (SIZE, SIZE)) is None
            for number, image in enumerate(images):  # of this frame, what was flipped may tell
                found = read_entry(entry, [number])
                assert found is None or np.array_equal(found[0], image)
    assert fill(cache, path) == ([], [], 0, '', [])
    assert entry.read_bytes() == whole


def test_filling_is_said_once_and_without_a_bar_in_a_log(tmp_path, capsys):
    write_strip(tmp_path / 'train' / 'a.png', noise(6))
    for said in ('note: decoding 1 clip into {}, once\n', ''):
        FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'cache')
        assert capsys.readouterr().err == said.format(tmp_path / 'cache')


# ---- bounds ----


def test_what_does_not_fit_is_said_and_read_all_the_same(tmp_path, capsys):
    for name in 'abc':
        write_strip(tmp_path / 'train' / f'{name}.png', noise(6, ord(name)))
    limit = 2.5 * 6 * SIZE * SIZE * 3 / 10**9  # noise does not shrink: two of three
    data = FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'cache', cache_gb=limit)
    assert len(entries(tmp_path / 'cache')) == 2
    assert sum(entry.stat().st_size for entry in entries(tmp_path / 'cache')) <= limit * 10**9
    error = capsys.readouterr().err
    assert '1 of 3 clips are not in the frame cache' in error and 'cache_gb' in error
    unlimited = FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'other')
    for key in [(i, (0, 0, p)) for i in range(3) for p in range(5)]:
        np.testing.assert_array_equal(data[key].source, unlimited[key].source)


def test_entries_unused_for_longest_make_room(tmp_path):
    paths = [write_strip(tmp_path / f'{n}.png', noise(4, n)) for n in range(4)]
    cache = FrameCache(tmp_path / 'cache', int(3.5 * 4 * SIZE * SIZE * 3))
    for age, path in enumerate(paths[:3]):
        fill(cache, path)
        os.utime(cache.entry(path, (SIZE, SIZE)), (age, age))
    fill(cache, paths[0])  # used again: now `1` is the oldest
    assert fill(cache, paths[3]) == ([], [], 0, '', [])
    found = [cache.find(path, (SIZE, SIZE)) is not None for path in paths]
    assert found == [True, False, True, True]


def test_a_dataset_never_evicts_its_own(tmp_path):
    paths = [write_strip(tmp_path / f'{n}.png', noise(4, n)) for n in range(4)]
    cache = FrameCache(tmp_path / 'cache', int(2.5 * 4 * SIZE * SIZE * 3))
    for _ in range(2):
        assert fill(cache, *paths).left_out == 2
        found = [cache.find(path, (SIZE, SIZE)) is not None for path in paths]
        assert found == [True, True, False, False]


def test_half_of_the_free_disk_is_left_alone(tmp_path, cache, monkeypatch):
    path = write_strip(tmp_path / 'a.png', noise(4))
    room = 4 * SIZE * SIZE * 3
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=room))
    filled = fill(cache, path)
    assert filled.left_out == 1 and 'free space' in filled.reason and not entries(cache.folder)
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: usage._replace(free=3 * room))
    assert fill(cache, path).left_out == 0


def test_a_full_disk_ends_the_filling_only(tmp_path, cache, monkeypatch, here):
    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(frame_cache, 'write_entry', full)
    paths = [write_video(tmp_path / f'{name}.mp4', frames(2)) for name in 'ab']
    filled = fill(cache, *paths)
    assert filled.left_out == 2 and 'no space left' in filled.reason
    assert not [path for path in cache.folder.iterdir() if path.name != 'lock']


def test_no_cache_wanted(tmp_path, user_cache):
    write_video(tmp_path / 'train' / 'a.mp4', frames(2))
    FramesDataset(tmp_path, SHAPE, cache_gb=0)
    assert not user_cache.exists()


def test_a_folder_that_can_not_be_made(tmp_path, monkeypatch, capsys):
    write_video(tmp_path / 'train' / 'a.mp4', frames(2))
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'set dataset_params\.cache_dir'):
        FramesDataset(tmp_path, SHAPE, cache_dir=tmp_path / 'file')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert FramesDataset(tmp_path, SHAPE)[0, (0, 0, 0)].name == 'a.mp4'  # not asked for: a warning
    assert 'cache_dir' in capsys.readouterr().err


# ---- damage, interruption, several processes ----


def test_damaged_clips_are_named_and_have_no_entry(tmp_path, cache, monkeypatch, here):
    good, bad = (write_video(tmp_path / f'{name}.mp4', frames(4)) for name in ('good', 'bad'))
    whole = Clip.frames

    def breaking(self, notes=None):
        yield from list(whole(self))[:2]
        if self.path == bad:
            raise UserError(f'{self.path}: damaged after frame 2')
        yield from list(whole(self))[2:]

    monkeypatch.setattr(Clip, 'frames', breaking)
    filled = fill(cache, bad, good)
    assert filled.damaged == [(clip_of(bad), f'{bad}: damaged after frame 2')]
    assert entries(cache.folder) == [cache.entry(good, (SIZE, SIZE))]


def test_leftovers_of_a_killed_process_go(tmp_path, cache):
    leftover = cache.folder / '.0123.frames.abcd'
    leftover.mkdir()
    (leftover / '0123.frames').write_bytes(b'half')
    fill(cache, write_video(tmp_path / 'a.mp4', frames(2)))
    assert not leftover.exists() and len(entries(cache.folder)) == 1


SLOW_FILLING = """
import sys, time
sys.path[:0] = [{root!r}]
from tests.data.test_frame_cache import FrameCache, clips, fill, frame_cache
from pathlib import Path
write = frame_cache.write_entry
def slowly(*args):
    print('started', flush=True)
    time.sleep(0.5)
    return write(*args)
frame_cache.write_entry = slowly
clips.call_apart = lambda function, *arguments: function(*arguments)
fill(FrameCache({folder!r}), Path({path!r}))
"""


def test_a_second_process_waits_and_finds_everything_done(tmp_path, cache, never_decode, capsys):
    path = write_video(tmp_path / 'a.mp4', frames(3))
    clip = clip_of(path)
    places = {'root': str(ROOT), 'tests': str(ROOT / 'tests')}
    script = SLOW_FILLING.format(folder=str(cache.folder), path=str(path), **places)
    with subprocess.Popen([sys.executable, '-c', script], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout.readline() == 'started\n'
        never_decode()
        assert cache.fill([clip]) == ([], [], 0, '', [])
    assert run.returncode == 0
    assert 'waiting for another process' in capsys.readouterr().err
    assert read_entry(cache.entry(path, (SIZE, SIZE)), [2]) is not None


def test_truncated_videos_never_get_in(tmp_path, cache):
    path = cut_short(write_video(tmp_path / 'a.mp4', frames(30)))
    with pytest.raises(UserError):
        fill(cache, path)
    assert not entries(cache.folder)
