"""Order of samples and the worker processes."""

import gc
import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from frames_dataset import Damage, FramesDataset, Sample
from modules.data.loader import TrainingOrder, make_loader
from modules.runtime.errors import UserError
from tests.support.dataset_files import SIZE, cut_short, frames, write_folder
from tests.support.places import ROOT
from tests.support.processes import PATIENCE, alive, wait_until


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        write_folder(tmp_path / 'train' / str(number), frames(6, seed=number))
    return tmp_path


@pytest.fixture
def data(folder):
    params = {'jitter_param': {'brightness': 0.3}, 'flip_param': {'horizontal_flip': True}}
    return FramesDataset(folder, [SIZE, SIZE, 3], augmentation_params=params, cache_gb=0)


class Stub:
    """A dataset whose samples tell their keys; some do something else first."""

    frame_shape = (1, 2, 3)

    def __init__(self, acts=None):
        self.acts, self.reported = acts or {}, []

    def draw(self, key):
        index, rest = key
        damage = self.acts.get(index, lambda: [])()
        image = np.full((3, 1, 2), index, np.float32)
        return Sample(image, image + rest[2] / 1000, f'clip {index}'), damage

    def __getitem__(self, key):
        return self.draw(key)[0]

    def report(self, damage):
        self.reported += damage


def keys_of(*batches):
    return [[(index, (0, 0, 0)) for index in batch] for batch in batches]


@pytest.fixture(autouse=True)
def alarm():
    """Fails what hangs."""

    def fail(*_):
        raise AssertionError('hangs')

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(3 * PATIENCE)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# ---- order ----


def test_an_epoch_passes_over_all_samples_once():
    order = TrainingOrder(num_samples=23, batch_size=4, seed=1)
    batches = list(order.epoch(0))
    assert len(order) == len(batches) == 5  # the last three samples fill no batch
    keys = [key for batch in batches for key in batch]
    assert len({index for index, _ in keys}) == 20 and max(index for index, _ in keys) < 23
    assert [rest for _, rest in keys] == [(1, 0, position) for position in range(20)]


