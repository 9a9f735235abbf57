"""Motion files, scaled and smoothed motion, pictures that drive and clips that are driven."""

import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import demo
from modules.animation.motion_file import read_motion, write_motion
from modules.runtime.errors import UserError
from modules.video import VideoReader, read_image, resize_frame, write_picture
from modules.video.levels import to_bytes
from tests.support.clips import beep, drawn, encode, heard, write
from tests.support.demo_runs import DATA, frames_of, run_demo, write_clip
from tests.support.places import ROOT

TINY = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--engine', 'eager', '--crop', 'none']
SOURCE = ['--source_image', DATA / 'source.png']
OTHER = DATA / 'tiny-nets-legacy.pth.tar'


@pytest.fixture
def animated(tmp_path, monkeypatch, golden_clip):
    """Runs demo.py on the golden clip -> the frames of its result."""
    numbers = iter(range(100))

    def run(*flags, driving=golden_clip, source=SOURCE, name=None):
        result = tmp_path / (name or f'result{next(numbers)}')
        driving = [] if driving is None else ['--driving_video', driving]
        run_demo(monkeypatch, *TINY, *source, *driving, '--result_video', result, *flags)
        return frames_of(result) if result.suffix in ('', '.mp4', '.gif') else read_image(result)

    return run


@pytest.fixture
def motion(tmp_path, animated):
    """The motion file of the golden clip."""
    animated('--save_motion', tmp_path / 'a.motion')
    return tmp_path / 'a.motion'


# ---- files ----


@pytest.mark.parametrize(
    'flags',
    [
        [],
        ['--relative', '--adapt_scale'],
        ['--relative', '--best_frame', 3],
        ['--relative', '--find_best_frame', '--batch', 3],
        ['--relative', '--smooth', '--motion_scale', 1.5],
        ['--frames', 3],
    ],
)
def test_a_motion_file_drives_as_its_clip_does(tmp_path, animated, motion, flags, capsys):
    """The same bytes, without any clip; what is kept is what was detected, before all edits."""
    capsys.readouterr()
    again = tmp_path / 'again.motion'
    animated(*flags, '--save_motion', again, name='clip.mp4')
    said = capsys.readouterr().out.replace(f', {again}', '')
    # Found three at a time, keypoints are rounded otherwise.
    stored = again if '--batch' in flags else motion
    animated(*flags, '--motion', stored, driving=None, name='file.mp4')
    assert capsys.readouterr().out == said.replace('clip.mp4', 'file.mp4')
    assert (tmp_path / 'clip.mp4').read_bytes() == (tmp_path / 'file.mp4').read_bytes()
    if not {'--frames', '--batch'} & set(map(str, flags)):
        assert again.read_bytes() == motion.read_bytes()


def test_it_keeps_rate_and_repeated_frames(tmp_path, animated, monkeypatch):
    """And no pixel: of a clip of variable rate some hundred bytes a frame."""
    clip = encode(tmp_path / 'a.mkv', drawn(6), times=[0, 1, 2, 5, 6, 9])
    with VideoReader(clip) as reader:
        fps, count, repeats = reader.fps, reader.frame_count, set(reader.repeats)
    assert repeats
    options = [*TINY, *SOURCE, '--relative', '--result_video']
    runs = []
    for name, given in (
        ('clip.mp4', ['--driving_video', clip, '--save_motion', tmp_path / 'a.motion']),
        ('file.mp4', ['--motion', tmp_path / 'a.motion']),
    ):
        run_demo(monkeypatch, *options, tmp_path / name, *given)
        runs.append((tmp_path / name).read_bytes())
    assert runs[0] == runs[1]
    kept = read_motion(tmp_path / 'a.motion')
    assert (kept.fps, kept.frame_count) == (fps, count)
    assert set(kept.slots.tolist()) == set(range(count)) - repeats
    assert (tmp_path / 'a.motion').stat().st_size < 1500 + 300 * count


