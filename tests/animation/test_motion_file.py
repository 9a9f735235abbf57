"""Motion files: what is written comes back, and nothing in them is trusted."""

import json
from fractions import Fraction

import numpy as np
import pytest

from modules.animation import motion_file
from modules.animation.motion_file import (
    Motion,
    check_config,
    check_detector,
    read_motion,
    write_motion,
)
from modules.checkpoints.safetensors_file import checksums, write_tensors
from modules.runtime.errors import UserError
from tests.support.crafted import safetensors
from tests.support.tiny import small_config


def motion(**changes):
    random = np.random.default_rng(0)
    return Motion(
        random.uniform(-1, 1, (3, 4, 2)).astype('float32'),
        random.normal(size=(3, 4, 2, 2)).astype('float32'),
        np.array([0, 1, 4]),
        6,
        Fraction(30000, 1001),
        (32, 48),
        'abc',
        np.array([[1.5, 2, 100, 100]]),
    )._replace(**changes)


def metadata(tensors, **changes):
    told = {
        'format': motion_file.FORMAT,
        'version': '1',
        'rate': '25/1',
        'frame_count': '6',
        'size': '32x48',
        'detector': 'abc',
        'crc32': checksums(tensors),
    }
    return {key: value for key, value in {**told, **changes}.items() if value is not None}


def arrays(**changes):
    whole = motion()
    told = {'value': whole.value, 'jacobian': whole.jacobian, 'slots': whole.slots}
    return {key: value for key, value in {**told, **changes}.items() if value is not None}


def assert_same(found, expected):
    for name, ours, theirs in zip(Motion._fields, found, expected):
        if isinstance(theirs, np.ndarray):
            assert ours.dtype == theirs.dtype, name
            np.testing.assert_array_equal(ours, theirs)
        else:
            assert ours == theirs, name


@pytest.mark.parametrize('changes', [{}, {'jacobian': None, 'boxes': None}])
def test_what_is_written_comes_back(tmp_path, changes):
    expected = motion(**changes)
    for name in 'ab':
        write_motion(tmp_path / name, expected)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
    assert_same(read_motion(tmp_path / 'a'), expected)


def test_some_frames_alone():
    """Of six, the second one is shown three times: 0 1 1 1 4 4."""
    whole = motion(boxes=np.arange(12.0).reshape(3, 4))
    assert_same(whole.take(range(6)), whole)
    for numbers, slots, poses in (
        ([0], [0], [0]),
        (range(4), [0, 1], [0, 1]),
        (range(2, 5), [0, 2], [1, 2]),
        ([0, 2, 4], [0, 1, 2], [0, 1, 2]),  # twice as fast
        ([0, 0, 1, 1, 2, 4], [0, 2, 5], [0, 1, 2]),
        ([4, 5], [0], [2]),
    ):
        part = whole.take(numbers, Fraction(10))
        assert (part.frame_count, part.fps) == (len(numbers), 10)
        assert part.slots.tolist() == slots and part.slots.dtype == np.int64
        for ours, theirs in zip(part[:2], whole[:2]):
            np.testing.assert_array_equal(ours, theirs[poses])
        np.testing.assert_array_equal(part.boxes, whole.boxes[poses])
    assert len(motion().take([4]).boxes) == 1
    for numbers in ([], [-1], [5, 6]):
        with pytest.raises(IndexError):
            whole.take(numbers)


def test_another_model(tmp_path):
    config = small_config()['model_params']
    check_config('a', motion(), (32, 48), config)
    check_detector('a', motion(), 'abc')
    for other, size in (
        (motion(), (48, 32)),
        (motion(jacobian=None), (32, 48)),
        (motion(value=np.zeros((3, 5, 2), 'float32')), (32, 48)),
    ):
        with pytest.raises(UserError, match=r"^a: is the motion of another model's .*; give"):
            check_config('a', other, size, config)
    with pytest.raises(UserError, match='its weights are others'):
        check_detector('a', motion(), 'abd')


