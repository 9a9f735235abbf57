"""Checkpoints: every format gives the same weights by the same names."""

import os
import pickle
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import paddle
import pytest

from modules.checkpoints.models import load_checkpoint, load_models
from modules.checkpoints.npz_file import Archive, write_npz
from modules.checkpoints.reading import read_checkpoint, read_weights
from modules.checkpoints.torch_file import write_torch
from modules.checkpoints.weight_names import (
    NETWORKS,
    name_keypoint_detector,
    to_official_names,
    to_paddle_names,
)
from modules.runtime.errors import UserError
from tests.support.crafted import (
    call,
    integer,
    network,
    npy,
    npz,
    storage,
    tensor,
    text,
    torch_legacy,
    torch_zip,
)
from tests.support.tiny_checkpoint import CONFIG, LEGACY, PART, ROOT, TINY, assert_same, values


def trusted_npz(path):
    """NumPy's own reader, which unpickles."""
    return np.load(path, allow_pickle=True)['arr_0'].item()


def test_legacy_format_agrees_with_numpy(official):
    assert list(official) == list(NETWORKS)
    for network_name, file in (('generator', 'G.npz'), ('discriminator', 'D.npz')):
        assert_same(official[network_name], trusted_npz(TINY / file))
        assert list(official[network_name]) == list(trusted_npz(TINY / file))
    keypoints = trusted_npz(TINY / 'KP.npz')  # under wrong names, in the right order
    for array, expected in zip(official['kp_detector'].values(), keypoints.values()):
        assert np.array_equal(array, expected)
    assert read_checkpoint(LEGACY).meta == {'epoch': 3}


def test_zip_format_as_pytorch_writes_it(official):
    part = read_checkpoint(PART)
    assert list(part.networks) == ['kp_detector', 'discriminator']
    for network_name, state in part.networks.items():
        assert_same(state, official[network_name])
        assert list(state) == list(official[network_name])
    assert part.meta == {'epoch': 3}
    assert part.left_out == ('optimizer_discriminator',)


def test_folder_of_an_earlier_port(official):
    with pytest.warns(UserWarning, match='by their order') as caught:
        folder = read_checkpoint(TINY)
    assert len(caught) == 1
    for network_name in NETWORKS:
        assert_same(folder.networks[network_name], official[network_name])


@pytest.mark.parametrize('kernel', [True, False])
@pytest.mark.parametrize('jacobian', [True, False])
@pytest.mark.parametrize('counters', [True, False])
def test_keypoint_names_follow_from_the_order(official, kernel, jacobian, counters):
    state = {
        key: array
        for key, array in official['kp_detector'].items()
        if (kernel or key != 'down.weight')
        and (jacobian or not key.startswith('jacobian'))
        and (counters or 'num_batches' not in key)
    }
    assert name_keypoint_detector(list(state.values())) == list(state)


def test_no_other_network_passes_for_a_keypoint_detector(official):
    keypoints = list(official['kp_detector'].values())
    for arrays in (
        list(official['generator'].values()),
        list(official['discriminator'].values()),
        keypoints[1:],
        keypoints[7:],  # an odd number of blocks
        keypoints[42:],  # no block at all
        [*keypoints, keypoints[0]],
        keypoints[:42],
        [],
    ):
        assert name_keypoint_detector(arrays) is None


def test_keypoints_by_order_still_need_the_shapes(official, models, tmp_path):
    arrays = official['kp_detector'].values()
    renamed = {f'dense_motion_network.{n}': array for n, array in enumerate(arrays)}
    renamed['dense_motion_network.0'] = np.zeros((16, 3, 5, 5), np.float32)
    write_npz(tmp_path / 'KP.npz', renamed)
    message = 'is 16 x 3 x 5 x 5, not 16 x 3 x 3 x 3'
    with pytest.warns(UserWarning), pytest.raises(UserError, match=message):
        load_checkpoint(tmp_path / 'KP.npz', kp_detector=models.kp_detector)


def plain_numpy(official):
    return {name: to_paddle_names(state) for name, state in official.items()}


