"""Datasets: kinds of clips, splits, samples, broken files, pairs."""

from collections import Counter

import numpy as np
import pytest

import frames_dataset
from frames_dataset import FramesDataset
from modules.data.clips import group_by_id, list_part
from modules.runtime.errors import UserError
from modules.video import VideoReader
from tests.support.dataset_files import (
    SIZE,
    cut_short,
    frames,
    write_folder,
    write_mixed,
    write_strip,
    write_video,
)

SHAPE = [SIZE, SIZE, 3]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'user_cache'))


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / 'data'
    (folder / 'train').mkdir(parents=True)
    (folder / 'test').mkdir()
    return folder


def dataset(root, **options):
    return FramesDataset(root, **{'frame_shape': SHAPE, **options})


def numbers(sample):
    """The numbers of the two frames; see dataset_files.frames."""
    return [round((image[0].mean() * 255 - 40) / 4) for image in (sample.source, sample.driving)]


def key(index, position=0, epoch=0, seed=0):
    return index, (seed, epoch, position)


# ---- kinds of clips ----


def test_all_kinds_give_their_frames(root):
    clips = write_mixed(root / 'test')
    data = dataset(root, is_train=False)
    assert data.names == sorted(clips) and len(data) == len(clips)
    for index, (name, expected) in enumerate(sorted(clips.items())):
        video = data.video(index)
        got = np.stack(list(video.frames()))
        assert video.name == name and video.frame_count == len(expected) and video.fps == 25
        assert got.dtype == np.uint8
        # What is stored without loss is exact; the others are near.
        far = np.abs(got.astype(int) - expected).max()
        assert far == 0 if name in ('d', 'e.png') else far <= 12, name


@pytest.mark.parametrize('ways', [{}, {'cache_gb': 0}, {'preload': True}])
def test_samples_are_the_very_pixels_of_the_clip(root, ways):
    write_mixed(root / 'train')
    data = dataset(root, **ways)
    whole = [np.stack(list(clip.frames())) for clip in data.clips]
    for index in range(len(data)):
        for position in range(5):
            sample = data[key(index, position)]
            video = whole[index].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            for image in (sample.source, sample.driving):
                assert image.dtype == np.float32 and image.shape == (3, SIZE, SIZE)
                assert any((image == frame).all() for frame in video), data.names[index]
            assert sample.name == data.names[index]


def test_a_folders_frames_are_in_order_of_number(root):
    write_folder(root / 'test' / 'clip', frames(12))  # 10.png comes after 9.png
    reds = [frame[..., 0].mean() for frame in dataset(root, is_train=False).video(0).frames()]
    assert reds == sorted(reds)


