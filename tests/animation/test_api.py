"""Animator, as programs use it: arrays in, arrays out, from any folder and beside anything."""

import subprocess
import sys
import threading

import numpy as np
import paddle
import pytest

from modules import animation
from modules.animation.animator import animate
from modules.animation.api import Animator
from modules.animation.inputs import read_resized
from modules.animation.normalization import Normalization
from modules.checkpoints.models import StoredModels
from modules.runtime.errors import UserError
from modules.video import VideoReader
from modules.video.levels import to_bytes, to_float
from tests.support.clips import drawn, encode
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import CONFIG, LEGACY, TINY

WAYS = {'relative': True, 'adapt_scale': True}


@pytest.fixture(scope='module')
def animator():
    return Animator(LEGACY, TINY / 'tiny.yaml', cpu=True, engine='eager')


@pytest.fixture(scope='module')
def clip():
    return np.load(TINY / 'driving.npy')


def expected(source, clip, *normalization):
    models = StoredModels(CONFIG, LEGACY).load()
    frames = animate(models, to_float(source), map(to_float, clip), Normalization(*normalization))
    return np.stack(list(frames))


def test_it_is_what_the_room_offers():
    assert animation.Animator is Animator
    with pytest.raises(AttributeError, match='no attribute'):
        animation.nothing  # noqa: B018


def test_types_follow_the_source(animator, clip):
    wanted = expected(clip[0], clip, True, True, True)
    levels = animator.animate(clip[0], clip, **WAYS)
    assert levels.dtype == np.uint8 and levels.shape == clip.shape
    np.testing.assert_array_equal(levels, to_bytes(wanted))
    for kind in ('float32', 'float64'):
        floats = animator.animate((clip[0] / 255).astype(kind), list(clip / 255), **WAYS)
        assert floats.dtype == np.float32
        np.testing.assert_allclose(floats, wanted, atol=1e-5)


def test_any_size(animator, clip):
    """As demo.py resizes, floats alike."""
    large = clip[:2].repeat(2, 1).repeat(3, 2)
    frames = list(read_resized(large, (64, 64)))
    found = animator.animate(large[0], large)
    np.testing.assert_array_equal(found, to_bytes(expected(frames[0], frames)))
    floats = animator.animate(large[0], (frame / 255 for frame in large))
    assert np.abs(floats.astype(int) - found).max() <= 1


def test_driving_frames_stream(animator, clip):
    asked = []

    def camera():
        """Which gives the next frame in the same array."""
        frame = np.empty_like(clip[0])
        for number in range(len(clip)):
            asked.append(number)
            frame[:] = clip[number]
            yield frame

    results = animator.stream(clip[0], camera(), relative=True)
    assert asked == []
    first = next(results)
    assert asked == [0]
    found = np.stack([first, *results])
    np.testing.assert_array_equal(found, animator.animate(clip[0], clip, relative=True))
    batched = Animator(LEGACY, TINY / 'tiny.yaml', cpu=True, engine='eager', batch=3)
    again = batched.animate(clip[0], camera(), relative=True)
    assert np.abs(again.astype(int) - found).max() <= 1


def test_settings(animator, clip):
    plain = animator.animate(clip[0], clip, relative=True)
    best = animator.animate(clip[5], clip, relative=True, best_frame='find')
    np.testing.assert_array_equal(
        best, animator.animate(clip[5], clip, relative=True, best_frame=5)
    )
    assert (
        np.abs(best[5].astype(int) - clip[5]).mean() < np.abs(best[0].astype(int) - clip[5]).mean()
    )
    still = animator.animate(clip[0], clip, relative=True, motion_scale=0)
    assert np.abs(still.astype(int) - plain[0]).max() <= 1
    smooth = animator.animate(clip[0], clip, relative=True, smooth=True)
    faster = animator.animate(clip[0], clip, relative=True, smooth=True, fps=100)
    assert np.abs(smooth.astype(int) - plain).max() > 2
    assert np.abs(smooth.astype(int) - faster).max() > 2