def test_sound_and_frames_come_from_the_clip_beside_it(tmp_path, monkeypatch):
    clip = beep(tmp_path / 'clip.mp4', 'aac', seconds=1.0, onset=0.4)
    options = [*TINY, *SOURCE, '--relative', '--result_video']
    run_demo(monkeypatch, *options, tmp_path / 'a', '--driving_video', clip, '--side_by_side',
             '--save_motion', tmp_path / 'a.motion')  # fmt: skip
    given = ['--motion', tmp_path / 'a.motion', '--driving_video', clip]
    run_demo(monkeypatch, *options, tmp_path / 'b', *given, '--side_by_side')
    np.testing.assert_array_equal(frames_of(tmp_path / 'a'), frames_of(tmp_path / 'b'))
    run_demo(monkeypatch, *options, tmp_path / 'c.mp4', *given, '--audio')
    onset, _ = heard(tmp_path / 'c.mp4')
    assert abs(onset - heard(clip)[0]) < 0.02
    short = write_clip(tmp_path / 'short.mp4', num_frames=2)
    given[-1] = short
    with pytest.raises(UserError, match=r'short\.mp4: has 2 frames, and .* the motion of 25'):
        run_demo(monkeypatch, *options, tmp_path / 'd', *given, '--side_by_side')


@pytest.mark.parametrize(
    'flags, message',
    [
        (['--side_by_side'], r'--side_by_side: .* add its --driving_video'),
        (['--save_motion', 'b'], 'not allowed with argument'),
        (['--best_frame', '8'], r'--best_frame 8: a\.motion has no such frame'),
        (['--checkpoint', 'b.safetensors'], r"a\.motion: is the motion of another model's"),
        (['--config', 'wide.yaml'], r'a\.motion: .* in frames of 64 x 64, not .* of 128 x 64'),
        (['--result_video', 'a.motion'], r'a\.motion: would replace what it is made from'),
    ],
)
def test_what_does_not_go_with_a_motion_file(tmp_path, monkeypatch, motion, flags, message):
    monkeypatch.chdir(tmp_path)
    config = (DATA / 'tiny.yaml').read_text()
    wide = re.sub(r'frame_shape: .*', 'frame_shape: [64, 128, 3]', config)
    (tmp_path / 'wide.yaml').write_text(wide)
    if 'b.safetensors' in flags:
        _other_weights(tmp_path / 'b.safetensors')
    with pytest.raises(UserError, match=message) as error:
        run_demo(monkeypatch, *TINY, '--motion', 'a.motion', *flags)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'result.mp4').exists()


def _other_weights(path):
    from modules.checkpoints.reading import read_checkpoint
    from modules.checkpoints.writing import save_checkpoint

    networks = read_checkpoint(DATA / 'tiny-nets-legacy.pth.tar').networks
    key = next(iter(networks['kp_detector']))
    networks['kp_detector'][key] = networks['kp_detector'][key] + np.float32(1e-3)
    save_checkpoint(path, networks)


def test_the_same_weights_in_another_format_are_the_same_model(animated, motion):
    animated('--checkpoint', OTHER, '--motion', motion, driving=None)


@pytest.mark.parametrize('what', ['nowhere', 'clip', 'weights', 'cut', 'folder'])
def test_no_motion_file(tmp_path, monkeypatch, motion, what):
    path = {
        'nowhere': tmp_path / 'nowhere',
        'clip': ROOT / 'doc' / 'demo' / 'driving.mp4',
        'weights': ROOT / 'doc' / 'demo' / 'demo-128.safetensors',
        'folder': tmp_path,
    }.get(what, motion)
    if what == 'cut':
        motion.write_bytes(motion.read_bytes()[:-7])
    monkeypatch.setattr(demo, 'prepare_process', lambda cpu: pytest.fail('the work begins'))
    with pytest.raises(UserError) as error:
        run_demo(monkeypatch, *TINY, '--motion', path)
    assert str(error.value).startswith(f'{path}: ') and '\n' not in str(error.value)


