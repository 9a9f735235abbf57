"""Which process takes which row; what one process does with its rows."""

from argparse import Namespace

import pytest

from modules.animation import job
from modules.animation.job_options import job_options
from tests.support.demo_runs import DATA
from tools.batching import processes
from tools.batching.places import RECORDS
from tools.batching.processes import DONE, FAILED, THERE, Order, RowMaker
from tools.batching.records import Record
from tools.batching.running import Waiting


def order(number, checkpoint):
    settings = {'config': None, 'engine': 'auto', 'precision': 'fp32', 'batch': None, 'cpu': False}
    return Order(number, Namespace(checkpoint=checkpoint, **settings), [f'{number}.mp4'], [])


def taken(waiting, turns):
    got = [waiting.take(process) for process in turns]
    return [None if order is None else order.number for order in got]


def test_rows_of_one_engine_come_together(tmp_path):
    waiting = Waiting((order(i, kind) for i, kind in enumerate('abcabba')), tmp_path)
    assert taken(waiting, [0] * 8) == [0, 3, 6, 1, 4, 5, 2, None]
    assert not waiting


def test_processes_share_the_engines(tmp_path):
    """Each has its own while there are enough; then they help where most is left."""
    waiting = Waiting((order(i, kind) for i, kind in enumerate('aababaaa')), tmp_path)
    assert taken(waiting, [0, 1, 1, 0, 1, 1, 0, 0, 1]) == [0, 2, 4, 1, 3, 5, 6, 7, None]
    waiting = Waiting((order(i, 'a') for i in range(4)), tmp_path)
    assert taken(waiting, [0, 1, 0, 1]) == [0, 1, 2, 3]


@pytest.fixture
def process(tmp_path, monkeypatch):
    """What a process of a batch does, within this one: a function of an order."""
    monkeypatch.setattr(processes, 'prepare_process', lambda cpu: None)
    monkeypatch.setattr(processes, 'end_once', lambda: None)
    (tmp_path / 'out' / RECORDS).mkdir(parents=True)
    maker = RowMaker(tmp_path / 'out', cpu=True)
    return lambda order, tell=lambda share: None: maker(order, tell)


@pytest.fixture
def orders(tmp_path, golden_clip):
    """Makes orders of rows for this process."""

    def make(number=0, name='r.mp4', **more):
        values = {'config': DATA / 'tiny.yaml', 'checkpoint': DATA, 'engine': 'eager'}
        values |= {'source_image': DATA / 'source.png', 'driving_video': golden_clip, **more}
        options = job_options({**values, 'result_video': tmp_path / 'out' / name})
        outputs = [name]
        if 'save_motion' in more:
            outputs.append(str(options.save_motion.relative_to(tmp_path / 'out')))
        return Order(number, options, outputs, ['a note'])

    return make


def test_an_engine_serves_several_rows(process, orders, monkeypatch):
    built = []
    build_engine = job.build_engine

    def build(*arguments, **named):
        built.append(named)
        return build_engine(*arguments, **named)

    monkeypatch.setattr(job, 'build_engine', build)
    for number, more in enumerate([{}, {'relative': True}, {'batch': 2}]):
        outcome = process(orders(number, f'{number}.mp4', **more))
        assert outcome.status == DONE and outcome.frames == 8 and outcome.message == 'a note'
    assert len(built) == 2


def test_what_is_there_is_not_made_again(tmp_path, process, orders):
    first = process(orders())
    again = RowMaker(tmp_path / 'out', cpu=True)
    there = again(orders(), None)
    assert there == first._replace(status=THERE)
    assert again._worker is None  # no engine was needed