def test_a_motion_is_as_good_as_its_clip(animator, clip, tmp_path):
    path = encode(tmp_path / 'a.mkv', drawn(4, 64, 64), times=[0, 1, 4, 5])
    reader = VideoReader(path)
    motion = animator.detect(reader)
    assert motion.fps == reader.fps and motion.frame_count == reader.frame_count
    assert len(motion.slots) == 4 < motion.frame_count
    for ways in ({}, WAYS, {'smooth': True}):
        np.testing.assert_array_equal(
            animator.animate(clip[0], motion, **ways), animator.animate(clip[0], reader, **ways)
        )
    other = Animator(cpu=True, engine='eager')
    with pytest.raises(UserError, match='another model'):
        other.animate(clip[0], motion)


def test_a_moving_source(animator, clip):
    found = animator.animate(clip[2:5], clip)
    assert len(found) == len(clip)  # the last one stays
    for number, frame in enumerate(found):
        alone = animator.animate(clip[2 + min(number, 2)], clip)[number]
        assert np.abs(frame.astype(int) - alone).max() <= 1


@pytest.mark.parametrize(
    'source, driving, ways, message',
    [
        (np.zeros((8, 8), np.uint8), None, {}, r'shape \(8, 8\)|must be'),
        (np.zeros((8, 8, 4), np.uint8), None, {}, r'\(8, 8, 4\); must be \(H, W, 3\)'),
        (np.zeros((8, 8, 3), int), None, {}, 'of int64; must be uint8, or float'),
        (np.full((8, 8, 3), 255.0), None, {}, r'outside \[0, 1\]; divide levels by 255'),
        (np.full((8, 8, 3), np.nan), None, {}, r'outside \[0, 1\]'),
        (np.zeros((0, 8, 8, 3), np.uint8), None, {}, 'the source has no frames'),
        (None, [], {}, 'no driving frames'),
        (None, None, {'motion_scale': 0.5}, 'carried over by relative'),
        (None, None, {'relative': True, 'best_frame': 8}, 'best_frame = 8 of 8'),
        (None, None, {'relative': True, 'best_frame': -1}, 'best_frame = -1 of 8'),
    ],
)
def test_mistakes(animator, clip, source, driving, ways, message):
    source = clip[0] if source is None else source
    with pytest.raises(ValueError, match=message):
        animator.animate(source, clip if driving is None else driving, **ways)


def test_weights_that_are_not_there():
    with pytest.raises(UserError, match='nowhere: no such file'):
        Animator('nowhere')


def test_another_thread_may_make_one(clip):
    """Signals, which only the main thread may set, are not touched."""
    made = []

    def work():
        animator = Animator(LEGACY, TINY / 'tiny.yaml', cpu=True, engine='eager')
        made.append(animator.animate(clip[0], clip[:1]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert made[0].shape == (1, 64, 64, 3)


HUB = f"""
import sys
{{before}}
import paddle
animator = paddle.hub.load({str(ROOT)!r}, 'animator', source='local', cpu=True, engine='eager')
import numpy as np
frames = animator.animate(np.zeros((40, 30, 3)), np.zeros((2, 9, 9, 3)), relative=True)
assert frames.shape == (2, 128, 128, 3) and frames.dtype == np.float32
assert {str(ROOT)!r} not in sys.path and 'hubconf' not in sys.modules
{{after}}
print(paddle.hub.list({str(ROOT)!r}, source='local'))
print(paddle.hub.help({str(ROOT)!r}, 'animator', source='local').splitlines()[0])
"""
FOREIGN = (
    "sys.path.insert(0, 'other'); import modules.animation; mine = sys.modules['modules']",
    'import modules.animation\nassert modules is mine and modules.animation.MINE',
)


@pytest.mark.parametrize('before, after', [('', ''), FOREIGN])
def test_paddle_hub(tmp_path, before, after):
    """From any folder; also beside another repository whose `modules` are imported already."""
    (tmp_path / 'other' / 'modules').mkdir(parents=True)
    (tmp_path / 'other' / 'modules' / '__init__.py').touch()
    (tmp_path / 'other' / 'modules' / 'animation.py').write_text('MINE = True')
    program = HUB.format(before=before, after=after)
    done = subprocess.run(
        [sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed, described = done.stdout.splitlines()[-2:]
    assert listed == "['animator']" and described.startswith('What animates pictures')


def test_the_device_is_the_programs_own(monkeypatch):
    before = paddle.device.get_device()
    Animator(LEGACY, TINY / 'tiny.yaml', engine='eager')
    assert paddle.device.get_device() == before
