"""Curves of a run for VisualDL and TensorBoard: what is written, at which steps, and when not."""

import signal
import struct
import sys

import numpy as np
import pytest
from PIL import Image

from modules.runtime.errors import UserError
from modules.training.curves import PACKAGES, Curves, Scalars, check_package, open_scalars
from tests.support.scalar_files import FAKES, written
from tests.support.training_runs import run, start, write_clips, write_config

KINDS = tuple(PACKAGES)
NETWORKS = ('generator', 'kp_detector', 'discriminator')


def forget_packages():
    for name in list(sys.modules):
        if name.split('.')[0] in (*PACKAGES.values(), 'fake_message'):
            del sys.modules[name]


@pytest.fixture
def fakes(monkeypatch):
    """Packages that stand in for both, whatever is installed."""
    forget_packages()
    monkeypatch.syspath_prepend(str(FAKES))
    yield
    forget_packages()


@pytest.fixture(params=[f'{kind}, {what}' for kind in KINDS for what in ('fake', 'installed')])
def kind(request):
    """Both kinds, each with its stand-in and with the package itself where it is installed."""
    name, what = request.param.split(', ')
    if what == 'fake':
        request.getfixturevalue('fakes')
    else:
        pytest.importorskip(PACKAGES[name], reason=f'{PACKAGES[name]} is not installed')
    return name


def image(seed):
    return np.random.RandomState(seed).randint(0, 256, (8, 12, 3)).astype('uint8')


def write(kind, folder, first, last, factor=1.0):
    """A part of a run, after step `first`: a curve, and a picture at each even step."""
    scalars = open_scalars(kind, folder, first)
    for step in range(first + 1, last + 1):
        scalars.add(step, {'loss/a': factor * step, 'loss/b': -1.5})
        if step % 2 == 0:
            scalars.picture(step, image(step))
    scalars.close()


def test_values_and_pictures_arrive(kind, tmp_path):
    write(kind, tmp_path / 'run' / 'scalars', 0, 4, factor=0.1)
    curves = written(kind, tmp_path / 'run' / 'scalars')
    assert set(curves) == {'loss/a', 'loss/b', 'picture'}
    assert curves['loss/a'] == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    assert curves['loss/b'] == dict.fromkeys((1, 2, 3, 4), -1.5)
    assert list(curves['picture']) == [2, 4]
    for step, picture in curves['picture'].items():
        np.testing.assert_array_equal(picture, image(step))


def test_repeated_steps_take_the_place_of_earlier_ones(kind, tmp_path):
    write(kind, tmp_path, 0, 6)
    write(kind, tmp_path, 3, 5, factor=10.0)
    assert written(kind, tmp_path)['loss/a'] == {1: 1, 2: 2, 3: 3, 4: 40, 5: 50}
    assert list(written(kind, tmp_path)['picture']) == [2, 4]
    write(kind, tmp_path, 5, 6, factor=100.0)
    assert written(kind, tmp_path)['loss/a'] == {1: 1, 2: 2, 3: 3, 4: 40, 5: 50, 6: 600}


def test_a_new_run_in_the_folder_starts_from_nothing(kind, tmp_path):
    write(kind, tmp_path, 0, 6)
    write(kind, tmp_path, 0, 1, factor=10.0)
    assert written(kind, tmp_path)['loss/a'] == {1: 10}


def test_a_record_cut_short_by_a_crash_goes(kind, tmp_path):
    write(kind, tmp_path, 0, 3)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-3])  # of loss/b at step 3
    write(kind, tmp_path, 3, 4)
    curves = written(kind, tmp_path)
    assert list(curves['loss/a'])[-2:] == [3, 4]
    assert list(curves['loss/b']) == [1, 2, 4]


@pytest.mark.usefixtures('fakes')
def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / 'vdlrecords.log').write_bytes(struct.pack('<Q', 3) + b'xxx')
    with pytest.raises(UserError, match=r'vdlrecords\.log: damaged; remove it'):
        open_scalars('visualdl', tmp_path, 0)


def test_off_it_writes_nothing(tmp_path):
    check_package(None)
    scalars = open_scalars(None, tmp_path / 'scalars', 0)
    scalars.add(1, {'a': 1.0})
    scalars.picture(1, image(0))
    scalars.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('kind', KINDS)
def test_a_missing_package_is_named(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES[kind], None)
    with pytest.raises(UserError, match=f'train_params.scalars: .*pip install {PACKAGES[kind]}'):
        check_package(kind)


class Noted(Scalars):
    def __init__(self):
        self.curves, self.pictures = {}, {}

    def add(self, step, values):
        for name, value in values.items():
            self.curves.setdefault(name, {})[step] = value

    def picture(self, step, image, name='picture'):
        self.pictures[name, step] = image


@pytest.mark.parametrize(('steps', 'interval'), [(1, 1), (199, 1), (200, 2), (1234, 12)])
def test_an_epoch_has_a_hundred_points_or_all(steps, interval):
    noted = Noted()
    curves = Curves(noted, steps, batch_size=4)
    for step in range(1, 2 * steps + 1):
        curves.losses(step - 1, {'a': step - 1.0, 'b': 0.5})  # one step late
        curves.step(step, {'learning_rate/a': 0.1 * step})
    points = [step for step in range(2 * steps) if step % interval == 0]
    assert noted.curves['loss/a'] == {step: step for step in points}
    assert noted.curves['loss/total'] == {step: step + 0.5 for step in points}
    shown = [step for step in range(1, 2 * steps + 1) if step % interval == 0]
    assert list(noted.curves['samples_per_second']) == shown
    assert noted.curves['learning_rate/a'] == {step: 0.1 * step for step in shown}