def write_paddlegan(official, path, protocol):
    """As PaddleGAN's trainer saves: arrays, its networks under more than one name, optimizers."""
    tree = plain_numpy(official)
    tree.update(Gen_Full=tree['generator'], epoch=7, optimizer_Gen={'LR_Scheduler': {'last': 1}})
    paddle.save(tree, str(path), protocol=protocol)


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_pdparams_of_arrays(official, tmp_path, protocol):
    write_paddlegan(official, tmp_path / 'x.pdparams', protocol)
    read = read_checkpoint(tmp_path / 'x.pdparams')
    for name in NETWORKS:
        assert_same(read.networks[name], official[name])
    assert read.meta == {'epoch': 7}
    assert read.left_out == ('Gen_Full', 'optimizer_Gen')


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_pdparams_of_tensors(models, tmp_path, protocol):
    tree = {name: layer.state_dict() for name, layer in models._asdict().items()}
    paddle.save(tree, str(tmp_path / 'x.pdparams'), protocol=protocol)
    read = read_checkpoint(tmp_path / 'x.pdparams')
    for name, layer in models._asdict().items():
        assert_same(read.networks[name], to_official_names(values(layer)))


def test_pdparams_of_a_single_network(models, tmp_path):
    paddle.save(models.generator.state_dict(), str(tmp_path / 'x.pdparams'))
    read = read_checkpoint(tmp_path / 'x.pdparams')
    assert list(read.networks) == ['generator']
    assert_same(read.networks['generator'], to_official_names(values(models.generator)))


def test_pdparams_by_pickle_alone(official, tmp_path):
    for protocol in (2, 3, 4):
        (tmp_path / 'x').write_bytes(pickle.dumps(plain_numpy(official), protocol))
        assert_same(read_checkpoint(tmp_path / 'x').networks['generator'], official['generator'])


def test_pdparams_of_bfloat16(tmp_path):
    numbers = np.float32([1, -2.5, 3e38, 1e-30])
    weights = paddle.to_tensor(numbers).astype('bfloat16')
    paddle.save({'generator': {'final.bias': weights}}, str(tmp_path / 'x.pdparams'))
    read = read_checkpoint(tmp_path / 'x.pdparams').networks['generator']['final.bias']
    assert read.dtype == np.float32
    assert np.array_equal(read, weights.astype('float32').numpy())


def test_texts_and_dicts_of_python_2(tmp_path):
    """As in files of 2018: byte strings for texts, an OrderedDict made of a list of pairs."""
    numbers = np.arange(4, dtype='<f4')

    def old(content):  # every text short, as a byte string
        return re.sub(rb'X(.)\0\0\0', rb'U\1', content, flags=re.DOTALL)

    def made_of(*pairs):
        items = b''.join(b'](' + text(key) + value + b'e' for key, value in pairs)
        return call('collections.OrderedDict', b'](' + items + b'e')

    body = old(made_of(('lin0.weight', tensor((4,), (1,))), ('lin1.weight', tensor((2,), (1,)))))
    (tmp_path / 'x').write_bytes(torch_legacy(body, 4, numbers.tobytes()))
    read = read_weights(tmp_path / 'x')
    assert list(read) == ['lin0.weight', 'lin1.weight']
    assert np.array_equal(read['lin0.weight'], numbers)
    for pairs in (integer(1), b'](' + integer(1) + b'e', b'](](' + text('a') + b'ee', text('ab')):
        body = call('collections.OrderedDict', pairs)
        (tmp_path / 'x').write_bytes(torch_legacy(body, 4, numbers.tobytes()))
        with pytest.raises(UserError, match='its pickle makes a dict of what'):
            read_weights(tmp_path / 'x')


