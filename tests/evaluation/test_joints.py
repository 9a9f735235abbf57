"""Joints of drawn creatures, known in the truth and found again in results."""

import numpy as np
import pytest

from modules.checkpoints.npz_file import write_npz
from modules.evaluation.joints import DrawnJoints, find_piece
from modules.evaluation.metrics import KeypointMeasure
from modules.runtime.errors import UserError
from tests.support.frame_pairs import SIZE, pair_of
from tools.creature_drawing.creatures import Creature, clip_times, draw_clip, joints
from tools.creature_drawing.motion import Motion


@pytest.fixture
def drawn(tmp_path):
    """A drawn clip with its file of joints -> (path of the clip, frames, joints in pixels)."""
    rng = np.random.default_rng(4)
    creature, motion = Creature.random(rng, legs=4), Motion('walk')
    found = joints(creature, motion, clip_times(8))
    pixels = (found.points + 1) / 2 * (SIZE - 1)
    (tmp_path / 'joints' / 'test').mkdir(parents=True)
    arrays = {'points': pixels, 'visible': found.visible}
    write_npz(tmp_path / 'joints' / 'test' / 'a.mp4.npz', arrays)
    return tmp_path / 'test' / 'a.mp4', draw_clip(creature, motion, 8, SIZE), found, pixels


def shifted(frame, x, y):
    """The frame with its content moved, its border going on."""
    rows, columns = (np.clip(np.arange(SIZE) - by, 0, SIZE - 1) for by in (y, x))
    return frame[rows[:, None], columns]


@pytest.mark.parametrize('shift', [(0, 0), (2, 0), (-3, 4)])
def test_drawn_joints_follow_a_known_shift(drawn, shift):
    clip, frames, found, _ = drawn
    measure = KeypointMeasure(DrawnJoints())
    for number in (0, 3):
        result = shifted(frames[number], *shift)
        figures = measure(pair_of(frames[number], result, clip, number))
        assert figures['akd'].mean == pytest.approx(np.hypot(*shift), abs=1e-9)
        assert figures['mkr'].total == 0
        assert 0.7 * found.visible[number].sum() <= figures['mkr'].count


def test_drawn_joints_are_found_where_they_went(drawn):
    """The next frame of the clip has known joints, too."""
    clip, frames, found, pixels = drawn
    detect = DrawnJoints()
    errors = []
    for number in range(7):
        _, there = detect(pair_of(frames[number], frames[number + 1], clip, number))
        seen = found.visible[number] & found.visible[number + 1] & np.isfinite(there).all(axis=1)
        errors += list(np.linalg.norm(there - pixels[number + 1], axis=1)[seen])
    assert len(errors) > 40 and np.median(errors) < 0.9  # which moved 3 pixels in the mean


def test_a_removed_creature_has_lost_its_joints(drawn):
    clip, frames, _, _ = drawn
    measure = KeypointMeasure(DrawnJoints())
    background = np.repeat(frames[0][:, :1], SIZE, axis=1)  # the creature does not reach the edge
    figures = measure(pair_of(frames[0], background, clip, 0))
    assert figures['mkr'].mean > 0.9 and figures['akd'].count <= 1


def test_hidden_and_plain_joints_do_not_count(drawn):
    clip, frames, found, _ = drawn
    detect = DrawnJoints()
    truth, result = detect(pair_of(frames[0], frames[0], clip, 0))
    assert np.isnan(truth[~found.visible[0]]).all() and np.isnan(result[~found.visible[0]]).all()
    plain = np.full_like(frames[0], 90)
    truth, _ = detect(pair_of(plain, frames[0], clip, 0))
    assert np.isnan(truth).all()


def test_a_plain_edge_claims_no_movement_along_itself():
    truth = np.zeros((SIZE, SIZE, 3), 'uint8')
    truth[:, 32:] = 200
    result = shifted(truth, 3, 5)  # only the 3 to the right can be seen
    result[:28, :28] += 1  # what is hardly worse there is as good
    assert find_piece(truth, result, np.array([32.0, 30.0])) == pytest.approx([35, 30])
    with pytest.raises(ValueError, match='plain'):
        find_piece(truth, result, np.array([10.0, 30.0]))


def test_files_of_joints_that_are_no_use(tmp_path, drawn):
    clip, frames, _, _ = drawn
    detect = DrawnJoints()
    with pytest.raises(UserError, match=r'a\.mp4\.npz: 8 frames, but .* has more'):
        detect(pair_of(frames[0], frames[0], clip, 8))
    with pytest.raises(UserError, match=r'other\.npz: no such file'):
        detect(pair_of(frames[0], frames[0], clip.with_name('other'), 0))
    folder = tmp_path / 'joints' / 'test'
    (folder / 'bad.npz').write_bytes(b'nothing')
    write_npz(folder / 'odd.npz', {'points': np.zeros((2, 3)), 'visible': np.zeros((2, 3))})
    for name, message in (('bad', 'no file of joints'), ('odd', 'points of shape')):
        with pytest.raises(UserError, match=message):
            detect(pair_of(frames[0], frames[0], clip.with_name(name), 0))
