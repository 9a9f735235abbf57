"""One training step, and all that has to survive between two."""

import numpy as np
import paddle

from modules.transform import Transform
from tests.support.tiny import tiny_config
from tests.support.trainers import frames, make_trainer, state_of


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
