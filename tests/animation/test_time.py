"""--start, --end, --frames, --fps, --speed, --loop and sound, as they are typed."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from modules.animation import clip
from modules.animation.animator import animate
from modules.build import build_models
from modules.checkpoints.models import load_models
from modules.eager import EagerEngine
from modules.runtime.errors import UserError
from modules.video import VideoReader, read_image, resize_frame
from modules.video.levels import to_bytes, to_float
from tests.support.clips import beep, drawn, write
from tests.support.demo_runs import DATA, frames_of, run_demo
from tests.support.flashes import heard, seen, write_flashes
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import CONFIG, LEGACY

SMALL = ['--config', DATA / 'tiny.yaml', '--checkpoint', LEGACY, '--engine', 'eager', '--batch', 1]
SMALL += ['--source_image', DATA / 'source.png']


@pytest.fixture(scope='module')
def driving(tmp_path_factory):
    """20 frames of 25 per second, and what each becomes."""
    folder = tmp_path_factory.mktemp('driving')
    write(folder / 'clip.mkv', drawn(20, 64, 64))
    with pytest.MonkeyPatch.context() as patch:
        run_demo(
            patch, *SMALL, '--driving_video', folder / 'clip.mkv', '--result_video', folder / 'all'
        )
    return folder / 'clip.mkv', frames_of(folder / 'all')


def animated(tmp_path, monkeypatch, clip, *options):
    """The frames of a result, lossless."""
    result = tmp_path / f'result{len(list(tmp_path.iterdir()))}'
    run_demo(monkeypatch, *SMALL, '--driving_video', clip, *options, '--result_video', result)
    return frames_of(result)


@pytest.mark.parametrize(
    'options, numbers',
    [
        ('--start 0.2', range(5, 20)),
        ('--start 5f --end 0.4', range(5, 10)),
        ('--end 3f', range(3)),
        ('--start 17f --frames 9', range(17, 20)),
        ('--start 4f --end 12f --frames 2', range(4, 6)),
        ('--fps 50 --frames 3', [0, 0, 1, 1, 2, 2]),
        ('--fps 12.5 --frames 6', [0, 2, 4]),
        ('--speed 2 --start 6f', range(6, 20, 2)),
        ('--speed 0.5 --end 3f', [0, 0, 1, 1, 2, 2]),
        ('--speed 2 --fps 50 --end 4f', [0, 1, 2, 3]),
        ('--loop --end 4f', [0, 1, 2, 3, 2, 1]),
        ('--loop --end 1f', [0]),
        ('--loop --speed 2 --start 10f', [10, 12, 14, 16, 18, 16, 14, 12]),
    ],
)
def test_which_frames_are_shown(tmp_path, monkeypatch, driving, options, numbers):
    path, every = driving
    frames = animated(tmp_path, monkeypatch, path, *options.split())
    np.testing.assert_array_equal(frames, every[list(numbers)])


@pytest.mark.parametrize(
    'options, rate, count',
    [
        ('--fps 29.97', Fraction(30000, 1001), 24),
        ('--fps 10', Fraction(10), 8),
        ('--fps 24000/1001', Fraction(24000, 1001), 19),
        ('--speed 2', Fraction(25), 10),
        ('--speed 0.8 --fps 30', Fraction(30), 30),
    ],
)
def test_the_rate_and_how_long_it_lasts(tmp_path, monkeypatch, driving, options, rate, count):
    result = tmp_path / 'result.mp4'
    options = ['--driving_video', driving[0], *options.split(), '--result_video', result]
    run_demo(monkeypatch, *SMALL, *options)
    with VideoReader(result) as reader:
        assert (reader.fps, reader.frame_count) == (rate, count)


@pytest.mark.parametrize(
    'options, computed',
    [('--fps 5', 4), ('--fps 100', 20), ('--speed 0.25', 20), ('--speed 4', 5), ('--loop', 20)],
)
def test_what_is_not_shown_or_shown_again_is_not_computed(
    tmp_path, monkeypatch, driving, options, computed
):
    painted = []

    def decode(self, *arguments):
        painted.append(1)
        return painter(self, *arguments)

    painter = EagerEngine.decode
    monkeypatch.setattr(EagerEngine, 'decode', decode)
    animated(tmp_path, monkeypatch, driving[0], *options.split())
    assert len(painted) == computed


@pytest.mark.parametrize(
    'options, message',
    [
        ('--start 1', r'--start 1: .*clip\.mkv ends before, after 0\.8 s \(20 frames\)'),
        ('--start 20f', '--start 20f'),
        ('--start 0.4 --end 0.2', '--end 0.2: leaves no frame after --start 0.4'),
        ('--end 0f', '--end 0f: leaves no frame'),
        ('--start -1', '--start: -1: give seconds, such as 2.5, or a frame, such as 60f'),
        ('--end 1:30', '--end: 1:30: give seconds'),
        ('--fps 0', '--fps: 0: give frames per second from 0.1 to 240'),
        ('--fps 1000', '--fps: 1000'),
        ('--fps 1/0', '--fps: 1/0'),
        ('--fps nan', '--fps: nan'),
        ('--speed 0', '--speed: 0: give a factor from 0.01 to 100'),
        ('--speed -2', '--speed: -2'),
        ('--frames 0', '--frames 0: give a number of at least 1'),
        ('--audio --no_audio', 'not allowed with'),
        ('--relative --start 5f --best_frame 3', '--best_frame 3: .* within --start 5f'),
        ('--relative --end 0.2 --best_frame 5', '--best_frame 5: .* within --end 0.2'),
        ('--relative --best_frame 20', '--best_frame 20: .*no such frame; they count from 0'),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, driving, options, message):
    with pytest.raises(UserError, match=message):
        animated(tmp_path, monkeypatch, driving[0], *options.split())
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_is_one_line_and_status_2(tmp_path, driving):
    command = [sys.executable, str(ROOT / 'demo.py'), '--cpu', '--driving_video', str(driving[0])]
    done = subprocess.run(
        [*command, '--start', '3'], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, '', [])
    assert done.stderr.startswith('error: --start 3: ') and done.stderr.count('\n') == 1


def test_a_start_beyond_a_stream_that_tells_no_length(tmp_path, monkeypatch):
    from tests.support.clips import encode

    path = encode(tmp_path / 'a.h264', drawn(10, 64, 64))
    with pytest.raises(UserError, match=r'a\.h264: ends before frame 10; begin earlier'):
        animated(tmp_path, monkeypatch, path, '--start', '10f')
    frames = animated(tmp_path, monkeypatch, path, '--start', '7f', '--relative', '--best_frame', 8)
    assert len(frames) == 3


# --- the frame that movement is measured from ----------------------------------------------------


def test_the_best_frame_of_a_stretch_counts_from_the_clips_start(
    tmp_path, monkeypatch, golden_clip, capsys
):
    """And it is one of those that are shown."""
    options = ['--relative', '--source_image', golden_clip / '5.png']
    for stretch, best in (('--start 3f', 5), ('--start 1f --fps 12.5', 5), ('--end 5f', None)):
        options_now = [*options, *stretch.split()]
        found = animated(tmp_path, monkeypatch, golden_clip, *options_now, '--find_best_frame')
        number = int(capsys.readouterr().out.split('best frame: ')[1].split()[0])
        assert number == best or (best is None and number < 5)
        given = animated(tmp_path, monkeypatch, golden_clip, *options_now, '--best_frame', number)
        np.testing.assert_array_equal(found, given)


def test_it_runs_both_ways_from_the_best_frame(tmp_path, monkeypatch, golden_clip):
    """The official demo animates from there to the end, and from there back to the start."""
    best = 3
    ours = animated(tmp_path, monkeypatch, golden_clip, '--relative', '--best_frame', best)
    models = build_models(CONFIG)
    load_models(CONFIG, models, LEGACY)
    driving = list(map(to_float, frames_of(golden_clip)))
    source = resize_frame(read_image(DATA / 'source.png'), (64, 64))
    relative = clip.Normalization(True, True, False)
    onwards = list(animate(models, source, driving[best:], relative))
    backwards = list(animate(models, source, driving[best::-1], relative))
    official = backwards[::-1] + onwards[1:]
    np.testing.assert_array_equal(ours, list(map(to_bytes, official)))
    first = animated(tmp_path, monkeypatch, golden_clip, '--relative')
    assert np.abs(first.astype(int) - ours).max() > 10


def test_the_best_frame_is_looked_for_without_holding_the_clip(tmp_path, monkeypatch, driving):
    """In two passes, each of which holds a batch."""
    held, most = set(), []

    class Held(np.ndarray):
        def __array_finalize__(self, other):
            pass

        def __del__(self):
            held.discard(id(self))

    def cut(frames, way, size):
        for frame in cut_frames(frames, way, size):
            frame = frame.copy().view(Held)
            held.add(id(frame))
            most.append(len(held))
            yield frame

    cut_frames = clip.cut_frames
    monkeypatch.setattr(clip, 'cut_frames', cut)
    animated(tmp_path, monkeypatch, driving[0], '--relative', '--find_best_frame')
    assert len(most) == 40 and max(most) <= 10


# --- sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'options, count',
    [
        ('', 3),
        ('--start 0.6', 2),
        ('--end 1.9', 2),
        ('--start 0.7 --speed 1.25 --fps 50', 2),
        ('--speed 0.5 --end 1.9 --fps 50', 2),
        ('--fps 50 --relative --find_best_frame --start 0.2', 3),
    ],
)
def test_the_sound_is_in_step(tmp_path, monkeypatch, capsys, options, count):
    """A click at each flash of the driving video, which is shown beside the result."""
    source = write_flashes(tmp_path / 'clip.mp4', 'aac', [0.4, 1.2, 2.0], seconds=2.8)
    result = tmp_path / 'result.mp4'
    options = ['--driving_video', source, '--side_by_side', *options.split()]
    run_demo(monkeypatch, *SMALL, *options, '--result_video', result)
    flashes, end = seen(result)
    clicks, sound_end = heard(result)
    assert len(flashes) == len(clicks) == count
    assert np.abs(flashes - clicks).max() <= 0.02
    with VideoReader(result) as reader:
        assert abs(sound_end - end) <= 1 / reader.fps
    assert 'note' not in capsys.readouterr().err


def test_there_and_back_is_silent(tmp_path, monkeypatch, capsys):
    source = beep(tmp_path / 'clip.mp4', 'aac', seconds=0.4)
    options = ['--driving_video', source, '--crop', 'none', '--loop', '--result_video']

    def notes():
        lines = capsys.readouterr().err.splitlines()
        return [line for line in lines if 'is squeezed' not in line]

    for flags, told in (((), 1), (('--no_audio',), 0)):
        run_demo(monkeypatch, *SMALL, *options, tmp_path / 'result.mp4', *flags)
        assert [line.startswith('note: --loop: written without sound') for line in notes()] == (
            [True] * told
        )
        with VideoReader(tmp_path / 'result.mp4') as reader:
            assert reader.frame_count == 18 and not reader.has_audio
    for name in ('result.gif', 'folder'):
        run_demo(monkeypatch, *SMALL, *options, tmp_path / name)
        assert notes() == [] and len(frames_of(tmp_path / name)) == 18


def test_a_gif_repeats_for_ever(tmp_path, monkeypatch, driving):
    options = ['--driving_video', driving[0], '--loop', '--frames', 3]
    run_demo(monkeypatch, *SMALL, *options, '--result_video', tmp_path / 'a.gif')
    with Image.open(tmp_path / 'a.gif') as picture:
        assert (picture.n_frames, picture.info['loop']) == (4, 0)
