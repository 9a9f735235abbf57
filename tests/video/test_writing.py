import errno
import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import VideoReader, VideoWriter
from tests.support.clips import NTSC, beep, drawn, far, one_line, open_files, write
from tests.support.places import ROOT, full_disk


@pytest.mark.parametrize('suffix', ['.mp4', '.mov', '.mkv', '.MP4'])
@pytest.mark.parametrize('fps', [25, NTSC, 12.5, 29.97002997])
def test_movie(tmp_path, suffix, fps):
    path, frames = tmp_path / f'a{suffix}', drawn(20)
    assert write(path, frames, fps).frame_count == 20
    with VideoReader(path) as reader:
        assert reader.fps == (NTSC if fps == 29.97002997 else Fraction(fps))
        assert (reader.frame_count, reader.size) == (20, (48, 64))
        assert far(list(reader), frames) < 4
    with av.open(str(path)) as c:
        stream = c.streams.video[0]
        assert Fraction(str(stream.average_rate)) == reader.fps
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ('h264', 'yuv420p')
        codec = stream.codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 1, 1)  # BT.709
        assert codec.color_range == 1  # 16-235
    if suffix != '.mkv':
        assert path.read_bytes().index(b'moov') < path.read_bytes().index(b'mdat')
    assert os.listdir(tmp_path) == [path.name]


def test_movie_of_one_frame(tmp_path):
    write(tmp_path / 'a.mp4', drawn(1), NTSC)
    reader = VideoReader(tmp_path / 'a.mp4')
    assert (reader.fps, len(list(reader))) == (NTSC, 1)


@pytest.mark.parametrize('suffix', ['.mp4', '.gif'])
def test_saturated_colours_survive(tmp_path, suffix):
    levels = (0, 128, 255)
    colours = [(r, g, b) for r in levels for g in levels for b in levels]
    write(tmp_path / f'a{suffix}', [np.full((32, 32, 3), colour, np.uint8) for colour in colours])
    for frame, colour in zip(VideoReader(tmp_path / f'a{suffix}'), colours):
        np.testing.assert_allclose(frame[16, 16], colour, atol=3)


@pytest.mark.parametrize('shape', [(47, 64), (48, 63), (47, 63), (1, 1)])
def test_odd_sizes_get_a_doubled_edge(tmp_path, shape):
    frames = [np.full((*shape, 3), 40 * i, np.uint8) for i in range(5)]
    write(tmp_path / 'a.mp4', frames)
    with VideoReader(tmp_path / 'a.mp4') as reader:
        assert reader.size == (shape[0] + shape[0] % 2, shape[1] + shape[1] % 2)
        for ours, frame in zip(reader, frames):
            np.testing.assert_allclose(ours, frame[0, 0, 0], atol=3)
    write(tmp_path / 'a.gif', frames)
    assert VideoReader(tmp_path / 'a.gif').size == shape


@pytest.mark.parametrize('fps', [25, NTSC, 12.5, 50])
def test_gif(tmp_path, fps):
    frames = drawn(70)
    writer = write(tmp_path / 'a.gif', frames, fps)
    with Image.open(tmp_path / 'a.gif') as image:
        delays = []
        for number in range(image.n_frames):
            image.seek(number)
            delays.append(image.info['duration'])
        assert image.info['loop'] == 0  # for ever
    assert writer.rate_warning is None
    assert len(delays) == 70 and max(delays) - min(delays) <= 10
    assert abs(sum(delays) / 1000 - 70 / fps) <= 0.01
    with VideoReader(tmp_path / 'a.gif') as reader:
        assert abs(reader.fps / fps - 1) < 0.01
        assert far(list(reader), frames) < 5


def test_gif_faster_than_viewers_leaves_frames_out(tmp_path):
    writer = write(tmp_path / 'a.gif', drawn(60), 60)
    assert writer.rate_warning == (
        f'{tmp_path / "a.gif"}: 40 of 60 frames, 40 per second instead of 60, '
        'since a GIF plays 50 at most; .mp4 keeps all'
    )
    with VideoReader(tmp_path / 'a.gif') as reader:
        assert reader.frame_count < 60
        assert abs(reader.frame_count / reader.fps - 1) < 0.06
    with av.open(str(tmp_path / 'a.gif')) as c:
        assert min(packet.duration for packet in c.demux(video=0) if packet.size) >= 2


