"""Learning rates that rise and drop, and gradients that are clipped."""

import numpy as np
import pytest

from tests.support.tiny import tiny_config
from tests.support.trainers import frames, make_trainer, state_of

MOMENT = '_moment1_0'


def rates_of(trainer, steps, epoch_steps):
    """The generator's rate in each of so many steps."""
    rates = []
    for number in range(trainer.step_count, trainer.step_count + steps):
        trainer.step(*frames(2, number))
        rates.append(trainer.settings()['learning_rate/generator'])
        if (number + 1) % epoch_steps == 0:
            trainer.end_epoch()
    return rates


def warming(**train_params):
    loss_weights = {'generator_gan': 0, 'equivariance_value': 0, 'equivariance_jacobian': 0}
    return tiny_config(loss_weights, lr_generator=8e-4, batch_size=2, **train_params)


def test_rates_rise_to_their_values_and_drop_beside():
    """Two steps an epoch; the milestone comes before the end of the warm-up."""
    trainer = make_trainer(warming(warmup_steps=8, epoch_milestones=[3]))
    expected = [1e-4, 2e-4, 3e-4, 4e-4, 5e-4, 6e-4, 7e-5, 8e-5, 8e-5, 8e-5]
    np.testing.assert_allclose(rates_of(trainer, 10, 2), expected)


def test_a_run_that_goes_on_in_the_middle_has_the_same_rates_and_weights():
    config = warming(warmup_steps=8, epoch_milestones=[2])
    first, second = make_trainer(config), make_trainer(config, seed=3)
    rates = rates_of(first, 5, 2)
    weights, state = [state_of(network) for network in first.models], first.state()
    for network, held in zip(second.models, weights):
        network.set_state_dict(held)
    second.load_state(*state)
    assert second.settings() == {
        **first.settings(),
        'learning_rate/generator': pytest.approx(6e-5),
        'learning_rate/kp_detector': pytest.approx(1.5e-5),
    }
    rates, again = (rates_of(trainer, 4, 2) for trainer in (first, second))
    np.testing.assert_allclose(rates, [6e-5, 7e-5, 8e-5, 8e-5])
    assert rates == again
    for ours, theirs in zip(first.models, second.models):
        for name, value in state_of(ours).items():
            np.testing.assert_array_equal(value, state_of(theirs)[name], err_msg=name)


def test_the_rate_is_what_a_step_is_taken_with():
    """Adam's first step moves each weight by its rate."""
    moved = {}
    for steps in (0, 4):
        trainer = make_trainer(warming(warmup_steps=steps))
        before = state_of(trainer.models.generator)['final.weight']
        trainer.step(*frames(2))
        moved[steps] = np.abs(state_of(trainer.models.generator)['final.weight'] - before).max()
    assert moved[0] == pytest.approx(8e-4, rel=1e-3)
    assert moved[4] == pytest.approx(2e-4, rel=1e-3)


def test_there_is_no_scale_of_losses_to_show_but_in_float16():
    trainer = make_trainer(tiny_config())
    assert set(trainer.settings()) == {
        f'learning_rate/{name}' for name in ('generator', 'kp_detector', 'discriminator')
    }
    trainer.scaler.enabled = True
    assert trainer.settings()['loss_scale'] == 2.0**16


def norms_of_gradients(trainer):
    """By network: the norm of all gradients of the first step, of which Adam keeps half."""
    trainer.step(*frames(4))
    squares = {}
    for name, value in trainer.state()[0].items():
        if name.endswith(MOMENT):
            network = name.split('/')[0].removeprefix('optimizer_')
            squares[network] = squares.get(network, 0) + np.square(2 * value, dtype='float64').sum()
    return {name: np.sqrt(square) for name, square in squares.items()}


def test_gradients_of_a_network_are_no_longer_than_the_norm_that_is_set():
    plain = norms_of_gradients(make_trainer(tiny_config()))
    assert len(plain) == 3
    bar = sorted(plain.values())[1] * 0.9  # above one network's, below the others'
    clipped = norms_of_gradients(make_trainer(tiny_config(clip_grad_norm=float(bar))))
    for name, norm in plain.items():
        assert clipped[name] == pytest.approx(min(norm, bar), rel=1e-5), name


def test_the_norms_shown_are_those_before_gradients_are_clipped():
    plain, trainer = make_trainer(tiny_config()), make_trainer(tiny_config(clip_grad_norm=0.01))
    expected = norms_of_gradients(plain)
    assert plain.gradient_norms == {}
    trainer.step(*frames(4))
    shown = {name: norm.item() for name, norm in trainer.gradient_norms.items()}
    assert shown == pytest.approx({f'gradient_norm/{name}': n for name, n in expected.items()})


def test_a_clipped_gradient_keeps_its_direction():
    states = [make_trainer(tiny_config(clip_grad_norm=norm)) for norm in (None, 0.1)]
    for trainer in states:
        trainer.step(*frames(4))
    plain, clipped = (trainer.state()[0] for trainer in states)
    for network in ('generator', 'kp_detector', 'discriminator'):
        names = [n for n in plain if n.startswith(f'optimizer_{network}/') and n.endswith(MOMENT)]
        ours, theirs = (np.concatenate([s[n].ravel() for n in names]) for s in (plain, clipped))
        cosine = ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs)
        assert cosine == pytest.approx(1, abs=1e-5)