@pytest.mark.parametrize('form', [torch_zip, torch_legacy])
def test_tensor_views_and_dtypes(tmp_path, form):
    numbers = np.arange(1, 7, dtype='<f4')

    def read(kind, data, length, shape, strides, offset=0):
        body = network(tensor(shape, strides, offset, storage('0', length, f'torch.{kind}')))
        content = form(body, data) if form is torch_zip else form(body, length, data)
        (tmp_path / 'x').write_bytes(content)
        return read_checkpoint(tmp_path / 'x').networks['generator']['first.conv.weight']

    floats = 'FloatStorage', numbers.tobytes(), 6
    assert np.array_equal(read(*floats, (3, 2), (1, 3)), numbers.reshape(2, 3).T)
    assert np.array_equal(read(*floats, (2, 2), (3, 1), 1), [[2, 3], [5, 6]])
    assert np.array_equal(read(*floats, (), (), 5), 6)
    assert read(*floats, (3, 2), (1, 3)).flags.c_contiguous
    for kind, code in [
        ('HalfStorage', 'f2'), ('DoubleStorage', 'f8'), ('LongStorage', 'i8'), ('IntStorage', 'i4'),
        ('ShortStorage', 'i2'), ('CharStorage', 'i1'), ('ByteStorage', 'u1'), ('BoolStorage', 'b1'),
    ]:  # fmt: skip
        array = read(kind, numbers.astype(code).tobytes(), 6, (6,), (1,))
        assert array.dtype == np.dtype(code)
        assert np.array_equal(array, numbers.astype(code))
    upper = (np.float32([1, -2.5, 3e38]).view('<u4') >> 16).astype('<u2')
    array = read('BFloat16Storage', upper.tobytes(), 3, (3,), (1,))
    assert array.dtype == np.float32
    assert np.array_equal(array.view('<u4') >> 16, upper)


@pytest.mark.parametrize('form', [torch_zip, torch_legacy])
def test_a_stride_along_one_number_is_never_taken(tmp_path, form):
    body = network(tensor((1, 4), (2**62, 1)))
    (tmp_path / 'x').write_bytes(form(body))
    state = read_checkpoint(tmp_path / 'x').networks['generator']
    assert np.array_equal(state['first.conv.weight'], np.zeros((1, 4)))


def test_bfloat16_counts_as_the_float32_that_it_becomes(tmp_path):
    """Views of one storage may take four times the file, and 64 KB."""
    side = 2**9
    shared = storage('0', side**2, 'torch.BFloat16Storage')
    views = [text(f'k{n}') + tensor((side, side), (1, side), of=shared) for n in range(3)]
    for count in (2, 3):
        body = b'}' + text('generator') + b'}(' + b''.join(views[:count]) + b'us'
        (tmp_path / f'{count}').write_bytes(torch_zip(body, bytes(2 * side**2)))
    assert len(read_checkpoint(tmp_path / '2').networks['generator']) == 2
    with pytest.raises(UserError, match='far more memory'):
        read_checkpoint(tmp_path / '3')


def test_single_networks_of_any_kind(tmp_path):
    arrays = {'features.0.weight': np.ones((2, 3), np.float32), 'classifier.bias': np.zeros(4)}
    write_npz(tmp_path / 'x.npz', arrays)
    (tmp_path / 'x.pdparams').write_bytes(pickle.dumps(arrays, 4))
    for name in ('x.npz', 'x.pdparams'):
        assert_same(read_weights(tmp_path / name), arrays)
        with pytest.raises(UserError, match='holds the weights of none of generator'):
            read_checkpoint(tmp_path / name)
    (tmp_path / 'x.pth').write_bytes(torch_zip(b'}' + text('a') + tensor((4,), (1,)) + b's'))
    assert_same(read_weights(tmp_path / 'x.pth'), {'a': np.zeros(4, np.float32)})
    with pytest.raises(UserError, match="network has 'generator', which is no array"):
        read_weights(LEGACY)


@pytest.mark.parametrize('code', ['<<f4', '>|f4', '<=f', 'f4<', '=', 'f16', 'f4 ', 'c8', '٣f4'])
def test_codes_of_numpy_that_are_none(tmp_path, code):
    path = tmp_path / 'a.npz'
    path.write_bytes(npz(('final.weight', npy(f"'{code}'"))))
    with pytest.raises(UserError, match=r'holds no plain numbers|an \.npy file with the header'):
        read_checkpoint(path)


def test_parameters_and_shared_storages(tmp_path):
    weight = call('torch._utils._rebuild_parameter', tensor((2, 2), (2, 1)), b'\x88', b'}')
    body = b'}' + text('generator') + b'}' + text('a') + weight + b's'
    body += text('b') + tensor((2, 2), (1, 2)) + b'ss'
    (tmp_path / 'x').write_bytes(torch_zip(body, np.arange(4, dtype='<f4').tobytes()))
    state = read_checkpoint(tmp_path / 'x').networks['generator']
    assert np.array_equal(state['a'], [[0, 1], [2, 3]])
    assert np.array_equal(state['b'], state['a'].T)


