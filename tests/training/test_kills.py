"""A run with validation, averaging and curves, killed at random: the same bytes at its end."""

import os
from pathlib import Path

import numpy as np
import pytest

from modules.checkpoints.places import find_checkpoints
from tests.support.scalar_files import FAKES, written
from tests.support.training_runs import (
    kill_and_resume,
    run,
    write_clips,
    write_config,
    write_joints,
)

KILLS = int(os.environ.get('KILLS', 5))  # KILLS=20 pytest tests/training/test_kills.py


def files(folder: Path) -> dict[str, bytes]:
    """What a run leaves, but the time of its curves and all checkpoints but the last."""
    kept = [find_checkpoints(folder)[-1], folder / 'best.safetensors', folder / 'log.txt']
    pictures = [*(folder / 'train-vis').iterdir(), *(folder / 'validation-vis').iterdir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in (*kept, *pictures)}


def curves(folder: Path) -> dict[str, dict[int, float]]:
    found = written('visualdl', folder / 'scalars')
    return {
        name: {step: value.expected for step, value in values.items()}
        for name, values in found.items()
        if name.startswith(('loss/', 'learning_rate/', 'validation/'))
        and not name.endswith('picture')
    }


@pytest.mark.slow
def test_killed_at_random_with_everything_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FAKES))
    data = write_joints(write_clips(tmp_path / 'data'))
    config = write_config(
        tmp_path / 'c.yaml', data, validation={'every': 1, 'patience': 3}, num_epochs=4,
        ema_decay=0.9, clip_grad_norm=1.0, warmup_steps=5, scalars='visualdl',
        checkpoint_minutes=1e-6,
    )  # fmt: skip
    path = {'PYTHONPATH': FAKES}
    run('--config', config, '--save_dir', tmp_path / 'whole', '--seed', 3, **path)
    expected, expected_curves = files(tmp_path / 'whole'), curves(tmp_path / 'whole')
    assert {name.split('/')[0] for name in expected_curves} == {
        *('loss', 'learning_rate', 'validation')
    }

    def compare(folder: Path) -> None:
        run('--config', config, '--save_dir', folder, '--resume', **path)
        found = files(folder)
        assert found.keys() == expected.keys()
        assert [name for name in found if found[name] != expected[name]] == []
        assert not [p for p in folder.iterdir() if p.name.startswith('.')]
        for name, values in curves(folder).items():
            known = expected_curves[name]  # a kill may lose values of a moment
            assert {step: known[step] for step in values} == values
            assert np.isfinite(list(values.values())).all()

    assert kill_and_resume(config, tmp_path, KILLS, compare, **path)
