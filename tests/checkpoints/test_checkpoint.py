"""Checkpoints: loaded strictly, and read back as they were written."""

import copy
import json

import numpy as np
import paddle
import pytest
from paddle import nn
from safetensors.numpy import save_file

from modules.build import build_models
from modules.checkpoints.models import load_checkpoint, load_models
from modules.checkpoints.reading import read_checkpoint
from modules.checkpoints.torch_file import write_torch
from modules.checkpoints.weight_names import NETWORKS, to_paddle_names
from modules.checkpoints.writing import save_checkpoint, save_pdparams
from modules.config import load_config
from modules.runtime.errors import UserError
from tests.support.places import ROOT, full_disk
from tests.support.tiny_checkpoint import CONFIG, LEGACY, PART, TINY, assert_same, values


def assert_loaded(layer, state):
    state = {k: v for k, v in to_paddle_names(state).items() if 'num_batches' not in k}
    assert_same(values(layer), state)


# --- loading -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings('ignore:a keypoint detector')
@pytest.mark.parametrize('path', [LEGACY, TINY])
def test_loads_all_networks(models, official, path):
    loaded = load_checkpoint(path, **models._asdict())
    assert loaded.missing == ()
    for name, layer in models._asdict().items():
        assert_loaded(layer, official[name])


def test_blur_kernels_of_another_scale_are_passed_over_on_request_only(models, official):
    config = copy.deepcopy(CONFIG)
    scale = config['model_params']['kp_detector_params']['scale_factor']
    config['model_params']['kp_detector_params']['scale_factor'] = scale / 2
    detector = build_models(config).kp_detector
    kernel = values(detector)['down.weight']
    with pytest.raises(UserError, match=r'down\.weight'):
        load_checkpoint(LEGACY, kp_detector=detector)
    load_checkpoint(LEGACY, kp_detector=detector, rescaled=True)
    expected = {**official['kp_detector'], 'down.weight': kernel}
    assert_loaded(detector, expected)


@pytest.mark.parametrize('before, after', [('demo-64', 'demo-128'), ('demo-128', 'demo-adv-128')])
def test_each_part_of_the_demos_training_goes_on_from_the_one_before(tmp_path, before, after):
    """As `make demo-train` has them do."""
    before, after = (load_config(ROOT / 'config' / f'{name}.yaml') for name in (before, after))
    ends, begins = build_models(before), build_models(after)
    save_checkpoint(tmp_path / 'c.safetensors', ends._asdict(), before)
    load_models(after, begins, tmp_path / 'c.safetensors', rescaled=True)
    for ours, theirs in zip(begins, ends):
        weights = dict(theirs.named_parameters())
        for name, weight in ours.named_parameters():
            np.testing.assert_array_equal(weight.numpy(), weights[name].numpy())


def test_loads_into_the_dtype_of_the_network(models, official):
    models.kp_detector.to(dtype='float64')
    load_checkpoint(LEGACY, kp_detector=models.kp_detector)
    loaded = values(models.kp_detector)['kp.weight']
    assert loaded.dtype == np.float64
    assert np.array_equal(loaded, official['kp_detector']['kp.weight'])


def test_missing_networks(models, official, tmp_path):
    with pytest.raises(UserError, match='holds no generator, only kp_detector, discriminator'):
        load_checkpoint(PART, **models._asdict())
    before = values(models.discriminator)
    write_torch(tmp_path / 'x', {k: official[k] for k in ('generator', 'kp_detector')}, 0)
    assert load_checkpoint(tmp_path / 'x', **models._asdict()).missing == ('discriminator',)
    assert_same(values(models.discriminator), before)
    with pytest.raises(UserError, match='holds no discriminator'):
        load_checkpoint(
            tmp_path / 'x', discriminator=models.discriminator, required=('discriminator',)
        )
    assert load_checkpoint(PART, discriminator=models.discriminator).missing == ()


