"""Loss scaling: all networks step or none; a run survives overflows, and tells a divergence."""

import subprocess
import sys

import numpy as np
import paddle
import pytest

from modules.build import build_models
from modules.checkpoints.reading import read_checkpoint
from modules.model import TrainingLosses
from modules.ops import precision
from modules.runtime import distributed
from modules.runtime.errors import UserError
from modules.training import loss_scaler
from modules.training.loop import checked_step
from modules.training.loss_log import LossLog
from modules.training.loss_scaler import INITIAL_SCALE, LossScaler
from modules.training.run_folder import START, Progress, RunFolder, resume
from modules.training.trainer import Trainer
from tests.support.places import ROOT
from tests.support.tiny import tiny_config
from tests.support.training_runs import write_clips, write_config
from tools.gpu_checking.emulated_amp import emulated_amp

NETWORKS = ('generator', 'kp_detector', 'discriminator')


def make_trainer(scaler=None, **train_params):
    paddle.seed(0)
    config = tiny_config(**train_params)
    trainer = Trainer(config, build_models(config), TrainingLosses(config))
    trainer.scaler = scaler or LossScaler()
    return trainer


def step(trainer, seed=0):
    arrays = np.random.RandomState(seed).rand(2, trainer.batch_size, 3, 32, 32).astype('float32')
    return trainer.step(*map(paddle.to_tensor, arrays))


def state_of(trainer):
    """All that a step may change: weights, statistics, Adam's moments."""
    tensors, _ = trainer.state()
    networks = {
        f'{name}.{key}': tensor.numpy().copy()
        for name, network in trainer.models._asdict().items()
        for key, tensor in network.state_dict().items()
    }
    return {**{name: array.copy() for name, array in tensors.items()}, **networks}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if not np.array_equal(before[name], after[name])}


def gradients_of(network, value):
    """Makes the gradient of one weight `value`, from now on until it is removed."""
    weight = next(p for name, p in network.named_parameters() if name.endswith('weight_orig')
                  or name.endswith('conv.weight'))  # fmt: skip
    return weight.register_hook(lambda gradient: paddle.full_like(gradient, value))


@pytest.mark.parametrize('value', [np.inf, np.nan])
@pytest.mark.parametrize('name', NETWORKS)
def test_an_overflow_in_one_network_stops_all(name, value):
    trainer = make_trainer()
    step(trainer)
    before = state_of(trainer)
    assert sum('moment' in key for key in before) > 100
    hook = gradients_of(getattr(trainer.models, name), value)
    result = step(trainer, 1)
    assert result.skipped and changed(before, state_of(trainer)) == set()
    assert trainer.scaler.scale == INITIAL_SCALE / 2 and trainer.scaler.good_steps == 0
    assert trainer.step_count == 2  # the next step draws other noise

    hook.remove()
    result = step(trainer, 2)
    assert not result.skipped and trainer.scaler.scale == INITIAL_SCALE / 2
    moved = changed(before, state_of(trainer))
    assert {key.partition('.')[0] for key in moved} >= set(NETWORKS)
    assert trainer.scaler.good_steps == 1


def test_an_overflow_in_a_part_of_the_batch_or_in_another_process_counts(monkeypatch):
    trainer = make_trainer(accumulation_steps=2)
    values = iter([1.0, np.inf, 1.0, 1.0])
    weight = trainer.models.generator.final.weight
    weight.register_hook(lambda gradient: gradient * next(values))
    assert not step(make_trainer(accumulation_steps=2)).skipped
    assert step(trainer).skipped
    assert not step(trainer).skipped

    told = []
    monkeypatch.setattr(distributed, 'any_process', lambda flag: told.append(flag) or True)
    trainer = make_trainer()
    before = state_of(trainer)
    assert step(trainer).skipped and told == [False]  # one message for all networks
    assert changed(before, state_of(trainer)) == set()


def test_infinite_statistics_are_taken_back():
    """An infinity in forward would stay in the running statistics for ever."""
    trainer = make_trainer()
    before = state_of(trainer)
    trainer.models.generator.first.register_forward_post_hook(lambda *layer: layer[-1] * np.inf)
    assert step(trainer).skipped
    assert changed(before, state_of(trainer)) == set() and trainer.has_finite_weights()


def test_scaling_changes_the_training_by_nothing_but_rounding():
    plain, scaled = make_trainer(LossScaler(enabled=False)), make_trainer()
    for seed in range(3):
        losses = [step(trainer, seed).losses for trainer in (plain, scaled)]
        for name in losses[0]:
            np.testing.assert_allclose(losses[0][name], losses[1][name], rtol=1e-6, err_msg=name)
    ours, theirs = state_of(scaled), state_of(plain)
    for name in theirs:
        bar = 1e-6 * max(np.abs(theirs[name]).max(), 1e-12)
        np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=bar, err_msg=name)


