"""Validation in a run: its figures, what it leaves alone, the best weights, early stop."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from frames_dataset import FramesDataset
from modules.checkpoints.places import find_checkpoints
from modules.checkpoints.reading import read_checkpoint, read_run_state
from modules.evaluation import reconstruction
from modules.evaluation.metrics import Tally
from modules.evaluation.whole_clips import DamagedClipError
from modules.runtime.errors import UserError
from modules.training import validation as validation_module
from modules.training.standing import Standing, is_better
from modules.training.validation import Validation, evaluating
from modules.util import BatchNorm2D
from tests.support.scalar_files import FAKES, written
from tests.support.tiny import tiny_config
from tests.support.trainers import frames, make_trainer, state_of
from tests.support.training_runs import (
    launched,
    read_log,
    run,
    write_clips,
    write_config,
    write_joints,
)
from tools import evaluate

ON = {'every': 1}


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_joints(write_clips(tmp_path_factory.mktemp('data')))


def validation_of(dataset, held=None, **params):
    params = tiny_config(validation=params)['train_params']['validation']
    clips = FramesDataset(dataset, (32, 32, 3), is_train=False)
    return Validation(params, clips, held)


@pytest.fixture(scope='module')
def whole_run(dataset, tmp_path_factory):
    """A run with everything, and curves."""
    folder = tmp_path_factory.mktemp('whole')
    config = write_config(
        folder / 'c.yaml', dataset, num_epochs=4, validation=ON, ema_decay=0.5, lr_generator=2e-3,
        scalars='tensorboard',
    )  # fmt: skip
    out, _ = run('--config', config, '--save_dir', folder / 'run', PYTHONPATH=str(FAKES))
    return config, folder / 'run', out


def test_figures_are_those_of_the_tool(whole_run, tmp_path, monkeypatch):
    _, folder, _ = whole_run
    arguments = [
        *('--config', folder / 'config.yaml', '--checkpoint', folder, '--cpu'),
        *('--engine', 'eager', '--detector', 'joints', '--out', tmp_path / 'out'),
    ]
    monkeypatch.setattr('sys.argv', ['evaluate', *map(str, arguments)])
    evaluate.main()
    figures = json.loads((tmp_path / 'out' / 'summary.json').read_text())['figures']
    last = read_log(folder)[-1]
    for name in ('l1', 'psnr', 'ssim', 'mkr'):
        assert last[f'val_{name}'] == pytest.approx(figures[name]['value'], rel=1e-5), name


def test_akd_is_the_distance_of_the_joints(dataset, monkeypatch):
    """Results that are the truth, 2 pixels to the right; in the second clip nothing."""

    def animate(engine, source, driving):
        for frame in driving:
            yield np.roll(frame, 2, axis=1) if seen.append(frame) or len(seen) <= 6 else 0 * frame

    seen = []
    monkeypatch.setattr(reconstruction, 'animate', animate)
    figures = validation_of(dataset).run(make_trainer(tiny_config()).models, 1)
    assert figures['akd'] == pytest.approx(2)
    assert figures['mkr'] == pytest.approx(0.5)


def test_figures_are_in_log_and_curves_and_pictures_in_the_folder(whole_run, monkeypatch):
    _, folder, out = whole_run
    monkeypatch.syspath_prepend(str(FAKES))
    curves, log = written('tensorboard', folder / 'scalars'), read_log(folder)
    assert len(log) == 4
    for epoch, values in enumerate(log):
        assert f'validation after epoch {epoch + 1}: L1 {values["val_l1"]:.4g}, PSNR ' in out
        for name in ('l1', 'psnr', 'ssim', 'mkr'):
            shown = curves[f'validation/{name}'][2 * (epoch + 1)].expected
            assert shown == pytest.approx(values[f'val_{name}'], rel=1e-5)
        saved = np.asarray(Image.open(folder / 'validation-vis' / f'{epoch:08d}-rec.png'))
        assert saved.shape == (2 * 32, (5 + 2 * 5 + 1) * 32, 3)  # a row for each test clip
        np.testing.assert_array_equal(curves['validation/picture'][2 * (epoch + 1)], saved)
    pictures = [path.read_bytes() for path in sorted((folder / 'validation-vis').iterdir())]
    assert len(set(pictures)) == 4


def assert_has_weights_of(folder, epoch):
    theirs = read_checkpoint(folder / f'{epoch:08d}-00000000-checkpoint.safetensors').networks
    for network, state in read_checkpoint(folder / 'best.safetensors').networks.items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, theirs[network][name], err_msg=name)


def test_the_best_weights_are_those_of_their_epoch(whole_run):
    _, folder, out = whole_run
    figures = [values['val_l1'] for values in read_log(folder)]
    epoch = int(np.argmin(figures)) + 1
    best = folder / 'best.safetensors'
    _, meta = read_run_state(best)
    assert meta['epoch'] == epoch
    assert meta['validation']['l1'] == pytest.approx(min(figures), rel=1e-5)
    assert_has_weights_of(folder, epoch)
    assert f'the checkpoint is {best}\n' in out and f'--checkpoint {best} ' in out
    _, err = run('--config', folder / 'config.yaml', '--resume', best, status=2, PYTHONPATH=FAKES)
    assert 'holds weights and no state of a training run' in err


def test_training_is_the_same_as_without(dataset, tmp_path):
    """And with batch norm fixed from an epoch on, which is a mode of single layers."""
    folders = []
    for name, validation in (('without', None), ('with', ON)):
        params = {'validation': validation, 'freeze_batch_norm': 2, 'num_epochs': 4}
        config = write_config(tmp_path / f'{name}.yaml', dataset, **params)
        run('--config', config, '--save_dir', tmp_path / name)
        folders.append(tmp_path / name)
    without, with_it = (read_checkpoint(find_checkpoints(f)[-1], True) for f in folders)
    for network, state in without.networks.items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, with_it.networks[network][name], err_msg=name)
    assert without.tensors.keys() == with_it.tensors.keys()
    for name, value in without.tensors.items():
        np.testing.assert_array_equal(value, with_it.tensors[name], err_msg=name)
    for ours, theirs in zip(*map(read_log, folders)):
        assert ours == {name: theirs[name] for name in ours}
        assert len(theirs) == len(ours) + 5


def test_it_leaves_networks_and_modes_alone_and_is_repeatable(dataset):
    trainer = make_trainer(tiny_config(freeze_batch_norm=0))
    trainer.step(*frames(4))
    trainer.begin_epoch(0)
    detector = trainer.models.kp_detector
    before = [state_of(network) for network in trainer.models]
    validation = validation_of(dataset)
    first = validation.run(trainer.models, 1)
    np.testing.assert_equal(validation.run(trainer.models, 2), first)  # NaN is NaN
    for network, state in zip(trainer.models, before):
        for name, value in state_of(network).items():
            np.testing.assert_array_equal(value, state[name], err_msg=name)
    modes = {isinstance(layer, BatchNorm2D): layer.training for layer in detector.sublayers()}
    assert modes == {True: False, False: True}
    assert trainer.models.generator.training
    with pytest.raises(KeyError), evaluating(trainer.models):
        assert not detector.training
        raise KeyError
    assert detector.training


def test_the_average_is_what_is_measured(dataset):
    trainer = make_trainer(tiny_config(ema_decay=0.9, lr_generator=1e-2))
    validation = validation_of(dataset)
    for number in range(3):
        trainer.step(*frames(4, number))
    averaged = validation.run(trainer.animating(), 1)
    assert averaged['l1'] != validation.run(trainer.models, 1)['l1']


def test_clips_and_frames_are_those_that_are_asked_for(dataset, monkeypatch):
    trainer = make_trainer(tiny_config())
    seen = []

    def measure(pair):
        seen.append((pair.clip.name, pair.number))
        return {'l1': Tally(1.0, 1)}

    monkeypatch.setattr(validation_module, '_ALWAYS', {'l1': measure})
    validation_of(dataset, num_videos=1, num_frames=3).run(trainer.models, 1)
    assert seen == [('00', 0), ('00', 1), ('00', 2)]
    seen.clear()
    validation_of(dataset, num_videos=None).run(trainer.models, 1)
    assert seen == [(clip, number) for clip in ('00', '01') for number in range(6)]


def test_a_damaged_clip_is_named_once_and_left_out(dataset, tmp_path, capsys):
    trainer = make_trainer(tiny_config())
    data = shutil.copytree(dataset, tmp_path / 'data')
    validation = validation_of(data)
    (data / 'test' / '01' / '3.png').write_bytes(b'no picture')
    figures = validation.run(trainer.models, 1)
    np.testing.assert_equal(validation.run(trainer.models, 2), figures)
    np.testing.assert_equal(validation_of(dataset, num_videos=1).run(trainer.models, 1), figures)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('warning: ') and line.endswith('(left out of validation)')
    (data / 'test' / '00' / '3.png').write_bytes(b'no picture')
    with pytest.raises(UserError, match='no test clip can be read to its end'):
        validation.run(trainer.models, 3)


def test_no_frame_of_a_clip_counts_that_breaks_off(dataset, monkeypatch):
    def read(clip, tell):
        for number, frame in enumerate(clip.frames()):
            if clip.name == '01' and number == 3:
                raise DamagedClipError('the end')
            yield frame

    trainer = make_trainer(tiny_config())
    expected = validation_of(dataset, num_videos=1).run(trainer.models, 1)
    monkeypatch.setattr(reconstruction, 'read_whole', read)
    np.testing.assert_equal(validation_of(dataset).run(trainer.models, 1), expected)


def test_without_joints_there_is_no_akd(tmp_path):
    data = write_clips(tmp_path / 'data')
    assert validation_of(data).figures == ('l1', 'psnr', 'ssim')
    with pytest.raises(
        UserError, match=r'best_by: akd needs the joints of a test clip \(.*00\.npz'
    ):
        validation_of(data, best_by='akd')
    write_joints(data, clips=('01',))
    assert validation_of(data, best_by='akd').figures[-2:] == ('akd', 'mkr')
    config = write_config(tmp_path / 'c.yaml', data, validation={'best_by': 'mkr'})
    _, err = run('--config', config, '--save_dir', tmp_path / 'run', status=2)
    assert 'train_params.validation.best_by: must be one of l1, psnr, ssim, akd' in err


@pytest.mark.parametrize(
    'values, by, best, stale',
    [
        ((3, 2, 2, 4), 'l1', 2, 2),
        ((3, 2, 2, 4), 'psnr', 4, 0),
        ((np.nan, 2, np.nan), 'akd', 2, 1),
        ((np.nan, np.nan), 'akd', 0, 0),
    ],
)
def test_what_is_better(values, by, best, stale):
    standing = Standing((), {})
    for epoch, value in enumerate(values, 1):
        standing = standing.after(epoch, {by: value}, by)
    assert (standing.epoch, standing.stale) == (best, stale)
    assert not is_better(np.nan, np.nan, by)


def test_a_standing_counts_for_the_same_figures_only(dataset):
    held = json.loads(json.dumps(validation_of(dataset).standing.after(3, {'l1': 1}, 'l1')))
    held = dict(zip(Standing._fields, held))
    assert validation_of(dataset, held).standing.epoch == 3
    assert validation_of(dataset, held, patience=4, every=2).standing.epoch == 3
    assert validation_of(dataset, held, best_by='psnr').standing.epoch == 0
    assert validation_of(dataset, held, num_frames=2).standing.epoch == 0


def test_as_long_as_no_joint_is_found_nothing_is_the_best(dataset):
    """Networks that have learnt nothing paint no square."""
    validation = validation_of(dataset, best_by='akd', patience=1)
    figures = validation.run(make_trainer(tiny_config()).models, 1)
    assert np.isnan(figures['akd']) and figures['mkr'] == 1
    assert validation.line(figures).endswith('AKD nan, MKR 1; no AKD so far')
    assert not validation.over and not validation.standing.figures


def test_when_it_is_due(dataset):
    validation = validation_of(dataset, every=3)
    assert [epoch for epoch in range(1, 9) if validation.due(epoch, epoch == 8)] == [3, 6, 8]


# --- whole runs -----------------------------------------------------------------------------------


def test_a_run_ends_when_nothing_gets_better(dataset, tmp_path):
    """Batch norm's statistics alone change: at a rate of nearly 0 nothing is learnt."""
    params = {'lr_generator': 1e-9, 'lr_kp_detector': 1e-9}
    validation = {'every': 1, 'patience': 2, 'best_by': 'psnr'}
    config = write_config(tmp_path / 'c.yaml', dataset, **params, num_epochs=9,
                          validation=validation)  # fmt: skip
    folder = tmp_path / 'run'
    out, _ = run('--config', config, '--save_dir', folder)
    figures = [values['val_psnr'] for values in read_log(folder)]
    epochs = len(figures)
    best = int(np.argmax(figures)) + 1
    assert epochs == best + 2 < 9
    assert_has_weights_of(folder, best)
    assert f'finished: {epochs} epochs, as 2 validations found none better by psnr; ' in out
    newest = find_checkpoints(folder)[-1]
    assert newest.name.startswith(f'{epochs:08d}')
    before = newest.read_bytes(), (folder / 'best.safetensors').read_bytes()
    # Resumed, it has ended already; killed just before the best weights were written, it does that.
    out, _ = run('--config', config, '--save_dir', folder, '--resume')
    assert f'finished already: {epochs} epochs, as 2 validations' in out
    assert 'more are trained with a higher train_params.validation.patience' in out
    assert (newest.read_bytes(), (folder / 'best.safetensors').read_bytes()) == before
    write_config(config, dataset, **params, num_epochs=9, validation={**validation, 'patience': 3})
    (folder / 'best.safetensors').unlink()
    out, err = run('--config', config, '--save_dir', folder, '--resume')
    assert f'best.safetensors: not that of epoch {best}; the best is looked for anew' in err
    assert len(read_log(folder)) > epochs and 'finished: ' in out
    assert read_run_state(folder / 'best.safetensors')[1]['epoch'] > epochs


