"""tools/evaluate.py on a drawn test set, with tiny networks and with results made to order."""

import csv
import json
import os
import shutil
import subprocess
import sys
import weakref

import numpy as np
import pytest
import yaml
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from modules.animation import animator
from modules.build import build_models
from modules.checkpoints.models import load_models
from modules.data.clips import open_clip
from modules.evaluation import reconstruction
from modules.runtime.errors import UserError
from modules.video import VideoReader
from modules.video.levels import to_bytes
from tests.support.dataset_files import cut_short, frames, write_folder
from tests.support.terminal import Terminal
from tests.support.tiny_checkpoint import CONFIG, LEGACY, ROOT, TINY
from tools import convert_torch, evaluate, make_demo_dataset
from tools.evaluation.bootstrap import interval
from tools.official.parity import official_config

SIZE, CLIPS, FRAMES = 64, 3, 4


def call(tool, monkeypatch, *arguments):
    """Runs a tool's main with these arguments."""
    monkeypatch.setattr(sys, 'argv', [tool.__name__, *map(str, arguments)])
    tool.main()


@pytest.fixture(scope='module')
def drawn(tmp_path_factory):
    """A drawn test set of three clips."""
    folder = tmp_path_factory.mktemp('drawn') / 'data'
    options = ('--train', 0, '--test', CLIPS, '--size', SIZE, '--frames', FRAMES)
    with pytest.MonkeyPatch.context() as patch:
        arguments = [folder, *options, '--format', 'frames', '--workers', 1]
        call(make_demo_dataset, patch, *arguments)
    return folder


@pytest.fixture
def data(drawn, tmp_path):
    """A copy of it to change."""
    return shutil.copytree(drawn, tmp_path / 'data')


@pytest.fixture
def run(tmp_path, data, monkeypatch):
    """Runs the tool on `data` -> summary.json; other files are in tmp_path / 'out'."""

    def run(*options, **params):
        config = yaml.safe_load((TINY / 'tiny.yaml').read_text())
        config['dataset_params']['root_dir'] = str(data)
        config.update(params)
        (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config))
        fixed = ('--config', tmp_path / 'config.yaml', '--checkpoint', LEGACY, '--cpu')
        arguments = [*fixed, '--engine', 'eager', '--out', tmp_path / 'out', *options]
        call(evaluate, monkeypatch, *arguments)
        return json.loads((tmp_path / 'out' / 'summary.json').read_text())

    return run


@pytest.fixture
def becomes(monkeypatch):
    """Makes the networks' results: becomes(function of (frame number, frame) in [0, 1])."""

    def replace(change):
        def made(models, source, driving):
            for number, frame in enumerate(driving):
                yield change(number, frame)

        monkeypatch.setattr(reconstruction, 'animate', made)

    return replace


def read_folder(folder):
    with VideoReader(folder) as reader:
        return np.stack(list(reader))


