"""demo.py as its users run it."""

import glob
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
import yaml
from PIL import Image

import demo
from modules.runtime.errors import UserError
from modules.video import VideoReader, read_image, resize_frame
from modules.video.levels import to_bytes
from tests.support.clips import beep
from tests.support.demo_runs import DATA, frames_of, run_demo, write_clip, write_webm
from tests.support.places import ROOT

BUNDLED = ROOT / 'doc' / 'demo'
CHECKPOINT = BUNDLED / 'demo-128.safetensors'


def test_without_arguments(tmp_path):
    """From any folder; writes ./result.mp4; never imports PyTorch."""
    (tmp_path / 'torch.py').write_text('raise SystemExit("torch was imported")')
    command = [sys.executable, str(ROOT / 'demo.py')]
    environment = {'PYTHONPATH': str(tmp_path), 'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    with (
        VideoReader(tmp_path / 'result.mp4') as result,
        VideoReader(BUNDLED / 'driving.mp4') as clip,
    ):
        assert result.fps == clip.fps and result.size == (128, 128)
        assert len(list(result)) == len(list(clip))


@pytest.mark.parametrize(
    'flags, key',
    [
        ((), 'alignTrue.relativeFalse.adaptFalse'),
        (('--relative',), 'alignTrue.relativeTrue.adaptFalse'),
        (('--relative', '--adapt_scale'), 'alignTrue.relativeTrue.adaptTrue'),
        (('--adapt_scale',), 'alignTrue.relativeFalse.adaptTrue'),
    ],
)
@pytest.mark.parametrize('checkpoint', ['tiny-nets-legacy.pth.tar', 'npz'])
def test_frames_are_the_official_ones(tmp_path, monkeypatch, golden_clip, flags, key, checkpoint):
    path = DATA if checkpoint == 'npz' else DATA / checkpoint
    options = ['--config', DATA / 'tiny.yaml', '--checkpoint', path, *flags]
    options += ['--source_image', DATA / 'source.png', '--driving_video', golden_clip]
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'result')
    golden = np.load(DATA / 'predictions.npz')[key].astype(int)
    ours = np.stack([np.array(Image.open(p)) for p in sorted((tmp_path / 'result').iterdir())])
    assert np.abs(ours - golden).max() <= 1


@pytest.mark.parametrize('driving', ['clip.mp4', 'clip.gif', 'clip.mov', 'clip.webm', 'clip'])
@pytest.mark.parametrize('result', ['result.mp4', 'result.gif', 'result'])
def test_driving_and_result_kinds(tmp_path, monkeypatch, driving, result):
    write = write_webm if driving.endswith('.webm') else write_clip
    clip = write(tmp_path / driving)
    run_demo(monkeypatch, '--driving_video', clip, '--result_video', tmp_path / result)
    assert frames_of(tmp_path / result).shape == (4, 128, 128, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({driving, result})


def test_fps_is_kept_exactly(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / 'clip.mp4')
    run_demo(monkeypatch, '--driving_video', clip, '--result_video', tmp_path / 'result.mp4')
    with VideoReader(tmp_path / 'result.mp4') as reader:
        assert reader.fps == Fraction(30000, 1001)


def test_side_by_side_shows_source_driving_result(tmp_path, monkeypatch, golden_clip):
    options = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA]
    options += ['--driving_video', golden_clip, '--source_image', DATA / 'source.png']
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'alone')
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'beside', '--side_by_side')
    alone, beside = frames_of(tmp_path / 'alone'), frames_of(tmp_path / 'beside')
    source = np.array(Image.open(DATA / 'source.png').convert('RGB'))
    for i in (0, 5):
        np.testing.assert_array_equal(beside[i][:, :64], source)
        np.testing.assert_array_equal(beside[i][:, 64:128], np.load(DATA / 'driving.npy')[i])
        np.testing.assert_array_equal(beside[i][:, 128:], alone[i])


@pytest.mark.parametrize('kind', ['gray', 'palette', 'alpha', 'exif', '16-bit'])
def test_source_kinds_give_the_same_animation(tmp_path, monkeypatch, kind):
    """Pictures that look alike are animated alike, however they are stored."""
    gray = np.array(Image.open(DATA / 'source.png').convert('L')) // 16 * 16
    plain, path = tmp_path / 'plain.png', tmp_path / f'{kind}.png'
    Image.fromarray(np.repeat(gray[..., None], 3, axis=2)).save(plain)
    picture = Image.fromarray(gray)
    if kind == 'palette':
        picture = picture.convert('P')
    elif kind == 'alpha':
        picture = Image.fromarray(np.dstack([gray] * 3 + [np.full_like(gray, 255)]), 'RGBA')
    elif kind == '16-bit':
        picture = Image.fromarray(gray.astype('uint16') * 257)
    if kind == 'exif':
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by 90 degrees for display
        picture.rotate(90).save(path, exif=exif)
    else:
        picture.save(path)
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=2)
    results = []
    for source, name in ((plain, 'a'), (path, 'b')):
        options = ['--source_image', source, '--driving_video', clip]
        run_demo(monkeypatch, *options, '--result_video', tmp_path / name)
        results.append(frames_of(tmp_path / name))
    np.testing.assert_array_equal(*results)


