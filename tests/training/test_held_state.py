"""What a checkpoint tells of its run is looked at before anything is done with it."""

import copy
import json

import numpy as np
import pytest

from modules.checkpoints.reading import read_checkpoint
from modules.checkpoints.writing import save_checkpoint
from modules.config import check_config
from modules.runtime.errors import UserError
from modules.training.held_state import check_held_state
from modules.training.resuming import changes_of_run
from modules.training.run_folder import Progress, RunFolder, resume
from tests.support.configs import put
from tests.support.tiny import TINY
from tests.support.trainers import frames, make_trainer

NEED = ('dataset_params', 'train_params')
CONFIG = check_config(TINY, need=NEED)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """The checkpoint of a run after a step, and its trainer."""
    trainer = make_trainer(CONFIG)
    trainer.step(*frames(2))
    folder = RunFolder(tmp_path_factory.mktemp('run'), CONFIG, 5, ['a change'])
    standing = {'compared': ['l1', 10, None], 'figures': {'l1': float('nan')}, 'epoch': 1}
    return folder.save(trainer, Progress(1, 1, {'pixel': 0.5}, 0, 8, standing)), trainer


def with_meta(saved, tmp_path, path, value):
    held = read_checkpoint(saved, training_state=True)
    meta = copy.deepcopy(held.meta)
    put(meta, path, value)
    changed = tmp_path / saved.name
    save_checkpoint(changed, held.networks, held.config, held.tensors, meta)
    return changed


def test_a_sound_one(saved):
    path, trainer = saved
    check_held_state(path, json.loads(json.dumps(read_checkpoint(path).meta)))
    assert resume(path, trainer).epoch == 1
    assert changes_of_run(CONFIG, path, NEED)[1] == ['a change']


@pytest.mark.parametrize(
    'part, value',
    [
        ('progress', None),
        ('progress', 5),
        ('progress', {}),
        ('progress.epoch', 'x'),
        ('progress.epoch', -1),
        ('progress.batch', 10**400),
        ('progress.batch', True),
        ('progress.loss_sums', [1]),
        ('progress.loss_sums.pixel', None),
        ('progress.odd', 1),
        ('progress.validation', 1),
        ('progress.validation.figures', None),
        ('progress.validation.odd', 1),
        ('trainer', 'x'),
        ('trainer.seed', None),
        ('trainer.step_count', 1.5),
        ('trainer.schedules', []),
        ('trainer.schedules.generator', 5),
        ('trainer.schedules.generator.last_lr', [1]),
        ('trainer.scaler', {'scale': 'x'}),
        ('changes', None),
        ('changes', 5),
        ('changes', [5]),
    ],
    ids=str,
)
def test_damage_is_told(saved, tmp_path, part, value):
    path = with_meta(saved[0], tmp_path, part, value)
    told = rf'{saved[0].name}: its training state is damaged \({part.split(".")[0]}\); resume ano'
    with pytest.raises(UserError, match=told):
        resume(path, saved[1])
    with pytest.raises(UserError, match=told):
        changes_of_run(CONFIG, path, NEED)


def test_moments_of_another_shape(saved, tmp_path):
    held = read_checkpoint(saved[0], training_state=True)
    name = next(key for key in held.tensors if 'moment1' in key)
    tensors = {**held.tensors, name: np.zeros((3, 3), np.float32)}
    path = tmp_path / saved[0].name
    save_checkpoint(path, held.networks, held.config, tensors, held.meta)
    with pytest.raises(UserError, match='its training state is damaged'):
        resume(path, saved[1])


def test_lines_of_others_in_the_log_stay(tmp_path):
    folder = RunFolder(tmp_path, CONFIG, 5)
    log = tmp_path / 'log.txt'
    log.write_bytes(b'a note \xff\n\n00000000) pixel - 1.00000\n00000001) pixel - 2.00000\n')
    folder.log_epoch(1, {'pixel': 0.5}, {})
    assert log.read_bytes() == (
        b'a note \xff\n\n00000000) pixel - 1.00000\n00000001) pixel - 0.50000\n'
    )


@pytest.mark.parametrize('epoch', [None, 'x', [1], 1.5, 3])
def test_best_weights_of_no_epoch(tmp_path, epoch):
    folder = RunFolder(tmp_path, CONFIG, 5)
    networks = {'generator': {'weight': np.zeros(1, np.float32)}}
    save_checkpoint(folder.best, networks, CONFIG, extra_meta={'epoch': epoch})
    assert folder.best_epoch() == (3 if epoch == 3 else 0)
