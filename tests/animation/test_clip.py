"""How demo.py measures movement, and what it notes."""

import sys

import numpy as np
import pytest

import demo
from modules.runtime.errors import UserError
from tests.support.clips import write
from tests.support.demo_runs import DATA, frames_of, run_demo, write_clip
from tests.support.terminal import Terminal


def test_best_frame(tmp_path, monkeypatch, golden_clip, capsys):
    """Measured from frame 3, frame 3 shows the source at rest, as frame 0 does by default."""
    options = ['--driving_video', golden_clip, '--relative', '--source_image', DATA / 'source.png']
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'first')
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'third', '--best_frame', 3)
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'found', '--find_best_frame')
    first, third = frames_of(tmp_path / 'first'), frames_of(tmp_path / 'third')
    assert np.abs(third[3].astype(int) - first[0]).max() <= 1
    assert np.abs(third[0].astype(int) - first[0]).max() > 10
    out = capsys.readouterr().out
    found = int(out.split('best frame: ')[1].split()[0])
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'same', '--best_frame', found)
    np.testing.assert_array_equal(frames_of(tmp_path / 'found'), frames_of(tmp_path / 'same'))
    with pytest.raises(UserError, match='--best_frame 8'):
        run_demo(monkeypatch, *options, '--result_video', tmp_path / 'x', '--best_frame', 8)


def test_the_best_frame_is_found_and_measured_from(tmp_path, monkeypatch, golden_clip, capsys):
    """For a picture that is driving frame 5, it is frame 5, where the picture stands still."""
    options = ['--driving_video', golden_clip, '--source_image', golden_clip / '5.png']
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'absolute')
    options += ['--relative']
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'first')
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'found', '--find_best_frame')
    assert 'best frame: 5\n' in capsys.readouterr().out
    absolute, first, found = (
        frames_of(tmp_path / name).astype(int) for name in ('absolute', 'first', 'found')
    )
    assert np.abs(found - absolute).max() <= 1  # nothing to be carried over
    assert np.abs(first - found).max() > 10


def test_a_try_of_the_first_frames(tmp_path, monkeypatch, capsys):
    """--frames N, which also ends the search for the best frame; more than there are is all."""
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=5)
    options = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--engine', 'eager']
    options += ['--driving_video', clip, '--relative', '--result_video']
    run_demo(monkeypatch, *options, tmp_path / 'all', '--frames', 9)
    run_demo(monkeypatch, *options, tmp_path / 'some', '--frames', 2)
    assert len(frames_of(tmp_path / 'all')) == 5
    np.testing.assert_array_equal(frames_of(tmp_path / 'some'), frames_of(tmp_path / 'all')[:2])
    run_demo(monkeypatch, *options, tmp_path / 'best', '--frames', 2, '--find_best_frame')
    out = capsys.readouterr().out
    assert 'looking for the best frame\n' in out
    assert int(out.split('best frame: ')[1].split()[0]) < 2
    with pytest.raises(UserError, match='no such frame within --frames 2'):
        run_demo(monkeypatch, *options, tmp_path / 'x', '--frames', 2, '--best_frame', 3)


def test_a_squeezed_clip_is_noted(tmp_path, monkeypatch, capsys):
    write(tmp_path / 'wide.mp4', np.zeros((2, 48, 96, 3), 'uint8'), 25)
    options = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--engine', 'eager']
    options += ['--source_image', DATA / 'source.png', '--driving_video', tmp_path / 'wide.mp4']
    options += ['--crop', 'none', '--frames', 1]
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'result.mp4')
    err = capsys.readouterr().err
    assert f'note: {tmp_path}/wide.mp4: 96 x 48 is squeezed to 64 x 64' in err
    assert err.count(' is squeezed to ') == 1


def test_on_a_terminal_bars_follow_what_they_are_of(tmp_path, monkeypatch, golden_clip):
    terminal = Terminal()
    for stream in ('stdout', 'stderr'):
        monkeypatch.setattr(sys, stream, terminal)
    options = [
        '--driving_video',
        golden_clip,
        '--relative',
        '--find_best_frame',
        '--engine',
        'eager',
    ]
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'result')
    head, bar, *_ = terminal.getvalue().split('\r')
    assert head.endswith('looking for the best frame\n') and bar.startswith('best frame:')


@pytest.mark.parametrize(
    'flags', [('--adapt_scale',), ('--best_frame', '1'), ('--find_best_frame',)]
)
def test_what_changes_nothing_is_noted(monkeypatch, capsys, flags):
    for relative in ((), ('--relative',)):
        monkeypatch.setattr(sys, 'argv', ['demo.py', *flags, *relative])
        demo.parse_arguments()
        assert capsys.readouterr().err.count('change nothing without --relative') == (not relative)