VALUE = motion().value


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'value': None}, 'has no value'),
        ({'slots': None}, 'has no slots'),
        ({'value': VALUE.astype('float64')}, 'its value is float64, not float32'),
        ({'slots': np.array([0, 1, 4], 'int32')}, 'its slots is int32'),
        ({'value': VALUE[:2]}, 'its value has the shape'),
        ({'value': VALUE[0]}, 'its value has the shape'),
        ({'value': VALUE[..., :1]}, 'its value has the shape'),
        ({'value': VALUE[:, :0]}, 'its value has the shape'),
        ({'value': np.float32(0)}, 'its value has the shape'),
        ({'jacobian': motion().jacobian[:, :3]}, 'its jacobian has the shape'),
        ({'jacobian': motion().jacobian[..., :1]}, 'its jacobian has the shape'),
        ({'slots': np.array([[0, 1, 4]])}, 'its slots has the shape'),
        ({'slots': np.zeros(0, 'int64'), 'value': VALUE[:0], 'jacobian': None}, 'has the shape'),
        ({'slots': np.int64(0)}, 'its slots has the shape'),
        ({'boxes': np.ones((2, 4))}, 'its boxes has the shape'),
        ({'boxes': np.ones((1, 5))}, 'its boxes has the shape'),
        ({'boxes': np.array([[0.0, 0, 0, 5]])}, 'boxes have no area'),
        ({'boxes': np.array([[np.inf, 0, 1, 5]])}, 'boxes has values that are not finite'),
        ({'value': VALUE * np.nan}, 'its value has values that are not finite'),
        ({'value': VALUE + 1}, 'its value lies outside'),
        ({'jacobian': motion().jacobian * np.float32(np.inf)}, 'not finite'),
        ({'jacobian': motion().jacobian * np.float32(1e9)}, 'its jacobian has values above'),
        ({'slots': np.array([1, 2, 4])}, 'its slots are not'),
        ({'slots': np.array([0, 4, 1])}, 'its slots are not'),
        ({'slots': np.array([0, 1, 1])}, 'its slots are not'),
        ({'slots': np.array([0, 1, 6])}, 'its slots are not'),
        ({'slots': np.array([0, -(2**63), 5])}, 'its slots are not'),
    ],
)
def test_wrong_arrays(tmp_path, changes, message):
    tensors = {key: np.array(value, order='C') for key, value in arrays(**changes).items()}
    write_tensors(tmp_path / 'a', tensors, metadata(tensors))
    _refused(tmp_path / 'a', message)


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'format': 'first-order-model'}, 'holds no motion; --save_motion writes'),
        ({'format': None}, 'holds no motion'),
        ({'version': '2'}, "of version '2', and this program reads version 1"),
        ({'version': None}, 'of version'),
        *(({'rate': rate}, 'its rate is') for rate in ('25', '0/1', '1/0', '-1/1', '1e9/1', None)),
        ({'rate': '9999/1'}, 'frames at 9999 a second, more than'),
        *(({'frame_count': n}, 'frame_count is') for n in ('0', '-1', '6.0', '9' * 99, '٦', None)),
        ({'frame_count': '999999999'}, 'says 999999999 frames'),
        *(({'size': size}, 'its size is') for size in ('32', '0x48', '32x48x3', None)),
        *(({'crc32': text}, 'metadata is damaged') for text in ('', '[]', '{', '[' * 9999, None)),
        ({'crc32': '{}'}, 'its value is damaged'),
    ],
)
def test_wrong_metadata(tmp_path, changes, message):
    tensors = arrays()
    write_tensors(tmp_path / 'a', tensors, metadata(tensors, **changes))
    _refused(tmp_path / 'a', message)


def test_every_byte_of_the_numbers_is_checked(tmp_path):
    write_motion(tmp_path / 'a', motion())
    data = bytearray((tmp_path / 'a').read_bytes())
    start = 8 + int.from_bytes(data[:8], 'little')
    for place in range(start, len(data), 29):
        changed = data.copy()
        changed[place] ^= 1
        (tmp_path / 'b').write_bytes(changed)
        _refused(tmp_path / 'b', 'is damaged')


@pytest.mark.parametrize('count', [0, 7, 8, 100, -1])
def test_cut_off(tmp_path, count):
    write_motion(tmp_path / 'a', motion())
    (tmp_path / 'a').write_bytes((tmp_path / 'a').read_bytes()[:count])
    _refused(tmp_path / 'a', 'holds no motion|damaged or cut off')


def test_headers_that_lie(tmp_path):
    told = {'__metadata__': metadata({}, crc32='{"value": 0}')}
    for entry in (
        {'dtype': 'F32', 'shape': [2**40, 4, 2], 'data_offsets': [0, 16]},
        {'dtype': 'F32', 'shape': [4], 'data_offsets': [0, 2**50]},
        {'dtype': 'F4', 'shape': [4], 'data_offsets': [0, 16]},
    ):
        header = json.dumps({**told, 'value': entry}).encode()
        (tmp_path / 'a').write_bytes(safetensors(header))
        _refused(tmp_path / 'a', 'damaged')


def _refused(path, message):
    with pytest.raises(UserError, match=message) as error:
        read_motion(path)
    assert str(error.value).startswith(f'{path}: ') and '\n' not in str(error.value)
