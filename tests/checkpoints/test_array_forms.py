"""Arrays in every form in which NumPy writes them; numbers come back as they were, in order."""

import io
import pickle

import numpy as np
import pytest

from modules.checkpoints.npz_file import write_npz
from modules.checkpoints.reading import content_hash, read_checkpoint, read_weights
from modules.checkpoints.safetensors_file import TensorFile, write_tensors
from modules.runtime.errors import UserError
from tests.support import crafted

NUMBERS = np.arange(24, dtype='float32').reshape(2, 3, 4) - 7.5
FORMS = {
    'C': NUMBERS,
    'Fortran': np.asfortranarray(NUMBERS),
    'big-endian': NUMBERS.astype('>f4'),
    'both': np.asfortranarray(NUMBERS).astype('>f4'),
    'view': np.ascontiguousarray(NUMBERS.transpose(2, 0, 1)).transpose(1, 2, 0),
}


def npy(array, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


@pytest.mark.parametrize('array', FORMS.values(), ids=FORMS)
def test_arrays_of_pickles(array, tmp_path):
    path = tmp_path / 'net.pdparams'
    path.write_bytes(pickle.dumps({'generator': {'first.conv.weight': array}}, protocol=2))
    found = read_checkpoint(path).networks['generator']['first.conv.weight']
    assert found.dtype == 'float32' and found.dtype.isnative
    np.testing.assert_array_equal(found, NUMBERS)


@pytest.mark.parametrize('version', [(1, 0), (2, 0)])
@pytest.mark.parametrize('array', FORMS.values(), ids=FORMS)
def test_arrays_of_archives(array, version, tmp_path):
    (tmp_path / 'G.npz').write_bytes(crafted.npz(('first.conv.weight', npy(array, version))))
    found = read_weights(tmp_path / 'G.npz')['first.conv.weight']
    np.testing.assert_array_equal(found, NUMBERS)


@pytest.mark.parametrize(
    ('file', 'said'),
    [
        ({'generator': {5: NUMBERS}}, "its generator has a weight called '5'"),
        ({'generator': {'a.weight': np.zeros((0, 3), 'float32')}}, 'an empty or impossible axis'),
        ({'generator': {'a.weight': np.zeros(3, 'float128')}}, 'which holds no plain numbers'),
        ({'generator': {'a.weight': np.zeros(3, [('x', 'f4')])}}, 'which holds no plain numbers'),
        ({'generator': {'a.weight': {1, 2}}}, 'which has no place in a checkpoint'),
        ({'generator': {'a.weight': 2**80}}, 'an integer of more than 64 bits'),
        ({'generator': {'a.weight': False}}, 'a.weight'),
    ],
    ids=['name', 'empty', 'long', 'records', 'set', 'large', 'false'],
)
def test_what_is_no_array_is_named(file, said, tmp_path):
    path = tmp_path / 'net.pdparams'
    path.write_bytes(pickle.dumps(file, protocol=2))
    with pytest.raises(UserError, match=said):
        read_checkpoint(path)


def test_the_hash_of_a_folder_is_that_of_its_networks(tmp_path):
    write_npz(tmp_path / 'G.npz', {'first.conv.weight': NUMBERS})
    one = content_hash(tmp_path)
    (tmp_path / 'notes.txt').write_text('of no account')
    assert content_hash(tmp_path) == one
    write_npz(tmp_path / 'G.npz', {'first.conv.weight': NUMBERS + 1})
    assert content_hash(tmp_path) != one


def test_what_is_told_beside_tensors_is_kept(tmp_path):
    path = tmp_path / 'a.safetensors'
    write_tensors(path, {'x': NUMBERS}, {'told': 'by somebody'})
    with TensorFile(path) as file:
        assert file.metadata['told'] == 'by somebody'
