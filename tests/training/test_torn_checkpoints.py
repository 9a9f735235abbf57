"""Where the newest checkpoint of a run is damaged, the one before is taken, and said."""

import numpy as np
import pytest

from modules.checkpoints.writing import save_checkpoint
from modules.runtime.errors import UserError
from modules.training.run_folder import newest_checkpoint


@pytest.fixture
def checkpoints(tmp_path):
    """Three of a run, oldest first; their weights do not matter."""
    rng = np.random.default_rng(0)
    paths = [tmp_path / f'0000000{epoch}-00000000-checkpoint.safetensors' for epoch in (1, 2, 3)]
    for path in paths:
        state = {'final.weight': rng.normal(size=(8, 8)).astype('float32')}
        moments = {'optimizer.moment': rng.normal(size=64).astype('float32')}
        save_checkpoint(path, {'generator': state}, None, moments, {'progress': {}})
    return paths


def test_the_newest_is_taken_in_silence(checkpoints, capsys):
    assert newest_checkpoint(checkpoints[0].parent) == checkpoints[-1]
    assert newest_checkpoint(checkpoints[0]) == checkpoints[0]
    assert capsys.readouterr().err == ''


def test_a_bit_flipped_anywhere_among_its_numbers_is_noticed(checkpoints, capsys):
    whole = checkpoints[-1].read_bytes()
    start = 8 + int.from_bytes(whole[:8], 'little')
    for place in range(start, len(whole), 8):
        flipped = bytearray(whole)
        flipped[place] ^= 1
        checkpoints[-1].write_bytes(flipped)
        assert newest_checkpoint(checkpoints[0].parent) == checkpoints[-2]
        error = capsys.readouterr().err
        assert error.startswith(f'warning: {checkpoints[-1]}: its ') and error.count('\n') == 1
        assert 'is damaged' in error and error.endswith('; the checkpoint before is taken\n')


@pytest.mark.parametrize('part', [0, 0.01, 0.5, 0.99])
def test_a_torn_one_is_passed_over(checkpoints, capsys, part):
    for path in checkpoints[1:]:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    assert newest_checkpoint(checkpoints[0].parent) == checkpoints[0]
    assert capsys.readouterr().err.count('; the checkpoint before is taken\n') == 2


def test_none_that_is_whole(checkpoints):
    for path in checkpoints:
        path.write_bytes(b'')
    with pytest.raises(UserError, match=r'00000003-00000000-checkpoint\.safetensors: is empty'):
        newest_checkpoint(checkpoints[0].parent)