def change(official, tmp_path, network_name, **arrays):
    """A checkpoint with some weights changed; None removes one."""
    changed = {name: dict(state) for name, state in official.items()}
    for key, array in arrays.items():
        key = key.replace('__', '.')
        changed[network_name].pop(key, None)
        if array is not None:
            changed[network_name][key] = array
    write_torch(tmp_path / 'changed.pth.tar', changed, 0)
    return tmp_path / 'changed.pth.tar'


def test_mismatch_names_keys_and_both_shapes(models, official, tmp_path):
    path = change(
        official, tmp_path, 'kp_detector', kp__weight=None, extra__weight=np.zeros(2, np.float32),
        kp__bias=np.zeros(9, np.float32),
    )  # fmt: skip
    before = {name: values(layer) for name, layer in models._asdict().items()}
    with pytest.raises(UserError) as caught:
        load_checkpoint(path, **models._asdict())
    message = str(caught.value)
    assert message == (
        f'{path}: its kp_detector does not fit the config: of its weights 1 missing, 1 too many, '
        '1 of another shape (kp.bias is 9, not 10); give the config that it was trained with'
    )
    for name, layer in models._asdict().items():  # the generator would have fitted
        assert_same(values(layer), before[name])


def test_long_mismatches_are_shortened(models):
    config = load_config(TINY / 'tiny.yaml')
    config['model_params']['generator_params']['num_bottleneck_blocks'] = 1
    with pytest.raises(UserError) as caught:
        load_models(config, build_models(config), LEGACY)
    message = str(caught.value)
    assert '24 too many (such as bottleneck.r1.conv1.bias)' in message
    assert len(message) < 300


def test_batch_norm_counters_are_the_only_keys_ignored(models, official, tmp_path):
    counter = {'first__norm__num_batches_tracked': None}
    load_checkpoint(change(official, tmp_path, 'generator', **counter), generator=models.generator)
    other = {'first__norm__num_batches': np.zeros((), np.int64)}
    with pytest.raises(UserError, match=r'first\.norm\.num_batches'):
        load_checkpoint(
            change(official, tmp_path, 'generator', **other), generator=models.generator
        )


def test_blur_kernels_may_be_absent_and_are_loaded_if_not(models, official, tmp_path):
    kernel = values(models.kp_detector)['down.weight']
    path = change(official, tmp_path, 'kp_detector', down__weight=None)
    load_checkpoint(path, kp_detector=models.kp_detector)
    assert np.array_equal(values(models.kp_detector)['down.weight'], kernel)
    path = change(official, tmp_path, 'kp_detector', down__weight=kernel + 1)
    load_checkpoint(path, kp_detector=models.kp_detector)
    assert np.array_equal(values(models.kp_detector)['down.weight'], kernel + 1)
    path = change(official, tmp_path, 'kp_detector', down__weight=kernel[:, :, 1:-1, 1:-1].copy())
    with pytest.raises(UserError, match=r'down.weight is 3 x 1 x 3 x 3, not '):
        load_checkpoint(path, kp_detector=models.kp_detector)


def test_models_from_the_config(models, official, tmp_path):
    config = dict(CONFIG)
    config['ckpt_model'] = {
        'generator': str(TINY / 'G.npz'), 'kp': str(LEGACY), 'discriminator': None,
    }  # fmt: skip
    before = values(models.discriminator)
    assert load_models(config, models) == ('discriminator',)
    assert_loaded(models.generator, official['generator'])
    assert_loaded(models.kp_detector, official['kp_detector'])
    assert_same(values(models.discriminator), before)
    config['ckpt_model']['discriminator'] = str(PART)
    assert load_models(config, models) == ()
    assert_loaded(models.discriminator, official['discriminator'])
    config['ckpt_model']['discriminator'] = str(TINY / 'G.npz')
    with pytest.raises(UserError, match=r'G\.npz: holds no discriminator, only generator'):
        load_models(config, models)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(models, official, tmp_path, value):
    """Nor are those that float32, which the networks have, can't hold."""
    before = values(models.kp_detector)
    weight = official['kp_detector']['jacobian.weight'].astype('float64')
    weight[1, 2, 3, 4] = value
    path = change(official, tmp_path, 'kp_detector', jacobian__weight=weight)
    with pytest.raises(UserError, match='not finite') as error:
        load_checkpoint(path, kp_detector=models.kp_detector)
    assert str(error.value).startswith(f'{path}: its kp_detector: jacobian.weight has')
    assert_same(values(models.kp_detector), before)


