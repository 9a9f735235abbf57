"""animate.py as its users run it: pairs of a test set into a folder."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import animate
from modules.animation import animator, pairs
from modules.animation.normalization import Normalization
from modules.animation.results import name_pairs
from modules.runtime.errors import UserError
from modules.video import VideoReader, VideoWriter
from tests.support.animation_runs import (
    NTSC,
    driving_frames,
    expected_frames,
    files_of,
    run,
    run_file,
    strip_frames,
    write_config,
)
from tests.support.dataset_files import cut_short, write_folder, write_video
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import LEGACY, TINY


def test_a_run_leaves_what_it_promises(whole):
    _, folder = whole
    pairs = run_file(folder)['pairs']
    cells = np.random.RandomState(0).choice(9, 4, replace=False)  # as the official code draws them
    assert pairs == ['{}-{}'.format(*(('a.mp4', 'b', 'c.png')[n] for n in divmod(cell, 3)))
                     for cell in cells]  # fmt: skip
    wanted = [
        kind.format(name) for name in pairs for kind in ('{}.mp4', 'png/{}.png', 'result/{}.mp4')
    ]
    assert sorted(files_of(folder)) == sorted([*wanted, 'run.json'])


def test_frames_are_lossless(whole, dataset, models):
    _, folder = whole
    for name in run_file(folder)['pairs']:
        expected = expected_frames(models, dataset, name, Normalization(True, True))
        np.testing.assert_array_equal(strip_frames(folder / 'png' / f'{name}.png'), expected)


def test_videos_have_the_driving_clips_frame_rate(whole):
    _, folder = whole
    rates = set()
    for name in run_file(folder)['pairs']:
        strip = strip_frames(folder / 'png' / f'{name}.png')
        for path, width in (
            (folder / 'result' / f'{name}.mp4', 64),
            (folder / f'{name}.mp4', 6 * 64),
        ):
            with VideoReader(path) as reader:
                rates.add(reader.fps)
                assert reader.fps == (NTSC if name.startswith('a.mp4') else 25)
                assert reader.size == (64, width)
                frames = np.stack(list(reader))
            assert len(frames) == len(strip)
            shown = frames if width == 64 else frames[:, :, 4 * 64 : 5 * 64]
            assert np.abs(shown.astype(int) - strip).mean() < 6  # lossy
    assert rates == {NTSC, 25}


def test_grid_is_laid_out_as_officially(models):
    """source | driving | deformed | result with keypoints | result | occlusion."""
    frames = driving_frames() / np.float32(255)
    steps = animator.explained_animation(models, frames[0], frames[4:6], Normalization(True, True))
    from modules.visualizer import Visualizer

    visualizer = Visualizer(kp_size=2)
    *_, step = steps
    columns = np.split(pairs.draw(visualizer, step), 6, axis=1)
    plain = {'source': 0, 'driving': 1, 'result': 3}
    images = {'source': frames[0], 'driving': frames[5], 'result': step.frame}
    kps = {'source': step.kp_source, 'driving': step.kp_driving, 'result': step.kp_norm}
    for name, column in plain.items():
        dots = visualizer.draw_keypoints(images[name][None], kps[name].value)[0]
        np.testing.assert_array_equal(columns[column], (255 * dots).astype('uint8'))
    assert np.abs(step.kp_norm.value.numpy() - step.kp_driving.value.numpy()).max() > 1e-3
    generated = step.generated
    for column, tensor in ((2, generated.deformed), (4, generated.prediction)):
        image = tensor[0].numpy().transpose(1, 2, 0)
        np.testing.assert_array_equal(columns[column], (255 * image).astype('uint8'))
    occlusion = np.kron(generated.occlusion_map[0, 0].numpy(), np.ones((2, 2)))
    np.testing.assert_array_equal(columns[5][..., 0], (255 * occlusion).astype('uint8'))


@pytest.mark.parametrize('relative', [False, True])
@pytest.mark.parametrize('adapt', [False, True])
def test_frames_are_the_official_ones(tmp_path, relative, adapt, capsys):
    """With the normalization of the config: golden frames by the official code."""
    write_folder(tmp_path / 'data' / 'test' / 'driving', driving_frames())
    (tmp_path / 'data' / 'test' / 'source').mkdir()
    shutil.copy(TINY / 'source.png', tmp_path / 'data' / 'test' / 'source')
    (tmp_path / 'pairs.csv').write_text('source,driving\nsource,driving\n')
    normalization = {
        'use_relative_movement': relative,
        'use_relative_jacobian': relative,
        'adapt_movement_scale': adapt,
    }
    lists = {'pairs_list': str(tmp_path / 'pairs.csv')}
    config = write_config(tmp_path / 'c.yaml', tmp_path / 'data', normalization, **lists)
    folder = run(config, tmp_path / 'run', '--outputs', 'png')
    golden = np.load(TINY / 'predictions.npz')[f'alignTrue.relative{relative}.adapt{adapt}']
    ours = strip_frames(folder / 'png' / 'driving-source.png').astype(int)
    assert np.abs(ours - golden).max() <= 1
    assert ('change nothing' in capsys.readouterr().err) == (adapt and not relative)


def test_listed_pairs_come_in_place_of_random_ones(tmp_path, dataset, capsys):
    (tmp_path / 'pairs.csv').write_text('source,driving\nb,c.png\nx,b\nb,c.png\na.mp4,b\nb,b\n')
    lists = {'pairs_list': str(tmp_path / 'pairs.csv')}
    config = write_config(tmp_path / 'c.yaml', dataset, num_pairs=3, **lists)
    folder = run(config, tmp_path / 'run', '--outputs', 'png')
    assert sorted(p.name for p in (folder / 'png').iterdir()) == ['b-a.mp4.png', 'c.png-b.png']
    said = capsys.readouterr()
    assert '1 of 5 pairs are passed over' in said.err and 'such as x' in said.err
    assert said.out.endswith(f'written: 2 of 2 pairs into {folder}\n')


def test_another_seed_draws_other_pairs(tmp_path, dataset):
    config = write_config(tmp_path / 'c.yaml', dataset, num_pairs=2)
    drawn = [
        run_file(run(config, tmp_path / str(seed), '--outputs', 'png', '--seed', seed))['pairs']
        for seed in (0, 1)
    ]
    assert len(drawn[0]) == len(drawn[1]) == 2 and drawn[0] != drawn[1]
    with pytest.raises(UserError, match='--seed -1'):
        run(config, tmp_path / 'x', '--seed', -1)


def test_outputs_are_chosen_and_added(whole, tmp_path, monkeypatch):
    """Only a grid needs the deformed source; outputs that are added later equal those at once."""
    config, complete = whole
    kinds = []
    original = animator.Painter.paint

    def paint(self, driving, with_deformed=False):
        kinds.append(with_deformed)
        return original(self, driving, with_deformed)

    monkeypatch.setattr(animator.Painter, 'paint', paint)
    folder = run(config, tmp_path / 'run', '--outputs', 'result', 'png')
    assert set(kinds) == {False}
    assert sorted(p.name for p in folder.iterdir()) == ['png', 'result', 'run.json']
    run(config, folder)
    assert set(kinds) == {False, True}
    assert files_of(folder) == files_of(complete)


def test_gif(tmp_path, dataset):
    config = write_config(tmp_path / 'c.yaml', dataset, num_pairs=1, video_format='.gif')
    folder = run(config, tmp_path / 'run')
    for path in (*folder.glob('*.gif'), *folder.glob('result/*.gif')):
        with VideoReader(path) as reader:
            assert reader.frame_count > 1
    assert len(list(folder.rglob('*.gif'))) == 2


# ---- interruption ----


# ---- what can't be used ----


def test_broken_clips_are_named_counted_and_skipped(tmp_path, capsys):
    """`late` breaks off midway, so it can be a source; `never` can't be opened."""
    frames, test = driving_frames(), tmp_path / 'data' / 'test'
    write_folder(test / 'good', frames[:2])
    write_folder(test / 'late', frames[:3])
    picture = test / 'late' / '2.png'
    picture.write_bytes(picture.read_bytes()[:-400])
    cut_short(write_video(test / 'never.mp4', frames))
    config = write_config(tmp_path / 'c.yaml', tmp_path / 'data', num_pairs=9)
    for _ in range(2):  # the second time the others are there already
        folder = run(config, tmp_path / 'run')
        err = capsys.readouterr()
        lines = [line for line in err.err.splitlines() if line.startswith('warning: late-')]
        assert len(lines) == 2 and all('2.png: damaged' in line for line in lines)
        assert 'never.mp4' in err.err and '1 of 3 clips' in err.err
    assert err.out.endswith(f'written: 0 of 4 pairs into {folder}, 2 left out\n')
    names = sorted(path.name for path in (folder / 'png').iterdir())
    assert names == ['good-good.png', 'good-late.png']
    assert not list(folder.glob('late-*')) and not list(folder.glob('.*'))


