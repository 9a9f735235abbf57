"""tools/crop_video.py: clips of tracks, whole or not at all, taken up where a run was stopped."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from modules.animation import track_clips
from modules.animation.boxes import Box, cut
from modules.data.clips import group_by_id, list_clips, open_clip
from modules.runtime.errors import UserError
from modules.video import VideoReader
from modules.video.levels import to_bytes
from tests.support.clips import far, one_line, write
from tests.support.dataset_files import write_folder
from tests.support.discs import find_discs, long_clip
from tests.support.places import ROOT
from tests.support.processes import wait_until
from tools import crop_video

NAMES = [
    'talk#0@000000-000040.mp4',
    'talk#1@000000-000025.mp4',
    'talk#2@000040-000068.mp4',
    'talk#3@000080-000100.mp4',
]
OPTIONS = ('--size', 32, '--min_frames', 5, '--every', 3)


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp('clip') / 'talk.mp4'
    write(path, long_clip(), 25)
    return path


@pytest.fixture
def crop(monkeypatch, capsys):
    """Runs the tool, which finds discs, into a folder -> its lines on stdout."""

    def run(clip, out, *options, find=find_discs):
        monkeypatch.setattr(crop_video, 'find_raised_faces', lambda: find)
        arguments = ['crop_video.py', clip, '--out', out, *(options or OPTIONS)]
        monkeypatch.setattr(sys, 'argv', [*map(str, arguments)])
        crop_video.main()
        return capsys.readouterr().out.splitlines()

    return run


def contents(folder):
    """What is in a folder, by name; all of it, hidden files included."""
    return {path.name: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_clips_are_named_and_cropped(clip, tmp_path, crop):
    out = tmp_path / 'new' / 'faces'
    lines = crop(clip, out)
    assert lines == [*(f'written: {out / name}' for name in NAMES), '4 clips']
    part = list_clips(out)
    assert part.clips == NAMES and part.others == []  # a data set as it stands
    assert list(group_by_id(part.clips)) == ['talk']
    record = json.loads((out / '.talk.mp4.tracks.json').read_text())
    frames = list(VideoReader(clip))
    for name, (start, end, box) in zip(NAMES, record['tracks'], strict=True):
        made = open_clip(out / name)
        assert (made.size, made.fps, made.frame_count) == ((32, 32), 25, end - start)
        first, last = made.read([0, end - start - 1])
        for frame, number in ((first, start), (last, end - 1)):
            assert far(frame, to_bytes(cut(frames[number], Box(*box), (32, 32)))) < 6
        assert box[2] == box[3]


def test_png(clip, tmp_path, crop):
    folder = write_folder(tmp_path / 'a.b', list(VideoReader(clip))[:12])
    crop(folder, tmp_path / 'out', '--format', 'png', '--size', 31, '--min_frames', 5)
    names = ['a.b#0@000000-000012', 'a.b#1@000000-000012']
    assert list_clips(tmp_path / 'out').clips == names
    made = open_clip(tmp_path / 'out' / names[0])
    assert (made.size, made.frame_count) == ((31, 31), 12)


def test_a_second_run_writes_nothing(clip, tmp_path, crop):
    crop(clip, tmp_path / 'out')
    there = contents(tmp_path / 'out')

    def find(frame):
        raise AssertionError('looked again')

    assert crop(clip, tmp_path / 'out', find=find) == ['0 clips, 4 there already']
    assert contents(tmp_path / 'out') == there
    (tmp_path / 'out' / NAMES[1]).unlink()
    lines = crop(clip, tmp_path / 'out', find=find)
    assert lines[-1] == '1 clip, 3 there already'
    assert contents(tmp_path / 'out') == there


@pytest.mark.parametrize('looks', [0, 4, 20])
def test_stopped_while_looking(clip, tmp_path, crop, looks):
    """What was found is not looked for again."""
    crop(clip, tmp_path / 'whole')
    calls = []

    def find(frame, limit=looks):
        if len(calls) == limit:
            raise KeyboardInterrupt
        calls.append(1)
        return find_discs(frame)

    with pytest.raises(KeyboardInterrupt):
        crop(clip, tmp_path / 'out', find=find)
    assert [*contents(tmp_path / 'out')] == ['.talk.mp4.tracks.json']
    crop(clip, tmp_path / 'out', find=lambda frame: find(frame, limit=1000))
    all_looks = len(json.loads((tmp_path / 'out' / '.talk.mp4.tracks.json').read_text())['looks'])
    assert len(calls) == all_looks
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')


KILLED = """
import sys, time
from tests.support.discs import find_discs
from modules.animation import track_clips
from tools import crop_video
crop_video.find_raised_faces = lambda: find_discs
cut = track_clips.cut
def slow(*arguments):
    time.sleep(0.02)
    return cut(*arguments)