@pytest.mark.parametrize('kind', ['int8', 'uint8', 'bool', 'int64'])
def test_weights_that_are_no_fractions_are_refused(models, official, tmp_path, kind):
    """Such as packed ones, whose scales are elsewhere."""
    bias = official['kp_detector']['jacobian.bias'].astype(kind)
    path = change(official, tmp_path, 'kp_detector', jacobian__bias=bias)
    with pytest.raises(UserError, match=f'jacobian.bias is {kind}; save the weights as float32'):
        load_checkpoint(path, kp_detector=models.kp_detector)


def test_checkpoint_goes_before_the_config(models, official):
    config = dict(CONFIG, ckpt_model={'generator': 'absent', 'kp': 'absent', 'discriminator': None})
    assert load_models(config, models, LEGACY) == ()
    assert_loaded(models.generator, official['generator'])


@pytest.mark.parametrize('section', [None, {'generator': str(LEGACY), 'kp': None}])
def test_no_weights_at_all(models, section):
    config = {key: value for key, value in CONFIG.items() if key != 'ckpt_model'}
    if section:
        config['ckpt_model'] = section
    with pytest.raises(UserError, match=r'give --checkpoint, or ckpt_model\.generator'):
        load_models(config, models)


def test_unknown_name(models):
    with pytest.raises(UserError, match=r'voxx: no such file .* did you mean vox\?'):
        load_models(CONFIG, models, 'voxx')


# --- writing -------------------------------------------------------------------------------------


def test_own_format_returns_everything(models, tmp_path):
    rng = np.random.RandomState(0)
    extra = {
        'optimizer_generator.first.conv.weight.moment1': rng.rand(3, 4).astype('float32'),
        'optimizer_generator.beta1_pow': np.float64(0.1) + np.zeros(()),
        'rng.state': np.arange(5, dtype='uint32'),
        'steps': np.int64(2**62) + np.zeros((), np.int64),
        'transposed': np.arange(6.0).reshape(2, 3).T,
        'flags': np.array([True, False]),
    }
    meta = {'epoch': 3, 'rng': ['MT19937', 2**64, 0.1], 'best': None, 'loss': 1 / 3}
    path = tmp_path / 'x.safetensors'
    save_checkpoint(path, models._asdict(), CONFIG, extra, meta)
    other = build_models(CONFIG)
    loaded = load_checkpoint(path, **other._asdict(), training_state=True)
    for name, layer in models._asdict().items():
        assert_same(values(other._asdict()[name]), values(layer))
    assert_same(loaded.tensors, extra)
    assert loaded.meta == meta
    assert loaded.config == CONFIG
    assert loaded.missing == ()


def test_own_format_is_a_plain_safetensors_file(models, tmp_path):
    path = tmp_path / 'x.safetensors'
    save_checkpoint(path, {'generator': models.generator}, CONFIG)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], 'little')])
    metadata = header.pop('__metadata__')
    assert set(header) == {f'generator.{key}' for key in models.generator.state_dict()}
    assert (metadata['format'], metadata['version']) == ('first-order-model', '1')
    assert json.loads(metadata['config']) == CONFIG


