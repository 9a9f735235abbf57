"""demo.py as its users run it."""

import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import demo
from modules.cli import UserError
from modules.video import VideoReader, VideoWriter

DATA = ROOT / 'tests' / 'data' / 'demo_tiny'
BUNDLED = ROOT / 'doc' / 'demo'
CHECKPOINT = BUNDLED / 'demo-64.safetensors'


def run_demo(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['demo.py', '--cpu', *map(str, arguments)])
    demo.main()


def frames_of(path):
    with VideoReader(path) as reader:
        return np.stack(list(reader))


def write_clip(path, num_frames=4, fps=Fraction(30000, 1001), size=(48, 80)):
    rng = np.random.RandomState(0)
    with VideoWriter(path, fps) as writer:
        for _ in range(num_frames):
            writer.write(
                np.repeat(np.repeat(rng.randint(0, 255, (6, 10, 3)), 8, 0), 8, 1)[: size[0]].astype(
                    'uint8'
                )
            )
    return path


def write_webm(path, num_frames=4):
    """VP8, which the project reads and does not write."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libvpx', rate=25, width=64, height=64, pix_fmt='yuv420p')
        for level in range(num_frames):
            frame = np.full((64, 64, 3), 50 * level, 'uint8')
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    return path


@pytest.fixture
def golden_clip(tmp_path):
    """The golden demo's driving frames as a folder of PNGs."""
    folder = tmp_path / 'driving'
    folder.mkdir()
    for i, frame in enumerate(np.load(DATA / 'driving.npy')):
        Image.fromarray(frame).save(folder / f'{i}.png')
    return folder


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
        assert result.fps == clip.fps and result.size == (64, 64)
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
    assert frames_of(tmp_path / result).shape == (4, 64, 64, 3)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted({driving, result})


def test_fps_is_kept_exactly(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / 'clip.mp4')
    run_demo(monkeypatch, '--driving_video', clip, '--result_video', tmp_path / 'result.mp4')
    with VideoReader(tmp_path / 'result.mp4') as reader:
        assert reader.fps == Fraction(30000, 1001)


def test_side_by_side_shows_source_driving_result(tmp_path, monkeypatch, golden_clip):
    options = ['--driving_video', golden_clip, '--source_image', DATA / 'source.png']
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


def test_best_frame(tmp_path, monkeypatch, golden_clip, capsys):
    """Measured from frame 3, frame 3 shows the source at rest, as frame 0 does by default."""
    options = ['--driving_video', golden_clip, '--relative', '--source_image', DATA / 'source.png']
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'first')
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'third', '--best_frame', 3)
    run_demo(monkeypatch, *options, '--result_video', tmp_path / 'found', '--find_best_frame')
    first, third = frames_of(tmp_path / 'first'), frames_of(tmp_path / 'third')
    assert np.abs(third[3].astype(int) - first[0]).max() <= 1
    assert np.abs(third[0].astype(int) - first[0]).max() > 10
    assert 'best frame: ' in capsys.readouterr().out
    with pytest.raises(UserError, match='--best_frame 8'):
        run_demo(monkeypatch, *options, '--result_video', tmp_path / 'x', '--best_frame', 8)


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
            'network',
        ),
        (['--source_image', str(BUNDLED / 'driving.mp4')], 'driving.mp4'),
        (['--best_frame', 'x'], '--best_frame'),
        (['--nonsense'], '--nonsense'),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message.replace('.', r'\.')):
        run_demo(monkeypatch, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_never_replaced(tmp_path, monkeypatch):
    clip = write_clip(tmp_path / 'clip.mp4')
    before = clip.read_bytes()
    for same in (clip, tmp_path / '.' / 'clip.mp4'):
        with pytest.raises(UserError, match='made from'):
            run_demo(monkeypatch, '--driving_video', clip, '--result_video', same)
    assert clip.read_bytes() == before


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(tmp_path, number):
    clip = write_clip(tmp_path / 'clip.mp4', num_frames=400)
    command = [sys.executable, str(ROOT / 'demo.py'), '--cpu', '--driving_video', str(clip)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob('.result.mp4.*')):
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