def test_killed_before_the_best_weights_are_written(whole_run, tmp_path):
    config, folder, _ = whole_run
    best = folder / 'best.safetensors'
    epoch = read_run_state(best)[1]['epoch']
    again = shutil.copytree(folder, tmp_path / 'again')
    for path in find_checkpoints(again):
        if int(path.name[:8]) > epoch:
            path.unlink()
    (again / 'best.safetensors').unlink()
    run('--config', config, '--save_dir', again, '--resume', PYTHONPATH=FAKES)
    assert (again / 'best.safetensors').read_bytes() == best.read_bytes()
    newest, other = find_checkpoints(again)[-1], find_checkpoints(folder)[-1]
    assert newest.read_bytes() == other.read_bytes()


def test_the_best_weights_of_what_is_void_are_set_aside(whole_run, tmp_path):
    config, folder, _ = whole_run
    again = shutil.copytree(folder, tmp_path / 'again')
    epoch = read_run_state(again / 'best.safetensors')[1]['epoch']
    assert epoch > 1, 'this test needs a run that gets better'
    first = find_checkpoints(again)[0]
    run('--config', config, '--save_dir', again, '--resume', first, PYTHONPATH=FAKES)
    assert (again / 'set-aside-1' / 'best.safetensors').exists()
    assert (again / 'best.safetensors').read_bytes() == (folder / 'best.safetensors').read_bytes()


def test_two_processes_share_the_clips(dataset, tmp_path):
    """The figures of one process, which holds the same average; and one set of files."""
    logs = []
    for name in ('one', 'two'):
        config = write_config(
            tmp_path / f'{name}.yaml', dataset, num_epochs=1, validation=ON, ema_decay=0.9
        )
        arguments = '--config', config, '--save_dir', tmp_path / name
        run(*arguments) if name == 'one' else launched(*arguments, folder=tmp_path / 'logs')
        logs += read_log(tmp_path / name)
        assert (tmp_path / name / 'best.safetensors').exists()
    one, two = logs
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert two[name] == pytest.approx(value, rel=1e-3, nan_ok=True), name