track_clips.cut = slow
crop_video.main()
"""


def test_killed_while_writing(clip, tmp_path, crop):
    """The kernel ends it, so that nothing is tidied up; the next run gives the same bytes."""
    crop(clip, tmp_path / 'whole')
    out = tmp_path / 'out'
    arguments = map(str, (clip, '--out', out, *OPTIONS))
    process = subprocess.Popen([sys.executable, '-c', KILLED, *arguments], cwd=ROOT)
    wait_until(lambda: (out / NAMES[0]).exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = {path.name for path in out.iterdir()}
    assert '.talk.mp4.unfinished' in there and NAMES[3] not in there
    lines = crop(clip, out)
    assert f'written: {out / NAMES[3]}' in lines and f'written: {out / NAMES[0]}' not in lines
    assert {k: v for k, v in contents(out).items() if k != '.lock'} == contents(tmp_path / 'whole')


def test_an_error_leaves_no_half_clip(clip, tmp_path, crop, monkeypatch):
    calls = []

    def fail(*arguments):
        calls.append(1)
        if len(calls) == 30:
            raise UserError('the disk is full')
        return cut(*arguments)

    monkeypatch.setattr(track_clips, 'cut', fail)
    with pytest.raises(UserError, match='disk is full'):
        crop(clip, tmp_path / 'out')
    assert [*contents(tmp_path / 'out')] == ['.talk.mp4.tracks.json']


def test_what_is_left_out_is_told(clip, tmp_path, crop):
    lines = crop(clip, tmp_path / 'out', '--size', 32, '--min_frames', 25, '--min_size', 50)
    assert lines[-1] == '1 clip; left out: 2 shorter than --min_frames 25, 1 smaller than ' + (
        '--min_size 50 (the largest 48)'
    )
    with pytest.raises(UserError) as error:
        crop(clip, tmp_path / 'none', '--size', 256, '--min_frames', 5)
    assert 'no clip to write; left out: 4 smaller than --min_size 256' in one_line(error)
    with pytest.raises(UserError, match='no face is found in it'):
        crop(clip, tmp_path / 'nothing', find=lambda frame: [])


def test_mistakes(clip, tmp_path, crop):
    out = tmp_path / 'out'
    with pytest.raises(UserError, match='mp4 holds even sizes only; give 34'):
        crop(clip, out, '--size', 33)
    with pytest.raises(UserError, match='--max_frames 5: is less'):
        crop(clip, out, '--max_frames', 5)
    with pytest.raises(UserError, match='--size'):
        crop(clip, out, '--size', 'x')
    assert not out.exists()
    crop(clip, out)
    with pytest.raises(UserError, match=r'talk\.mp4.*min_frames 5, not 6; take another --out'):
        crop(clip, out, '--size', 32, '--min_frames', 6, '--every', 3)
    with pytest.raises(UserError, match='every 3, not 5'):
        crop(clip, out, '--size', 32, '--min_frames', 5)
    other = write(tmp_path / 'talk.mp4', np.stack(long_clip())[:, ::-1], 25).path
    with pytest.raises(UserError, match=r'clips of another talk\.mp4'):
        crop(other, out)
    other = other.rename(tmp_path / 'talk.mov')
    with pytest.raises(UserError, match='is there already, and not from this run'):
        crop(other, out)
    (out / '.talk.mp4.tracks.json').write_text('{')
    with pytest.raises(UserError, match='damaged'):
        crop(clip, out)
    folder = write_folder(tmp_path / 'pictures', long_clip()[:3])
    with pytest.raises(UserError, match='is the clip itself; take another folder'):
        crop(folder, folder)
    long = tmp_path / ('a' * 201)
    with pytest.raises(UserError, match='too long a name'):
        crop(write_folder(long, long_clip()[:3]), out)
    with pytest.raises(UserError, match=r'absent\.mp4'):
        crop(tmp_path / 'absent.mp4', out)


def test_help_says_what_it_does():
    run = [sys.executable, ROOT / 'tools' / 'crop_video.py', '--help']
    said = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert 'Cuts the faces out of a video' in said and '--increase' in said
