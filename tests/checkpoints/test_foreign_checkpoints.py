"""What people hand over as a checkpoint: wrapped, unpacked, half floats, beside other things."""

import argparse
import datetime
import json
import pickle
import re
import struct
import zipfile
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from modules.checkpoints.models import load_checkpoint
from modules.checkpoints.npz_file import write_npz
from modules.checkpoints.reading import content_hash, read_checkpoint, read_weights
from modules.checkpoints.torch_file import write_torch
from modules.runtime.errors import UserError
from tests.support import crafted
from tests.support.tiny_checkpoint import LEGACY

LFS = 'version https://git-lfs.github.com/spec/v1\noid sha256:' + '4d' * 32 + '\nsize 728766888\n'


def refusal(path):
    with pytest.raises(UserError) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(f'{path}: ')
    assert str(error.value).isprintable() and len(str(error.value)) < 300
    return str(error.value)


def same(found, networks):
    assert list(found) == list(networks)
    for name, state in networks.items():
        assert list(found[name]) == list(state)
        for key, array in state.items():
            np.testing.assert_array_equal(found[name][key], array)


# ---- what is no checkpoint ----


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (LFS.encode(), 'is a Git LFS pointer, .* `git lfs pull`'),
        (b'<!DOCTYPE html><html><head><title> Google Drive - Virus scan </title>', 'web page'),
        (b'\xef\xbb\xbf\n<html>', 'is a web page, not the weights; open the link'),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', 'web page'),
        (b'{"error": "not\nfound"}', r'is no checkpoint but a text .*get the file again'),
        (b'\x1f\x8b\x08\0' + bytes(99), 'packed by gzip; unpack it'),
        (b'Rar!\x1a\x07\x01\0' + bytes(99), 'packed by RAR; unpack it'),
        (b'vox-cpk.pth.tar'.ljust(257, b'\0') + b'ustar\0' + bytes(249), "tar archive around 'vox"),
        (b'\x7fELF' + bytes(99), 'is no checkpoint'),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value.split()[-1],
)  # fmt: skip
def test_what_is_no_checkpoint_is_named(tmp_path, content, said):
    path = tmp_path / 'vox-cpk.pth.tar'
    path.write_bytes(content)
    assert re.search(said, refusal(path))


@pytest.mark.parametrize('name', ['vox-cpk.pth.tar', 'weights/G.npz', 'a.safetensors'])
def test_a_zip_archive_around_a_checkpoint(tmp_path, name):
    path = tmp_path / 'drive-download.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('__MACOSX/._' + name, b'')
        archive.writestr(name, LEGACY.read_bytes())
    assert f"is a zip archive around '{name}'; unpack it" in refusal(path)


# ---- unpacked ----


@pytest.mark.parametrize('inner', ['', 'archive'])
def test_an_unpacked_checkpoint(tmp_path, official, inner):
    write_torch(tmp_path / 'a.pth.tar', official, epoch=7)
    with zipfile.ZipFile(tmp_path / 'a.pth.tar') as archive:
        archive.extractall(tmp_path / 'a.pth')
    (tmp_path / 'a.pth' / '.DS_Store').write_bytes(b'')
    found = read_checkpoint(tmp_path / 'a.pth' / inner)
    same(found.networks, official)
    assert found.meta == {'epoch': 7}


def test_an_unpacked_checkpoint_is_known_by_its_content(tmp_path, official):
    write_torch(tmp_path / 'a.pth.tar', official, epoch=7)
    with zipfile.ZipFile(tmp_path / 'a.pth.tar') as archive:
        archive.extractall(tmp_path / 'a')
        archive.extractall(tmp_path / 'b')
    before = content_hash(tmp_path / 'a')
    assert content_hash(tmp_path / 'b') == before
    numbers = tmp_path / 'a' / 'archive' / 'data' / '0'
    numbers.write_bytes(bytes(numbers.stat().st_size))
    assert content_hash(tmp_path / 'a') != before


def test_an_unpacked_checkpoint_with_a_file_missing(tmp_path, official):
    write_torch(tmp_path / 'a.pth.tar', official, epoch=7)
    with zipfile.ZipFile(tmp_path / 'a.pth.tar') as archive:
        archive.extractall(tmp_path)
    numbers = tmp_path / 'archive' / 'data' / '0'
    elsewhere = tmp_path / 'elsewhere'
    numbers.rename(elsewhere)
    assert "'archive/data/0' should have" in refusal(tmp_path / 'archive')
    numbers.symlink_to(elsewhere)
    assert "'archive/data/0' should have" in refusal(tmp_path / 'archive')
    assert 'a folder without G.npz' in refusal(tmp_path / 'archive' / 'data')


# ---- wrapped networks ----


