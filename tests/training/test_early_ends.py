"""Runs that end before they train, or in the middle of it."""

import signal
import types

import paddle
import pytest
import yaml

from modules.runtime import signals
from modules.training.loop import checked_step
from tests.support.training_runs import run, write_clips, write_config


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('data'))


def test_a_diverging_run_stops_and_names_the_checkpoint(dataset, tmp_path):
    config = write_config(tmp_path / 'c.yaml', dataset, lr_generator=1e30, num_epochs=9)
    _, err = run('--config', config, '--save_dir', tmp_path / 'run', status=2)
    assert 'training diverged at step' in err and 'pixel' in err and 'checkpoint' in err


def test_dry_run_checks_data_and_weights_and_writes_nothing(dataset, tmp_path):
    config = write_config(tmp_path / 'c.yaml', dataset)
    training = yaml.safe_load(config.read_text())['train_params']
    losses = {**training['loss_weights'], 'perceptual': [1, 0, 0, 0, 0]}
    vgg = {**training, 'loss_weights': losses, 'vgg19_weights': 'no-vgg.npz'}
    out, _ = run('--config', config, '--save_dir', tmp_path / 'run', '--dry_run')
    assert yaml.safe_load(out)['train_params']['accumulation_steps'] == 1
    assert out.splitlines()[-1].startswith('# 8 clips, 2 steps an epoch; ')
    for changes, message in (
        ({'dataset_params': {'root_dir': 'nowhere'}}, 'nowhere: '),
        ({'ckpt_model': dict.fromkeys(('generator', 'kp'), 'no.pdparams')}, 'no.pdparams: no such'),
        ({'train_params': vgg}, 'no-vgg.npz: no such'),
    ):
        held = yaml.safe_load(config.read_text())
        (tmp_path / 'c2.yaml').write_text(yaml.safe_dump({**held, **changes}))
        _, err = run('--config', tmp_path / 'c2.yaml', '--dry_run', status=2)
        assert message in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ['c.yaml', 'c2.yaml']


class EndedWithin(paddle.autograd.PyLayer):
    """A gradient in which the second signal comes."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        signals.leave_once(signal.SIGTERM)
        return 2 * grad


def test_a_second_signal_within_a_gradient_ends_it_as_elsewhere(monkeypatch):
    """Of what is raised there Paddle makes an exception of its own."""
    for name in ('_asked', '_leaving'):
        monkeypatch.setattr(signals, name, None)
    x = paddle.ones([2])
    x.stop_gradient = False

    def step(source, driving):
        EndedWithin.apply(x).sum().backward()

    trainer = types.SimpleNamespace(step=step)
    with pytest.raises(SystemExit) as end:
        checked_step(trainer, None, None, None)
    assert end.value.code == 128 + signal.SIGTERM