def read_csv(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def values(summary):
    return {name: figure['value'] for name, figure in summary['figures'].items()}


def test_figures_are_those_of_the_saved_frames(tmp_path, data, run, capsys):
    summary = run('--save_frames', '--detector', 'joints', '--embedder', 'colours')
    models = build_models(CONFIG)
    load_models(CONFIG, models, LEGACY)
    rows = read_csv(tmp_path / 'out' / 'videos.csv')
    clips = sorted((data / 'test').iterdir())
    assert [row['video'] for row in rows] == [clip.name for clip in clips]
    folders = sorted((tmp_path / 'out' / 'frames').iterdir())
    figures = {'l1': [], 'psnr': [], 'ssim': []}
    for number, (clip, folder, row) in enumerate(zip(clips, folders, rows)):
        assert folder.name == f'{number:04d}_{clip.name}'
        truths, results = read_folder(clip), read_folder(folder)
        assert len(truths) == len(results) == int(row['frames']) == FRAMES
        driving = truths.astype('float32') / 255
        made = np.stack(list(animator.animate(models, driving[0], driving)))
        assert np.array_equal(to_bytes(made), results)
        l1 = np.abs(made - driving).mean(axis=(1, 2, 3))
        assert float(row['l1']) == pytest.approx(l1.mean(), rel=1e-5)
        figures['l1'].append(l1)
        pairs = list(zip(truths, results))
        figures['psnr'].append([peak_signal_noise_ratio(*pair) for pair in pairs])
        figures['ssim'].append([structural_similarity(*pair, channel_axis=-1) for pair in pairs])
    for name, by_frame in figures.items():
        figure = summary['figures'][name]
        assert figure['value'] == pytest.approx(np.mean(by_frame), rel=1e-6)
        low, high = interval(np.sum(by_frame, axis=1), np.full(CLIPS, FRAMES))
        assert (figure['low'], figure['high']) == pytest.approx((low, high), rel=1e-6)
    assert {'akd', 'mkr', 'aed'} < set(summary['figures'])
    assert list(summary['not_measured']) == ['lpips']
    assert (summary['videos'], summary['frames']) == (CLIPS, CLIPS * FRAMES)
    out, err = capsys.readouterr()
    text = (tmp_path / 'out' / 'summary.md').read_text(encoding='utf-8')
    for line in out.splitlines()[:4]:
        assert line in text
    assert 'not measured: LPIPS' in out and 'Not measured: LPIPS' in text
    assert 'warning' not in err


def test_perfect_reconstruction(run, becomes):
    becomes(lambda number, frame: frame)
    figures = values(run('--detector', 'joints', '--embedder', 'colours'))
    assert figures['psnr'] > 85
    exact = {'l1': 0, 'ssim': 1, 'akd': 0, 'mkr': 0, 'aed': 0, 'lost_embedding': 0}
    for name, value in exact.items():
        assert figures[name] == pytest.approx(value, abs=1e-9), name


def test_a_known_shift(run, becomes):
    becomes(lambda number, frame: np.concatenate([frame[:, :1], frame[:, :1], frame[:, :-2]], 1))
    figures = values(run('--detector', 'joints'))
    assert figures['akd'] == pytest.approx(2)
    assert figures['mkr'] == 0


def test_a_removed_frame(tmp_path, run, becomes):
    """One frame of four comes out gray: what is lost is counted, and in that frame alone."""
    becomes(lambda number, frame: frame * 0 + 0.5 if number == 2 else frame)
    summary = run('--metrics', 'l1', 'akd', 'mkr', '--detector', 'joints', '--num_videos', 1)
    (row,) = read_csv(tmp_path / 'out' / 'videos.csv')
    figures = values(summary)
    assert figures['akd'] == 0  # of the others
    lost = int(row['mkr_count']) - int(row['akd_count'])
    assert lost > 0
    assert figures['mkr'] == pytest.approx(lost / int(row['mkr_count']))
    assert 0.2 < figures['mkr'] < 0.3
    truth = read_folder(summary['dataset'] + f'/test/{row["video"]}')[2] / 255
    assert figures['l1'] == pytest.approx(np.abs(truth - 0.5).mean() / FRAMES, rel=1e-5)


def test_frames_weigh_the_same_in_clips_of_any_length(data, run, becomes):
    """As in the official loss: all frames of all clips, not clip by clip."""
    short = sorted((data / 'test').iterdir())[0]
    for path in sorted(short.iterdir())[1:]:
        path.unlink()
    becomes(lambda number, frame: frame if number else frame * 0)
    figure = run('--metrics', 'l1')['figures']['l1']
    first = [read_folder(clip)[0].mean() / 255 for clip in sorted((data / 'test').iterdir())]
    assert figure['count'] == 1 + 2 * FRAMES
    assert figure['value'] == pytest.approx(sum(first) / (1 + 2 * FRAMES), rel=1e-5)
    by_clip = (first[0] + (first[1] + first[2]) / FRAMES) / 3
    assert figure['mean_over_videos'] == pytest.approx(by_clip, rel=1e-5)


@pytest.mark.parametrize('where', ['config', 'option'])
def test_exactly_num_videos(run, becomes, where):
    becomes(lambda number, frame: frame)
    section = {'num_videos': 2 if where == 'config' else 1, 'format': '.mp4'}
    options = () if where == 'config' else ('--num_videos', 2)
    assert run('--metrics', 'l1', *options, reconstruction_params=section)['videos'] == 2


def test_fewer_clips_than_wanted_are_told(run, becomes, capsys):
    becomes(lambda number, frame: frame)
    assert run('--metrics', 'l1', '--num_videos', CLIPS + 4)['videos'] == CLIPS
    assert 'warning: 7 clips were wanted, only 3 could be reconstructed' in capsys.readouterr().err


def test_on_a_terminal_warnings_stand_above_the_bar(data, run, becomes, monkeypatch):
    becomes(lambda number, frame: frame)
    cut_short(sorted((data / 'test').iterdir())[1] / '000002.png')
    monkeypatch.setattr(sys, 'stderr', Terminal())
    run('--metrics', 'l1')
    text = sys.stderr.getvalue()
    before, _, _ = text.partition('warning: ')
    assert '0/3' in before and before.endswith('\r')


def test_broken_clips_are_named_counted_and_left_out(tmp_path, data, run, becomes, capsys):
    becomes(lambda number, frame: frame)
    clips = sorted((data / 'test').iterdir())
    cut_short(clips[0] / '000002.png')  # midway: found by reading
    (data / 'test' / 'zero.mp4').write_bytes(b'')  # can't be opened
    summary = run('--metrics', 'l1', '--num_videos', 2, '--save_frames')
    assert summary['videos'] == 2  # the next one has taken its place
    rows = read_csv(tmp_path / 'out' / 'videos.csv')
    assert [row['video'] for row in rows] == [clip.name for clip in clips[1:]]
    assert len(summary['broken']) == 2
    err = capsys.readouterr().err
    text = (tmp_path / 'out' / 'summary.md').read_text(encoding='utf-8')
    for name in (f'{clips[0].name}/000002.png', 'zero.mp4'):
        assert name in err and name in text
        assert any(name in line for line in summary['broken'])
    saved = sorted(path.name for path in (tmp_path / 'out' / 'frames').iterdir())
    assert saved == [f'000{n}_{clip.name}' for n, clip in enumerate(clips[1:])]


def test_nothing_left_if_all_clips_break(tmp_path, data, run, becomes):
    becomes(lambda number, frame: frame)
    for clip in (data / 'test').iterdir():
        cut_short(clip / '000003.png')
    with pytest.raises(UserError, match='no clip can be read to its end'):
        run()
    assert not (tmp_path / 'out').exists()


def test_one_clip_has_no_interval(tmp_path, run, becomes):
    becomes(lambda number, frame: frame * 0.5)
    summary = run('--metrics', 'l1', 'aed', '--embedder', 'colours', '--num_videos', 1)
    assert summary['figures']['l1']['low'] is None
    assert '| L1 ↓ | ' in (tmp_path / 'out' / 'summary.md').read_text(encoding='utf-8')


def test_frames_are_neither_kept_nor_read_ahead(tmp_path, becomes, monkeypatch):
    """Memory does not grow with the clip: a frame is gone soon after it was compared."""
    becomes(lambda number, frame: frame + 0)
    clip = open_clip(write_folder(tmp_path / 'long', frames(12)))
    held, most, decoded = [], 0, []

    def counted(clip, tell):
        for frame in clip.frames():
            decoded.append(1)
            yield frame

    monkeypatch.setattr(reconstruction, 'read_whole', counted)
    for pair in reconstruction.reconstruct(None, clip):
        assert len(decoded) <= pair.number + 2
        held += [weakref.ref(array) for array in (pair.truth, pair.prediction, pair.result)]
        del pair
        most = max(most, sum(array() is not None for array in held))
    assert len(held) == 3 * 12
    assert most <= 6


@pytest.mark.parametrize(
    'options, named',
    [
        (('--metrics', 'akd'), '--metrics akd: needs --detector'),
        (('--metrics', 'aed'), '--metrics aed: needs --embedder'),
        (('--metrics', 'l1', '--detector', 'joints'), '--detector: is for akd and mkr'),
        (('--metrics', 'l1', '--embedder', 'colours'), '--embedder: is for aed'),
        (('--metrics', 'l1', '--lpips_weights', 'a', 'b'), '--lpips_weights: is for lpips'),
        (('--metrics', 'l2'), "invalid choice: 'l2'"),
        (('--num_videos', 0), '--num_videos 0: give a number of at least 1'),
        (('--detector', 'eyes'), '--detector eyes: none of joints'),
        (('--lpips_weights', 'a.pth', 'b.pth'), r'b\.pth: no such file'),
    ],
)
def test_mistakes_are_named(tmp_path, run, options, named):
    with pytest.raises(UserError, match=named):
        run(*options)
    assert not (tmp_path / 'out').exists()


def test_taken_folder_is_refused(tmp_path, run):
    (tmp_path / 'out').mkdir()
    Image.new('RGB', (2, 2)).save(tmp_path / 'out' / 'mine.png')
    with pytest.raises(UserError, match='exists already'):
        run('--metrics', 'l1')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['mine.png']


def test_joints_come_with_drawn_test_clips_only(data):
    names = sorted(path.name for path in (data / 'joints' / 'test').iterdir())
    assert names == [f'{clip.name}.npz' for clip in sorted((data / 'test').iterdir())]
    assert not (data / 'joints' / 'train').exists()


@pytest.mark.slow
@pytest.mark.skipif(
    not {'TORCH_REPO', 'TORCH_PYTHON'} <= set(os.environ),
    reason='needs TORCH_REPO=clone and TORCH_PYTHON=interpreter with PyTorch',
)
def test_l1_is_what_the_official_reconstruction_prints(tmp_path, monkeypatch):
    """Of the bundled networks, converted, on a drawn test set; to 1e-5."""
    draw = (tmp_path / 'data', '--train', 0, '--test', 12, '--size', 128, '--frames', 4)
    call(make_demo_dataset, monkeypatch, *draw, '--format', 'frames', '--workers', 1)
    (tmp_path / 'data' / 'train').mkdir(exist_ok=True)  # without it the official code splits
    weights = ROOT / 'doc' / 'demo' / 'demo-128.safetensors'
    call(convert_torch, monkeypatch, weights, '--to', 'torch', '--out', tmp_path)
    config = yaml.safe_load((ROOT / 'config' / 'demo-128.yaml').read_text())
    config['dataset_params']['root_dir'] = str(tmp_path / 'data')
    (tmp_path / 'config.yaml').write_text(yaml.safe_dump(config))
    given = ('--config', tmp_path / 'config.yaml', '--checkpoint', weights, '--cpu')
    call(evaluate, monkeypatch, *given, '--metrics', 'l1', '--out', tmp_path / 'out')
    ours = json.loads((tmp_path / 'out' / 'summary.json').read_text())['figures']['l1']
    assert ours['count'] == 12 * 4
    job = {
        **official_config(config),
        'dataset_params': config['dataset_params'],
        'checkpoint': str(tmp_path / 'demo-128.pth.tar'),
        'out': str(tmp_path / 'official'),
    }
    program = ROOT / 'tests' / 'support' / 'official_reconstruction.py'
    command = [os.environ['TORCH_PYTHON'], program, os.path.abspath(os.environ['TORCH_REPO'])]
    done = subprocess.run(
        [*map(str, command)], input=json.dumps(job), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    printed = float(done.stdout.rpartition('Reconstruction loss: ')[2])
    print(f'L1: {ours["value"]:.9f}, officially {printed:.9f}')
    assert ours['value'] == pytest.approx(printed, abs=1e-5)
    assert len(list((tmp_path / 'official' / 'reconstruction' / 'png').iterdir())) == 12