def test_a_damaged_clip_leaves_no_output(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=30)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(UserError, match=r'clip\.mp4'):
        run_demo(monkeypatch, '--driving_video', clip, '--result_video', tmp_path / 'result.mp4')
    assert [p.name for p in tmp_path.iterdir()] == ['clip.mp4']


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--config', 'missing.yaml'], 'missing.yaml'),
        (['--source_image', 'missing.png'], 'missing.png'),
        (['--driving_video', 'missing.mp4'], 'missing.mp4'),
        (['--driving_video', '.'], 'no pictures'),
        (['--checkpoint', 'missing.pth.tar'], 'missing.pth.tar'),
        (['--result_video', 'result.xyz'], 'result.xyz'),
        (['--result_video', 'nowhere/result.mp4'], 'nowhere'),
        (['--config', str(ROOT / 'config' / 'vox-256.yaml')], 'no weights'),
        (
            ['--config', str(ROOT / 'config' / 'vox-256.yaml'), '--checkpoint', str(CHECKPOINT)],
            'does not fit the config',
        ),
        (['--source_image', str(CHECKPOINT)], 'demo-128.safetensors'),
        (['--best_frame', 'x'], '--best_frame'),
        (['--best_frame', '-1'], '--best_frame -1'),
        (['--source_image', 'x' * 300], 'file name too long'),
        (['--driving_video', 'x' * 300], 'file name too long'),
        (['--source_image', '/proc/self/fd/x'], 'no such file'),
        (['--nonsense'], '--nonsense'),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message.replace('.', r'\.')):
        run_demo(monkeypatch, *arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'name, message',
    [
        ('a.xyz', r'a\.xyz: clips of the kind \.xyz'),
        ('nowhere/a.mp4', 'nowhere: no such folder'),
        ('file/a.mp4', 'file: no such folder'),
        ('folder.mp4', r'folder\.mp4: is a folder'),
        ('full', 'full: exists already'),
        ('x' * 300 + '.mp4', r'x\.mp4: file name too long'),
        ('loop.mp4', r'loop\.mp4: .*symbolic links'),
    ],
)
def test_a_place_without_room_for_the_result_is_told_before_the_work(
    tmp_path, monkeypatch, name, message
):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder.mp4').mkdir()
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'file').touch()
    (tmp_path / 'loop.mp4').symlink_to('loop.mp4')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, 'prepare_process', lambda cpu: pytest.fail('the work begins'))
    with pytest.raises(UserError, match=message):
        run_demo(monkeypatch, '--result_video', name)


@pytest.mark.parametrize('option', ['--source_image', '--driving_video'])
def test_links_that_lead_nowhere(tmp_path, monkeypatch, option):
    (tmp_path / 'loop').symlink_to('loop')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='loop: too many levels of symbolic links'):
        run_demo(monkeypatch, option, 'loop')


def test_frames_have_three_channels(tmp_path, monkeypatch):
    config = yaml.safe_load((DATA / 'tiny.yaml').read_text())
    config['dataset_params']['frame_shape'] = [64, 64, 1]
    config['model_params']['common_params']['num_channels'] = 1
    (tmp_path / 'gray.yaml').write_text(yaml.safe_dump(config))
    monkeypatch.setattr(demo, 'prepare_process', lambda cpu: pytest.fail('the work begins'))
    with pytest.raises(UserError, match=r'gray\.yaml: .*frame_shape: 1 channels; must be 3'):
        run_demo(monkeypatch, '--config', tmp_path / 'gray.yaml')


def test_the_result_does_not_become_a_driving_frame(tmp_path, monkeypatch, golden_clip):
    """A GIF would be read as a picture of the folder; other results there would not."""
    (tmp_path / 'link').symlink_to(golden_clip)
    monkeypatch.setattr(demo, 'prepare_process', lambda cpu: pytest.fail('the work begins'))
    for folder in (golden_clip, tmp_path / 'link'):
        options = ['--driving_video', golden_clip, '--result_video', folder / 'result.GIF']
        with pytest.raises(UserError, match='would become a frame of the folder'):
            run_demo(monkeypatch, *options)
    before = frames_of(golden_clip)
    for name in ('result.mp4', 'result'):
        (golden_clip / 'result').mkdir(exist_ok=True)
        monkeypatch.setattr(sys, 'argv', ['demo.py', '--driving_video', str(golden_clip)])
        sys.argv += ['--result_video', str(golden_clip / name)]
        demo.parse_arguments()
    (golden_clip / 'result.mp4').touch()
    np.testing.assert_array_equal(frames_of(golden_clip), before)


