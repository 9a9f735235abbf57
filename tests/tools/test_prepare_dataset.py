"""tools/prepare_dataset.py: what comes out of phone clips, again and after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from frames_dataset import FramesDataset
from modules.animation.boxes import Box
from modules.runtime.errors import UserError
from modules.video import VideoReader, read_image
from tests.support.clips import one_line
from tests.support.phone_clips import COUNT, OPTIONS, write_phone_clips
from tests.support.places import ROOT
from tests.support.processes import wait_until
from tools import prepare_dataset

TOOL = ROOT / 'tools' / 'prepare_dataset.py'
TRACKS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 1, 6: 1, 7: 1, 10: 1, 11: 2, 12: 2}  # of each clip, by number


@pytest.fixture(scope='module')
def phone(tmp_path_factory):
    return write_phone_clips(tmp_path_factory.mktemp('clips') / 'phone')


@pytest.fixture
def prepare(monkeypatch, capsys):
    """Runs the tool in this process -> its lines on stdout and on stderr."""

    def run(*arguments):
        options = [*OPTIONS, '--crop', 'object', *map(str, arguments)]
        monkeypatch.setattr(sys, 'argv', ['prepare_dataset.py', *options])
        prepare_dataset.main()
        captured = capsys.readouterr()
        return captured.out.splitlines(), captured.err.splitlines()

    return run


@pytest.fixture(scope='module')
def made(phone, tmp_path_factory):
    """The data set of the twelve clips, a broken one and a file that is none, by the command."""
    out = tmp_path_factory.mktemp('set') / 'deep' / 'mine'
    (phone / 'broken.mp4').write_bytes((phone / 'IMG_0003.mp4').read_bytes()[:3000])
    (phone / 'notes.txt').write_text('no clip')
    command = [sys.executable, TOOL, phone, '--out', out, *OPTIONS, '--crop', 'object']
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return out, ended


def files(out):
    """The clips of a data set, below its folder."""
    return sorted(str(path.relative_to(out)) for path in out.glob('t*/*'))


def contents(out):
    """Everything in the folder, hidden records included, but the lock."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob('*')
        if path.is_file() and path.name != '.lock'
    }


def report(out):
    return json.loads((out / 'report.json').read_text(encoding='utf-8'))


def test_phone_clips_become_a_data_set(made):
    out, ended = made
    told = report(out)
    counts = {}
    for clip in told['clips']:
        counts[int(clip['source'][4:8])] = counts.get(int(clip['source'][4:8]), 0) + 1
    assert counts == TRACKS
    assert [clip['file'] for clip in told['clips']] == files(out)
    left_out = {each['source']: (each['what'], each['tracks']) for each in told['left_out']}
    assert left_out == {
        'IMG_0008.mp4': ('duplicate', 0),
        'IMG_0009.mp4': ('still', 1),
        'broken.mp4': ('broken', 0),
    }
    lines = ended.stdout.splitlines()
    assert lines[-1] == f'next: python train.py --data {out}'
    assert lines[2] == 'left out: 1 broken, 1 duplicate, 1 still'
    assert 'IMG_0008.mp4: left out: the same as IMG_0001.mp4' in ended.stderr
    assert '1 other file beside the clips, such as notes.txt' in ended.stderr


def test_clips_are_what_training_reads(made):
    """Sizes, ids, and no clip of an id in both parts; what was long ago 50 fps is 25."""
    out, _ = made
    ids = []
    for is_train in (True, False):
        data = FramesDataset(out, (48, 48, 3), is_train=is_train, id_sampling=True, cache_gb=0)
        assert not data.broken
        ids.append({name.split('#')[0] for name in data.names})
        assert {clip.size for clip in data.clips} == {(48, 48)}
        assert {clip.fps for clip in data.clips} == {25}
    assert len(data) > 0 and not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == len(TRACKS) and len(ids[1]) == 2
    summary = report(out)['summary']
    assert (summary['train']['ids'], summary['test']['ids']) == (8, 2)


def test_creatures_are_whole_in_their_squares(made, phone):
    """What moves lies within the square, and the square within the upright picture."""
    out, _ = made
    for clip in report(out)['clips']:
        box = Box(*clip['box'])
        with VideoReader(phone / clip['source']) as reader:
            height, width = reader.size
            moved = np.ptp([f.astype(int) for f in reader], axis=0).max(axis=2) > 60
        assert box.w == box.h
        assert box.x >= -0.01 and box.y >= -0.01
        assert box.x + box.w <= width + 0.01 and box.y + box.h <= height + 0.01
        if TRACKS[int(clip['source'][4:8])] == 1:
            inside = moved[round(box.y) : round(box.y + box.h), round(box.x) : round(box.x + box.w)]
            assert inside.sum() > 0.97 * moved.sum() > 0