def test_the_same_contents_give_the_same_bytes(models, tmp_path):
    extra = {'optimizer_a/x': np.arange(3.0), 'optimizer_b/x': np.array(2, np.int64)}
    contents = set()
    for number in range(6):
        path = tmp_path / str(number)
        save_checkpoint(path, models._asdict(), CONFIG, extra, {'step': 1, 'seed': 2})
        contents.add(path.read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize('key', ['generator.final.bias', 'optimizer_a/x', 'number'])
def test_a_flipped_bit_is_found_and_its_tensor_named(tmp_path, key):
    state = {'final.bias': np.ones(3, np.float32), 'final.weight': np.zeros((2, 3), np.float32)}
    extra = {'optimizer_a/x': np.arange(4.0), 'number': np.array(7, np.int64)}
    path = tmp_path / 'x'
    save_checkpoint(path, {'generator': state}, None, extra)
    data = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(data[:8], 'little')
    start, end = json.loads(data[8:begin])[key]['data_offsets']
    for place in (start, end - 1):
        data[begin + place] ^= 16
        path.write_bytes(data)
        with pytest.raises(UserError, match=f"x: its '{key}' is damaged; take another checkpoint"):
            read_checkpoint(path, training_state=True)
        data[begin + place] ^= 16
    path.write_bytes(data)
    assert_same(read_checkpoint(path, training_state=True).tensors, extra)


def test_checkpoints_from_before_checksums_are_read(tmp_path):
    state = {'final.bias': np.ones(3, np.float32)}
    ours = {'format': 'first-order-model', 'version': '1', 'config': 'null', 'meta': '{"a": 1}'}
    save_file({'generator.final.bias': state['final.bias']}, tmp_path / 'x', ours)
    read = read_checkpoint(tmp_path / 'x')
    assert_same(read.networks['generator'], state)
    assert read.meta == {'a': 1}


def test_header_length_that_looks_like_a_pickle(tmp_path):
    state = {'final.bias': np.ones(3, np.float32)}
    starts = set()
    for size in range(0, 256, 8):
        save_checkpoint(tmp_path / 'x', {'generator': state}, extra_meta={'a': 'a' * size})
        starts.add((tmp_path / 'x').read_bytes()[0])
        assert_same(read_checkpoint(tmp_path / 'x').networks['generator'], state)
    assert 0x80 in starts  # the first byte of a pickle


def test_training_state_is_read_only_when_asked_for(models, tmp_path):
    path = tmp_path / 'x.safetensors'
    networks = {'kp_detector': models.kp_detector}
    save_checkpoint(path, networks, None, {'optimizer.a': np.zeros(2), 'optimizer.b': np.zeros(2)})
    read = read_checkpoint(path)
    assert read.tensors == {}
    assert read.left_out == ('optimizer',)
    assert set(read_checkpoint(path, training_state=True).tensors) == {'optimizer.a', 'optimizer.b'}
    with pytest.raises(ValueError, match='reserved'):
        save_checkpoint(path, networks, None, {'generator.x': np.zeros(2)})


def test_anyone_may_read_what_the_umask_allows(models, tmp_path):
    (tmp_path / 'plain').touch()
    save_checkpoint(tmp_path / 'x', {'kp_detector': models.kp_detector})
    assert (tmp_path / 'x').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_failed_save_keeps_the_last_checkpoint(models, tmp_path):
    path = tmp_path / 'x.safetensors'
    save_checkpoint(path, {'kp_detector': models.kp_detector})
    before = path.read_bytes()
    with full_disk(1000), pytest.raises(OSError, match='File too large'):
        save_checkpoint(path, {'kp_detector': models.kp_detector})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_bfloat16_networks_are_saved_as_numbers(tmp_path):
    layer = nn.Conv2D(1, 1, 1)
    layer.to(dtype='bfloat16')
    save_checkpoint(tmp_path / 'x', {'generator': layer})
    saved = read_checkpoint(tmp_path / 'x').networks['generator']['weight']
    assert saved.dtype == np.float32
    assert np.array_equal(saved, layer.weight.astype('float32').numpy())


def test_pdparams_load_in_paddle(models, official, tmp_path):
    path = tmp_path / 'x.pdparams'
    load_models(CONFIG, models, LEGACY)
    for networks in (models._asdict(), official):  # layers, or states by their official names
        save_pdparams(path, networks)
        tree = paddle.load(str(path))
        assert set(tree) == set(NETWORKS)
        for name, layer in build_models(CONFIG)._asdict().items():
            missing, unexpected = layer.set_state_dict(tree[name])
            assert not missing and not unexpected
            assert_loaded(layer, official[name])
        other = build_models(CONFIG)
        load_models(CONFIG, other, path)
        assert_loaded(other.generator, official['generator'])