@pytest.mark.parametrize('redirection', ['| true', '>&-', '2>&-'])
def test_the_result_is_kept_where_nobody_reads_the_messages(tmp_path, redirection):
    script = f'"$0" "$1" --cpu {redirection}; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ['bash', '-c', script, sys.executable, str(ROOT / 'demo.py')],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, '')
    assert len(frames_of(tmp_path / 'result.mp4')) == len(frames_of(BUNDLED / 'driving.mp4'))
    assert [path.name for path in tmp_path.iterdir()] == ['result.mp4']


def test_the_wait_for_a_compiler_is_told(tmp_path, monkeypatch, capsys):
    """Where nothing is compiled yet, and nowhere else."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    options = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--frames', 1]
    for told in (1, 0):
        run_demo(monkeypatch, *options, '--result_video', tmp_path / 'result.mp4')
        assert capsys.readouterr().out.count('compiling for frames of 64x64, once') == told


def test_a_gif_that_leaves_frames_out_is_noted(tmp_path, monkeypatch, capsys):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=6, fps=60)
    options = ['--driving_video', clip, '--result_video']
    run_demo(monkeypatch, *options, tmp_path / 'result.mp4')
    assert 'note: ' not in capsys.readouterr().err
    run_demo(monkeypatch, *options, tmp_path / 'result.gif')
    assert capsys.readouterr().err == (
        f'note: {tmp_path / "result.gif"}: 4 of 6 frames, 40 per second instead of 60, '
        'since a GIF plays 50 at most; .mp4 keeps all\n'
    )


def test_sound_is_copied_where_there_is_one(tmp_path, monkeypatch, capsys):
    small = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--engine', 'eager']
    small += ['--crop', 'none']

    def notes():
        lines = capsys.readouterr().err.splitlines()
        return [line for line in lines if 'is squeezed' not in line]

    clip = beep(tmp_path / 'clip.mp4', 'aac', seconds=0.4)
    for i, flags in enumerate([(), ('--audio',), ('--no_audio',)]):
        result, heard = tmp_path / f'result{i}.mp4', flags != ('--no_audio',)
        run_demo(monkeypatch, *small, '--driving_video', clip, '--result_video', result, *flags)
        with VideoReader(result) as reader:
            assert reader.has_audio == heard and reader.frame_count == 10
    result = tmp_path / 'result.gif'
    run_demo(monkeypatch, *small, '--driving_video', clip, '--result_video', result)
    assert notes() == []  # a GIF is not expected to sound
    run_demo(monkeypatch, *small, '--driving_video', clip, '--result_video', result, '--audio')
    assert [line.partition(';')[0] for line in notes()] == [
        f'note: {result}: written without sound'
    ]
    silent = write_clip(tmp_path / 'silent.mp4', num_frames=1)
    result = tmp_path / 'silent_result.mp4'
    run_demo(monkeypatch, *small, '--driving_video', silent, '--result_video', result)
    assert notes() == []
    run_demo(monkeypatch, *small, '--driving_video', silent, '--result_video', result, '--audio')
    assert notes() == [f'note: {silent} has no sound to copy']
    assert len(frames_of(result)) == 1


def test_frames_need_not_be_square(tmp_path, monkeypatch):
    """Height before width, for the picture, the clip and the result."""
    config = yaml.safe_load((DATA / 'tiny.yaml').read_text())
    config['dataset_params']['frame_shape'] = [64, 128, 3]
    (tmp_path / 'wide.yaml').write_text(yaml.safe_dump(config))
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=2)
    options = ['--config', tmp_path / 'wide.yaml', '--checkpoint', DATA, '--driving_video', clip]
    options += ['--crop', 'none']
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'result', '--side_by_side')
    frames = frames_of(tmp_path / 'result')
    assert frames.shape == (2, 64, 3 * 128, 3)
    picture = resize_frame(read_image(BUNDLED / 'source.png'), (64, 128))
    np.testing.assert_array_equal(frames[1][:, :128], to_bytes(picture))
    driving = resize_frame(frames_of(clip)[1], (64, 128))
    np.testing.assert_array_equal(frames[1][:, 128:256], to_bytes(driving))
    assert frames[1][:, 256:].std() > 5


def test_inputs_are_never_replaced(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / 'clip.mp4')
    before = clip.read_bytes()
    for same in (clip, tmp_path / '.' / 'clip.mp4'):
        with pytest.raises(UserError, match='made from'):
            run_demo(monkeypatch, '--driving_video', clip, '--result_video', same)
    assert clip.read_bytes() == before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(interruptible, tmp_path, number):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=400)
    command = [sys.executable, str(ROOT / 'demo.py'), '--cpu', '--driving_video', str(clip)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not glob.glob(str(tmp_path / '.result.mp4.*' / '*')):  # Path.glob trips over what goes
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number and err.count('\n') <= 1
    assert [path.name for path in tmp_path.iterdir()] == ['clip.mp4']


def test_a_mistake_is_one_line_and_status_2(tmp_path):
    command = [sys.executable, str(ROOT / 'demo.py'), '--source_image', 'missing.png']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('error: missing.png') and done.stderr.count('\n') == 1