@pytest.mark.parametrize('name', ['a.mp4', 'a.gif', 'a.mkv', 'a.mov'])
@pytest.mark.parametrize('width', [112, 128])
def test_the_same_frames_give_the_same_bytes(tmp_path, name, width):
    """Whatever the memory held before."""
    frames, rng, results = drawn(8, 64, width), np.random.default_rng(), set()
    for _ in range(8):
        junk = [rng.integers(0, 255, size, np.uint8) for size in rng.integers(1, 200000, 5)]
        del junk
        write(tmp_path / name, frames)
        results.add((tmp_path / name).read_bytes())
    assert len(results) == 1


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv'])
def test_the_same_sound_gives_the_same_bytes(tmp_path, name):
    beep(tmp_path / 'heard.mp4', 'aac', seconds=0.5, onset=0.1)
    results = set()
    for _ in range(3):
        write(tmp_path / name, drawn(8), audio_from=tmp_path / 'heard.mp4')
        results.add((tmp_path / name).read_bytes())
    with av.open(str(tmp_path / name)) as clip:
        assert len(clip.streams.audio) == 1
    assert len(results) == 1


def test_folder_is_lossless(tmp_path):
    frames = drawn(11, 47, 63)
    (tmp_path / 'frames').mkdir()  # an empty one may be there
    writer = write(tmp_path / 'frames', frames)
    assert writer.rate_warning is None
    assert sorted(os.listdir(tmp_path / 'frames')) == [f'{i:06d}.png' for i in range(11)]
    np.testing.assert_array_equal(list(VideoReader(tmp_path / 'frames')), frames)
    with pytest.raises(UserError, match='exists already'):
        write(tmp_path / 'frames', frames)


def test_writer_checks_its_frames(tmp_path):
    frame = drawn(1)[0]
    for wrong in (frame[:40], frame[..., :2], frame.astype(np.float32)):
        with pytest.raises(ValueError, match='expected uint8'):
            write(tmp_path / 'a.mp4', [frame, wrong])
    with pytest.raises(ValueError, match='expected uint8'):
        write(tmp_path / 'a.mp4', [frame], size=(48, 60))
    with pytest.raises(ValueError, match='fps'):
        VideoWriter(tmp_path / 'a.mp4', 0)
    write(tmp_path / 'a.mp4', [frame[:, ::-1]], size=(48, 64))


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.gif', 'a'])
@pytest.mark.parametrize('failure', [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize('count', [0, 1, 60])
def test_failure_leaves_nothing(tmp_path, name, failure, count):
    before = open_files()
    with pytest.raises(failure), VideoWriter(tmp_path / name, 25) as writer:
        for frame in drawn(count):
            writer.write(frame)
        raise failure
    assert os.listdir(tmp_path) == [] and open_files() == before


@pytest.mark.parametrize('name', ['a.mp4', 'a.gif', 'a'])
def test_no_frames(tmp_path, name, capfd):
    with pytest.raises(UserError, match='no frames to write'):
        write(tmp_path / name, [])
    assert os.listdir(tmp_path) == [] and capfd.readouterr() == ('', '')


def test_the_last_good_output_survives_a_failure(tmp_path):
    (tmp_path / 'a.mp4').write_bytes(b'before')
    with pytest.raises(RuntimeError), VideoWriter(tmp_path / 'a.mp4', 25) as writer:
        writer.write(drawn(1)[0])
        raise RuntimeError
    assert (tmp_path / 'a.mp4').read_bytes() == b'before'
    write(tmp_path / 'a.mp4', drawn(3))
    assert len(list(VideoReader(tmp_path / 'a.mp4'))) == 3


def test_unknown_extension(tmp_path):
    for name in ('a.xyz', 'a.webm', 'a.tif'):
        with pytest.raises(UserError, match=r'\.mp4, \.mov, \.mkv, \.gif') as error:
            VideoWriter(tmp_path / name, 25)
        assert one_line(error).startswith(f'{tmp_path / name}: ')
    with pytest.raises(UserError, match='no such folder'):
        write(tmp_path / 'nowhere' / 'a.mp4', drawn(1))


@pytest.mark.parametrize('name', ['a.mp4', 'a.mkv', 'a.gif', 'a'])
@pytest.mark.parametrize('limit', [100, 3000, 6000])
def test_disk_refuses(tmp_path, name, limit, capfd):
    """A limit on the size of files stands in for a full disk: the same calls fail."""
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), np.uint8)
    message = 'free space or choose another place'
    with full_disk(limit), pytest.raises(UserError, match=message) as error:
        write(tmp_path / name, noise)
    assert os.strerror(errno.EFBIG).lower() in one_line(error)
    assert os.listdir(tmp_path) == [] and capfd.readouterr() == ('', '')