def test_nothing_usable_is_an_error(tmp_path):
    test = tmp_path / 'data' / 'test'
    write_folder(test / 'late', driving_frames()[:3])
    (test / 'late' / '1.png').write_bytes((test / 'late' / '1.png').read_bytes()[:-400])
    config = write_config(tmp_path / 'c.yaml', tmp_path / 'data')
    with pytest.raises(UserError, match='none of 1 pairs'):
        run(config, tmp_path / 'run')


def test_another_frame_size_is_an_error(tmp_path, dataset):
    config = write_config(tmp_path / 'c.yaml', dataset, frame_shape=[32, 32, 3])
    with pytest.raises(UserError, match=r'a\.mp4: 64x64 pixels, but .* 32x32'):
        run(config, tmp_path / 'run')
    assert not (tmp_path / 'run').exists()


def test_a_full_disk_stops_the_run(whole, tmp_path, monkeypatch):
    config, _ = whole

    def fail(self, frame):
        raise UserError('no space')

    monkeypatch.setattr(VideoWriter, 'write', fail)
    with pytest.raises(UserError, match='no space'):
        run(config, tmp_path / 'run')
    assert list(files_of(tmp_path / 'run')) == ['run.json']


def test_names_of_results_are_unlike_and_not_too_long():
    from frames_dataset import Pair

    clips = ['a', 'a-b', 'b-c', 'c', 'x' * 120]
    pairs = [Pair(driving=0, source=3), Pair(driving=1, source=3), Pair(driving=0, source=3)]
    assert list(name_pairs(clips, pairs)) == ['a-c', 'a-b-c']
    with pytest.raises(UserError, match='a-b-c: would be the result of a-b with c and of a with'):
        name_pairs(clips, [*pairs, Pair(driving=0, source=2)])
    with pytest.raises(UserError, match='too long'):
        name_pairs(clips, [Pair(4, 4)])