def test_speed_counts_all_samples_since_the_last_point(monkeypatch):
    now = [0.0]
    monkeypatch.setattr('modules.training.curves.Speed.__init__.__defaults__', (lambda: now[0],))
    noted = Noted()
    curves = Curves(noted, steps=300, batch_size=4)
    for step in range(1, 7):
        now[0] += 0.5 if step < 4 else 1
        curves.step(step, {})
    assert noted.curves['samples_per_second'] == {3: 8, 6: 4}


# --- whole runs of train.py -----------------------------------------------------------------------


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('data'))


def train(config, folder, *arguments, status=0):
    return run(
        '--config', config, '--save_dir', folder, *arguments, status=status, PYTHONPATH=str(FAKES)
    )


def logged_means(folder):
    """log.txt: a dict of mean losses per epoch, beside the learning rates."""
    for epoch, line in enumerate((folder / 'log.txt').read_text().splitlines()):
        values = line.partition(') ')[2].split('; ')
        numbers = {name: float(value) for name, value in (entry.split(' - ') for entry in values)}
        assert [numbers.pop(f'lr_{name}') for name in NETWORKS] == [2e-4 if epoch < 2 else 2e-5] * 3
        yield numbers


@pytest.mark.usefixtures('fakes')
@pytest.mark.parametrize('kind', KINDS)
def test_train_writes_its_curves_and_a_stopped_run_goes_on_with_them(kind, dataset, tmp_path):
    config = write_config(
        tmp_path / 'c.yaml', dataset, scalars=kind, num_epochs=8, clip_grad_norm=1.0
    )
    folder = tmp_path / 'run'
    train(config, folder)
    curves = written(kind, folder / 'scalars')
    rates = {name: value for name, value in curves.items() if name.startswith('learning_rate/')}
    assert rates == {
        f'learning_rate/{name}': {step: 2e-4 if step <= 4 else 2e-5 for step in range(1, 17)}
        for name in NETWORKS
    }
    assert list(curves['samples_per_second']) == list(range(1, 17))
    assert all(value.expected > 0 for value in curves['samples_per_second'].values())
    for epoch, means in enumerate(logged_means(folder)):
        steps = 2 * epoch + 1, 2 * epoch + 2
        for name, mean in means.items():
            values = [curves[f'loss/{name}'][step].expected for step in steps]
            assert np.mean(values) == pytest.approx(mean, abs=1e-5)
        totals = [sum(curves[f'loss/{n}'][step].expected for n in means) for step in steps]
        assert [curves['loss/total'][step] for step in steps] == totals
        saved = np.asarray(Image.open(folder / 'train-vis' / f'{epoch:08d}-rec.png'))
        np.testing.assert_array_equal(curves['picture'][steps[1]], saved)
    for name in NETWORKS:
        norms = [value.expected for value in curves[f'gradient_norm/{name}'].values()]
        assert len(norms) == 16 and min(norms) > 0 and max(norms) != 1
    assert len(curves) == 1 + 3 + 3 + 7 + 1  # speed, rates, norms, losses and their sum, pictures

    # Stopped by SIGTERM after its second step and resumed: the same curves.
    again = tmp_path / 'again'
    process = start('--config', config, '--save_dir', again, PYTHONPATH=str(FAKES))
    while not process.stdout.readline().startswith('epoch 1/8'):
        assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip('the run was over before the signal came')
    assert process.returncode == 128 + signal.SIGTERM
    stopped = written(kind, again / 'scalars')['loss/total']
    assert 2 <= len(stopped) < 16 and list(stopped) == list(range(1, len(stopped) + 1))
    train(config, again, '--resume')
    resumed = written(kind, again / 'scalars')
    assert resumed.keys() == curves.keys()
    for name in curves:
        if name.startswith(('loss/', 'learning_rate/', 'gradient_norm/')):
            values = {step: value.expected for step, value in resumed[name].items()}
            assert values == curves[name], name


@pytest.mark.usefixtures('fakes')
def test_a_diverging_run_shows_how(dataset, tmp_path):
    config = write_config(
        tmp_path / 'c.yaml', dataset, scalars='tensorboard', lr_generator=1e30, num_epochs=9
    )
    _, err = train(config, tmp_path / 'run', status=2)
    assert 'training diverged' in err
    assert written('tensorboard', tmp_path / 'run' / 'scalars')['loss/total'][1].expected > 0


def test_packages_are_asked_for_before_anything_is_written(dataset, tmp_path):
    for package in PACKAGES.values():
        (tmp_path / f'{package}.py').write_text(f"raise ImportError('there is no {package}')")
    for kind, package in PACKAGES.items():
        config = write_config(tmp_path / 'c.yaml', dataset, scalars=kind)
        arguments = '--config', config, '--save_dir', tmp_path / 'run'
        _, err = run(*arguments, status=2, PYTHONPATH=str(tmp_path))
        assert f'(there is no {package}): pip install {package}' in err and err.count('\n') == 1
        assert not (tmp_path / 'run').exists()
    # And without the key they are not touched.
    config = write_config(tmp_path / 'c.yaml', dataset, num_epochs=1)
    run('--config', config, '--save_dir', tmp_path / 'run', PYTHONPATH=str(tmp_path))
    assert not (tmp_path / 'run' / 'scalars').exists()
