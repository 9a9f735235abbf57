"""The moving average of the weights: what it is, and what checkpoints hold of it."""

import numpy as np
import pytest

from modules.checkpoints.models import ANIMATING, StoredModels
from modules.checkpoints.places import find_checkpoints
from modules.checkpoints.reading import read_checkpoint
from modules.config import load_config
from modules.runtime.errors import UserError
from modules.training.run_folder import START, RunFolder, resume
from tests.support.tiny import tiny_config
from tests.support.trainers import frames, make_trainer, state_of
from tests.support.training_runs import run, write_clips, write_config


def states(models):
    return {name: state_of(getattr(models, name)) for name in ANIMATING}


def assert_equal_states(ours, theirs):
    for name in ANIMATING:
        for key in ours[name]:
            np.testing.assert_array_equal(ours[name][key], theirs[name][key], err_msg=key)


def differ(ours, theirs):
    return any((ours[n][key] != theirs[n][key]).any() for n in ANIMATING for key in ours[n])


@pytest.mark.parametrize('decay, shares', [(0.999, (1 / 10, 2 / 11, 3 / 12)), (0.15, (0.1,))])
def test_it_is_the_mean_that_it_says(decay, shares):
    trainer = make_trainer(tiny_config(ema_decay=decay))
    expected = states(trainer.models)
    for number in range(3):
        trainer.step(*frames(4, number))
        kept = [*shares, decay, decay][number]
        for name, state in states(trainer.models).items():
            for key, value in state.items():
                before = expected[name][key]
                expected[name][key] = kept * before.astype('float64') + (1 - kept) * value
    averaged = states(trainer.animating())
    for name in ANIMATING:
        for key, value in expected[name].items():
            scale = max(1, np.abs(value).max())
            assert np.abs(averaged[name][key] - value).max() < 1e-6 * scale, key
    assert differ(averaged, states(trainer.models))


def test_it_changes_no_step_and_is_no_part_of_training():
    plain, averaging = (make_trainer(tiny_config(ema_decay=decay)) for decay in (None, 0.9))
    for number in range(2):
        for trainer in (plain, averaging):
            trainer.step(*frames(4, number))
    for ours, theirs in zip(plain.models, averaging.models):
        for key, value in state_of(ours).items():
            np.testing.assert_array_equal(value, state_of(theirs)[key], err_msg=key)
    assert plain.animating() is plain.models
    generator = averaging.animating().generator
    assert not generator.training and averaging.models.generator.training
    assert all(parameter.stop_gradient for parameter in generator.parameters())


def test_a_step_that_is_left_out_does_not_count(monkeypatch):
    trainer = make_trainer(tiny_config(ema_decay=0.5))
    before = states(trainer.animating())
    monkeypatch.setattr(trainer, '_update', lambda: False)
    trainer.step(*frames(4))
    assert_equal_states(states(trainer.animating()), before)
    assert trainer.average.updates == 0


def saved(tmp_path, config, steps):
    """A trainer after so many steps, and its checkpoint."""
    trainer = make_trainer(config)
    for number in range(steps):
        trainer.step(*frames(4, number))
    return trainer, RunFolder(tmp_path, config, keep=1).save(trainer, START)


def test_a_checkpoint_has_the_average_and_resumes_from_the_weights_beside(tmp_path):
    config = tiny_config(ema_decay=0.9)
    trainer, path = saved(tmp_path, config, 2)
    held = read_checkpoint(path).networks
    expected = trainer.animating().generator.state_dict()['final.weight']
    np.testing.assert_array_equal(held['generator']['final.weight'], expected)
    again = make_trainer(config, seed=7)
    resume(path, again)
    for one in (trainer, again):
        one.step(*frames(4, 9))
    assert_equal_states(states(trainer.models), states(again.models))
    assert_equal_states(states(trainer.animating()), states(again.animating()))
    assert trainer.average.updates == again.average.updates == 3


def test_it_may_be_switched_on_and_off_by_a_run_that_goes_on(tmp_path):
    off, on = tiny_config(), tiny_config(ema_decay=0.9)
    (tmp_path / 'off').mkdir()
    (tmp_path / 'on').mkdir()
    trainer, path = saved(tmp_path / 'off', off, 2)
    begun = make_trainer(on, seed=7)
    resume(path, begun)
    assert_equal_states(states(begun.animating()), states(trainer.models))
    assert begun.average.updates == 0
    trainer, path = saved(tmp_path / 'on', on, 2)
    ended = make_trainer(off, seed=7)
    resume(path, ended)
    assert_equal_states(states(ended.models), states(trainer.models))


def test_a_checkpoint_without_some_of_the_weights_is_refused(tmp_path, monkeypatch):
    config = tiny_config(ema_decay=0.9)
    trainer = make_trainer(config)
    tensors, meta = trainer.state()
    del tensors['unaveraged_generator/final.bias']
    monkeypatch.setattr(trainer, 'state', lambda: (tensors, meta))
    path = RunFolder(tmp_path, config, keep=1).save(trainer, START)
    with pytest.raises(UserError, match=r'damaged \(unaveraged_generator/final\.bias\)'):
        resume(path, make_trainer(config))


def test_what_animates_is_the_average(tmp_path):
    """As demo.py and animate.py take it from a run, and as a plain run would not have it."""
    data = write_clips(tmp_path / 'data')
    for name, decay in (('plain', None), ('averaged', 0.8)):
        config = write_config(tmp_path / f'{name}.yaml', data, num_epochs=2, ema_decay=decay)
        run('--config', config, '--save_dir', tmp_path / name)
    plain, averaged = (find_checkpoints(tmp_path / name)[-1] for name in ('plain', 'averaged'))
    trained = read_checkpoint(averaged, training_state=True).tensors
    last = states(StoredModels(load_config(tmp_path / 'plain.yaml'), plain).load())
    for name in ANIMATING:
        for key, value in last[name].items():
            np.testing.assert_array_equal(trained[f'unaveraged_{name}/{key}'], value, err_msg=key)
    shown = StoredModels(load_config(tmp_path / 'averaged.yaml'), tmp_path / 'averaged').load()
    assert differ(states(shown), last)