def test_switched_off_it_costs_nothing(monkeypatch):
    monkeypatch.setattr(distributed, 'any_process', None)
    monkeypatch.setattr(paddle._C_ops, 'check_finite_and_unscale_', None)
    scaler = LossScaler(enabled=False)
    loss = paddle.ones([])
    assert scaler.scaled(loss) is loss and scaler.unscale([loss]) and scaler.state() == {}
    assert make_trainer(scaler, amp='fp16').scaler is scaler
    config = tiny_config(amp='fp16')  # which has no effect on the CPU
    assert not Trainer(config, build_models(config), TrainingLosses(config)).scaler.enabled


def test_gradients_that_are_views_are_divided_like_others():
    """Those of a transposed weight lie in another order, which Paddle's operation does not see."""
    weight = paddle.create_parameter([2, 3], 'float32')
    factors = paddle.to_tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    scaler = LossScaler()
    scaler.scaled((weight.T * factors).sum()).backward()
    assert not weight.grad.is_contiguous()
    assert scaler.unscale([weight]) and weight.grad.tolist() == factors.T.tolist()


def test_the_scale_follows_paddles_policy(monkeypatch):
    monkeypatch.setattr(loss_scaler, 'GROWTH_STEPS', 3)
    scaler, scales = LossScaler(), []

    def unscale(value):
        parameters = [paddle.zeros([2]), paddle.zeros([1]), paddle.zeros([5])]
        parameters[0].grad = paddle.to_tensor([1.0, 2.0]) * scaler.scale
        parameters[1].grad = paddle.to_tensor([float(value)])
        finite = scaler.unscale(parameters)
        if finite:
            assert parameters[0].grad.tolist() == [1, 2] and parameters[2].grad is None
        scales.append(scaler.scale / INITIAL_SCALE)
        return finite

    assert [unscale(v) for v in (0, 0, np.inf, 0, 0, 0, 0)] == [True] * 2 + [False] + [True] * 4
    assert scales == [1, 1, 0.5, 0.5, 0.5, 1, 1]
    for _ in range(16):
        assert not unscale(np.nan)
    assert scaler.scale == 1
    with pytest.raises(FloatingPointError, match='not finite'):
        unscale(np.inf)


def test_its_defaults_are_paddles():
    import inspect

    defaults = inspect.signature(paddle.amp.GradScaler).parameters
    ours = (loss_scaler.GROWTH, loss_scaler.BACKOFF, loss_scaler.GROWTH_STEPS, INITIAL_SCALE)
    names = ('incr_ratio', 'decr_ratio', 'incr_every_n_steps', 'init_loss_scaling')
    assert ours == tuple(defaults[name].default for name in names)


# --- checkpoints ---


def test_scale_and_counter_survive_a_checkpoint(tmp_path):
    trainer = make_trainer()
    trainer.scaler.scale, trainer.scaler.good_steps = 2.0**11, 1234
    step(trainer)
    folder = RunFolder(tmp_path, tiny_config(), 5)
    path = folder.save(trainer, Progress(0, 3, {'pixel': 1.0}, skipped=2))
    assert read_checkpoint(path, training_state=True).meta['trainer']['scaler'] == {
        'scale': 2048.0,
        'incr_count': 1235,
    }
    other = make_trainer()
    assert resume(path, other) == Progress(0, 3, {'pixel': 1.0}, skipped=2)
    assert (other.scaler.scale, other.scaler.good_steps) == (2048, 1235)
    step(other, 1), step(trainer, 1)
    assert changed(state_of(trainer), state_of(other)) == set()


def test_a_checkpoint_before_the_first_update_can_be_resumed(tmp_path):
    """While all steps overflow Adam has no moments yet."""
    trainer = make_trainer()
    hook = gradients_of(trainer.models.generator, np.inf)
    assert step(trainer).skipped
    hook.remove()
    path = RunFolder(tmp_path, tiny_config(), 5).save(trainer, START)
    other = make_trainer()
    resume(path, other)
    step(other, 1), step(trainer, 1)
    assert changed(state_of(trainer), state_of(other)) == set()


