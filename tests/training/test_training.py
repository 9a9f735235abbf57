"""Training: one step, whole runs, interruption, several processes."""

import random
import shlex
import signal
import time

import numpy as np
import paddle
import pytest
import yaml
from PIL import Image

from modules.build import build_models
from modules.checkpoints.models import save_checkpoint
from modules.checkpoints.of_runs import find_checkpoints
from modules.checkpoints.reading import read_checkpoint
from modules.model import TrainingLosses
from modules.parity import record
from modules.runtime.locks import folder_of_one_run
from modules.training.trainer import Trainer
from modules.transform import Transform
from tests.support.places import ROOT
from tests.support.tiny import tiny_config
from tests.support.training_runs import run, start, write_clips, write_config


def make_trainer(config, seed=0):
    paddle.seed(seed)
    return Trainer(config, build_models(config), TrainingLosses(config), seed)


def frames(count, seed=0):
    arrays = np.random.RandomState(seed).rand(2, count, 3, 32, 32).astype('float32')
    return paddle.to_tensor(arrays[0]), paddle.to_tensor(arrays[1])


def state_of(network):
    return {name: tensor.numpy().copy() for name, tensor in network.state_dict().items()}


def is_cancelled(name):
    """Whether it is the bias of a convolution from which a batch norm takes it away again."""
    return name.endswith(('_blocks.0.conv.bias', '_blocks.1.conv.bias', 'first.conv.bias')) or (
        name.endswith('conv1.bias')
    )


def weights_changed(before, after):
    """Names of trained weights that differ; running statistics and u, v are no such."""
    moving = ('_mean', '_variance', 'weight_u', 'weight_v')
    return [n for n in before if not n.endswith(moving) and (before[n] != after[n]).any()]


def test_every_network_learns():
    trainer = make_trainer(tiny_config())
    before = [state_of(network) for network in trainer.models]
    losses = trainer.step(*frames(4)).losses
    assert list(losses) == [
        'pixel',
        'gen_gan',
        'feature_matching',
        'equivariance_value',
        'equivariance_jacobian',
        'disc_gan',
    ]
    for old, network in zip(before, trainer.models):
        changed = weights_changed(old, state_of(network))
        trained = {name for name, p in network.named_parameters() if not p.stop_gradient}
        if network is not trainer.models.discriminator:
            trained = {name for name in trained if not is_cancelled(name)}
        assert set(changed) == trained


def test_a_network_with_rate_0_is_frozen_but_keeps_statistics():
    trainer = make_trainer(tiny_config(lr_kp_detector=0))
    before = state_of(trainer.models.kp_detector)
    trainer.step(*frames(4))
    after = state_of(trainer.models.kp_detector)
    assert weights_changed(before, after) == []
    assert any((before[n] != after[n]).any() for n in before if n.endswith('_mean'))
    assert all(p.grad is None for p in trainer.models.kp_detector.parameters())


def test_batch_norm_keeps_its_statistics_from_the_epoch_on_that_the_config_names():
    trainer = make_trainer(tiny_config({'generator_gan': 0}, freeze_batch_norm=1))

    def step():
        before = [state_of(network) for network in trainer.models]
        prediction = trainer.step(*frames(4)).last.generated.prediction
        after = [state_of(network) for network in trainer.models]
        moved = [n for old, new in zip(before, after) for n in old if (old[n] != new[n]).any()]
        return prediction, moved

    trainer.begin_epoch(0)
    _, moved = step()
    assert any(name.endswith('_variance') for name in moved)
    trainer.begin_epoch(1)
    source, driving = frames(4)
    models = trainer.models.eval()
    kp_source, kp_driving = models.kp_detector(source), models.kp_detector(driving)
    expected = models.generator(source, kp_driving, kp_source).prediction.numpy()
    models.train()
    trainer.begin_epoch(1)
    prediction, moved = step()
    np.testing.assert_allclose(prediction.numpy(), expected, atol=1e-6)
    assert moved and not any(name.endswith(('_mean', '_variance')) for name in moved)
    assert 'first.conv.bias' in moved  # no norm takes it away any more