def test_epochs_and_seeds_have_orders_of_their_own():
    def indices(seed, epoch):
        return [i for batch in TrainingOrder(50, 5, seed).epoch(epoch) for i, _ in batch]

    orders = [indices(seed, epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    assert indices(2, 1) == orders[7]
    assert all(sorted(order) == list(range(50)) for order in orders)


@pytest.mark.parametrize('world_size', [2, 4])
def test_processes_share_the_joint_batches(world_size):
    joint = list(TrainingOrder(30, 8, 3).epoch(2))
    ranks = [list(TrainingOrder(30, 8, 3, r, world_size).epoch(2)) for r in range(world_size)]
    assert [list(itertools.chain(*parts)) for parts in zip(*ranks)] == joint


def test_resuming_within_an_epoch():
    order = TrainingOrder(30, 4, 3)
    assert list(order.epoch(1, start_batch=3)) == list(order.epoch(1))[3:]
    assert list(order.epoch(1, start_batch=7)) == []


def test_impossible_batches():
    with pytest.raises(UserError, match='6 does not divide among 4 processes; take 4 or 8'):
        TrainingOrder(100, 6, 0, 0, 4)
    with pytest.raises(UserError, match='8 is more than the 7 samples'):
        TrainingOrder(7, 8, 0)


# ---- batches ----


@pytest.mark.parametrize('workers', [1, 2, 5])
def test_workers_change_nothing(data, workers):
    keys = list(TrainingOrder(2 * len(data), 3, 0).epoch(0))
    expected = list(make_loader(data, keys, 0))
    got = list(make_loader(data, keys, workers))
    assert len(got) == len(expected) == 3
    for one, other in zip(got, expected):
        assert one.names == other.names and one.source.shape == (3, 3, SIZE, SIZE)
        np.testing.assert_array_equal(one.source, other.source)
        np.testing.assert_array_equal(one.driving, other.driving)
    assert (expected[0].source != expected[0].driving).any()


@pytest.mark.parametrize('workers', [0, 1, 3, 7])
@pytest.mark.parametrize('size', [1, 4])
def test_batches_stay_in_order_and_are_the_callers_own(workers, size):
    batches = [list(range(start, start + size)) for start in range(0, 40, size)]
    batches[-1] = batches[-1][: max(1, size - 2)]  # the last one may be smaller
    got = list(make_loader(Stub(), keys_of(*batches), workers))  # kept, while later ones come
    assert [batch.source[:, 0, 0, 0].tolist() for batch in got] == batches
    assert [list(batch.names) for batch in got] == [[f'clip {i}' for i in b] for b in batches]


@pytest.mark.parametrize('workers', [0, 2])
def test_no_batches(workers):
    assert list(make_loader(Stub(), [], workers)) == []


def test_slow_workers_keep_the_order():
    acts = {index: lambda i=index: time.sleep(0.03 * (i % 3)) or [] for index in range(12)}
    got = make_loader(Stub(acts), keys_of(*[[i, i + 1] for i in range(0, 12, 2)]), 3)
    assert [int(batch.source[0, 0, 0, 0]) for batch in got] == [0, 2, 4, 6, 8, 10]


def test_keys_are_asked_for_only_a_little_ahead():
    asked = []

    def keys():
        for index in range(1000):
            asked.append(index)
            yield [(index, (0, 0, 0))]

    loader = make_loader(Stub(), keys(), 2)
    next(loader)
    assert len(asked) < 10
    loader.close()


def test_damage_is_reported_in_the_main_process():
    stub = Stub({1: lambda: [Damage('x', 'x is broken')]})
    list(make_loader(stub, keys_of([0, 1], [1, 2]), 2))
    assert stub.reported == [Damage('x', 'x is broken')] * 2


def test_damage_in_workers_gives_the_same_batches(folder, capsys):
    for number in (1, 2, 3):
        cut_short(folder / 'train' / '0' / f'{number}.png')
    data = FramesDataset(folder, [SIZE, SIZE, 3], cache_gb=0)
    keys = list(TrainingOrder(4 * len(data), 5, 0).epoch(0))
    alone, together = (list(make_loader(data, keys, workers)) for workers in (0, 2))
    for one, other in zip(alone, together):
        assert one.names == other.names
        np.testing.assert_array_equal(one.driving, other.driving)
    assert data.unreadable['0'] > 1 and len(capsys.readouterr().err.splitlines()) == 1


# ---- trouble ----


def fail():
    raise ValueError('something special')


def fail_as_user():
    raise UserError('data/x: broken; mend it')


@pytest.mark.parametrize('workers', [1, 3])
def test_an_error_in_a_worker_comes_with_its_message(workers):
    loader = make_loader(Stub({3: fail}), keys_of([0], [1], [2], [3], [4]), workers)
    assert [next(loader).names[0] for _ in range(3)] == ['clip 0', 'clip 1', 'clip 2']
    with pytest.raises(RuntimeError, match='something special') as caught:
        next(loader)
    assert 'in fail' in str(caught.value)  # the line where it happened
    with pytest.raises(UserError, match=r'^data/x: broken; mend it$'):
        list(make_loader(Stub({3: fail_as_user}), keys_of([0, 3]), workers))


def test_without_workers_an_error_is_raised_as_it_is():
    with pytest.raises(ValueError, match='something special'):
        list(make_loader(Stub({3: fail}), keys_of([3]), 0))


@pytest.mark.parametrize('index', [0, 4])
def test_a_killed_worker_is_noticed(index):
    acts = {index: lambda: os.kill(os.getpid(), signal.SIGKILL)}
    with pytest.raises(UserError, match='ended with status -9'):
        list(make_loader(Stub(acts), keys_of(*[[i, i + 1] for i in range(0, 20, 2)]), 2))


def test_workers_end_with_the_loader(tmp_path):
    def leave_pid():
        (tmp_path / str(os.getpid())).touch()
        return []

    def leave_pid_and_dawdle():
        leave_pid()
        time.sleep(3 * PATIENCE)

    acts = {0: leave_pid, 1: leave_pid, 2: leave_pid_and_dawdle}
    loader = make_loader(Stub(acts), keys_of([0, 1], [2, 2]), 2)
    next(loader)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2 and all(alive(pid) for pid in pids)
    loader.close()
    assert not any(alive(pid) for pid in pids)


def test_a_loader_may_end_before_its_workers_have_begun():
    def keys():
        yield [(0, (0, 0, 0))]
        raise LookupError

    for _ in range(60):
        with pytest.raises(LookupError):
            next(make_loader(Stub(), keys(), 4))


def test_workers_free_nothing_that_they_inherit(tmp_path):
    """Decoders that are garbage when the workers start would never end there."""

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            (tmp_path / str(os.getpid())).touch()

    Garbage()
    acts = {index: lambda: (gc.collect() and []) or [] for index in range(4)}
    list(make_loader(Stub(acts), keys_of([0, 1], [2, 3]), 2))
    gc.collect()
    assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]


SCRIPT = """
import sys, time
sys.path[:0] = [{root!r}]
from tests.data.test_loader import Stub, keys_of, make_loader
import multiprocessing
loader = make_loader(Stub(), keys_of(*[[i, i] for i in range(100)]), 3)
next(loader)
print(*[process.pid for process in multiprocessing.active_children()], flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_when_the_run_is_killed(interruptible, number):
    script = SCRIPT.format(root=str(ROOT))
    with subprocess.Popen(
        [sys.executable, '-c', script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        pids = [int(pid) for pid in run.stdout.readline().split()]
        assert len(pids) == 3 and all(alive(pid) for pid in pids)
        run.send_signal(number)
        wait_until(lambda: not any(alive(pid) for pid in pids))
        run.wait(PATIENCE)


def test_interrupting_the_group_leaves_no_traceback_of_workers(interruptible):
    script = SCRIPT.format(root=str(ROOT))
    with subprocess.Popen(
        [sys.executable, '-c', script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as run:
        run.stdout.readline()
        os.killpg(run.pid, signal.SIGINT)  # as Ctrl-C does
        error = run.communicate(timeout=PATIENCE)[1]
    assert error.startswith('Traceback') and error.rstrip().endswith('KeyboardInterrupt')
    assert error.count('Traceback') == 1 and 'Process' not in error
