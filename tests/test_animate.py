"""animate.py as its users run it: pairs of a test set into a folder."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
import yaml
from PIL import Image

import animate
from modules.animation import animator, pairs
from modules.animation.normalization import Normalization
from modules.animation.results import AnimationFolder, name_pairs
from modules.build import build_models
from modules.checkpoints.models import load_models, save_checkpoint
from modules.data.clips import open_clip
from modules.runtime.errors import UserError
from modules.video import VideoReader, VideoWriter
from modules.video.levels import to_bytes
from tests.support.dataset_files import cut_short, write_folder, write_strip, write_video
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import CONFIG, LEGACY, TINY

NTSC = Fraction(30000, 1001)
RELATIVE = {'use_relative_movement': True, 'use_relative_jacobian': True}


def driving_frames():
    return np.load(TINY / 'driving.npy')


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """A test part of three clips, one of each kind."""
    root = tmp_path_factory.mktemp('data')
    frames = driving_frames()
    write_video(root / 'test' / 'a.mp4', frames[:4], fps=NTSC)
    write_folder(root / 'test' / 'b', frames[5:2:-1])
    write_strip(root / 'test' / 'c.png', frames[2:6, :, ::-1])
    return root


def write_config(path, root, normalization=RELATIVE, num_pairs=4, video_format='.mp4', **dataset):
    config = yaml.safe_load((TINY / 'tiny.yaml').read_text())
    config['dataset_params'].update(root_dir=str(root), **dataset)
    config['animate_params'] = {
        'num_pairs': num_pairs,
        'format': video_format,
        'normalization_params': dict(normalization),
    }
    config['visualizer_params'] = {'kp_size': 2, 'draw_border': False}
    path.write_text(yaml.safe_dump(config))
    return path


def run(config, save_dir, *arguments, checkpoint=LEGACY):
    given = ['--config', config, '--save_dir', save_dir, '--checkpoint', checkpoint, *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['animate.py', '--cpu', '--engine', 'eager', *map(str, given)])
        animate.main()
    return save_dir


def files_of(folder):
    """{path within the folder: bytes}, hidden ones too."""
    found = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def run_file(folder):
    return json.loads((folder / 'run.json').read_text())


def strip_frames(path):
    picture = np.asarray(Image.open(path))
    return np.stack(np.split(picture, picture.shape[1] // 64, axis=1))


@pytest.fixture(scope='module')
def whole(dataset, tmp_path_factory):
    """A config and the folder of its uninterrupted run."""
    folder = tmp_path_factory.mktemp('whole')
    config = write_config(folder / 'c.yaml', dataset)
    return config, run(config, folder / 'run')


@pytest.fixture(scope='module')
def models():
    models = build_models(CONFIG)
    load_models(CONFIG, models, LEGACY)
    return models


def expected_frames(models, dataset, name, normalization):
    driving, source = (open_clip(dataset / 'test' / n, (64, 64)) for n in name.split('-'))
    frames = (frame / np.float32(255) for frame in driving.frames())
    first = next(source.frames()) / np.float32(255)
    return np.stack(
        [to_bytes(f) for f in animator.animate(models, first, frames, normalization)]
    )


def test_a_run_leaves_what_it_promises(whole):
    _, folder = whole
    pairs = run_file(folder)['pairs']
    cells = np.random.RandomState(0).choice(9, 4, replace=False)  # as the official code draws them
    assert pairs == ['{}-{}'.format(*(('a.mp4', 'b', 'c.png')[n] for n in divmod(cell, 3)))
                     for cell in cells]  # fmt: skip
    wanted = [
        kind.format(name)
        for name in pairs
        for kind in ('{}.mp4', 'png/{}.png', 'result/{}.mp4')
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
    original = animator.Animator.explain

    def explain(self, frame, with_deformed=True):
        kinds.append(with_deformed)
        return original(self, frame, with_deformed)

    monkeypatch.setattr(animator.Animator, 'explain', explain)
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


@pytest.mark.parametrize('after', range(1, 26, 6))
def test_interrupted_and_restarted_equals_uninterrupted(
    whole, tmp_path, monkeypatch, capsys, after
):
    config, complete = whole
    folder = tmp_path / 'run'
    original, count = VideoWriter.write, []

    def write(self, frame):
        count.append(1)
        if len(count) == after:
            raise KeyboardInterrupt
        original(self, frame)

    with monkeypatch.context() as patch:
        patch.setattr(VideoWriter, 'write', write)
        with pytest.raises(KeyboardInterrupt):
            run(config, folder)
    present, expected = files_of(folder), files_of(complete)
    assert all(expected[path] == data for path, data in present.items())  # whole or not at all
    assert len(present) % 3 == 1 and len(present) < len(expected)
    times = {path: (folder / path).stat().st_mtime_ns for path in present}
    capsys.readouterr()
    run(config, folder)
    assert files_of(folder) == expected
    assert all((folder / path).stat().st_mtime_ns == time for path, time in times.items())
    done = len(present) // 3
    said = f'{done} of 4 pairs are finished already: skipped\n' if done else ''
    out = capsys.readouterr().out
    assert out == f'{said}written: {4 - done} of 4 pairs into {folder}\n'


@pytest.mark.parametrize('number', [signal.SIGKILL, signal.SIGTERM])
def test_killed_and_restarted(whole, tmp_path, number):
    config, _ = whole
    complete, folder = tmp_path / 'complete', tmp_path / 'run'
    command = [sys.executable, ROOT / 'animate.py', '--cpu', '--engine', 'eager']
    command += ['--config', config, '--checkpoint', LEGACY, '--save_dir']
    command = [*map(str, command)]
    # Matrix libraries may round otherwise in this process than in a fresh one.
    subprocess.run([*command, str(complete)], check=True, capture_output=True)
    command += [str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(folder.glob('.*.unfinished/grid.mp4')):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=300)
    if process.returncode == 0:
        pytest.skip('the run was over before the signal came')
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    (folder / '.left.unfinished').mkdir(exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, '')
    assert files_of(folder) == files_of(complete)
    assert not list(folder.glob('.*'))


def test_a_pair_that_lacks_an_output_is_made_again(whole, tmp_path):
    config, complete = whole
    folder = tmp_path / 'run'
    shutil.copytree(complete, folder)
    next((folder / 'result').iterdir()).unlink()
    run(config, folder)
    assert files_of(folder) == files_of(complete)


def test_another_run_is_not_mixed_in(whole, dataset, tmp_path, models):
    config, complete = whole
    before = files_of(complete)
    changed = write_config(tmp_path / 'changed.yaml', dataset, num_pairs=5)
    with pytest.raises(UserError, match=r'animate_params\.num_pairs is 4 there and 5 now'):
        run(changed, complete)
    changed = write_config(tmp_path / 'changed.yaml', dataset, {})
    with pytest.raises(UserError, match='use_relative_movement is True there and False now'):
        run(changed, complete)
    with pytest.raises(UserError, match=r'pairs is .* there and .* now'):
        run(config, complete, '--seed', 1)
    bias = models.generator.final.bias
    weights = bias.numpy().copy()
    other = tmp_path / 'other.safetensors'
    try:
        bias.set_value(weights + np.float32(1e-3))
        save_checkpoint(other, models._asdict())
    finally:
        bias.set_value(weights)
    with pytest.raises(UserError, match='weights_sha256 is'):
        run(config, complete, checkpoint=other)
    assert files_of(complete) == before


def test_weights_are_the_same_in_any_file(whole, tmp_path):
    config, complete = whole
    run(config, complete, checkpoint=TINY)  # a folder of .npz files of the same weights


def test_folders_that_are_no_runs(whole, tmp_path):
    config, _ = whole
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='file: is no folder'):
        run(config, tmp_path / 'file')
    with pytest.raises(UserError, match='holds something else'):
        run(config, tmp_path)
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'run.json').write_text('{')
    with pytest.raises(UserError, match=r'run\.json: damaged'):
        run(config, tmp_path / 'run')


def test_two_runs_do_not_share_a_folder(whole, tmp_path):
    config, _ = whole
    folder = AnimationFolder(tmp_path / 'run', ['png'], '.mp4')
    with folder.open({}), pytest.raises(UserError, match='another run is writing there'):
        run(config, tmp_path / 'run')
    with pytest.raises(UserError, match='holds another run'):  # the lock is gone
        run(config, tmp_path / 'run')


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