@pytest.mark.parametrize(
    ('death', 'reason'),
    [('echo "[x @ 0x1] no luck" >&2; exit 3', 'no luck'), ('kill -9 $$', 'ended by signal 9')],
)
@pytest.mark.parametrize('read', ['head -c 20000', 'cat'])  # dies midway, or at the end
def test_ffmpeg_dies(tmp_path, monkeypatch, capfd, death, reason, read):
    program = tmp_path / 'ffmpeg'
    program.write_text(f'#!/bin/sh\n{read} > /dev/null\necho more >&2\n{death}\n')
    program.chmod(0o755)
    monkeypatch.setenv('IMAGEIO_FFMPEG_EXE', str(program))
    with pytest.raises(UserError, match=f'ffmpeg failed: {reason}') as error:
        write(tmp_path / 'a.mp4', drawn(30))
    assert one_line(error).startswith(f'{tmp_path / "a.mp4"}: ')
    assert os.listdir(tmp_path) == ['ffmpeg'] and capfd.readouterr() == ('', '')


def test_no_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setenv('IMAGEIO_FFMPEG_EXE', str(tmp_path / 'nowhere'))
    with pytest.raises(UserError, match='ffmpeg: no such program') as error:
        VideoWriter(tmp_path / 'a.mp4', 25)
    one_line(error)
    write(tmp_path / 'frames', drawn(2))  # needs none


def test_ctrl_c_leaves_nothing(tmp_path, interruptible):
    """A terminal sends it to all processes of a command, to ffmpeg as well."""
    script = (
        'import itertools, numpy as np\n'
        'from modules.video import write_video\n'
        'def frames():\n'
        '    for number in itertools.count():\n'
        '        if number == 30:\n'
        '            print("under way", flush=True)\n'
        '        yield np.full((64, 64, 3), number % 256, np.uint8)\n'
        f'write_video({str(tmp_path / "a.mp4")!r}, frames(), 25)\n'
    )
    command = [sys.executable, '-c', script]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    run = subprocess.Popen(command, cwd=ROOT, start_new_session=True, **pipes)
    assert run.stdout.readline() == 'under way\n'
    os.killpg(run.pid, signal.SIGINT)
    _, errors = run.communicate(timeout=60)
    assert errors.splitlines()[-1] == 'KeyboardInterrupt' and os.listdir(tmp_path) == []


def test_names_that_libav_would_interpret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('clip:1.mp4', '%03d.mp4', '-i.mp4', "it's a clip.mp4"):
        write(name, drawn(3))
        assert len(list(VideoReader(name))) == 3
        assert Path(name).is_file()
    source = Path(beep('file:clip:2.mp4', 'aac')[5:])
    assert write('clip:3.mp4', drawn(3), audio_from=source).audio_warning is None
    Path('a.zip').mkdir()  # which imageio would open as an archive
    write('a.zip/frames', drawn(3))
    assert len(list(VideoReader('a.zip/frames'))) == 3