@pytest.mark.parametrize('prefix', ['module.', '_layers.', '_orig_mod.', 'module._orig_mod.'])
def test_names_of_wrapped_networks(tmp_path, official, prefix):
    wrapped = {
        network: {prefix + key: array for key, array in state.items()}
        for network, state in official.items()
    }
    write_torch(tmp_path / 'a.pth.tar', wrapped, epoch=1)
    same(read_checkpoint(tmp_path / 'a.pth.tar').networks, official)
    write_npz(tmp_path / 'a.npz', wrapped['kp_detector'])
    same(read_checkpoint(tmp_path / 'a.npz').networks, {'kp_detector': official['kp_detector']})
    floats = {key: array for key, array in sorted(official['generator'].items()) if array.ndim}
    for place in ('generator.' + prefix, prefix + 'generator.'):
        arrays = {place + key: array for key, array in floats.items()}
        write_safetensors(tmp_path / 'a.safetensors', arrays, 'F32', lambda a: a.tobytes())
        same(read_checkpoint(tmp_path / 'a.safetensors').networks, {'generator': floats})


def test_such_names_stay_where_not_all_have_them(tmp_path):
    arrays = {'module.a': np.ones(3, np.float32), 'b': np.zeros(2, np.float32)}
    np.savez(tmp_path / 'a.npz', **arrays)
    assert sorted(read_weights(tmp_path / 'a.npz')) == ['b', 'module.a']


# ---- numbers that NumPy lacks ----


def write_safetensors(path, arrays, kind, pack):
    head, body = {}, b''
    for key, array in arrays.items():
        data = pack(array)
        places = [len(body), len(body) + len(data)]
        head[key] = {'dtype': kind, 'shape': list(array.shape), 'data_offsets': places}
        body += data
    text = json.dumps(head).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(struct.pack('<Q', len(text)) + text + body)


def bfloat16(array):
    return (np.asarray(array, '<f4').view('<u4') >> 16).astype('<u2').tobytes()


def float8(bits, bias):
    """Codes of the nearest number below, of so many bits of mantissa."""

    def pack(array):
        codes = np.arange(1, 112)
        exponent, mantissa = codes >> bits, codes & (2**bits - 1)
        values = np.where(
            exponent > 0,
            (1 + mantissa / 2**bits) * 2.0 ** (exponent - bias),
            mantissa / 2**bits * 2.0 ** (1 - bias),
        )
        found = np.searchsorted(values, np.abs(array).ravel(), side='right')
        return (found + 128 * (array.ravel() < 0)).astype('u1').tobytes()

    return pack


@pytest.mark.parametrize(
    ('kind', 'pack', 'error'),
    [
        ('BF16', bfloat16, 2**-7),
        ('F8_E4M3', float8(3, 7), 2**-3),
        ('F8_E5M2', float8(2, 15), 2**-2),
    ],
)
def test_short_floats(tmp_path, official, kind, pack, error):
    arrays = {f'generator.{key}': array for key, array in official['generator'].items()}
    write_safetensors(tmp_path / 'a.safetensors', arrays, kind, pack)
    found = read_checkpoint(tmp_path / 'a.safetensors').networks['generator']
    for key, array in official['generator'].items():
        assert found[key].dtype == np.float32 and found[key].shape == array.shape
        np.testing.assert_allclose(found[key], array, rtol=error, atol=2**-9)


@pytest.mark.parametrize(
    ('kind', 'codes', 'values'),
    [
        ('BF16', b'\x80\x3f\x00\xc0\x80\x7f\xc0\x7f', [1, -2, np.inf, np.nan]),
        ('F8_E4M3', b'\x00\x01\x38\xb9\x7e\x7f', [0, 2**-9, 1, -1.125, 448, np.nan]),
        ('F8_E5M2', b'\x00\x01\x3c\xbd\x7b\x7c', [0, 2**-16, 1, -1.25, 57344, np.inf]),
    ],
)
def test_codes_of_short_floats(tmp_path, kind, codes, values):
    name = 'generator.final.weight'
    shape = np.zeros(len(values))
    write_safetensors(tmp_path / 'a.safetensors', {name: shape}, kind, lambda array: codes)
    found = read_checkpoint(tmp_path / 'a.safetensors').networks['generator']['final.weight']
    np.testing.assert_array_equal(found, np.array(values, np.float32))


def test_other_numbers_are_named(tmp_path):
    arrays = {'generator.a': np.zeros(4)}
    write_safetensors(tmp_path / 'a.safetensors', arrays, 'F8_E8M0', lambda array: bytes(4))
    assert 'numbers of the type' in refusal(tmp_path / 'a.safetensors')


# ---- beside the networks ----