# ---- the command line ----


@pytest.mark.parametrize(
    'arguments, message',
    [
        ([], '--config'),
        (['--config', 'missing.yaml'], 'missing.yaml'),
        (['--config', 'c.yaml', '--outputs', 'film'], '--outputs'),
        (['--config', 'no_section.yaml'], 'animate_params'),
    ],
)
def test_mistakes_are_one_line_and_come_before_paddle(tmp_path, dataset, arguments, message):
    write_config(tmp_path / 'c.yaml', dataset)
    shutil.copy(TINY / 'tiny.yaml', tmp_path / 'no_section.yaml')
    (tmp_path / 'paddle.py').write_text('raise SystemExit("Paddle was imported")')
    done = subprocess.run(
        [sys.executable, str(ROOT / 'animate.py'), *arguments],
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ''
    assert done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
    assert message in done.stderr


def test_weights_are_needed(tmp_path, dataset, monkeypatch):
    config = write_config(tmp_path / 'c.yaml', dataset)
    monkeypatch.setattr(sys, 'argv', ['animate.py', '--cpu', '--config', str(config)])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match='no weights'):
        animate.main()
    assert [path.name for path in tmp_path.iterdir()] == ['c.yaml']


def test_the_folder_lies_beside_the_checkpoint_if_not_given(tmp_path, monkeypatch):
    def save_dir(*arguments):
        monkeypatch.setattr(sys, 'argv', ['animate.py', '--config', 'x/vox.yaml', *arguments])
        return str(animate.parse_arguments().save_dir)

    assert save_dir('--checkpoint', str(LEGACY)) == str(LEGACY.parent / 'animation')
    assert save_dir('--checkpoint', 'vox') == save_dir() == 'log/vox/animation'
