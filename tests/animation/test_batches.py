"""Frames of a clip in batches: order, repeated frames, the last batch, clips that break off."""

import itertools
import sys

import numpy as np
import pytest

import animate as animate_door
import demo
from modules.animation.animator import (
    Painter,
    animate,
    detect_all,
    detected,
    explained_animation,
)
from modules.animation.batches import map_batches
from modules.animation.driving import find_best_frame
from modules.eager import EagerEngine, as_engine
from modules.runtime.errors import UserError
from tests.support.animation_runs import files_of, run, run_file, strip_frames
from tests.support.demo_runs import DATA, frames_of, run_demo
from tests.support.engines import RELATIVE
from tests.support.tiny import small_models
from tools import evaluate


@pytest.fixture(scope='module')
def models():
    return small_models()


@pytest.fixture(scope='module')
def clip():
    return list(np.random.RandomState(0).rand(7, 32, 48, 3).astype('float32'))


@pytest.fixture
def runs(monkeypatch):
    """The numbers of frames that the decoder has drawn at once."""
    counts, decode = [], EagerEngine.decode

    def counted(self, source, kp_driving, *others):
        counts.append(len(kp_driving.value))
        return decode(self, source, kp_driving, *others)

    monkeypatch.setattr(EagerEngine, 'decode', counted)
    return counts


def in_threes(models):
    return EagerEngine(models, batch=3)


@pytest.mark.parametrize('size', [1, 2, 3, 9])
def test_results_come_in_order_and_once_for_what_is_repeated(size):
    names = 'a', 'b', 'c', 'd', 'e'
    items = [names[i] for i in (0, 0, 1, 2, 2, 2, 1, 3, 4, 4)]
    taken = []

    def lists(items):
        taken.append(list(items))
        return [[item] for item in items]

    results = list(map_batches(lists, items, size))
    assert [result[0] for result in results] == items
    for before, here, item, result in zip(items, items[1:], results, results[1:]):
        assert (before is here) == (item is result)
    assert ''.join(itertools.chain(*taken)) == 'abcbde'
    assert all(len(part) == size for part in taken[:-1]) and len(taken[-1]) <= size


def test_no_more_than_a_batch_is_asked_for(models, clip):
    """The next frame is asked for when all results have been taken."""
    asked = []

    def driving():
        for number, frame in enumerate(clip):
            asked.append(number)
            yield frame

    results = animate(in_threes(models), clip[0], driving())
    assert asked == []
    for wanted in (3, 3, 3, 6, 6, 6, 7):
        next(results)
        assert len(asked) == wanted
    assert next(results, None) is None


def test_repeated_frames_take_no_place(models, clip, runs):
    order = [0, 0, 1, 2, 2, 2, 3, 4, 4, 4]
    driving = [clip[i] for i in order]
    steps = list(explained_animation(in_threes(models), clip[6], driving, RELATIVE))
    assert runs == [3, 2]
    same = [id(step) for step in steps]
    assert [same.index(number) for number in same] == [order.index(i) for i in order]
    single = list(animate(models, clip[6], clip[:5], RELATIVE))
    for step, number in zip(steps, order):
        np.testing.assert_allclose(step.frame, single[number], atol=1e-5)


def test_a_clip_that_breaks_off_is_animated_up_to_there(models, clip, runs):
    def driving():
        yield from clip[:5]
        raise UserError('clip.mp4: damaged')

    expected = list(animate(models, clip[0], clip[:5]))
    runs.clear()
    results = animate(in_threes(models), clip[0], driving())
    for frame in expected:
        np.testing.assert_allclose(next(results), frame, atol=1e-5)
    with pytest.raises(UserError, match='damaged'):
        next(results)
    assert runs == [3, 2]


def test_live_poses_are_not_waited_for(models, clip):
    """One by one, whatever the engine's batch."""
    found = []
    for engine in (in_threes(models), as_engine(models)):
        painter = Painter(engine, clip[0])
        for frame in clip[:2]:
            (pose,) = detect_all(engine, [frame])
            painter.start(pose)
            found += painter.frames([pose])
    np.testing.assert_allclose(found[:2], found[2:], atol=1e-5)


def test_the_best_frame(models, clip):
    driving = [clip[i] for i in (0, 0, 1, 1, 2, 5, 6)]
    for engine in (as_engine(models), in_threes(models)):
        kp_source = Painter(engine, clip[5]).kp_source
        assert find_best_frame(kp_source, detected(engine, driving))[0] == 5


def test_demo(tmp_path, monkeypatch, golden_clip, runs):
    """Every value is within a level of that of the frame alone, side by side, too."""
    options = ['--config', DATA / 'tiny.yaml', '--checkpoint', DATA, '--engine', 'eager']
    options += ['--driving_video', golden_clip, '--relative', '--find_best_frame', '--side_by_side']
    for batch in (1, 3):
        run_demo(monkeypatch, *options, '--batch', batch, '--result_video', tmp_path / str(batch))
    single, batched = (frames_of(tmp_path / name).astype(int) for name in '13')
    count = len(frames_of(golden_clip))
    assert count % 3 and len(single) == len(batched) == count
    assert runs == [1] * count + [3] * (count // 3) + [count % 3]
    assert np.abs(single - batched).max() <= 1
    results = single[:, :, 128:]
    assert np.abs(np.diff(results, axis=0)).max(axis=(1, 2, 3)).min() > 1


def test_pairs(whole, tmp_path, runs):
    config, complete = whole
    folder = run(config, tmp_path / 'run', '--batch', 3)
    assert set(runs) == {3, 1}  # of clips of three frames and of four
    assert files_of(folder).keys() == files_of(complete).keys()
    for name in run_file(folder)['pairs']:
        single, batched = (strip_frames(f / 'png' / f'{name}.png') for f in (complete, folder))
        assert np.abs(single.astype(int) - batched).max() <= 1


@pytest.mark.parametrize('door', [demo, animate_door, evaluate])
@pytest.mark.parametrize('number', ['0', '-1', '1.5', 'x'])
def test_no_number_of_frames(door, number, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['door', '--config', 'c', '--out', 'o', '--batch', number])
    if door is not evaluate:
        sys.argv[3:5] = []
    with pytest.raises(UserError, match=f'--batch: {number}: give a whole number of at least 1'):
        door.parse_arguments()
