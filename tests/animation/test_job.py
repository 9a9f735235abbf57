"""Jobs: the files of demo.py, by a worker that prints nothing and keeps its engine."""

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

from modules.animation import job
from modules.animation.inputs import BUNDLED
from modules.animation.job import JobCancelledError, Worker
from modules.animation.job_options import JobError, job_options
from tests.support.clips import beep, write
from tests.support.demo_runs import DATA, frames_of, run_demo
from tests.support.places import full_disk

TINY = {'config': DATA / 'tiny.yaml', 'checkpoint': DATA, 'engine': 'eager', 'cpu': True}


@pytest.fixture
def given(tmp_path, golden_clip):
    return {
        **TINY,
        'source_image': DATA / 'source.png',
        'driving_video': golden_clip,
        'result_video': tmp_path / 'result.mp4',
    }


@pytest.fixture
def builds(monkeypatch):
    """The arguments of all engines that are built."""
    made = []

    def build(*arguments, **named):
        made.append((arguments, named))
        return build_engine(*arguments, **named)

    build_engine = job.build_engine
    monkeypatch.setattr(job, 'build_engine', build)
    return made


def on_command_line(values):
    arguments = []
    for name, value in values.items():
        if value is True and name != 'cpu':
            arguments.append(f'--{name}')
        elif value is not True:
            text = ','.join(map(str, value)) if isinstance(value, tuple) else value
            arguments += [f'--{name}', text]
    return arguments


@pytest.mark.parametrize(
    'more',
    [
        {},
        {'relative': True, 'adapt_scale': True, 'find_best_frame': True, 'side_by_side': True},
        {'source_crop': (4, 4, 50, 50), 'show_crop': 'c.png', 'save_motion': 'm.motion'},
        {'loop': True, 'crop': 'none', 'batch': 2},
        {'size': (96, 80), 'speed': 2.0, 'frames': 3.0, 'smooth': True, 'motion_scale': 1.0},
    ],
)
def test_the_files_of_demo(tmp_path, monkeypatch, capsys, given, more):
    """And the same lines, which are returned and not printed."""
    places = 'result_video', 'show_crop', 'save_motion'
    given |= more
    there = {name: tmp_path / 'demo' / given[name] for name in places if name in given}
    there['result_video'] = tmp_path / 'demo' / 'result.mp4'
    here = {name: tmp_path / 'job' / path.name for name, path in there.items()}
    for folder in ('demo', 'job'):
        (tmp_path / folder).mkdir()
    typed = {**given, **there, 'frames': 3} if 'frames' in more else {**given, **there}
    run_demo(monkeypatch, *on_command_line(typed))
    told = capsys.readouterr()
    done = Worker().run(job_options({**given, **here}))
    assert capsys.readouterr() == ('', '')
    *said, written = told.out.replace(str(tmp_path / 'demo'), str(tmp_path / 'job')).splitlines()
    assert list(done.said) == said and written.startswith('written: ')
    assert [f'note: {line}' for line in done.notes] == told.err.splitlines()
    assert set(done.written) == set(here.values()) and done.result == here['result_video']
    for name, path in here.items():
        assert path.read_bytes() == there[name].read_bytes(), name
    assert sorted(p.name for p in (tmp_path / 'job').iterdir()) == sorted(
        path.name for path in here.values()
    )


def test_one_engine_is_kept(tmp_path, given, builds):
    worker, results = Worker(), []
    for i, more in enumerate([{}, {'relative': True}, {'batch': 2}, {'batch': 2}, {}]):
        given['result_video'] = tmp_path / str(i)
        worker.run(job_options({**given, **more}))
        results.append(sorted(p.read_bytes() for p in (tmp_path / str(i)).iterdir()))
    assert [named['batch'] for _, named in builds] == [None, 2, None]
    assert results[0] == results[4] != results[1]


def test_an_engine_of_other_weights_is_another(tmp_path, given, builds):
    """Although path and config are the same: a run writes on."""
    tensors = load_file(BUNDLED / 'demo-128.safetensors')
    path = tmp_path / 'weights.safetensors'
    worker = Worker()
    for factor in (1, 1, 0.5):
        save_file({name: array * array.dtype.type(factor) for name, array in tensors.items()}, path)
        more = {'config': None, 'checkpoint': path, 'frames': 1}
        worker.run(job_options({**given, **more, 'source_image': None, 'driving_video': None}))
    assert len(builds) == 2


def test_what_is_noted_of_an_engine_is_noted_of_each_job(given):
    worker = Worker()
    given |= {'precision': 'bf16', 'frames': 1}
    notes = [worker.run(job_options(given)).notes for _ in range(2)]
    assert notes[0] == notes[1] and 'eager engine has only fp32' in notes[0][0]


def test_progress(given):
    seen = []
    worker = Worker()
    done = worker.run(job_options(given), lambda *numbers: seen.append(numbers))
    assert seen == [(i + 1, 8) for i in range(8)] and done.frame_count == 8
    assert done.seconds > 0