BESIDE = {
    'counter': Counter('abba'),
    'steps': np.int64(1234),
    'loss': np.float32(0.5),
    'history': np.arange(6, dtype=np.uint32),
    'names': np.array(['a', 'b']),
    'mixed': np.array([None, 'b'], dtype=object),
    'when': np.datetime64('2024-05-01'),
    'groups': defaultdict(list, {'a': [1]}),
    'args': argparse.Namespace(lr=0.1, betas=(0.5, 0.999)),
    'folder': PurePosixPath('log/run'),
    'date': datetime.datetime(2024, 5, 1, tzinfo=datetime.timezone.utc),
    'set': {1, 2},
    'frozen': frozenset('ab'),
    'pairs': {(1, 2): 3, 2.5: 4, None: 5, True: 6},
    'random': np.random.default_rng(0).bit_generator.state,
    'complex': 1j,
    'range': range(3),
    'function': json.dumps,
    'class': OrderedDict,
}


def body(value, protocol):
    """The opcodes that make a value."""
    pickled = pickle.dumps(value, protocol)
    return pickled[2:-1] if protocol < 4 else pickled[2 + 9 * (pickled[2] == 0x95) : -1]


def with_networks(items, protocol=2):
    """{'generator': a network, **items} as opcodes."""
    network = b'}' + crafted.text('first.conv.weight') + crafted.tensor((4,), (1,)) + b's'
    start = b'}' + crafted.text('generator') + network + b's'
    return start + b''.join(
        crafted.text(key) + body(value, protocol) + b's' for key, value in items.items()
    )


@pytest.mark.parametrize('write', [crafted.torch_zip, crafted.torch_legacy])
@pytest.mark.parametrize('names', [[name] for name in BESIDE] + [list(BESIDE)], ids=len)
def test_what_a_training_loop_keeps_is_left_out(tmp_path, write, names):
    path = tmp_path / 'a.pth.tar'
    path.write_bytes(write(with_networks({'epoch': 9, **{name: BESIDE[name] for name in names}})))
    found = read_checkpoint(path)
    assert list(found.networks) == ['generator']
    np.testing.assert_array_equal(found.networks['generator']['first.conv.weight'], np.zeros(4))
    numbers = {'epoch': 9, 'steps': 1234, 'loss': 0.5}
    assert found.meta == {key: numbers[key] for key in ('epoch', *names) if key in numbers}
    assert set(found.left_out) == set(names) - set(numbers)


@pytest.mark.parametrize('protocol', [2, 4])
def test_the_same_in_paddle_files(tmp_path, protocol):
    items = {'generator': {'first.conv.weight': np.arange(4, dtype=np.float32)}, **BESIDE}
    path = tmp_path / 'a.pdparams'
    path.write_bytes(pickle.dumps(items, protocol))
    found = read_checkpoint(path)
    np.testing.assert_array_equal(found.networks['generator']['first.conv.weight'], np.arange(4))
    assert {'counter', 'args', 'set', 'pairs'} <= set(found.left_out)


@pytest.mark.parametrize('name', sorted(set(BESIDE) - {'steps', 'loss', 'history'}))
def test_inside_a_network_it_is_refused(tmp_path, name):
    good = crafted.text('first.conv.weight') + crafted.tensor((4,), (1,)) + b's'
    inside = b'}' + good + crafted.text('odd') + body(BESIDE[name], 2) + b's'
    path = tmp_path / 'a.pth.tar'
    path.write_bytes(crafted.torch_zip(b'}' + crafted.text('generator') + inside + b's'))
    refusal(path)
    as_network = b'}' + crafted.text('generator') + body(BESIDE[name], 2) + b's'
    path.write_bytes(crafted.torch_zip(as_network))
    refusal(path)


class Harmful:
    """What unpickling would run."""

    def __reduce__(self):
        return (exec, (f'open({str(Path("executed").resolve())!r}, "w").close()',))


def test_nothing_runs_beside_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickled = pickle.dumps({'harm': Harmful()}, 2)
    pickle.loads(pickled)
    (tmp_path / 'executed').unlink()
    (tmp_path / 'a.pth.tar').write_bytes(crafted.torch_zip(with_networks({'harm': Harmful()})))
    assert read_checkpoint('a.pth.tar').left_out == ('harm',)
    assert not (tmp_path / 'executed').exists()


def test_such_a_checkpoint_loads_into_networks(tmp_path, official, models):
    write_torch(tmp_path / 'a.pth.tar', official, epoch=3)
    with zipfile.ZipFile(tmp_path / 'a.pth.tar') as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    beside = body({'optimizer': {'state': BESIDE}, **BESIDE}, 2) + b'q\x00'  # a dict of its own
    data = members['archive/data.pkl'][:-2] + crafted.text('beside') + beside + b'u.'
    with zipfile.ZipFile(tmp_path / 'b.pth.tar', 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, data if name.endswith('data.pkl') else content)
    loaded = load_checkpoint(tmp_path / 'b.pth.tar', **models._asdict())
    assert loaded.meta == {'epoch': 3} and loaded.missing == ()
