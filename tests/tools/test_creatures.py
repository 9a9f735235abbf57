"""The creatures: known joints, equal motion on any of them, and the dataset drawn from them."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.video import VideoReader
from tools import make_demo_dataset
from tools.creature_drawing import creatures
from tools.creature_drawing.creatures import (
    JOINT_NAMES,
    PARTS,
    Creature,
    clip_times,
    draw,
    draw_clip,
    draw_frame,
    held_out_cases,
    joints,
    random_stream,
)
from tools.creature_drawing.motion import IS_HIND, KINDS, LEG, Motion
from tools.creature_drawing.scenes import Scene, shaded
from tools.creature_drawing.shapes import SUPERSAMPLING, Layer, Shape, canvas, paint

TIMES = clip_times(16)
FEET = [JOINT_NAMES.index(f'{leg}_foot') for leg in ('near_hind', 'near_fore')]


def make(seed, legs=4, **changes):
    plain = Scene('plain', (200, 220, 240), (180, 200, 180), 0)
    creature = Creature.random(np.random.default_rng(seed), legs)
    return replace(creature, **{'scene': plain, **changes})


def move(seed, kind):
    return Motion.random(np.random.default_rng(seed), kind)


def test_frames_are_a_function_of_their_arguments():
    creature, motion = make(1), move(1, 'walk')
    clip = draw_clip(creature, motion, 8, 48)
    assert clip.shape == (8, 48, 48, 3) and clip.dtype == np.uint8
    np.testing.assert_array_equal(clip, draw_clip(make(1), move(1, 'walk'), 8, 48))
    np.testing.assert_array_equal(clip[3], draw_frame(creature, motion, 3 / 8, 48))
    assert (clip[0] != clip[3]).any()


@pytest.mark.parametrize('size', [16, 101])
def test_frame_ends_in_the_middle_of_its_border_pixels(size):
    """0 and 1 in frame units, -1 and 1 of joints, as keypoints and sampling grids have it."""
    square = Shape(np.array([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]]), (0, 0, 0))
    (frame,) = paint([Layer('trunk', [square], (0, 0, 0), 0)], 1, canvas(size))
    assert not frame[1:-1, 1:-1].any()
    for border in (frame[0], frame[-1], frame[:, 0], frame[:, -1]):
        assert np.abs(border[1:-1] - 127.5).max() < 70  # half covered, to a quarter pixel


@pytest.mark.parametrize('size', [96, 161])
@pytest.mark.parametrize('mirrored', [False, True])
def test_joints_are_where_the_picture_shows_them(size, mirrored):
    """Hooves of a colour of their own: their middle is found where the ankle and the toe are."""
    hoof = (250, 20, 20)
    creature = make(3, mirrored=mirrored)
    coat = replace(creature.coat, base=(20, 20, 250), hooves=False, socks=True, second=hoof)
    creature = replace(creature, coat=replace(coat, pattern='plain'))
    motion = Motion('rear', size=1.0)  # its forelegs are apart from the rest
    times = np.array([0.4, 0.5, 0.6])
    frames, found = draw(creature, motion, times, size), joints(creature, motion, times)
    near = JOINT_NAMES.index('near_fore_foot')
    for frame, points, visible in zip(frames, found.points, found.visible):
        assert visible[near]
        column, row = (points[near] + 1) / 2 * (size - 1)
        rows, columns = np.nonzero(np.abs(frame.astype(int) - hoof).max(axis=-1) < 12)
        distances = np.hypot(rows - row, columns - column)
        # The foot is a disc around the ankle with a toe, 0.85 * limb in radius.
        radius = 0.85 * creature.build.limb * size
        disc = np.hypot(*np.meshgrid(np.arange(size) - column, np.arange(size) - row))
        assert (distances < radius - 1).sum() == (disc < radius - 1).sum()


def test_visibility():
    creature, times = make(4), np.array([0.3])
    standing = joints(creature, Motion('wag', size=0.0), np.array([0.0])).visible[0]
    named = dict(zip(JOINT_NAMES, standing))
    assert named['near_fore_foot'] and named['snout'] and not named['far_fore_knee']
    bird = dict(zip(JOINT_NAMES, joints(make(4, legs=2), Motion('walk'), times).visible[0]))
    assert bird['near_hind_foot'] and not bird['near_fore_foot'] and not bird['far_fore_knee']
    gone = joints(creature, Motion('wag', offset=2.0), times)
    assert not gone.visible.any() and gone.points.shape == (1, len(JOINT_NAMES), 2)


@pytest.mark.parametrize('kind', KINDS)
def test_motion_is_the_same_on_every_creature(kind):
    """Other builds stay near: the same pose, and much nearer than the motion itself goes."""
    motion = move(5, kind)
    tracks = np.stack([joints(make(seed), motion, TIMES).points for seed in range(6)])
    tail = JOINT_NAMES.index('tail_tip')  # kinds of tails are carried differently
    tracks = np.delete(tracks, tail, axis=2)
    assert np.abs(tracks - tracks.mean(axis=0)).mean() < 0.012
    assert np.abs(tracks - tracks.mean(axis=0)).max() < 0.06
    moves = tracks - tracks[:, :1]
    assert np.abs(moves - moves.mean(axis=0)).mean() < 0.06 * np.abs(moves).mean()


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('legs', [4, 2])
def test_creatures_stay_in_the_frame_and_on_the_ground(kind, legs):
    for seed in range(12):
        creature, motion = make(seed, legs), move(seed, kind)
        found = joints(creature, motion, TIMES)
        shown = found.points[:, [0, 1, 2, 3, 4, *FEET[: legs // 2]]]
        assert np.abs(shown).max() < 1
        ground = found.points[:, JOINT_NAMES.index('near_hind_foot') :, 1]
        # The far legs are drawn a little higher; nothing sinks below where the near ones stand.
        soles = ground[:, [0, 2]] if legs == 2 else ground
        lowest = 2 * (0.86 - 0.85 * creature.build.limb) - 1
        assert soles.max() <= lowest + 1e-9
        if kind in ('walk', 'stretch', 'graze', 'wag'):
            assert (soles.max(axis=1) >= lowest - 0.03).all()
        if kind in ('leap', 'hop'):
            assert soles.max(axis=1).min() < lowest - 0.1


def test_planted_feet_do_not_slide():
    """In a walk through the frame (standard legs) a foot is still while it is down."""
    motion = Motion('walk', size=0.5, travel=True)
    times = np.linspace(0, 1, 200, endpoint=False)
    pose = motion.pose(times)
    swing = np.stack([np.sin(pose.legs), np.cos(pose.legs)], axis=-1).sum(axis=2) * 0.5
    feet = pose.x[:, None] + LEG * swing[..., 0]
    down = (pose.foot_up[1:] == 0) & (pose.foot_up[:-1] == 0)
    speed = np.abs(np.diff(feet, axis=0)) * 200
    assert down.mean() > 0.5
    # But for where the leg is stretched out, at the ends of a step.
    assert np.percentile(speed[down], 90) < 1e-9
    assert speed[down].max() < 0.05
    assert np.diff(pose.x).min() * 200 > 0.2
    assert ((pose.legs[..., 0] < pose.legs[..., 1]) == IS_HIND).all()  # hocks and knees


@pytest.mark.parametrize('kind', KINDS)
def test_clips_loop_unless_they_travel(kind):
    motion = replace(move(6, kind), travel=False)
    for first, last in zip(motion.pose(np.array([0.0])), motion.pose(np.array([1.0]))):
        np.testing.assert_allclose(first, last, atol=1e-9)


def test_background_stands_still_around_the_creature():
    for kind in ('plain', 'gradient', 'meadow', 'hills', 'stripes', 'dots'):
        scene = Scene(kind, (200, 220, 240), (150, 190, 140), 3)
        creature = make(7, scene=scene)
        empty = np.asarray(scene.canvas(64).reduce(SUPERSAMPLING))
        clip = draw_clip(creature, Motion('gallop', cycles=2), 8, 64)
        touched = (clip != empty).any(axis=-1)
        assert 0.08 < touched.mean() < 0.35
        assert not touched.any(axis=0)[:8].any() and not touched.any(axis=0)[-8:].any()
        widths = [np.ptp(np.nonzero(frame.any(axis=0))[0]) / 64 for frame in touched]
        assert 0.5 < np.mean(widths) < 0.75


def test_mirrored_creature_is_the_reflection():
    creature, motion = make(8), move(8, 'trot')
    left = replace(creature, mirrored=True)
    there, here = draw(left, motion, TIMES, 64), draw(creature, motion, TIMES, 64)
    assert np.abs(there[:, :, ::-1].astype(int) - here).mean() < 1.0
    assert np.abs(there.astype(int) - here).mean() > 5.0


def test_creatures_differ_and_stand_out():
    drawn = [Creature.random(random_stream(0, 'train', index)) for index in range(60)]
    assert len({creature.coat.base for creature in drawn}) == 60
    assert {creature.build.legs for creature in drawn} == {2, 4}
    for creature in drawn:
        for colour in (creature.coat.base, shaded(creature.coat.base, 0.7)):
            assert np.abs(np.subtract(colour, creature.scene.sky)).max() > 25


def test_random_streams_are_apart():
    """No item of a part, seed or number shares its random numbers with another."""
    drawn = [
        random_stream(seed, part, index).integers(2**63)
        for seed in range(3)
        for part in PARTS
        for index in range(20)
    ]
    assert len(set(drawn)) == len(drawn)


def test_held_out_cases():
    cases = list(held_out_cases(3, 32, 4))
    again = list(held_out_cases(2, 32, 4))
    for case, same in zip(cases, again):
        assert case.name == same.name and case.name.split('_')[1] in KINDS
        np.testing.assert_array_equal(case.clip, same.clip)
        assert case.clip.shape == case.driving.shape == (4, 32, 32, 3)
        assert (case.clip != case.driving).any()
    assert (next(held_out_cases(1, 32, 4, seed=1)).clip != cases[0].clip).any()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(creatures, 'draw_clip', lambda creature, *rest: creature)
        pairs = list(held_out_cases(60, 32, 4))
        assert {pair.clip.build.legs for pair in pairs} == {2, 4}
        assert all(pair.clip.build.legs == pair.driving.build.legs for pair in pairs)
        assert {pair.clip.build.legs for pair in held_out_cases(30, 32, 4, legs=4)} == {4}


# ---- tools/make_demo_dataset.py ----


def run_tool(monkeypatch, *options):
    monkeypatch.setattr(sys, 'argv', ['make_demo_dataset.py', *map(str, options)])
    make_demo_dataset.main()


def contents(folder):
    files = sorted(path for path in Path(folder).rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_dataset_does_not_depend_on_the_workers(tmp_path, monkeypatch):
    options = ('--train', 6, '--test', 3, '--size', 24, '--frames', 3, '--format', 'stacked')
    run_tool(monkeypatch, tmp_path / 'one', *options, '--workers', 1)
    run_tool(monkeypatch, tmp_path / 'two', *options, '--workers', 2)
    one = contents(tmp_path / 'one')
    assert one == contents(tmp_path / 'two')
    names = {part: {Path(name).stem for name in one if name.startswith(part)} for part in PARTS[:2]}
    assert [len(names[part]) for part in ('train', 'test')] == [6, 3]
    ids = {part: {name.split('#')[0] for name in names[part]} for part in names}
    assert ids == {'train': {'00000', '00001'}, 'test': {'00002'}}
    assert {name.split('#')[1] for part in names.values() for name in part} <= set(KINDS)
    for path in (tmp_path / 'one').rglob('*.png'):
        assert Image.open(path).size == (72, 24)
    run_tool(monkeypatch, tmp_path / 'other', *options, '--workers', 1, '--seed', 1)
    assert not set(one.values()) & set(contents(tmp_path / 'other').values())


def test_options_change_the_creatures():
    def drawn_with(*options):
        sys_argv = ['make_demo_dataset.py', 'out', '--train', '60', '--size', '16', '--frames', '2']
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, 'argv', [*sys_argv, '--clips_per_creature', '1', *options])
            drawn = []
            patch.setattr(make_demo_dataset, 'draw_clip', lambda one, *rest: drawn.append(one))
            args = make_demo_dataset.parse_args()
            for item in make_demo_dataset.items(args):
                list(make_demo_dataset.draw_item(item, args))
        return drawn

    assert {one.build.legs for one in drawn_with('--legs', '4')} == {4}
    assert {one.build.legs for one in drawn_with('--legs', '2')} == {2}
    assert {one.build.legs for one in drawn_with()} == {2, 4}
    assert not any(one.mirrored for one in drawn_with())
    assert 30 < sum(one.mirrored for one in drawn_with('--mirror')) < 70


@pytest.mark.parametrize('kind', ['mp4', 'gif', 'frames'])
def test_formats(tmp_path, monkeypatch, kind):
    options = ('--train', 1, '--test', 0, '--size', 32, '--frames', 5, '--fps', 12.5)
    run_tool(monkeypatch, tmp_path / 'out', *options, '--format', kind, '--workers', 1)
    (path,) = (tmp_path / 'out' / 'train').iterdir()
    assert path.suffix == {'mp4': '.mp4', 'gif': '.gif', 'frames': ''}[kind]
    with VideoReader(path, folder_fps=12.5) as reader:
        assert reader.fps == 12.5
        frames = np.stack(list(reader))
    assert frames.shape == (5, 32, 32, 3)
    if kind == 'frames':
        monkeypatch.setattr(sys, 'argv', ['x', 'out', *map(str, options)])
        args = make_demo_dataset.parse_args()
        (clip,) = make_demo_dataset.draw_item(make_demo_dataset.items(args)[0], args)
        np.testing.assert_array_equal(frames, clip.frames)


def test_cases_are_the_held_out_ones(tmp_path, monkeypatch):
    options = ('--train', 0, '--test', 0, '--size', 32, '--frames', 4, '--seed', 3, '--fps', 10)
    run_tool(monkeypatch, tmp_path / 'out', *options, '--cases', 2)
    drawn = list(held_out_cases(2, 32, 4, seed=3))
    folder = tmp_path / 'out' / 'cases'
    assert sorted(path.name for path in folder.iterdir()) == [case.name for case in drawn]
    for case in drawn:
        place = folder / case.name
        np.testing.assert_array_equal(np.array(Image.open(place / 'source.png')), case.clip[0])
        for name, frames in (('driving', case.driving), ('truth', case.clip)):
            with VideoReader(place / f'{name}.mp4') as reader:
                assert reader.fps == 10
                decoded = np.stack(list(reader)).astype(int)
            assert decoded.shape == frames.shape
            assert np.abs(decoded - frames).mean() < 6  # what H.264 leaves of so small a picture


@pytest.mark.parametrize(
    ('options', 'named'),
    [
        (['--size', '8'], '--size 8'),
        (['--size', '33'], '--size 33'),
        (['--frames', '1'], '--frames 1'),
        (['--fps', '0'], '--fps 0'),
        (['--fps', 'nan'], '--fps nan'),
        (['--train', '-1'], '--train -1'),
        (['--train', '0', '--test', '0'], 'nothing to draw'),
        (['--clips_per_creature', '99'], '--clips_per_creature 99'),
        (['--workers', '0'], '--workers 0'),
        (['--cases', '-1'], '--cases -1'),
        (['--format', 'gif', '--cases', '1', '--size', '33'], '--size 33'),
        (['--train', '9000000'], 'creatures'),
        (['--format', 'avi'], '--format'),
    ],
)
def test_mistakes_are_named(tmp_path, monkeypatch, options, named):
    with pytest.raises(UserError, match=named):
        run_tool(monkeypatch, tmp_path / 'out', '--train', 1, *options)
    assert list(tmp_path.iterdir()) == []


def test_existing_folder_is_refused_in_one_line(tmp_path):
    (tmp_path / 'keep.txt').write_text('mine')
    done = subprocess.run(
        [sys.executable, make_demo_dataset.__file__, tmp_path, '--train', '1'],
        capture_output=True,
        text=True,
        cwd=os.path.dirname(tmp_path),
    )
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1 and str(tmp_path) in done.stderr
    assert os.listdir(tmp_path) == ['keep.txt']


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    def fails(*args):
        raise RuntimeError('broken')

    monkeypatch.setattr(make_demo_dataset, 'draw_item', fails)
    with pytest.raises(RuntimeError):
        run_tool(monkeypatch, tmp_path / 'out', '--train', 4, '--workers', 1)
    assert list(tmp_path.iterdir()) == []
