"""tools/check_dataset.py: the report and its exit status."""

import subprocess
import sys

import pytest
import yaml

from modules.runtime.errors import UserError
from tests.support.dataset_files import (
    SIZE,
    cut_short,
    frames,
    write_folder,
    write_mixed,
    write_strip,
    write_video,
)
from tests.support.places import ROOT
from tools import check_dataset


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """Runs the tool on a folder -> its lines on stdout."""

    def run(folder, train_params=None, **dataset_params):
        arguments = [str(folder)]
        if dataset_params:
            path = ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml'
            config = yaml.safe_load(path.read_text())
            config['dataset_params'].update(
                {'frame_shape': [64, 64, 3], 'augmentation_params': None, **dataset_params}
            )
            config['train_params'].update(**{'batch_size': 1, **(train_params or {})})
            path = tmp_path / 'config.yaml'
            path.write_text(yaml.safe_dump(config))
            arguments += ['--config', str(path)]
        monkeypatch.setattr(sys, 'argv', ['check_dataset.py', *arguments])
        check_dataset.main()
        return capsys.readouterr().out.splitlines()

    return run


def row(lines, what):
    return next(line.split(None, 1)[1] for line in lines if line.strip().startswith(what + ' '))


def test_links_in_a_circle_and_names_of_control_characters(tmp_path, check):
    """What is said is what training meets; see tests/data/test_odd_frames.py."""
    write_strip(tmp_path / 'train' / 'a.png', frames(3))
    for name in ('x.mp4', 'y.png', 'z\x1b[31m\n.mp4'):
        (tmp_path / 'train' / name).symlink_to(name)
    lines = check(tmp_path)
    assert row(lines, 'clips') == 'strip (1)'
    assert '  warning: 3 clips are broken, left out:' in lines
    for name in ('x.mp4', 'y.png', 'z\\x1b[31m\\n.mp4'):
        folder = tmp_path / 'train'
        assert any(
            line.startswith(f'    {folder}/{name}: too many levels of symbolic links')
            for line in lines
        )


def test_counts_kinds_frames_ids(tmp_path, check):
    write_mixed(tmp_path / 'train', count=3)
    write_video(tmp_path / 'test' / '1#a.mp4', frames(5), fps=10)
    lines = check(tmp_path)
    assert lines[0].startswith('train: 8 clips')
    assert row(lines, 'clips') == 'video (4), folder (2), strip (2)'
    assert row(lines, 'frames') == '24 in all; 3 frames a clip'
    assert row(lines, 'sizes') == f'{SIZE}x{SIZE} (8)'
    assert row(lines, 'fps') == '25 (4)'
    assert row(lines, 'ids') == '8, of 1 clip each'
    test = lines[next(i for i, line in enumerate(lines) if line.startswith('test: 1 clip ')) :]
    assert row(test, 'frames') == '5 in all; 5 frames a clip'
    assert row(test, 'fps') == '10 (1)'
    fitting = f'dataset_params.frame_shape: [{SIZE}, {SIZE}, 3]'
    ready = 'ready for training by train.py --data, or by a config with'
    assert lines[-1] == f'{ready} {fitting}, or with resize: crop or pad'


def test_ids_and_single_frames(tmp_path, check):
    for name in ('1#a', '1#b', '1#c', '2#a'):
        write_folder(tmp_path / 'train' / name, frames(1 if name == '2#a' else 2))
    lines = check(tmp_path)
    assert row(lines, 'ids') == '2, of 1 to 3 clips each'
    assert any('1 clip of a single frame' in line and '2#a' in line for line in lines)
    assert any(line.startswith('test: nothing for animate.py') for line in lines)