@pytest.mark.parametrize(
    'change',
    ['option', 'picture', 'clip', 'weights', 'result', 'other result', 'no result', 'record'],
)
def test_what_has_changed_is_made_again(tmp_path, process, orders, golden_clip, change):
    """Times of files alone are no change, and no sign that there is none."""
    picture, weights = tmp_path / 'p.png', tmp_path / 'w'
    picture.write_bytes((DATA / 'source.png').read_bytes())
    weights.mkdir()
    for name in ('G', 'KP'):
        (weights / f'{name}.npz').write_bytes((DATA / f'{name}.npz').read_bytes())
    more = {'source_image': picture, 'checkpoint': weights, 'save_motion': tmp_path / 'out' / 'm'}
    made = process(orders(**more))
    assert made.status == DONE
    record = Record(tmp_path / 'out', ['r.mp4', 'm'])
    for path in (picture, golden_clip / '3.png', weights / 'G.npz', tmp_path / 'out' / 'r.mp4'):
        path.touch()
    assert process(orders(**more)).status == THERE
    result = (tmp_path / 'out' / 'r.mp4').read_bytes()
    if change == 'option':
        more['relative'] = True
    elif change == 'picture':
        picture.write_bytes((golden_clip / '3.png').read_bytes())
    elif change == 'clip':
        (golden_clip / '3.png').write_bytes((golden_clip / '5.png').read_bytes())
    elif change == 'weights':
        weights = tmp_path / 'tiny.pth.tar'
        weights.write_bytes((DATA / 'tiny-nets-legacy.pth.tar').read_bytes())
        more['checkpoint'] = weights
    elif change == 'result':
        (tmp_path / 'out' / 'r.mp4').write_bytes(result[:-1] + b'x')
    elif change == 'other result':
        (tmp_path / 'out' / 'm').write_bytes(b'')
    elif change == 'no result':
        (tmp_path / 'out' / 'r.mp4').unlink()
    else:
        record.path.write_bytes(record.path.read_bytes()[:40])
    assert process(orders(**more)).status == DONE
    if change in ('result', 'other result', 'no result', 'record'):
        assert (tmp_path / 'out' / 'r.mp4').read_bytes() == result


def test_a_row_that_fails_leaves_nothing_of_before(tmp_path, process, orders):
    assert process(orders()).status == DONE
    failed = process(orders(source_image=tmp_path / 'none.png'))
    assert failed.status == FAILED and 'none.png' in failed.message and not failed.trace
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [RECORDS]
    assert list((tmp_path / 'out' / RECORDS).iterdir()) == []


def test_a_defect_is_a_failure_with_its_trace(process, orders, monkeypatch):
    def fail(*arguments, **named):
        raise ValueError('a defect')

    monkeypatch.setattr(job, 'build_engine', fail)
    failed = process(orders())
    assert failed.status == FAILED and failed.message == 'ValueError: a defect'
    assert 'in fail' in failed.trace


def test_a_folder_of_frames_is_made_anew(tmp_path, process, orders):
    """One of this batch; not one of somebody else's, nor one with more in it."""
    folder = tmp_path / 'out' / 'r'
    assert process(orders(name='r')).status == DONE
    assert process(orders(name='r', frames=3)).status == DONE
    assert len(list(folder.iterdir())) == 3
    (folder / 'mine.txt').touch()
    failed = process(orders(name='r', frames=2))
    assert failed.status == FAILED and 'exists already' in failed.message
    assert (folder / 'mine.txt').exists() and len(list(folder.iterdir())) == 4
    foreign = tmp_path / 'out' / 'foreign'
    foreign.mkdir()
    (foreign / '000000.png').touch()
    assert process(orders(name='foreign')).status == FAILED
    assert (foreign / '000000.png').exists()


def test_how_much_is_done_is_told(process, orders, monkeypatch):
    monkeypatch.setattr(processes, '_OFTEN', 0)
    told = []
    process(orders(3), told.append)
    assert told == [number / 8 for number in range(1, 9)]


@pytest.mark.parametrize('name', ['../mine.mp4', '/tmp/mine.mp4', 7, '', '.batch/x'])
def test_a_record_removes_nothing_outside(tmp_path, name):
    record = Record(tmp_path / 'out', ['r.mp4'])
    record.path.parent.mkdir(parents=True)
    mine = tmp_path / 'mine.mp4'
    mine.touch()
    record.path.write_text(str({'outputs': [name]}).replace("'", '"'))
    assert Record(tmp_path / 'out', ['r.mp4'])._held == {}
    Record(tmp_path / 'out', ['r.mp4']).begin('row')
    assert mine.exists()