def test_a_strip_of_wide_frames(root):
    clip = frames(3, size=SIZE)[:, : SIZE // 2]  # 16 high, 32 wide
    write_strip(root / 'test' / 'clip.png', clip)
    data = dataset(root, is_train=False, frame_shape=[SIZE // 2, SIZE, 3])
    np.testing.assert_array_equal(np.stack(list(data.video(0).frames())), clip)


def test_a_gray_strip_and_one_with_alpha_become_rgb(root):
    from PIL import Image

    gray = Image.fromarray(frames(2)[..., 0].reshape(2 * SIZE, SIZE).T.copy())
    gray.save(root / 'test' / 'gray.png')
    gray.convert('RGBA').save(root / 'test' / 'rgba.png')
    for clip in dataset(root, is_train=False).clips:
        assert np.stack(list(clip.frames())).shape == (2, SIZE, SIZE, 3)


def test_fps_of_a_video_is_kept(root):
    write_video(root / 'test' / 'a.mp4', frames(4), fps=12)
    assert dataset(root, is_train=False).video(0).fps == 12


# ---- parts ----


def test_random_split_is_scikit_learns(tmp_path):
    for number in range(10):
        (tmp_path / f'{number}.mp4').touch()
    # train_test_split(list(range(10)), random_state=0, test_size=0.2)
    assert list_part(tmp_path, True).clips == [f'{n}.mp4' for n in (4, 9, 1, 6, 7, 3, 0, 5)]
    assert list_part(tmp_path, False).clips == ['2.mp4', '8.mp4']
    (tmp_path / 'x.mp4').touch()  # of 11, the test part gets the larger half of 2.2
    assert len(list_part(tmp_path, True).clips) == 8
    assert list_part(tmp_path, True, 1).clips != list_part(tmp_path, True, 0).clips


def test_listing_is_sorted_and_without_hidden_and_other_files(root, monkeypatch, capsys):
    write_video(root / 'train' / 'b.mp4', frames(2))
    write_video(root / 'train' / 'a.mp4', frames(2))
    (root / 'train' / '.DS_Store').touch()
    (root / 'train' / 'notes.txt').touch()
    listdir = frames_dataset.list_part.__globals__['os'].listdir
    monkeypatch.setattr('os.listdir', lambda path: sorted(listdir(path), reverse=True))
    assert dataset(root).names == ['a.mp4', 'b.mp4']
    assert '1 other file beside the clips, such as notes.txt' in capsys.readouterr().err


@pytest.mark.parametrize('is_train, missing', [(True, 'train'), (False, 'test')])
def test_one_part_alone(root, is_train, missing):
    (root / missing).rmdir()
    with pytest.raises(UserError, match=f'no folder {missing}/'):
        list_part(root, is_train)


def test_a_single_clip_is_not_split(tmp_path):
    (tmp_path / 'a.mp4').touch()
    with pytest.raises(UserError, match='single clip'):
        list_part(tmp_path, True)


@pytest.mark.parametrize('what, message', [('nothing', 'no such file'), ('empty', 'no clips here')])
def test_nothing_there(tmp_path, what, message):
    if what == 'empty':
        (tmp_path / what).mkdir()
    with pytest.raises(UserError, match=message):
        dataset(tmp_path / what)


# ---- samples ----


def test_two_frames_with_replacement_in_order(root):
    write_folder(root / 'train' / 'clip', frames(4))
    data = dataset(root)
    drawn = Counter(tuple(numbers(data[key(0, position)])) for position in range(800))
    expected = {(i, j): (1 if i == j else 2) / 16 for i in range(4) for j in range(i, 4)}
    assert set(drawn) == set(expected)
    for pair, share in expected.items():
        assert drawn[pair] / 800 == pytest.approx(share, abs=0.045)


def test_a_clip_of_one_frame_gives_it_twice(root):
    write_strip(root / 'train' / 'clip.png', frames(1))
    sample = dataset(root)[key(0)]
    np.testing.assert_array_equal(sample.source, sample.driving)


def test_a_sample_is_a_function_of_its_key(root):
    write_folder(root / 'train' / 'clip', frames(30))
    data = dataset(root, augmentation_params={'jitter_param': {'brightness': 0.5}})
    base = data[key(0, 3, 1, 7)]
    assert (data[key(0, 3, 1, 7)].source == base.source).all()
    for other in (key(0, 4, 1, 7), key(0, 3, 2, 7), key(0, 3, 1, 8)):
        assert (data[other].source != base.source).any()
    assert (data[key(5, 3, 1, 7)].source == base.source).all()  # num_repeats: 5 passes later


def test_many_keys_many_samples(root):
    """No two positions, epochs or seeds share their random numbers."""
    write_folder(root / 'train' / 'clip', frames(2))
    data = dataset(root, augmentation_params={'jitter_param': {'brightness': 0.9}})
    keys = [key(0, p, e, s) for p in range(6) for e in range(6) for s in range(6)]
    assert len({data[k].source.tobytes() + data[k].driving.tobytes() for k in keys}) > 190


def test_augmentation_for_training_only(root):
    for part in ('train', 'test'):
        write_folder(root / part / 'clip', frames(3))
    params = {'jitter_param': {'brightness': 0.9}}
    clip = frames(3).transpose(0, 3, 1, 2)
    sample = dataset(root, augmentation_params=params)[key(0)]
    assert not any((np.rint(sample.source * 255) == frame).all() for frame in clip)
    plain = dataset(root, augmentation_params=params, is_train=False).video(0)
    np.testing.assert_array_equal(np.stack(list(plain.frames())), frames(3))


def test_channels_must_be_three(root):
    with pytest.raises(UserError, match='frame_shape: 1 channels; must be 3'):
        dataset(root, frame_shape=[SIZE, SIZE, 1])


# ---- ids ----


def test_ids_are_exact():
    names = ['a#1.mp4', 'ab#1.gif', 'a#2', 'b.mp4', 'a.mp4']
    assert group_by_id(names) == {'a': [0, 2], 'a.mp4': [4], 'ab': [1], 'b.mp4': [3]}


def test_id_sampling_takes_a_random_clip_of_each_id(root):
    write_folder(root / 'train' / '1#a', frames(2))
    write_video(root / 'train' / '1#b.mp4', frames(2))
    write_video(root / 'train' / '1#c.gif', frames(2))
    write_strip(root / 'train' / '10#a.png', frames(2))
    data = dataset(root, id_sampling=True)
    assert len(data) == 2
    drawn = [Counter(data[key(i, p)].name for p in range(90)) for i in (0, 1)]
    assert set(drawn[0]) == {'1#a', '1#b.mp4', '1#c.gif'} and min(drawn[0].values()) > 15
    assert set(drawn[1]) == {'10#a.png'}
    assert len(dataset(root)) == 4


def test_ids_do_not_matter_for_testing(root):
    for name in ('1#a', '1#b'):
        write_folder(root / 'test' / name, frames(2))
    assert len(dataset(root, id_sampling=True, is_train=False)) == 2


# ---- broken clips ----


def write_broken(folder):
    """Three clips that can't be opened -> their names."""
    cut_short(write_video(folder / 'cut.mp4', frames(20)))
    (folder / 'empty').mkdir()
    (folder / 'text.gif').write_text('not a gif')
    return ['cut.mp4', 'empty', 'text.gif']


@pytest.mark.parametrize('is_train', [True, False])
def test_broken_clips_are_named_counted_and_left_out(root, capsys, is_train):
    part = root / ('train' if is_train else 'test')
    write_video(part / 'good.mp4', frames(3))
    broken = write_broken(part)
    data = dataset(root, is_train=is_train)
    assert data.names == ['good.mp4'] and len(data) == 1 and len(data.broken) == 3
    lines = capsys.readouterr().err.splitlines()
    for name in broken:
        assert any(line.startswith('warning: ') and str(part / name) in line for line in lines)
    assert any('3 of 4 clips' in line for line in lines)


def test_nothing_usable_is_an_error(root):
    write_broken(root / 'train')
    with pytest.raises(UserError, match='no clip of 3 can be read'):
        dataset(root)


@pytest.fixture
def damaged(root):
    """Two good clips, and one whose last frames turn out to be damaged when they are read."""
    for name in ('b', 'c'):
        write_folder(root / 'train' / name, frames(4, seed=ord(name)))
    folder = write_folder(root / 'train' / 'a', frames(4))
    for number in (2, 3):
        cut_short(folder / f'{number}.png')
    return root


def test_damage_on_the_way_is_reported_once_and_replaced(damaged, capsys):
    data = dataset(damaged)
    keys = [key(0, position) for position in range(40)]
    samples = [data[k] for k in keys]
    names = Counter(sample.name for sample in samples)
    assert set(names) == {'a', 'b', 'c'}  # of `a`, what can be read is still used
    assert all(max(numbers(sample)) < 2 for sample in samples if sample.name == 'a')
    # Where the replacement met the damage again, it counts again.
    assert data.unreadable['a'] >= names['b'] + names['c']
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1 and str(damaged / 'train' / 'a') in warnings[0]
    again = dataset(damaged)  # and in another order
    for k, sample in sorted(zip(keys, samples), key=lambda pair: -pair[0][1][2]):
        np.testing.assert_array_equal(again[k].source, sample.source)
        assert again[k].name == sample.name


def test_damage_counts_the_same_with_preload(damaged):
    keys = [key(i, position) for i in range(3) for position in range(10)]
    plain, loaded = dataset(damaged), dataset(damaged, preload=True)
    for k in keys:
        np.testing.assert_array_equal(plain[k].driving, loaded[k].driving)


def test_damage_everywhere_is_an_error(root):
    folder = write_folder(root / 'train' / 'a', frames(4))
    data = dataset(root)
    for number in range(4):
        cut_short(folder / f'{number}.png')
    with pytest.raises(UserError, match='100 clips in a row'):
        data[key(0)]


def test_a_clip_that_is_taken_away_or_replaced(root, capsys):
    write_folder(root / 'train' / 'a', frames(4))
    video = write_video(root / 'train' / 'b.mp4', frames(4))
    data = dataset(root, cache_gb=0)
    write_video(video, frames(8))
    assert {data[key(1, p)].name for p in range(8)} == {'a'}
    assert 'b.mp4: has changed' in capsys.readouterr().err
    video.unlink()
    assert {data[key(1, p)].name for p in range(8)} == {'a'}


# ---- sizes ----


@pytest.mark.parametrize('is_train', [True, False])
def test_clips_of_another_size_are_named_and_left_out(root, is_train, capsys):
    part = root / ('train' if is_train else 'test')
    write_video(part / 'b.mp4', frames(2, size=48)[:, :40])
    # A crop of training samples is of no use to testing.
    params = None if is_train else {'crop_param': {'size': SHAPE[:2]}}
    with pytest.raises(UserError, match=r'b\.mp4: 48x40 pixels, .* is 32x32 \(1 of 1 clips'):
        dataset(root, is_train=is_train, augmentation_params=params)
    write_video(part / 'a.mp4', frames(2))
    data = dataset(root, is_train=is_train, augmentation_params=params)
    assert data.names == ['a.mp4'] and len(data.broken) == 1
    assert f'warning: {part}/b.mp4: 48x40 pixels' in capsys.readouterr().err


def test_a_crop_brings_every_size_to_the_frame_shape(root):
    write_video(root / 'train' / 'large.mp4', frames(2, size=48))
    write_video(root / 'train' / 'small.gif', frames(2, size=20))
    params = {'crop_param': {'size': SHAPE[:2]}, 'resize_param': {'ratio': [0.9, 1.1]}}
    data = dataset(root, augmentation_params=params)
    assert all(data[key(i, p)].source.shape == (3, SIZE, SIZE) for i in (0, 1) for p in range(4))


def test_a_strip_that_does_not_divide_is_broken(root, capsys):
    write_strip(root / 'train' / 'a.png', frames(2))
    write_strip(root / 'train' / 'high.png', frames(1, size=48))
    write_strip(root / 'train' / 'wide.png', frames(1, size=48)[:, :SIZE])
    assert dataset(root).names == ['a.png']
    error = capsys.readouterr().err
    assert 'high.png: 48x48 pixels are not a row of frames of 32x32' in error
    assert 'wide.png: 48x32 pixels are not a row of frames of 32x32' in error


# ---- preload ----


def test_preload_reads_no_file_afterwards_and_holds_bytes(root):
    video = write_video(root / 'train' / 'a.mp4', frames(5))
    data = dataset(root, preload=True)
    expected = np.stack(list(VideoReader(video)))
    video.unlink()
    assert data._frames[0].dtype == np.uint8
    np.testing.assert_array_equal(data._frames[0], expected)
    assert len({data[key(0, p)].source.tobytes() for p in range(40)}) == 5
    assert not list(root.parent.glob('user_cache/**/*.frames'))


def test_preload_beyond_the_memory_is_an_error(root, monkeypatch):
    write_video(root / 'train' / 'a.mp4', frames(5))
    monkeypatch.setattr(frames_dataset, 'available_memory', lambda: 1000)
    with pytest.raises(UserError, match='--preload'):
        dataset(root, preload=True)


# ---- pairs ----