def test_broken_and_damaged_clips_are_listed(tmp_path, check):
    write_video(tmp_path / 'train' / 'good.mp4', frames(2))
    broken = cut_short(write_video(tmp_path / 'train' / 'cut.mp4', frames(20)))
    damaged = write_folder(tmp_path / 'train' / 'folder', frames(3))
    cut_short(damaged / '2.png')  # found by reading every frame only
    (tmp_path / 'train' / 'notes.txt').touch()
    lines = check(tmp_path)
    heads = {line.strip(): number for number, line in enumerate(lines)}
    assert str(broken) in lines[heads['warning: 1 clips are broken, left out:'] + 1]
    assert str(damaged) in lines[heads['warning: 1 clips are damaged midway:'] + 1]
    assert 'warning: 1 other file passed over: .txt (1)' in heads
    assert row(lines, 'clips') == 'folder (1), video (1)'


def test_nothing_usable(tmp_path, check):
    cut_short(write_video(tmp_path / 'train' / 'cut.mp4', frames(20)))
    with pytest.raises(UserError, match='no clip of 1 can be read'):
        check(tmp_path)


def test_sizes_that_stop_training(tmp_path, check):
    write_video(tmp_path / 'train' / 'b.mp4', frames(2, size=48))
    with pytest.raises(UserError, match=r'b\.mp4: 48x48 pixels, .*1 of 1 clips'):
        check(tmp_path, id_sampling=False)
    write_video(tmp_path / 'train' / 'a.mp4', frames(2, size=64))
    lines = check(tmp_path, id_sampling=False)
    place = lines.index('  warning: 1 clips are of another size, left out:')
    assert f'{tmp_path}/train/b.mp4: 48x48 pixels' in lines[place + 1]
    assert lines[-1] == 'ready for training'
    crop = {'crop_param': {'size': [64, 64]}}
    lines = check(tmp_path, augmentation_params=crop)
    assert any('1 clip smaller than 64x64' in line for line in lines)
    several = 'with dataset_params.resize: crop or pad, for frames are of several sizes'
    assert check(tmp_path)[-1] == f'ready for training by train.py --data, or by a config {several}'


def test_the_verdict_is_that_of_train(tmp_path, check):
    """Clips of another size are no obstacle where they are resized; too few samples are one."""
    write_video(tmp_path / 'train' / 'b.mp4', frames(2, size=48))
    lines = check(tmp_path, id_sampling=False, resize='crop')
    assert row(lines, 'sizes') == '48x48 (1)' and lines[-1] == 'ready for training'
    assert any('1 clip smaller than 64x64: they become blurred' in line for line in lines)
    few = {'batch_size': 16, 'num_repeats': 10}
    with pytest.raises(UserError, match='16 is more than the 10 samples'):
        check(tmp_path, few, id_sampling=False, resize='crop')


def test_strips_are_cut_as_the_config_says(tmp_path, check):
    write_strip(tmp_path / 'train' / 'a.png', frames(4, size=64))
    assert row(check(tmp_path, id_sampling=False), 'frames').startswith('4 in all')
    write_strip(tmp_path / 'train' / 'b.png', frames(4))
    assert any('1 clips are broken' in line for line in check(tmp_path, id_sampling=False))
    assert row(check(tmp_path), 'sizes') == '32x32 (1), 64x64 (1)'  # squares, without a config


def test_id_sampling_without_ids(tmp_path, check):
    write_video(tmp_path / 'train' / 'a.mp4', frames(2, size=64))
    assert any("no name holds a '#'" in line for line in check(tmp_path, id_sampling=True))
    assert not any("no name holds a '#'" in line for line in check(tmp_path, id_sampling=False))


def test_nothing_is_written(tmp_path, check, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    write_video(tmp_path / 'data' / 'train' / 'a.mp4', frames(2))
    before = sorted(tmp_path.rglob('*'))
    check(tmp_path / 'data')
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('clips, status', [(1, 0), (0, 2)])
def test_exit_status_and_one_line(tmp_path, clips, status):
    (tmp_path / 'train').mkdir()
    for number in range(clips):
        write_video(tmp_path / 'train' / f'{number}.mp4', frames(2))
    run = subprocess.run(
        [sys.executable, str(ROOT / 'tools' / 'check_dataset.py'), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == status
    assert len(run.stderr.splitlines()) == (1 if status else 0), run.stderr
    assert 'Traceback' not in run.stderr
