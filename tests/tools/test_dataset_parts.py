"""What tools/prepare_dataset.py is made of: surveys, duplicates, splits, names."""

import json
from fractions import Fraction

import numpy as np
import pytest

from modules.animation.boxes import Box
from modules.animation.tracks import Rules, Track
from modules.data.clips import group_by_id
from modules.runtime.errors import UserError
from tests.support.clips import NTSC, encode, write
from tests.support.dataset_files import write_folder
from tests.support.discs import scene
from tools.dataset_preparing.choosing import choose, object_tracks, whole_tracks
from tools.dataset_preparing.duplicates import find_duplicates
from tools.dataset_preparing.jobs import look_at
from tools.dataset_preparing.sources import find_sources
from tools.dataset_preparing.splitting import CLIP, PERSON, TEST, TRACK, TRAIN, Piece, split
from tools.dataset_preparing.survey import Survey, survey

FPS = Fraction(25)
RULES = Rules(min_frames=10, min_size=20)


def look(frames, longest=1024, shortest=10):
    return survey(frames, FPS, 'x', longest, shortest)


def wandering(count=50, x=40, y=48, start=0, **settings):
    """A disc that wanders as chance has it, in noise as of a dark room."""
    rng = np.random.default_rng(start)
    steps, smooth = rng.normal(0, 1, (2, count + 40)), np.hanning(25)
    path = 3 * np.stack([np.convolve(along, smooth, 'same') for along in steps], axis=1)[20:]
    for dx, dy in np.clip(path[:count], -16, 16):
        frame = scene([('red', x + dx, y + dy, 14)], **settings)
        yield np.clip(frame + rng.normal(0, 3, frame.shape), 0, 255).astype(np.uint8)


# --- surveys -----------------------------------------------------------------------------------


def test_what_moves_is_boxed():
    """To some pixels, each thing by itself, the larger one first."""
    swing = [(8 * np.sin(i / 3), 6 * np.sin(i / 2)) for i in range(50)]
    (segment,) = look(
        [scene([('red', 40 + x, 48, 14), ('blue', 120, 48 + y, 12)]) for x, y in swing]
    ).segments
    assert segment[:2] == (0, 50)
    wanted = [Box(18, 34, 44, 28), Box(108, 30, 24, 36)]
    for box, exact in zip(segment.moving, wanted, strict=True):
        assert np.abs(np.subtract(box, exact)).max() <= 4


def test_noise_and_a_lamp_that_flickers_are_still():
    noise = np.random.default_rng(0)
    lit = [
        np.clip(scene([('red', 40, 48, 14)]) + noise.normal(i % 3, 3, (96, 160, 3)), 0, 255)
        for i in range(40)
    ]
    (segment,) = look([frame.astype(np.uint8) for frame in lit]).segments
    assert segment.is_still


def test_a_camera_that_moves_takes_all_of_the_picture():
    ground = np.random.default_rng(0).integers(0, 255, (96, 400, 3), np.uint8)
    (segment, *_) = look([ground[:, 3 * i : 3 * i + 160] for i in range(40)]).segments
    assert segment.moving == (Box(0, 0, 160, 96),)


def test_shots_and_long_ones():
    """Parts of a long shot; a rest that is too short is joined to the part before."""
    shots = [*wandering(40), *wandering(57, x=100, ground=(20, 30, 90))]
    found = look(shots, longest=25, shortest=10)
    assert [segment[:2] for segment in found.segments] == [(0, 25), (25, 40), (40, 65), (65, 97)]
    assert all(len(segment.moving) == 1 for segment in found.segments)


def test_survey_is_kept_as_it_is():
    found = look(wandering())._replace(fps=NTSC, notes=('a',))
    again = Survey.from_json(json.loads(json.dumps(found.to_json())))
    assert again.prints.tobytes() == found.prints.tobytes()
    assert again._replace(prints=0) == found._replace(prints=0)
    with pytest.raises((ValueError, KeyError, TypeError)):
        Survey.from_json({**found.to_json(), 'prints': 'x'})


def test_squares_lie_inside():
    found = look(wandering(x=14, y=14))
    (track,) = object_tracks(found, 0.1)
    assert track.box.w == pytest.approx(track.box.h)
    assert track.box.x >= 0 and track.box.y >= 0
    (middle,) = whole_tracks(found)
    assert middle.box == Box(32, 0, 96, 96)


def test_faults():
    found = look(wandering())
    poster = Track(0, 50, Box(90, 20, 60, 60))
    face = Track(0, 50, Box(10, 20, 60, 60))
    small, short = face._replace(box=Box(30, 40, 16, 16)), face._replace(end=5)
    chosen = choose([poster, face, small, short], found, RULES)
    assert chosen.tracks == [face] and chosen.largest == 16
    assert chosen.faults == {'still': 1, 'small': 1, 'short': 1}