def test_without_adversarial_loss_the_discriminator_rests():
    trainer = make_trainer(tiny_config({'generator_gan': 0}))
    before = state_of(trainer.models.discriminator)
    assert 'disc_gan' not in trainer.step(*frames(4)).losses
    after = state_of(trainer.models.discriminator)
    assert all((before[name] == after[name]).all() for name in before)


def test_losses_that_weigh_nothing_are_absent_and_cost_no_forward_pass(monkeypatch):
    config = tiny_config({'equivariance_value': 0, 'equivariance_jacobian': 0, 'pixel': 0})
    trainer = make_trainer(config)
    calls = []
    detector = trainer.models.kp_detector
    original = detector.forward
    monkeypatch.setattr(detector, 'forward', lambda x: calls.append(1) or original(x))
    assert set(trainer.step(*frames(4)).losses) == {'gen_gan', 'feature_matching', 'disc_gan'}
    assert len(calls) == 2


def test_accumulation_of_equal_halves_equals_the_half():
    """Batch norm sees each part alone, so two equal parts must act as one of them.

    Spectral norm does not stand still from part to part, hence no adversarial loss.
    """
    source, driving = frames(2)
    one = make_trainer(tiny_config({'generator_gan': 0}, batch_size=2))
    two = make_trainer(tiny_config({'generator_gan': 0}, batch_size=4, accumulation_steps=2))
    noise = paddle.to_tensor(np.random.RandomState(3).randn(2, 2, 3).astype('float32') * 0.05)
    one.step(source, driving, Transform(noise))
    doubled = (paddle.concat([x, x]) for x in (source, driving, noise))
    source, driving, noise = doubled
    two.step(source, driving, Transform(noise))
    ours, theirs = two.state()[0], one.state()[0]
    moments = [name for name in ours if name.endswith('_moment1_0')]  # half the first gradient
    assert len(moments) > 50
    for name in moments:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-6, err_msg=name)


def test_schedule_drops_after_its_milestones():
    trainer = make_trainer(tiny_config())
    rates = []
    for _ in range(4):
        rates.append(trainer.optimizers['generator'].get_lr())
        trainer.end_epoch()
    np.testing.assert_allclose(rates, [2e-4, 2e-4, 2e-5, 2e-5])


def test_noise_depends_on_seed_and_step_alone():
    def noise(seed, step):
        trainer = make_trainer(tiny_config(), seed)
        trainer.step_count = step
        return trainer.draw_transform().affine_noise.numpy()

    np.testing.assert_array_equal(noise(1, 7), noise(1, 7))
    assert (noise(1, 7) != noise(1, 8)).any() and (noise(1, 7) != noise(2, 7)).any()


def test_state_survives_a_round_trip():
    """Continued from its saved state in new objects, a run goes on bit for bit."""
    config = tiny_config()
    first = make_trainer(config)
    for step in range(3):
        first.step(*frames(4, step))
    first.end_epoch()
    tensors, meta = first.state()
    weights = [state_of(network) for network in first.models]
    first.step(*frames(4, 9))

    make_trainer(config)  # shifts the numbers in Paddle's automatic names
    second = make_trainer(config, seed=4)
    for network, state in zip(second.models, weights):
        network.set_state_dict(state)
    assert second.load_state(tensors, meta) == []
    second.step(*frames(4, 9))
    for a, b in zip(first.models, second.models):
        for name, tensor in a.state_dict().items():
            np.testing.assert_array_equal(tensor, b.state_dict()[name], err_msg=name)


def test_state_of_a_network_without_a_gradient_survives():
    """The generator's, where the only losses left are those of the keypoints."""
    config = tiny_config({'generator_gan': 0, 'pixel': 0})
    first, second = make_trainer(config), make_trainer(config)
    first.step(*frames(4))
    first.end_epoch()
    assert second.load_state(*first.state()) == []
    assert second.learning_rates() == first.learning_rates()
    for trainer in (first, second):
        trainer.step(*frames(4, 1))
    ours, theirs = second.state()[0], first.state()[0]
    assert ours.keys() == theirs.keys() and ours
    other = make_trainer(tiny_config())
    assert other.load_state(*first.state()) == ['discriminator']


