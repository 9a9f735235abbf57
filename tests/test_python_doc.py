"""doc/python.md: each block of Python in it is run, as it stands there."""

import re

import numpy as np
import pytest

from modules.animation.motion_file import read_motion
from modules.video import read_image, write_picture
from tests.support.demo_runs import frames_of, run_demo, write_clip
from tests.support.places import ROOT

TEXT = (ROOT / 'doc' / 'python.md').read_text(encoding='utf-8')
BLOCKS = re.findall(r'^## (.+?)\n(?:(?!^## )[^\n]*\n)*?```python\n(.*?)```', TEXT, re.S | re.M)
CODE = dict(BLOCKS)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the blocks find in the current folder."""
    for name in ('me', 'you'):
        picture = read_image(ROOT / 'doc' / 'demo' / 'source.png')
        write_picture(tmp_path / f'{name}.png', picture if name == 'me' else picture[:, ::-1])
    write_clip(tmp_path / 'clip.mp4', num_frames=3)
    for name in ('config', 'doc'):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / 'first-order-model-paddle').symlink_to(ROOT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(title):
    names = {'__name__': title}
    exec(compile(CODE[title], 'doc/python.md', 'exec'), names)
    return names


def test_every_block_is_found():
    assert len(BLOCKS) == len(CODE) == TEXT.count('```python') == 5


def test_ten_lines(folder, monkeypatch, capsys):
    """They are ten, and write what demo.py writes."""
    assert len([line for line in CODE['Ten lines'].splitlines() if line]) <= 10
    made = run('Ten lines')['frames']
    assert capsys.readouterr().out.endswith('(3, 128, 128, 3) uint8\n')
    options = ['--source_image', 'me.png', '--driving_video', 'clip.mp4', '--relative']
    run_demo(monkeypatch, *options, '--adapt_scale', '--result_video', 'frames')
    np.testing.assert_array_equal(made, frames_of(folder / 'frames'))
    run_demo(monkeypatch, *options, '--adapt_scale', '--result_video', 'demo.mp4')
    assert (folder / 'demo.mp4').read_bytes() == (folder / 'result.mp4').read_bytes()


def test_frame_by_frame(folder, capsys):
    run('Frame by frame')
    assert capsys.readouterr().out.splitlines()[-3:] == ['(128, 128, 3)'] * 3


def test_motion(folder):
    run('Motion')
    assert read_motion('wave.safetensors').frame_count == 3
    assert len(frames_of('me.png.mp4')) == len(frames_of('you.png.mp4')) == 3


def test_hub(folder, capsys):
    run('paddle.hub')
    assert capsys.readouterr().out.endswith('(128, 128)\n')


def test_notebooks(folder, monkeypatch):
    """The numbers of the command."""
    made = run('Notebooks of the official code')['predictions']
    assert isinstance(made, list) and made[0].dtype == np.float32
    options = ['--source_image', 'me.png', '--driving_video', 'clip.mp4', '--relative']
    run_demo(monkeypatch, *options, '--adapt_scale', '--result_video', 'frames')
    levels = np.rint(np.stack(made) * 255).astype('uint8')
    np.testing.assert_array_equal(levels, frames_of(folder / 'frames'))