def test_optimizers_are_not_read(monkeypatch):
    names = []
    read = Archive.read
    monkeypatch.setattr(Archive, 'read', lambda self, name: names.append(name) or read(self, name))
    part = read_checkpoint(PART)
    tensors = sum(map(len, part.networks.values()))
    assert len([name for name in names if '/data/' in name]) == tensors


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_memory_is_that_of_the_networks(tmp_path, form):
    length = 2**23  # an optimizer of 32 MiB beside a network of 16 bytes
    adam = tensor((length,), (1,), of=storage('1', length))
    body = b'}(' + text('generator') + b'}' + text('a') + tensor((4,), (1,)) + b's'
    body += text('optimizer') + b'}' + integer(0) + adam + b'su'
    if form == 'zip':
        zeros = {'a': np.zeros(4, np.float32)}
        adam = {'a': np.zeros(length, np.float32)}
        write_torch(tmp_path / 'x', {'generator': zeros, 'optimizer': adam}, 0)
    else:
        content = torch_legacy(body).replace(
            b']' + text('0') + b'a', b'](' + text('0') + text('1') + b'e'
        )
        (tmp_path / 'x').write_bytes(content + length.to_bytes(8, 'little') + bytes(4 * length))
    tracemalloc.start()
    try:
        assert read_checkpoint(tmp_path / 'x').networks['generator']['a'].shape == (4,)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20


def test_reading_imports_no_framework():
    code = (
        'import sys; from modules.checkpoints.reading import read_checkpoint;'
        f' read_checkpoint({str(LEGACY)!r}); read_checkpoint({str(PART)!r});'
        " assert not {'torch', 'paddle'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def test_loading_does_not_import_torch(models):
    load_models(CONFIG, models, LEGACY)
    assert 'torch' not in sys.modules


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda path: None, 'no such file'),
        (lambda path: path.mkdir(), 'a folder without G.npz'),
        (lambda path: os.mkfifo(path), 'is no file'),
        (lambda path: path.touch(), 'is empty'),
        (lambda path: path.symlink_to(path), 'can not be read|no such file'),
    ],
)
def test_what_is_no_file_is_told(tmp_path, make, message):
    make(tmp_path / 'x')
    with pytest.raises(UserError, match=message):
        read_checkpoint(tmp_path / 'x')


def test_folder_with_files_exchanged(tmp_path):
    (tmp_path / 'G.npz').write_bytes((TINY / 'D.npz').read_bytes())
    with pytest.raises(UserError, match=r'G\.npz holds discriminator instead of generator'):
        read_checkpoint(tmp_path)


def test_file_of_other_networks(tmp_path):
    (tmp_path / 'x').write_bytes(pickle.dumps({'Gen_Full': {}, 'Dis': {}}, 4))
    with pytest.raises(UserError, match=r"none of generator, .* but 'Gen_Full', 'Dis'"):
        read_checkpoint(tmp_path / 'x')


# --- names ---------------------------------------------------------------------------------------


def test_names_of_norms():
    one = np.zeros(1)
    official = {
        'a.norm.weight': one, 'a.norm.bias': one, 'a.norm.running_mean': one,
        'a.norm.running_var': one, 'a.norm.num_batches_tracked': one, 'r0.norm1.weight': one,
        'r0.norm1.running_mean': one, 'b.norm.weight': one, 'b.conv.weight': one,
        'down.weight': one,
    }  # fmt: skip
    assert list(to_paddle_names(official)) == [
        'a.norm.weight', 'a.norm.bias', 'a.norm._mean', 'a.norm._variance',
        'a.norm.num_batches_tracked', 'r0.norm1.weight', 'r0.norm1._mean', 'b.norm.scale',
        'b.conv.weight', 'down.weight',
    ]  # fmt: skip
    assert list(to_official_names(to_paddle_names(official))) == list(official)
    assert list(to_official_names(official)) == list(official)


def test_names_are_those_of_the_networks(models, official):
    for name, layer in models._asdict().items():
        renamed = [k for k in to_paddle_names(official[name]) if 'num_batches' not in k]
        assert set(renamed) == set(layer.state_dict())