def test_contact_sheet_shows_each_clip(made):
    out, _ = made
    clips = report(out)['clips']
    sheet = read_image(out / 'contact-sheet.png')
    columns, rows = 8, -(-len(clips) // 8)
    assert sheet.shape == (rows * 158, columns * 128, 3)
    for number in (0, 9, len(clips) - 1):
        row, column = divmod(number, columns)
        tile = sheet[row * 158 : row * 158 + 158, column * 128 : column * 128 + 128]
        with VideoReader(out / clips[number]['file']) as reader:
            middle = reader.read_frames([reader.frame_count // 2])[0]
        shown = tile[2 : 2 + 48, 40 : 40 + 48]
        assert np.abs(shown.astype(int) - middle).max() == 0
        assert tile[130:].max() > 200  # the label


def test_page_names_everything(made):
    out, _ = made
    page = (out / 'report.md').read_text(encoding='utf-8')
    assert '![contact-sheet](contact-sheet.png)' in page
    for name in [*files(out), 'IMG_0008.mp4', 'broken.mp4', 'nothing moves']:
        assert name in page


def test_again_changes_nothing(made, phone, tmp_path, prepare):
    out, _ = made
    copy = tmp_path / 'mine'
    shutil.copytree(out, copy)
    before = {path: path.stat().st_mtime_ns for path in copy.glob('t*/*')}
    prepare(phone, '--out', copy)
    assert {path: path.stat().st_mtime_ns for path in copy.glob('t*/*')} == before
    assert {k: v for k, v in contents(copy).items() if k != 'report.md'} == {
        k: v for k, v in contents(out).items() if k != 'report.md'
    }


SLOW = """
import sys, time
sys.argv[0] = 'prepare_dataset.py'
from tools import prepare_dataset
from tools.dataset_preparing import preparing
place = sys.argv.pop()
plain = preparing.apart
def apart(sources, task, title, workers, may_fail=True):
    if title == place:  # some of it done, the rest never
        plain(sources[: len(sources) // 2], task, title, workers, may_fail)
        print('there', flush=True)
        time.sleep(60)
    return plain(sources, task, title, workers, may_fail)
preparing.apart = apart
prepare_dataset.main()
"""


@pytest.mark.parametrize('place', ['looking at clips', 'cropping'])
def test_killed_and_started_again(made, phone, tmp_path, place):
    """By the kernel, halfway: the same files, and what was done is not done again."""
    out = tmp_path / 'mine'
    options = [phone, '--out', out, *OPTIONS, '--crop', 'object']
    command = [sys.executable, '-c', SLOW, *map(str, options), place]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'there\n'
        process.send_signal(signal.SIGKILL)
    done = {path: path.stat().st_mtime_ns for path in out.rglob('*') if path.is_file()}
    whole, _ = made
    assert 0 < len(files(out)) < len(files(whole)) or place != 'cropping'
    subprocess.run([sys.executable, TOOL, *options], check=True, capture_output=True)
    kept = [p for p in done if p.name != '.lock' and p.exists()]
    assert all(p.stat().st_mtime_ns == done[p] for p in kept if 'plan' not in p.name)
    mine, theirs = contents(out), contents(whole)
    assert {k: v for k, v in mine.items() if k != 'report.md'} == {
        k: v for k, v in theirs.items() if k != 'report.md'
    }


def test_killed_within_a_clip(made, phone, tmp_path):
    """While a clip is half written; nothing of it is left."""
    out = tmp_path / 'mine'
    options = [phone, '--out', out, *OPTIONS, '--crop', 'object', '--workers', 1]
    process = subprocess.Popen([sys.executable, TOOL, *map(str, options)], start_new_session=True)
    wait_until(lambda: any(out.glob('.prepared/*.unfinished/.*')))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert len(files(out)) < len(files(made[0]))
    subprocess.run([sys.executable, TOOL, *map(str, options)], check=True, capture_output=True)
    mine, theirs = contents(out), contents(made[0])
    assert mine.keys() == theirs.keys()
    assert all(mine[name] == theirs[name] for name in files(out))


def test_clips_come_and_go(made, phone, tmp_path, prepare):
    """Persons stay in their part; what is no more wanted goes, with a clip that has changed."""
    clips, out = tmp_path / 'clips', tmp_path / 'mine'
    shutil.copytree(phone, clips)
    for number in (1, 2, 3):
        (clips / f'IMG_{number:04d}.mp4').rename(tmp_path / f'{number}.mp4')
    prepare(clips, '--out', out)
    first = files(out)
    assert any(name.split('/')[1].startswith('IMG_0008#') for name in first)  # the only one now
    shutil.copy(tmp_path / '1.mp4', clips / 'IMG_0001.mp4')
    (clips / 'IMG_0005.mp4').unlink()
    shutil.copy(tmp_path / '3.mp4', clips / 'IMG_0006.mp4')
    prepare(clips, '--out', out)
    second = files(out)
    assert second == [clip['file'] for clip in report(out)['clips']]
    parts = {name.split('/')[1].split('#')[0]: name.split('/')[0] for name in first}
    for name in second:
        part, _, file = name.partition('/')
        assert parts.get(file.split('#')[0], part) == part
    stems = [name.split('/')[1].split('@')[0] for name in second]
    assert {'IMG_0001#0', 'IMG_0006#0', 'IMG_0006#1'} <= {*stems}
    assert not any(stem.startswith(('IMG_0005', 'IMG_0008')) for stem in stems)


def test_folders_are_persons(phone, tmp_path, prepare):
    for number, person in ((1, 'anna'), (2, 'anna'), (5, 'ben'), (6, 'ben'), (10, 'cara')):
        place = tmp_path / 'clips' / person / 'deeper' / f'{number}.mp4'
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(phone / f'IMG_{number:04d}.mp4', place)
    lines, _ = prepare(tmp_path / 'clips', '--out', tmp_path / 'mine', '--test', 0.3)
    assert lines[:2] in (
        ['train: 3 clips of 2 persons', 'test: 2 clips of 1 person'],
        ['train: 4 clips of 2 persons', 'test: 1 clip of 1 person'],
    )
    names = {name.split('/')[1].split('@')[0] for name in files(tmp_path / 'mine')}
    assert names == {'anna#1#0', 'anna#2#0', 'ben#5#0', 'ben#6#0', 'cara#10#0'}


def test_one_person_is_split_by_clip(phone, tmp_path, prepare):
    for number in (1, 2):
        shutil.copy(phone / f'IMG_{number:04d}.mp4', tmp_path / f'me#{number}.mp4')
    clips = [tmp_path / 'me#1.mp4', tmp_path / 'me#2.mp4']
    lines, said = prepare(*clips, '--out', tmp_path / 'mine')
    assert lines[:2] == ['train: 1 clip of 1 person', 'test: 1 clip of 1 person']
    assert 'note: a single person: the parts are split by clip' in said
    prepare(clips[0], '--out', tmp_path / 'one')
    assert [name.split('@')[0] for name in files(tmp_path / 'one')] == ['train/me#1#0']


def test_mistakes(made, phone, tmp_path, prepare):
    out, _ = made
    with pytest.raises(UserError, match='made with --every 5, not 3; take another --out'):
        prepare(phone, '--out', out, '--every', 3)
    with pytest.raises(UserError, match='is less than --min_frames'):
        prepare(phone, '--out', tmp_path / 'a', '--max_frames', 5)
    with pytest.raises(UserError, match=r'absent: no such clip'):
        prepare(tmp_path / 'absent', '--out', tmp_path / 'a')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(UserError, match='no clips here'):
        prepare(tmp_path / 'empty', '--out', tmp_path / 'a')
    with pytest.raises(UserError, match='--min_size') as small:
        prepare(phone, '--out', tmp_path / 'b', '--min_size', 500)
    assert 'the largest is' in one_line(small)
    with pytest.raises(UserError, match=r'1 still.*nothing moves'):
        prepare(phone / 'IMG_0009.mp4', '--out', tmp_path / 'c')
    (tmp_path / 'd' / 'train').mkdir(parents=True)
    with pytest.raises(UserError, match='holds a folder train/ already'):
        prepare(phone, '--out', tmp_path / 'd')
    with pytest.raises(UserError, match='even sizes only'):
        prepare_dataset_options(tmp_path, phone, '--size', '49')
    assert not (tmp_path / 'a').exists()


def prepare_dataset_options(folder, phone, *more):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['x', str(phone), '--out', str(folder / 'e'), *more])
        prepare_dataset.parse_arguments()


def test_all_kinds_of_phone_clips_are_there():
    assert COUNT == 12 == len(TRACKS) + 2
