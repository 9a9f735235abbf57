"""The converter between PyTorch and Paddle, there and back."""

import errno
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modules.checkpoints.reading import read_checkpoint
from modules.checkpoints.torch_file import write_torch
from modules.checkpoints.weight_names import NETWORKS
from modules.checkpoints.writing import save_checkpoint
from modules.runtime.errors import UserError
from tests.support.places import ROOT, full_disk
from tools import convert_torch

TINY = ROOT / 'tests' / 'support' / 'data' / 'demo_tiny'
LEGACY = TINY / 'tiny-nets-legacy.pth.tar'
PART = TINY / 'tiny-part-zip.pth.tar'


@pytest.fixture
def convert(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['convert_torch.py', *map(str, arguments)])
        convert_torch.main()
        return capsys.readouterr().out.splitlines()

    return run


def assert_same_networks(path, expected_path, but=()):
    networks = read_checkpoint(path).networks
    expected = read_checkpoint(expected_path).networks
    assert set(networks) == set(expected) - set(but)
    for name, state in networks.items():
        assert set(state) == set(expected[name])
        for key, array in state.items():
            other = expected[name][key]
            assert (array.dtype, array.shape) == (other.dtype, other.shape)
            assert array.tobytes() == other.tobytes(), key


class TrustingUnpickler(pickle.Unpickler):
    """Loads what torch.load(weights_only=True) would, by other code than the project's."""

    def __init__(self, archive):
        super().__init__(archive.open('archive/data.pkl'))
        self.archive = archive

    def find_class(self, module, name):
        if (module, name) == ('collections', 'OrderedDict'):
            return super().find_class(module, name)
        if module == 'torch' and name in ('FloatStorage', 'LongStorage'):
            return {'FloatStorage': np.float32, 'LongStorage': np.int64}[name]
        assert (module, name) == ('torch._utils', '_rebuild_tensor_v2')

        def rebuild(storage, offset, shape, strides, requires_grad, hooks):
            assert (offset, requires_grad, len(hooks)) == (0, False, 0)
            array = storage.reshape(shape)
            assert strides == tuple(stride // array.itemsize for stride in array.strides)
            return array

        return rebuild

    def persistent_load(self, name):
        kind, dtype, key, device, length = name
        assert (kind, device) == ('storage', 'cpu')
        data = self.archive.read(f'archive/data/{key}')
        assert len(data) == length * np.dtype(dtype).itemsize
        return np.frombuffer(data, dtype)


def test_to_paddle_as_npz(convert, tmp_path):
    lines = convert(LEGACY, '--out', tmp_path / 'new')
    assert lines == [
        *(f'wrote {tmp_path / "new" / file}' for file in ('G.npz', 'KP.npz', 'D.npz')),
        'left out, since only the networks are converted: epoch',
    ]
    networks = read_checkpoint(LEGACY).networks
    for name, file in zip(NETWORKS, ('G.npz', 'KP.npz', 'D.npz')):
        with np.load(tmp_path / 'new' / file) as arrays:  # unpickles nothing
            assert len(arrays.files) == len(networks[name])
            if name != 'discriminator':
                assert any(key.endswith('.norm._variance') for key in arrays.files)
                assert any(key.endswith('.norm.num_batches_tracked') for key in arrays.files)
            else:
                assert any(key.endswith('.norm.scale') for key in arrays.files)
            assert not any('running' in key for key in arrays.files)
    assert_same_networks(tmp_path / 'new', LEGACY)


def test_there_and_back_is_lossless(convert, tmp_path):
    convert(LEGACY, '--out', tmp_path / 'tiny')
    lines = convert(tmp_path / 'tiny', '--to', 'torch', '--out', tmp_path / 'back')
    path = tmp_path / 'back' / 'tiny.pth.tar'
    assert lines == [f'wrote {path}']
    assert_same_networks(path, LEGACY)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read('archive/version') == b'3\n'
        assert archive.read('archive/byteorder') == b'little'
        tree = TrustingUnpickler(archive).load()
    assert tree.pop('epoch') == 0
    expected = read_checkpoint(LEGACY).networks
    assert set(tree) == set(expected)
    for name, state in tree.items():
        assert type(state).__name__ == 'OrderedDict'
        assert list(state) == list(expected[name])  # counters included, and in their order
        for key, array in state.items():
            assert array.dtype == expected[name][key].dtype
            assert np.array_equal(array, expected[name][key])
    convert(path, '--out', tmp_path / 'again')
    for file in ('G.npz', 'D.npz', 'KP.npz'):
        again = (tmp_path / 'again' / file).read_bytes()
        assert again == (tmp_path / 'tiny' / file).read_bytes()
        with zipfile.ZipFile(tmp_path / 'tiny' / file) as archive:
            assert {member.date_time[0] for member in archive.infolist()} == {1980}


def test_torch_itself_reads_it(convert, tmp_path):
    torch = pytest.importorskip('torch')
    convert(LEGACY, '--to', 'torch', '--out', tmp_path)
    tree = torch.load(tmp_path / 'tiny-nets-legacy.pth.tar', weights_only=True)
    for name, state in read_checkpoint(LEGACY).networks.items():
        for key, array in state.items():
            assert np.array_equal(tree[name][key].numpy(), array)


@pytest.mark.filterwarnings('ignore:a keypoint detector')
@pytest.mark.parametrize('form', ['paddle', 'safetensors'])
def test_by_way_of_paddle_and_an_earlier_ports_files(convert, tmp_path, form):
    suffix = {'paddle': '.pdparams', 'safetensors': '.safetensors'}[form]
    lines = convert(TINY, '--to', form, '--out', tmp_path)
    path = tmp_path / f'demo_tiny{suffix}'
    assert lines == [f'wrote {path}']
    convert(path, '--to', 'torch', '--out', tmp_path)
    networks = read_checkpoint(tmp_path / 'demo_tiny.pth.tar').networks
    for name, state in read_checkpoint(LEGACY).networks.items():
        assert set(networks[name]) == set(state)
        for key, array in state.items():
            if 'num_batches' in key:  # Paddle keeps no such counter; PyTorch wants one
                array = np.zeros((), np.int64)
            assert networks[name][key].dtype == array.dtype
            assert np.array_equal(networks[name][key], array)


def test_what_is_left_out_is_told(convert, tmp_path):
    lines = convert(PART, '--out', tmp_path)
    assert lines[2:] == [
        'left out, since only the networks are converted: optimizer_discriminator, epoch',
        'not in the checkpoint, so not in the output: generator',
    ]
    assert convert(PART, '--to', 'torch', '--out', tmp_path / 'b')[1:] == [
        'left out, since only the networks are converted: optimizer_discriminator',
        'not in the checkpoint, so not in the output: generator',
    ]
    assert read_checkpoint(tmp_path / 'b' / 'tiny-part-zip.pth.tar').meta == {'epoch': 3}


def test_own_files_keep_config_and_epoch(convert, tmp_path):
    networks = read_checkpoint(LEGACY).networks
    extra = {'optimizer_generator.moment': np.zeros(3)}
    save_checkpoint(tmp_path / 'x.safetensors', networks, {'a': 1}, extra, {'epoch': 5, 'rng': [1]})
    out = tmp_path / 'out'
    lines = convert(tmp_path / 'x.safetensors', '--to', 'safetensors', '--out', out)
    assert lines[1:] == ['left out, since only the networks are converted: optimizer_generator']
    again = read_checkpoint(out / 'x.safetensors')
    assert (again.config, again.meta) == ({'a': 1}, {'epoch': 5, 'rng': [1]})
    lines = convert(tmp_path / 'x.safetensors', '--to', 'torch', '--out', out)
    assert lines[1].endswith('optimizer_generator, rng')
    assert read_checkpoint(out / 'x.pth.tar').meta == {'epoch': 5}


def test_dtypes_survive(convert, tmp_path):
    arrays = {'final.weight': np.float16([1.5]), 'a': np.float64([1e300]), 'b': np.int32([7])}
    write_torch(tmp_path / 'x.pth.tar', {'generator': arrays}, 0)
    convert(tmp_path / 'x.pth.tar', '--out', tmp_path)
    assert_same_networks(tmp_path / 'G.npz', tmp_path / 'x.pth.tar')
    with pytest.raises(TypeError, match='complex128'):
        write_torch(tmp_path / 'y', {'generator': {'a': np.zeros(1, complex)}}, 0)


def test_source_is_not_overwritten(convert, tmp_path):
    (tmp_path / 'x.pth.tar').write_bytes(LEGACY.read_bytes())
    with pytest.raises(UserError, match='is the checkpoint to convert; choose another --out'):
        convert(tmp_path / 'x.pth.tar', '--to', 'torch', '--out', tmp_path)
    convert(tmp_path / 'x.pth.tar', '--out', tmp_path)
    before = (tmp_path / 'D.npz').read_bytes()
    with pytest.raises(UserError, match=r'G\.npz: is the checkpoint'):
        convert(tmp_path, '--out', tmp_path)
    assert (tmp_path / 'x.pth.tar').read_bytes() == LEGACY.read_bytes()
    assert (tmp_path / 'D.npz').read_bytes() == before


def test_nothing_is_left_of_a_failure(convert, tmp_path, monkeypatch):
    written = []

    def fail_at_second(path, arrays):
        written.append(path)
        path.write_bytes(b'half')
        if len(written) == 2:
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(convert_torch, 'write_npz', fail_at_second)
    with pytest.raises(OSError, match='No space'):
        convert(LEGACY, '--out', tmp_path / 'new')
    assert list(tmp_path.iterdir()) == []
    written.clear()
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'G.npz').write_bytes(b'old')
    with pytest.raises(OSError, match='No space'):
        convert(LEGACY, '--out', tmp_path / 'old')
    assert [path.read_bytes() for path in (tmp_path / 'old').iterdir()] == [b'old']