# --- whole runs of train.py -----------------------------------------------------------------------


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('data'))


def final_weights(folder):
    newest = sorted(folder.glob('*-checkpoint.safetensors'))[-1]
    checkpoint = read_checkpoint(newest, training_state=True)
    arrays = {f'{n}.{k}': a for n, s in checkpoint.networks.items() for k, a in s.items()}
    return {**arrays, **checkpoint.tensors}


def assert_same_run(folder, other):
    ours, theirs = final_weights(folder), final_weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert (folder / 'log.txt').read_text() == (other / 'log.txt').read_text()
    newest, others = (find_checkpoints(run)[-1] for run in (folder, other))
    assert newest.read_bytes() == others.read_bytes()


@pytest.fixture(scope='module')
def whole_run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    config = write_config(folder / 'c.yaml', dataset)
    run('--config', config, '--save_dir', folder / 'run', '--seed', 3)
    return config, folder / 'run'


def test_a_run_leaves_what_it_promises(whole_run):
    _, folder = whole_run
    log = (folder / 'log.txt').read_text().splitlines()
    assert [line.split(')')[0] for line in log] == ['00000000', '00000001', '00000002']
    assert log[0].startswith('00000000) pixel - ') and '; disc_gan - ' in log[0]
    names = sorted(p.name for p in folder.glob('*.safetensors'))
    assert names == [f'0000000{e}-00000000-checkpoint.safetensors' for e in (1, 2, 3)]
    assert yaml.safe_load((folder / 'config.yaml').read_text())['train_params']['amp'] is None
    picture = np.array(Image.open(folder / 'train-vis' / '00000002-rec.png'))
    # source, transformed, driving, deformed, prediction, occlusion, 5 images and masks, their sum
    assert picture.shape == (4 * 32, (6 + 2 * 5 + 1) * 32, 3)


def test_a_run_is_repeatable_and_depends_on_its_seed(whole_run, tmp_path):
    config, folder = whole_run
    run('--config', config, '--save_dir', tmp_path / 'again', '--seed', 3)
    assert_same_run(tmp_path / 'again', folder)
    run('--config', config, '--save_dir', tmp_path / 'other', '--seed', 4)
    other, ours = final_weights(tmp_path / 'other'), final_weights(folder)
    assert any((other[name] != ours[name]).any() for name in ours)


def test_preloading_changes_nothing(whole_run, tmp_path):
    config, folder = whole_run
    run('--config', config, '--save_dir', tmp_path / 'run', '--seed', 3, '--preload')
    assert_same_run(tmp_path / 'run', folder)


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed(whole_run, dataset, tmp_path):
    """SIGKILL may fall anywhere: in a step, while a checkpoint is written, between epochs.

    A run that is over meanwhile is compared, and another one begun.
    """
    config = write_config(tmp_path / 'c.yaml', dataset, checkpoint_minutes=1e-6)
    chance = random.Random(0)
    pace = None  # seconds from a sign of life to a checkpoint, on this machine
    folder = tmp_path / 'run 0'
    resumed = 0
    for number in range(20):
        begun = list(folder.glob('*.safetensors'))
        resumed += bool(begun)
        process = start(
            *('--config', config, '--save_dir', folder),
            *(['--resume'] if begun else ['--seed', 3]),
        )
        process.stdout.readline()  # it is alive; importing Paddle lies ahead
        if pace:
            time.sleep(pace * chance.uniform(0.7, 1.3))
        else:
            alive = time.monotonic()
            while not list(folder.glob('*.safetensors')):
                assert process.poll() is None
                time.sleep(0.01)
            pace = time.monotonic() - alive
        process.kill()
        process.communicate()
        if list(folder.glob('00000003-*.safetensors')):
            _assert_ends_as(whole_run[1], folder, config)
            folder = tmp_path / f'run {number + 1}'
    assert resumed
    if list(folder.glob('*.safetensors')):
        _assert_ends_as(whole_run[1], folder, config)