# --- duplicates --------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
    """The surveys of a clip, and of what people do to clips."""
    folder = tmp_path_factory.mktemp('clips')
    frames = list(wandering(100))
    write(folder / 'first.mp4', frames, 25)
    encode(folder / 'smaller.mkv', [f[::2, ::2] for f in frames], fps=25, crf=35)
    encode(folder / 'slower.mp4', frames[::2], fps=Fraction(25, 2))
    write(folder / 'cut.mov', frames[12:75], 25)
    write(folder / 'another.mp4', list(wandering(100, start=4)), 25)  # of the same scene
    write_folder(folder / 'pictures', frames)
    return {path.name: look_at(path, FPS, RULES) for path in folder.iterdir()}


@pytest.mark.parametrize('copy', ['smaller.mkv', 'slower.mp4', 'cut.mov', 'pictures'])
def test_a_copy_is_found(clips, copy):
    names = ['first.mp4', copy, 'another.mp4']
    assert find_duplicates({name: clips[name] for name in names}) == {copy: 'first.mp4'}


def test_of_many_copies_one_stays(clips):
    gone = find_duplicates(clips)
    assert {*clips} - {*gone} == {'first.mp4', 'another.mp4'}


def test_the_longer_or_larger_stays(clips):
    mine = {'a': clips['cut.mov'], 'b': clips['first.mp4']}
    assert find_duplicates(mine) == {'a': 'b'}
    mine = {'a': clips['smaller.mkv'], 'b': clips['first.mp4']}
    assert find_duplicates(mine) == {'a': 'b'}
    assert find_duplicates({'b': clips['first.mp4'], 'a': clips['first.mp4']}) == {'b': 'a'}


# --- splits and names --------------------------------------------------------------------------


def pieces(persons, clips=2, tracks=2):
    return [
        Piece(f'p{p}', f'p{p}-{c}', f'p{p}-{c}-{t}')
        for p in range(persons)
        for c in range(clips)
        for t in range(tracks)
    ]


@pytest.mark.parametrize(('wanted', 'level'), [(PERSON, PERSON), (CLIP, CLIP)])
def test_nothing_is_in_both_parts(wanted, level):
    found = split(pieces(20), wanted, 0.25, 0, {})
    assert found.level == level
    parts = {}
    for piece, part in zip(pieces(20), found.parts):
        parts.setdefault(getattr(piece, level), set()).add(part)
    assert all(len(part) == 1 for part in parts.values())
    tests = sum(part == {TEST} for part in parts.values())
    assert tests == (5 if level == PERSON else 10)


def test_split_does_not_depend_on_the_order_and_does_on_the_seed():
    found = split(pieces(20), PERSON, 0.25, 0, {})
    assert split(pieces(20)[::-1], PERSON, 0.25, 0, {}).units == found.units
    assert split(pieces(20), PERSON, 0.25, 1, {}).units != found.units


def test_what_was_split_stays():
    """Also where it would be drawn otherwise; the others make the number up."""
    drawn = split(pieces(40), PERSON, 0.25, 0, {}).units
    swapped = {f'p{n}': TRAIN if drawn[f'p{n}'] == TEST else TEST for n in range(8)}
    after = split(pieces(40), PERSON, 0.25, 0, swapped).units
    assert swapped.items() <= after.items()
    assert list(after.values()).count(TEST) == 10


def test_little_is_split_all_the_same():
    assert split(pieces(1), PERSON, 0.2, 0, {}).level == CLIP
    assert sorted(split(pieces(1, 1), PERSON, 0.2, 0, {}).parts) == [TEST, TRAIN]
    assert split(pieces(1, 1, 1), PERSON, 0.2, 0, {}) == ([TRAIN], TRACK, {'p0-0-0': TRAIN})
    assert {*split(pieces(9), PERSON, 0, 0, {}).parts} == {TRAIN}
    assert split([], PERSON, 0.2, 0, {}).parts == []


def test_sources(tmp_path):
    frames = list(wandering(3))
    for name in ('a/anna/1.mp4', 'a/anna/1.mov', 'a/ben#2.mp4', 'a/x.mp4', 'a/.hid.mp4', 'b/x.mp4'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, frames)
    write_folder(tmp_path / 'a' / 'ben', frames)  # a folder of pictures is a clip
    out = tmp_path / 'a' / 'set'
    (out / 'train').mkdir(parents=True)
    write(out / 'train' / 'made.mp4', frames)
    (tmp_path / 'a' / 'notes.txt').write_text('')
    (tmp_path / 'a' / 'around').symlink_to(tmp_path / 'a', target_is_directory=True)
    found = find_sources([tmp_path / 'a', tmp_path / 'b' / 'x.mp4', tmp_path / 'a' / 'x.mp4'], out)
    assert found.others == ['around', 'notes.txt']
    assert [source.name for source in found.sources] == [
        *(str(tmp_path / 'a' / 'x.mp4'), str(tmp_path / 'b' / 'x.mp4')),
        *('anna/1.mov', 'anna/1.mp4', 'ben', 'ben#2.mp4'),
    ]
    assert [source.person for source in found.sources] == ['x', 'x', 'anna', 'anna', 'ben', 'ben']
    stems = [source.stem for source in found.sources]
    assert len({stem.lower() for stem in stems}) == 6 and stems[4:] == ['ben', 'ben#2']
    assert list(group_by_id(stems)) == ['anna', 'ben', 'x']
    with pytest.raises(UserError, match='is no clip'):
        find_sources([tmp_path / 'a' / 'notes.txt'], out)