@pytest.mark.parametrize('form', ['npz', 'torch', 'paddle', 'safetensors'])
def test_a_full_disk_is_told_in_one_line_and_leaves_nothing(convert, tmp_path, form):
    out = tmp_path / 'some' / 'new' / 'folder'
    with full_disk(20000), pytest.raises(OSError, match='File too large') as error:
        convert(LEGACY, '--to', form, '--out', out)
    assert error.value.errno == errno.EFBIG  # which run_command words
    assert Path(error.value.filename).parent == out
    assert list(tmp_path.iterdir()) == []


def test_folders_that_can_not_be_made(convert, tmp_path):
    with pytest.raises(UserError, match='file name too long; choose another --out'):
        convert(LEGACY, '--out', tmp_path / 'new' / ('x' * 300) / 'new')
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match='is no folder; choose another --out'):
        convert(LEGACY, '--out', tmp_path / 'file' / 'new')
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_paddle_has_nothing_to_say(tmp_path):
    """It would speak of a missing ccache, which compiling alone needs."""
    script = ROOT / 'tools' / 'convert_torch.py'
    run = subprocess.run(
        [sys.executable, script, str(LEGACY), '--to', 'paddle', '--out', '.'],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, '')
    assert (tmp_path / 'tiny-nets-legacy.pdparams').is_file()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['absent.pth.tar', '--out', 'x'], 'error: absent.pth.tar: no such file or folder'),
        ([str(LEGACY)], 'error: the following arguments are required: --out (see --help)'),
        ([str(LEGACY), '--out', __file__], 'error: ' + __file__ + ': is no folder'),
        ([str(TINY / 'tiny.yaml'), '--out', 'x'], 'tiny.yaml: is no checkpoint'),
    ],
)
def test_mistakes_give_one_line_and_status_2(tmp_path, arguments, message):
    script = ROOT / 'tools' / 'convert_torch.py'
    run = subprocess.run(
        [sys.executable, script, *arguments],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2
    assert message in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
