"""Options of demo.py that meet: crops, stretches of time, motion files and sources that move."""

from fractions import Fraction

import numpy as np
import pytest

from modules.animation.motion_file import read_motion
from modules.runtime.errors import UserError
from modules.video import read_image, write_picture
from tests.support.clips import beep, heard
from tests.support.demo_runs import DATA, frames_of, run_demo, write_clip

TINY = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--engine', 'eager']
SOURCE = ['--source_image', DATA / 'source.png']


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs demo.py -> the bytes of its mp4, or the frames of its folder."""

    def run(name, *flags):
        run_demo(monkeypatch, *TINY, *flags, '--result_video', tmp_path / name)
        path = tmp_path / name
        return path.read_bytes() if path.suffix else frames_of(path)

    return run


def test_a_motion_file_knows_the_stretch_and_the_crop(tmp_path, run):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=12, fps=25, size=96)
    stretch = ['--start', '2f', '--end', '11f', '--fps', '50', '--speed', '0.5']
    crop = ['--crop', 'none', '--driving_crop', '16,8,64,64']
    kept = tmp_path / 'a.motion'
    driving = ['--driving_video', clip, *stretch, *crop, '--save_motion', kept]
    by_clip = run('by_clip.mp4', *SOURCE, '--relative', *driving)
    by_file = run('file.mp4', *SOURCE, '--relative', '--crop', 'none', '--motion', kept)
    assert by_clip == by_file
    motion = read_motion(kept)
    np.testing.assert_array_equal(motion.boxes, [[16, 8, 64, 64]])
    assert (motion.fps, motion.start, motion.speed) == (50, Fraction(2, 25), Fraction(1, 2))
    assert motion.frame_count == 36 and len(motion.slots) == 9  # each frame is shown four times


def test_a_stretch_of_a_motion_is_that_of_its_clip(tmp_path, run):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=8)
    kept = tmp_path / 'a.motion'
    run('all', *SOURCE, '--crop', 'none', '--driving_video', clip, '--save_motion', kept)
    flags = [*SOURCE, '--crop', 'none', '--relative', '--start', '2f', '--frames', '4']
    flags += ['--speed', '2', '--best_frame', '3']
    of_clip = run('clip', *flags, '--driving_video', clip)
    np.testing.assert_array_equal(run('file', *flags, '--motion', kept), of_clip)
    assert len(of_clip) == 2
    with pytest.raises(UserError, match=r'--best_frame 1: .*a\.motion has no such frame within'):
        run('none', *flags[:-1], '1', '--motion', kept)


def test_the_sound_beside_a_motion_begins_where_that_did(tmp_path, run):
    clip = beep(tmp_path / 'clip.mp4', 'aac', seconds=1.2, onset=0.8)
    kept = tmp_path / 'a.motion'
    flags = [*SOURCE, '--crop', 'none']
    run('a.mp4', *flags, '--driving_video', clip, '--start', '0.4', '--save_motion', kept)
    run('b.mp4', *flags, '--driving_video', clip, '--motion', kept)
    onsets = [heard(tmp_path / name)[0] for name in ('a.mp4', 'b.mp4')]
    assert abs(onsets[0] - 0.4) < 0.02 and abs(onsets[1] - 0.4) < 0.02


def test_frames_beside_a_motion_are_those_that_it_was_found_in(tmp_path, run):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=8, size=96)
    kept = tmp_path / 'a.motion'
    flags = [*SOURCE, '--crop', 'none', '--side_by_side', '--driving_video', clip]
    cropped = ['--start', '3f', '--driving_crop', '16,8,64,64', '--save_motion', kept]
    expected = run('clip', *flags, *cropped)
    np.testing.assert_array_equal(run('file', *flags, '--motion', kept), expected)


def test_a_source_that_moves_is_pasted_back_into_its_own_frames(tmp_path, run):
    folder = tmp_path / 'source'
    folder.mkdir()
    for number in range(3):
        level = np.full((80, 100, 3), 60 * number, np.uint8)
        level[10:74, 20:84] = read_image(DATA / 'source.png')
        write_picture(folder / f'{number}.png', level)
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=4)
    flags = ['--source_image', folder, '--driving_video', clip, '--relative']
    found = run('result', *flags, '--crop', 'none', '--source_crop', '20,10,64,64')
    assert found.shape == (4, 80, 100, 3)
    for frame, level in zip(found, (0, 60, 120, 120)):  # the last one stays
        assert (frame[:10] == level).all() and (frame[:, 84:] == level).all()
        assert frame[10:74, 20:84].std() > 10
    alone = run('alone', *flags, '--crop', 'none', '--source_crop', '20,10,64,64',
                '--no_paste_back')  # fmt: skip
    assert alone.shape == (4, 64, 64, 3)
    with pytest.raises(UserError, match='source moves, and several faces'):
        run('none', *flags, '--crop', 'face', '--faces', 'all')