def _assert_ends_as(whole, folder, config):
    run('--config', config, '--save_dir', folder, '--resume')
    assert_same_run(folder, whole)
    assert not [p for p in folder.iterdir() if p.name.startswith('.')]


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_stops(interruptible, whole_run, dataset, tmp_path, number):
    config = write_config(tmp_path / 'c.yaml', dataset)
    folder = tmp_path / 'run'
    process = start('--config', config, '--save_dir', folder, '--seed', 3)
    while 'steps an epoch' not in process.stdout.readline():
        assert process.poll() is None
    time.sleep(0.3)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip('the run was over before the signal came')
    assert process.returncode == 128 + number
    saved = find_checkpoints(folder)
    assert f'interrupted; the newest checkpoint is {saved[-1]}\n' in out
    command = f'next: python train.py --config {config} --cpu --resume {folder}\n'
    assert command in out
    run(*shlex.split(command)[3:])
    assert_same_run(folder, whole_run[1])


def test_only_the_newest_checkpoints_are_kept(dataset, tmp_path):
    config = write_config(tmp_path / 'c.yaml', dataset, keep_checkpoints=2)
    run('--config', config, '--save_dir', tmp_path / 'run')
    names = sorted(p.name[:8] for p in (tmp_path / 'run').glob('*.safetensors'))
    assert names == ['00000002', '00000003']


def test_fine_tuning_says_what_it_did_not_find(dataset, tmp_path):
    """And goes on from networks that shrank their images by another scale factor."""
    config = write_config(tmp_path / 'c.yaml', dataset, num_epochs=1)
    other = tiny_config()
    other['model_params']['kp_detector_params']['scale_factor'] = 0.25
    models = build_models(other)
    networks = {'generator': models.generator, 'kp_detector': models.kp_detector}
    save_checkpoint(tmp_path / 'start.safetensors', networks)
    out, _ = run(
        '--config', config, '--save_dir', tmp_path / 'run', '--checkpoint',
        tmp_path / 'start.safetensors',
    )  # fmt: skip
    assert 'discriminator: not in the checkpoint' in out
    kernel = final_weights(tmp_path / 'run')['kp_detector.down.weight']
    assert kernel.shape == (3, 1, 5, 5)  # of the config's scale, 0.5


def test_mistakes(whole_run, dataset, tmp_path):
    config, folder = whole_run
    for arguments, message in (
        (['--save_dir', folder], 'holds a run'),
        (['--save_dir', tmp_path, '--resume'], 'no checkpoint'),
        (['--resume'], '--save_dir'),
        (['--resume', ROOT / 'doc' / 'demo' / 'demo-128.safetensors'], 'generator'),
    ):
        _, err = run('--config', config, *arguments, status=2)
        assert message in err and err.count('\n') == 1
    with folder_of_one_run(folder):
        _, err = run('--config', config, '--save_dir', folder, '--resume', status=2)
    assert 'another run is writing there' in err and err.count('\n') == 1


def test_test_mode_prints_losses_and_writes_what_parity_checks(tmp_path):
    from tools import parity

    config = ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml'
    out, _ = run('--config', config, '--save_dir', tmp_path, TEST_MODE='1')
    printed = dict(
        line.split() for line in out.splitlines() if ' ' in line.strip()[3:] and ':' not in line
    )
    file = tmp_path / 'faces-64-test-mode.npz'
    with np.load(file) as arrays:
        assert float(printed['perceptual']) == arrays['train.loss.perceptual']
        assert float(printed['disc_gan']) == arrays['train.loss.disc_gan']
        prediction = arrays['train.prediction']
    assert parity.check([file])
    # Pinned to other keypoints, everything behind them follows.
    with np.load(file) as arrays:
        pins = {n: arrays[n] for n in ('meta', *record.STEP_INPUTS, 'train.kp_driving.value')}
    pins['train.kp_driving.value'] = pins['train.kp_driving.value'] + 0.1
    np.savez(tmp_path / 'pin.npz', **pins)
    run(
        '--config',
        config,
        '--save_dir',
        tmp_path,
        TEST_MODE='1',
        TEST_MODE_PIN=tmp_path / 'pin.npz',
    )
    with np.load(file) as arrays:
        assert np.abs(arrays['train.prediction'] - prediction).max() > 1e-3