@pytest.mark.parametrize('more', [{}, 'padded', {'relative': True, 'find_best_frame': True}])
def test_cancelled(tmp_path, monkeypatch, given, more):
    """Wherever that is, nothing is left, and the worker works on."""
    monkeypatch.chdir(tmp_path)
    if more == 'padded':  # the bundled clip: it is looked through for its object
        more = {'config': None, 'checkpoint': None, 'source_image': None}
        more['driving_video'] = tmp_path / 'padded.mp4'
        frames = frames_of(BUNDLED / 'driving.mp4')[:6]
        write(tmp_path / 'padded.mp4', np.pad(frames, ((0, 0), (40, 24), (60, 4), (0, 0)), 'edge'))
    before = sorted(tmp_path.rglob('*'))
    worker = Worker()
    options = job_options({**given, **more, 'save_motion': 'm.motion'})
    asked = []
    worker.run(options, cancelled=lambda: bool(asked.append(1)))
    (tmp_path / 'm.motion').unlink()
    expected = options.result_video.read_bytes()
    options.result_video.unlink()
    assert len(asked) >= (14 if more else 9)
    for answers in (1, 2, 5, len(asked) - 1, len(asked)):
        answer = iter([False] * (answers - 1) + [True])
        with pytest.raises(JobCancelledError):
            worker.run(options, cancelled=answer.__next__)
        assert sorted(tmp_path.rglob('*')) == before
    worker.run(options)
    assert options.result_video.read_bytes() == expected


@pytest.mark.parametrize(
    ('values', 'option', 'words'),
    [
        ({'size': '12'}, 'size', '--size: 12: give width and height'),
        ({'crop': 'nose'}, 'crop', 'auto'),
        ({'frames': 'many'}, 'frames', 'many'),
        ({'frames': 0}, 'frames', 'at least 1'),
        ({'frames': 2.5}, 'frames', '2.5'),
        ({'speed': -1}, 'speed', 'give a factor'),
        ({'relative': 'maybe'}, 'relative', 'give yes or no'),
        ({'motion_scale': 2}, 'motion_scale', 'add that'),
        ({'audio': True, 'no_audio': True}, 'no_audio', 'not allowed with'),
        ({'sise': '1,2'}, 'sise', 'did you mean --size'),
        ({'help': True}, 'help', 'no option'),
        ({'result_video': '/nowhere/at/all.mp4'}, 'result_video', 'no such folder'),
        ({'result_video': 'x.txt'}, 'result_video', 'not written'),
        ({'source_image': 'none.png'}, 'source_image', 'no such'),
        ({'driving_video': 'none.mp4'}, 'driving_video', 'no such'),
        ({'driving_video': DATA / 'tiny.yaml'}, 'driving_video', 'tiny.yaml'),
        ({'checkpoint': 'voxx'}, 'checkpoint', 'did you mean vox'),
        ({'config': 'none.yaml'}, 'config', 'no such'),
        ({'motion': 'none.motion', 'driving_video': None}, 'motion', 'no such'),
        ({'best_frame': 99, 'relative': True}, 'best_frame', 'no such frame'),
        ({'driving_video': '-x.mp4'}, 'driving_video', 'no such'),
    ],
)
def test_a_mistake_knows_its_option(tmp_path, monkeypatch, given, values, option, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(JobError, match=words) as caught:
        Worker().run(job_options({**given, **values}))
    assert caught.value.option == option
    assert 'see --help' not in str(caught.value) and '\n' not in str(caught.value)


def test_a_broken_picture(tmp_path, given):
    picture = tmp_path / 'broken.png'
    picture.write_bytes((DATA / 'source.png').read_bytes()[:100])
    with pytest.raises(JobError) as caught:
        Worker().run(job_options({**given, 'source_image': picture}))
    assert caught.value.option == 'source_image'


def test_flags_and_what_is_left_out():
    given = {'relative': 'YES', 'loop': 'no', 'smooth': False, 'size': '', 'fps': None}
    options = job_options(given)
    assert options.relative and not options.loop and not options.smooth
    assert options.size is None and options.fps is None
    assert options.driving_video.name == 'driving.mp4'  # the bundled one, as of demo.py


def test_a_full_disk(tmp_path, given):
    with full_disk(1000), pytest.raises(JobError, match='space') as caught:
        Worker().run(job_options({**given, 'result_video': tmp_path / 'result'}))
    assert caught.value.option == 'result_video'
    assert not (tmp_path / 'result').exists()


def test_sound(tmp_path, monkeypatch, given):
    beep(tmp_path / 'heard.mp4', 'aac', seconds=0.5, onset=0.1)
    given |= {'driving_video': tmp_path / 'heard.mp4', 'crop': 'none'}
    run_demo(monkeypatch, *on_command_line({**given, 'result_video': tmp_path / 'demo.mp4'}))
    Worker().run(job_options(given))
    assert (tmp_path / 'demo.mp4').read_bytes() == (tmp_path / 'result.mp4').read_bytes()


def test_a_picture_as_result(tmp_path, given):
    given |= {'result_video': tmp_path / 'one.png', 'frames': 1}
    assert Worker().run(job_options(given)).frame_count == 1
    assert Image.open(tmp_path / 'one.png').size == (64, 64)
