"""Names that are not UTF-8, as files of older systems have: read, written and told."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from modules.checkpoints.reading import content_hash
from modules.video import VideoReader, VideoWriter, read_image
from tests.support.dataset_files import cut_short, frames, write_folder, write_video
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import LEGACY, TINY

NAME = os.fsdecode(b'caf\xe9')  # Latin-1
OTHER = os.fsdecode('\u4e2d'.encode('gbk'))


@pytest.fixture
def folder(tmp_path):
    """A folder where such names are possible."""
    try:
        (tmp_path / NAME).touch()
    except OSError:
        pytest.skip('this file system has no such names')
    (tmp_path / NAME).unlink()
    return tmp_path


def run(*arguments, cwd):
    """A command on a terminal that takes nothing but UTF-8: (status, stdout, stderr)."""
    done = subprocess.run(
        [sys.executable, *map(os.fsencode, arguments)], cwd=cwd, capture_output=True, check=False,
        env={**os.environ, 'PYTHONIOENCODING': 'utf-8:strict', 'PYTHONPATH': str(ROOT)},
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize('stream', ['stdout', 'stderr'])
def test_messages_show_them_escaped(folder, stream):
    code = (
        'import os, sys\nfrom modules.runtime.commands import run_command\n'
        f"run_command(lambda: print('a', os.fsdecode(b'caf\\xe9'), '\\u4e2d', file=sys.{stream}))"
    )
    status, out, err = run('-c', code, cwd=folder)
    assert status == 0
    assert (out if stream == 'stdout' else err) == 'a caf\\udce9 \u4e2d\n'


@pytest.fixture
def data(folder):
    """Good and bad clips with such names."""
    for part in ('train', 'test'):
        for number, name in enumerate((f'{NAME}.mp4', f'{OTHER}.mp4', 'plain.mp4')):
            write_video(folder / part / name, frames(3, seed=number, size=64))
        write_folder(folder / part / f'{NAME}-frames', frames(3, seed=4, size=64))
        cut_short(write_video(folder / part / f'broken-{NAME}.mp4', frames(3, size=64)))
    config = yaml.safe_load((TINY / 'tiny.yaml').read_text())
    config['dataset_params'].update(root_dir=str(folder))
    config['animate_params'] = {'num_pairs': 4, 'format': '.mp4', 'normalization_params': {}}
    config['visualizer_params'] = {'kp_size': 2, 'draw_border': False}
    (folder / 'config.yaml').write_text(yaml.safe_dump(config))
    return folder


def test_evaluation_keeps_its_figures(data):
    tool = ROOT / 'tools' / 'evaluate.py'
    options = ('--engine', 'eager', '--cpu', '--checkpoint', LEGACY, '--out', 'out')
    status, _, err = run(tool, '--config', 'config.yaml', *options, cwd=data)
    assert status == 0, err
    assert 'broken-caf\\udce9.mp4' in err
    with open(data / 'out' / 'videos.csv', encoding='utf-8', errors='surrogateescape') as file:
        names = [row['video'] for row in csv.DictReader(file)]
    assert names == sorted([f'{NAME}.mp4', f'{NAME}-frames', f'{OTHER}.mp4', 'plain.mp4'])
    for report in ('summary.json', 'summary.md'):
        assert b'broken-caf\xe9.mp4' in (data / 'out' / report).read_bytes()


def test_check_dataset_names_them(data):
    status, out, err = run(ROOT / 'tools' / 'check_dataset.py', '.', cwd=data)
    assert status == 0, err
    assert 'broken-caf\\udce9.mp4' in out and 'ready for training' in out


def test_results_are_named_after_them(data):
    (data / 'pairs.csv').write_bytes(b'source,driving\nplain.mp4,caf\xe9.mp4\n')
    config = yaml.safe_load((data / 'config.yaml').read_text())
    config['dataset_params']['pairs_list'] = 'pairs.csv'
    (data / 'config.yaml').write_text(yaml.safe_dump(config))
    checkpoint = data / f'{NAME}.pth.tar'
    checkpoint.write_bytes(LEGACY.read_bytes())
    options = ('--engine', 'eager', '--cpu', '--checkpoint', checkpoint, '--save_dir', f'{OTHER}')
    status, _, err = run(ROOT / 'animate.py', '--config', 'config.yaml', *options, cwd=data)
    assert status == 0, err
    result = data / OTHER / 'result' / f'{NAME}.mp4-plain.mp4.mp4'
    assert VideoReader(result).frame_count == 3


@pytest.mark.parametrize('suffix', ['.mp4', '.gif', '.mov', ''])
def test_clips_are_written_and_read(folder, suffix):
    path = folder / f'{NAME}{suffix}'
    with VideoWriter(path, 25) as writer:
        for frame in frames(3):
            writer.write(frame)
    with VideoReader(path) as reader:
        assert len(list(reader)) == 3
    if not suffix:
        np.testing.assert_array_equal(read_image(path / '000000.png'), frames(3)[0])


def test_checkpoints_are_read(folder):
    for name in (f'{NAME}.pth.tar', 'plain.pth.tar'):
        (folder / name).write_bytes(LEGACY.read_bytes())
    assert content_hash(folder / f'{NAME}.pth.tar') == content_hash(folder / 'plain.pth.tar')
    unpacked = folder / 'unpacked'
    unpacked.mkdir()
    for name in ('data.pkl', NAME):
        (unpacked / name).write_bytes(b'x')
    assert len(content_hash(unpacked)) == 64