@pytest.mark.parametrize(
    'saved, scale, good_steps',
    [
        ({}, INITIAL_SCALE, 0),  # of a run without float16
        (None, INITIAL_SCALE, 0),
        # of paddle.amp.GradScaler
        ({'scale': 512.0, 'incr_ratio': 2.0, 'incr_count': 7, 'decr_count': 0}, 512, 7),
    ],
)
def test_older_checkpoints(saved, scale, good_steps):
    trainer = make_trainer()
    step(trainer)
    tensors, meta = trainer.state()
    meta['scaler'] = saved
    if saved is None:
        del meta['scaler']
    other = make_trainer()
    assert other.load_state(tensors, meta) == []
    assert (other.scaler.scale, other.scaler.good_steps) == (scale, good_steps)


# --- the log ---


class Folder:
    def checkpoints(self):
        return []


def losses(value):
    return {'pixel': paddle.to_tensor(value), 'gen_gan': paddle.to_tensor(1.0)}


def test_infinite_losses_of_a_skipped_step_do_not_end_the_run():
    seen = []
    log = LossLog(Folder(), Progress(2, 3, {'pixel': 6.0, 'gen_gan': 2.0}, skipped=1),
                  lambda number, values: seen.append(number))  # fmt: skip
    log.add(4, losses(2.0), skipped=False)
    log.add(5, losses(np.inf), skipped=True)
    log.add(6, losses(4.0), skipped=False)
    assert log.means() == {'pixel': 3.0, 'gen_gan': 1.0}  # of four steps: 2 + 2
    assert log.skipped == 2 and log.count == 4 and seen == [4, 6]
    log.add(7, losses(np.inf), skipped=False)
    with pytest.raises(UserError, match=r'diverged at step 7 \(pixel inf'):
        log.fetch()


def test_an_overflow_without_scaling_is_a_divergence():
    trainer = make_trainer()
    trainer.scaler.scale = 1.0
    gradients_of(trainer.models.kp_detector, np.nan)
    log = LossLog(Folder(), START, lambda number, values: None)
    arrays = np.zeros((2, 4, 3, 32, 32), 'float32')
    with pytest.raises(UserError, match='training diverged at step 1'):
        checked_step(trainer, *map(paddle.to_tensor, arrays), log)


# --- overflows as they happen in float16, emulated ---


def test_float16_finds_its_scale_and_learns():
    with emulated_amp():
        trainer = make_trainer(amp='fp16')
        results = [step(trainer, seed) for seed in range(4)]
        with precision.autocast('bfloat16'):  # switches Paddle's scaler off, for good
            pass
        results.append(step(trainer, 4))
    plain = make_trainer(LossScaler(enabled=False))
    expected = step(plain).losses
    assert results[0].skipped and not results[-1].skipped
    assert trainer.scaler.scale == INITIAL_SCALE / 2 ** sum(r.skipped for r in results)
    for name, loss in results[0].losses.items():
        np.testing.assert_allclose(loss, expected[name], rtol=5e-3, err_msg=name)


EMULATED = (
    'import sys; sys.path.insert(0, {root!r}); '
    'from modules.runtime.process import prepare_process; prepare_process(); '
    'from modules.runtime.commands import run_command; import train; '
    'from tools.gpu_checking.emulated_amp import emulated_amp\n'
    'with emulated_amp(): run_command(train.main)'
)


def emulated_run(*arguments, status=0):
    command = [sys.executable, '-c', EMULATED.format(root=str(ROOT)), '--cpu', *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp('data'))


def test_a_run_in_float16_goes_on_after_overflows_and_resumes(dataset, tmp_path):
    config = write_config(tmp_path / 'c.yaml', dataset, amp='fp16')
    once = write_config(tmp_path / 'once.yaml', dataset, amp='fp16', num_epochs=1)
    _, err = emulated_run('--config', config, '--save_dir', tmp_path / 'whole')
    assert 'note: epoch 0: 2 of 2 steps were skipped, where float16 overflowed' in err
    assert 'warning' not in err
    emulated_run('--config', once, '--save_dir', tmp_path / 'parts')
    emulated_run('--config', config, '--save_dir', tmp_path / 'parts', '--resume')
    newest = '00000003-00000000-checkpoint.safetensors'
    whole, parts = (
        read_checkpoint(tmp_path / run / newest, training_state=True) for run in ('whole', 'parts')
    )
    assert whole.meta['trainer']['scaler'] == parts.meta['trainer']['scaler']
    assert whole.meta['trainer']['scaler']['scale'] < INITIAL_SCALE / 2
    assert changed(dict(whole.tensors), dict(parts.tensors)) == set()


def test_a_run_in_float16_that_diverges_says_so(dataset, tmp_path):
    config = write_config(
        tmp_path / 'c.yaml', dataset, amp='fp16', lr_generator=1e30, num_epochs=15, batch_size=2
    )
    _, err = emulated_run('--config', config, '--save_dir', tmp_path / 'run', status=2)
    assert 'error: training diverged at step' in err and 'skipped' in err