def test_a_hostile_motion_file_is_one_line_and_status_2(tmp_path, motion):
    kept = read_motion(motion)
    kept.value[2, 1] = np.nan
    write_motion(tmp_path / 'b.motion', kept)
    options = map(str, [*TINY, '--motion', tmp_path / 'b.motion'])
    command = [sys.executable, str(ROOT / 'demo.py'), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert done.stderr.startswith(f'error: {tmp_path}/b.motion: its value has values that are not')
    assert not (tmp_path / 'result.mp4').exists()


@pytest.mark.parametrize(
    'path, message',
    [
        ('nowhere/a.motion', 'nowhere: no such folder'),
        ('source.png', r'source\.png: would replace what it is made from'),
        ('result.mp4', r'result\.mp4: is the --result_video'),
        ('.', 'is a folder'),
    ],
)
def test_a_place_without_room_for_the_motion(tmp_path, monkeypatch, path, message):
    monkeypatch.chdir(tmp_path)
    write_picture(tmp_path / 'source.png', np.zeros((64, 64, 3), np.uint8))
    monkeypatch.setattr(demo, 'prepare_process', lambda cpu: pytest.fail('the work begins'))
    with pytest.raises(UserError, match=message):
        run_demo(monkeypatch, '--source_image', 'source.png', '--save_motion', path)
    assert [p.name for p in tmp_path.iterdir()] == ['source.png']


def test_a_run_that_fails_leaves_no_motion_file(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=30)
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size * 2 // 3])
    folder = tmp_path / 'frames'
    folder.mkdir()
    for number in range(3):
        write_picture(folder / f'{number}.png', np.zeros((64, 64, 3), np.uint8))
    (folder / '2.png').write_bytes((folder / '2.png').read_bytes()[:60])
    for driving in (clip, folder):
        with pytest.raises(UserError):
            run_demo(monkeypatch, *TINY, '--driving_video', driving, '--save_motion',
                     tmp_path / 'a.motion', '--result_video', tmp_path / 'a')  # fmt: skip
    assert sorted(p.name for p in tmp_path.iterdir()) == ['clip.mp4', 'frames']


# ---- scaled and smoothed ----


def test_motion_scale(animated):
    """1 is as without, to the bit; 0 leaves the picture still, as at its first frame; in between
    it moves less."""
    plain = animated('--relative')
    np.testing.assert_array_equal(animated('--relative', '--motion_scale', 1), plain)
    still = animated('--relative', '--motion_scale', 0)
    for frame in still:
        assert np.abs(frame.astype(int) - plain[0]).max() <= 1
    half = animated('--relative', '--motion_scale', 0.5)

    def moved(frames):
        return np.abs(frames[1:].astype(int) - plain[0]).mean()

    assert 0 < moved(half) < moved(plain) < moved(animated('--relative', '--motion_scale', 2))


@pytest.mark.parametrize('factor', ['-1', 'nan', 'inf', 'x'])
def test_no_motion_scale(monkeypatch, factor):
    with pytest.raises(UserError, match=f'--motion_scale: {factor}: give a number of at least 0'):
        run_demo(monkeypatch, '--relative', '--motion_scale', factor)


def test_absolute_motion_is_not_scaled(monkeypatch):
    with pytest.raises(UserError, match=r'--motion_scale 0\.5: .*--relative; add that'):
        run_demo(monkeypatch, '--motion_scale', 0.5)


def test_smooth(tmp_path, animated, capsys):
    """Says how much the keypoints trembled; off by default."""
    plain = animated('--relative')
    assert 'jitter' not in capsys.readouterr().out
    smooth = animated('--relative', '--smooth')
    assert np.abs(smooth.astype(int) - plain).max() > 2
    np.testing.assert_array_equal(smooth[0], plain[0])
    line = next(line for line in capsys.readouterr().out.splitlines() if 'jitter' in line)
    before, after, *jacobians = map(float, re.findall(r'\d+\.\d+', line))
    assert 0 < after < 0.8 * before and 0 < jacobians[1] < jacobians[0]


# ---- pictures that drive, clips that are driven ----


def test_a_picture_drives(tmp_path, animated, golden_clip):
    """One frame: a clip of one, or a picture if asked for; the same as of a folder of it."""
    folder = tmp_path / 'one'
    folder.mkdir()
    (folder / '0.png').write_bytes((golden_clip / '3.png').read_bytes())
    expected = animated(driving=folder)
    picture = golden_clip / '3.png'
    np.testing.assert_array_equal(animated(driving=picture), expected)
    np.testing.assert_array_equal(animated(driving=picture, name='a.png'), expected[0])
    jpeg = animated(driving=picture, name='a.JPG')
    assert np.abs(jpeg.astype(int) - expected[0]).mean() < 4
    assert Image.open(tmp_path / 'a.JPG').format == 'JPEG'
    assert len(animated(driving=picture, name='a.mp4')) == 1
    shown = animated('--side_by_side', driving=picture, name='b.png')
    np.testing.assert_array_equal(shown[:, 64:128], read_image(picture))


def test_a_picture_holds_one_frame(tmp_path, animated, golden_clip, monkeypatch):
    assert animated('--frames', 1, name='a.png').shape == (64, 64, 3)
    monkeypatch.setattr(demo, 'prepare_process', lambda cpu: pytest.fail('the work begins'))
    with pytest.raises(UserError, match=r'b\.png: a picture holds one frame, and there are 8'):
        animated(name='b.png')
    with pytest.raises(UserError, match='would become a frame of the folder'):
        animated('--frames', 1, name=golden_clip / 'c.png')


def test_a_clip_is_driven_frame_by_frame(tmp_path, animated, golden_clip):
    """Source frame i with driving frame i: without relative motion each is that of the picture."""
    names = ['5.png', '2.png', '7.png']
    folder = tmp_path / 'source'
    folder.mkdir()
    for number, name in enumerate(names):
        (folder / f'{number}.png').write_bytes((golden_clip / name).read_bytes())
    found = animated('--side_by_side', source=['--source_image', folder])
    assert len(found) == 8  # the last one stays
    for number, frame in enumerate(found):
        picture = golden_clip / names[min(number, 2)]
        np.testing.assert_array_equal(frame[:, :64], read_image(picture))
        alone = animated(source=['--source_image', picture])[number]
        np.testing.assert_array_equal(frame[:, 128:], alone)


def test_a_moving_source_moves_as_the_driving_object_alone(tmp_path, animated, golden_clip):
    """Relative movement is added to the first frame's pose: a clip that is driven by itself stays
    as it is, as it does with the driving pose itself.
    """
    source = ['--source_image', golden_clip]
    relative = animated('--relative', source=source)
    absolute = animated(source=source)
    assert np.abs(relative.astype(int) - absolute).max() <= 1
    still = animated('--relative', '--motion_scale', 0, source=source)
    assert np.abs(still.astype(int) - absolute).max() > 10


def test_what_is_said_of_a_moving_source(tmp_path, animated, capsys):
    source = tmp_path / 'source.mp4'
    write(source, drawn(3, 64, 64), 30)
    animated('--batch', 2, source=['--source_image', source])
    said = capsys.readouterr().err
    assert f'note: {source}: ends after 3 of 8 frames; its last one stays' in said
    assert f'note: {source}: 30 frames a second, and the motion 25: they go together' in said
    assert 'note: --batch 2: frames of a moving source are computed one by one' in said


def test_resized_as_ever(tmp_path, animated):
    """A source clip of another size comes as a picture of it would."""
    source = tmp_path / 'source.mp4'
    write(source, drawn(1, 96, 96), 25)
    found = animated('--side_by_side', '--frames', 1, source=['--source_image', source])
    first = next(iter(VideoReader(source)))
    np.testing.assert_array_equal(found[0][:, :64], to_bytes(resize_frame(first, (64, 64))))
