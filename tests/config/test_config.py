"""Configs: the published values, the defaults, and one clear line for every mistake."""

import copy
import re
from pathlib import Path

import pytest
import yaml

from modules.config import check_config, load_config
from modules.config.schema import SCHEMA, Field
from modules.runtime.errors import UserError
from tests.support.places import ROOT

CONFIGS = ROOT / 'config'
FACES = ROOT / 'tests' / 'support' / 'data' / 'faces-64.yaml'
SECTIONS = tuple(SCHEMA)

# What the eight published configs hold, written down from the official ones (nemo's values) ...
JITTER = {'brightness': 0.1, 'contrast': 0.1, 'saturation': 0.1, 'hue': 0.1}
PUBLISHED = {
    'dataset_params': {
        'root_dir': 'data/nemo-png',
        'frame_shape': [256, 256, 3],
        'id_sampling': False,
        'augmentation_params': {'flip_param': {'horizontal_flip': True, 'time_flip': True}},
    },
    'model_params': {
        'common_params': {'num_kp': 10, 'num_channels': 3, 'estimate_jacobian': True},
        'kp_detector_params': {
            'temperature': 0.1,
            'block_expansion': 32,
            'max_features': 1024,
            'scale_factor': 0.25,
            'num_blocks': 5,
        },
        'generator_params': {
            'block_expansion': 64,
            'max_features': 512,
            'num_down_blocks': 2,
            'num_bottleneck_blocks': 6,
            'estimate_occlusion_map': True,
            'dense_motion_params': {
                'block_expansion': 64,
                'max_features': 1024,
                'num_blocks': 5,
                'scale_factor': 0.25,
            },
        },
        'discriminator_params': {
            'scales': [1],
            'block_expansion': 32,
            'max_features': 512,
            'num_blocks': 4,
        },
    },
    'train_params': {
        'num_epochs': 100,
        'num_repeats': 8,
        'epoch_milestones': [60, 90],
        'lr_generator': 2e-4,
        'lr_discriminator': 2e-4,
        'lr_kp_detector': 2e-4,
        'batch_size': 36,
        'scales': [1, 0.5, 0.25, 0.125],
        'checkpoint_freq': 50,
        'transform_params': {'sigma_affine': 0.05, 'sigma_tps': 0.005, 'points_tps': 5},
        'loss_weights': {
            'generator_gan': 1,
            'discriminator_gan': 1,
            'feature_matching': [10, 10, 10, 10],
            'perceptual': [10, 10, 10, 10, 10],
            'equivariance_value': 10,
            'equivariance_jacobian': 10,
        },
    },
    'reconstruction_params': {'num_videos': 1000, 'format': '.mp4'},
    'animate_params': {
        'num_pairs': 50,
        'format': '.mp4',
        'normalization_params': {
            'adapt_movement_scale': False,
            'use_relative_movement': True,
            'use_relative_jacobian': True,
        },
    },
    'visualizer_params': {'kp_size': 5, 'draw_border': True, 'colormap': 'gist_rainbow'},
}

# ... and where each differs from that.
AUGMENTATION = 'dataset_params.augmentation_params'
DISCRIMINATOR = 'model_params.discriminator_params'
TAICHI = {
    'dataset_params.root_dir': 'data/taichi-png',
    'dataset_params.id_sampling': True,
    'dataset_params.pairs_list': 'data/taichi256.csv',
    f'{AUGMENTATION}.jitter_param': JITTER,
    'train_params.num_repeats': 150,
}
VOX = {
    'dataset_params.root_dir': 'data/vox-png',
    'dataset_params.id_sampling': True,
    'dataset_params.pairs_list': 'data/vox256.csv',
    f'{AUGMENTATION}.jitter_param': JITTER,
    'train_params.num_repeats': 75,
}
ADVERSARIAL = {
    f'{DISCRIMINATOR}.use_kp': True,
    'train_params.num_epochs': 150,
    'train_params.epoch_milestones': [],
}
DIFFERENCES = {
    'bair': {
        'dataset_params.root_dir': 'data/bair',
        f'{AUGMENTATION}.jitter_param': JITTER,
        f'{DISCRIMINATOR}.sn': True,
        'train_params.num_epochs': 20,
        'train_params.num_repeats': 1,
        'train_params.epoch_milestones': [12, 18],
        'train_params.checkpoint_freq': 10,
    },
    'fashion': {
        'dataset_params.root_dir': 'data/fashion-png',
        f'{AUGMENTATION}.jitter_param': {'hue': 0.1},
        'train_params.num_repeats': 50,
        'train_params.batch_size': 27,
    },
    'mgif': {
        'dataset_params.root_dir': 'data/moving-gif',
        f'{AUGMENTATION}.crop_param': {'size': [256, 256]},
        f'{AUGMENTATION}.resize_param': {'ratio': [0.9, 1.1]},
        f'{AUGMENTATION}.jitter_param': {'hue': 0.5},
        'model_params.kp_detector_params.single_jacobian_map': True,
        f'{DISCRIMINATOR}.sn': True,
        'train_params.num_repeats': 25,
        'train_params.checkpoint_freq': 100,
    },
    'nemo': {f'{DISCRIMINATOR}.sn': True},
    'taichi': {
        **TAICHI,
        'train_params.batch_size': 30,
        'train_params.loss_weights.generator_gan': 0,
    },
    'taichi-adv': {
        **TAICHI,
        **ADVERSARIAL,
        'train_params.batch_size': 27,
        'train_params.lr_kp_detector': 0,
    },
    'vox': {
        **VOX,
        f'{DISCRIMINATOR}.sn': True,
        'train_params.batch_size': 40,
        'train_params.loss_weights.generator_gan': 0,
    },
    'vox-adv': {**VOX, **ADVERSARIAL},
}


def put(config, path, value):
    """Sets (or with `...` removes) the value at a dotted path."""
    *sections, key = path.split('.')
    for section in sections:
        config = config[section]
    if value is ...:
        del config[key]
    else:
        config[key] = value


def valid():
    return yaml.safe_load((CONFIGS / 'mgif-256.yaml').read_text(encoding='utf-8'))


def message(config, need=SECTIONS):
    with pytest.raises(UserError) as caught:
        check_config(config, 'c.yaml', need)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 300
    return text


@pytest.mark.parametrize('name', DIFFERENCES)
def test_published_values(name):
    expected = copy.deepcopy(PUBLISHED)
    expected['ckpt_model'] = {'generator': None, 'kp': None, 'discriminator': None}
    expected['model_params']['common_params']['align_corners'] = True
    for path, value in DIFFERENCES[name].items():
        put(expected, path, value)
    path = CONFIGS / f'{name}-256.yaml'
    assert yaml.safe_load(path.read_text(encoding='utf-8')) == expected


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*.yaml')), ids=lambda path: path.stem)
def test_shipped_configs_are_complete(path):
    config = load_config(path, need=SECTIONS)
    assert tuple(config) == SECTIONS
    assert check_config(config, need=SECTIONS) == config  # what was filled in is valid itself


def test_one_config_names_every_key():
    """mgif-256.yaml is the manual: a key of the schema that it does not mention has no other."""
    text = (CONFIGS / 'mgif-256.yaml').read_text(encoding='utf-8')

    def keys(section):
        for key, entry in section.items():
            yield key
            if not isinstance(entry, Field):
                yield from keys(entry)

    assert [key for key in keys(SCHEMA) if not re.search(rf'\b{key}\b', text)] == []


def test_defaults_are_the_constructors():
    config = valid()
    for path in (
        'ckpt_model',
        'dataset_params.augmentation_params.jitter_param',
        'dataset_params.augmentation_params.resize_param.ratio',
        'dataset_params.augmentation_params.flip_param.time_flip',
        'dataset_params.frame_shape',
        'dataset_params.id_sampling',
        'model_params.common_params.align_corners',
        'model_params.common_params.estimate_jacobian',
        'model_params.kp_detector_params.scale_factor',
        'model_params.kp_detector_params.single_jacobian_map',
        'model_params.generator_params.estimate_occlusion_map',
        'model_params.discriminator_params.block_expansion',
        'model_params.discriminator_params.max_features',
        'model_params.discriminator_params.num_blocks',
        'model_params.discriminator_params.sn',
        'train_params.num_repeats',
        'train_params.transform_params.sigma_tps',
        'train_params.transform_params.points_tps',
        'animate_params.normalization_params.use_relative_movement',
        'visualizer_params',
    ):
        put(config, path, ...)
    config['train_params']['loss_weights']['equivariance_jacobian'] = 0
    before = copy.deepcopy(config)
    resolved = check_config(config, need=SECTIONS)
    assert config == before
    assert resolved['ckpt_model'] == {'generator': None, 'kp': None, 'discriminator': None}
    assert resolved['dataset_params'] == {
        'root_dir': 'data/moving-gif',
        'frame_shape': [256, 256, 3],
        'id_sampling': False,
        'pairs_list': None,
        'cache_dir': None,
        'cache_gb': 100,
        'augmentation_params': {
            'flip_param': {'horizontal_flip': True, 'time_flip': False},
            'rotation_param': None,
            'resize_param': {'ratio': [0.75, 4 / 3], 'interpolation': 'nearest'},
            'crop_param': {'size': [256, 256]},
            'jitter_param': None,
        },
    }
    model = resolved['model_params']
    assert model['common_params']['align_corners'] is True
    assert model['common_params']['estimate_jacobian'] is False
    assert model['kp_detector_params']['scale_factor'] == 1
    assert model['kp_detector_params']['single_jacobian_map'] is False
    assert model['kp_detector_params']['pad'] == 0
    assert model['generator_params']['estimate_occlusion_map'] is False
    assert model['generator_params']['dense_motion_params']['kp_variance'] == 0.01
    assert model['discriminator_params'] == {
        'scales': [1],
        'block_expansion': 64,
        'max_features': 512,
        'num_blocks': 4,
        'sn': False,
        'use_kp': False,
        'kp_variance': 0.01,
    }
    assert resolved['train_params']['num_repeats'] == 1
    assert resolved['train_params']['transform_params'] == {
        'sigma_affine': 0.05,
        'sigma_tps': None,
        'points_tps': None,
    }
    normalization = resolved['animate_params']['normalization_params']
    assert normalization['use_relative_movement'] is False
    assert resolved['visualizer_params'] == {
        'kp_size': 5,
        'draw_border': False,
        'colormap': 'gist_rainbow',
    }


def test_defaults_are_not_shared():
    first = check_config({'model_params': PUBLISHED['model_params'], 'dataset_params': {}})
    first['dataset_params']['frame_shape'][0] = 0
    second = check_config({'model_params': PUBLISHED['model_params'], 'dataset_params': {}})
    assert second['dataset_params']['frame_shape'] == [256, 256, 3]


UNKNOWN = [
    ('train_params.epoch_milestone', 'did you mean epoch_milestones?'),
    ('model_params.kp_detector_params.num_kp', 'it is known as model_params.common_params.num_kp'),
    ('trian_params', 'did you mean train_params?'),
    ('visualizer_params.zzz', 'known here: kp_size, draw_border, colormap'),
    ('dataset_params.augmentation_params.jitter_param.huee', 'did you mean hue?'),
    ('ckpt_model.kp_detector', 'known here: generator, kp, discriminator'),
]


@pytest.mark.parametrize(('path', 'hint'), UNKNOWN)
def test_unknown_key_names_the_nearest(path, hint):
    config = valid()
    put(config, path, 1)
    text = message(config, need=())
    assert text.startswith(f'c.yaml: {path}: unknown key') and text.endswith(hint)


MISTAKES = [  # a wrong type or value of one key: path, value, what the message must say
    ('ckpt_model.generator', 7, 'a path, or null, not 7'),
    ('dataset_params', None, 'a section with keys under it, not null'),
    ('dataset_params', [1], 'a section with keys under it, not [1]'),
    ('dataset_params.root_dir', '', "must be a text, not ''"),
    ('dataset_params.root_dir', 3, 'must be a text, not 3'),
    ('dataset_params.pairs_list', 'None', "a path, or null, not 'None'"),
    ('dataset_params.id_sampling', 'yes please', 'must be True or False'),
    ('dataset_params.id_sampling', 1, 'must be True or False, not 1'),
    ('dataset_params.frame_shape', [256, 256], 'must be [height, width, channels]'),
    ('dataset_params.frame_shape', [256, 0, 3], 'must be [height, width, channels]'),
    ('dataset_params.frame_shape', 256, 'must be [height, width, channels]'),
    (f'{AUGMENTATION}.flip_param', True, 'a section with keys under it, not True'),
    (f'{AUGMENTATION}.rotation_param', {'degrees': -5}, 'a number of at least 0, or [low, high]'),
    (f'{AUGMENTATION}.rotation_param', {'degrees': [5, 1]}, 'or [low, high], not [5, 1]'),
    (f'{AUGMENTATION}.rotation_param', {}, 'missing'),
    (f'{AUGMENTATION}.resize_param.ratio', [1.1, 0.9], '[low, high], both above 0'),
    (f'{AUGMENTATION}.resize_param.ratio', [0, 1], '[low, high], both above 0'),
    (f'{AUGMENTATION}.resize_param.interpolation', 'cubic', 'one of nearest, bilinear'),
    (f'{AUGMENTATION}.crop_param.size', [256], '[height, width] in pixels, or a whole number'),
    (f'{AUGMENTATION}.crop_param.size', True, '[height, width] in pixels, or a whole number'),
    (f'{AUGMENTATION}.jitter_param.hue', 0.6, 'from 0 to 0.5, not 0.6'),
    (f'{AUGMENTATION}.jitter_param.brightness', -0.1, 'at least 0'),
    ('model_params.common_params.num_kp', 0, 'a whole number from 1'),
    ('model_params.common_params.num_kp', 10.0, 'a whole number from 1'),
    ('model_params.common_params.num_kp', True, 'a whole number from 1'),
    ('model_params.kp_detector_params.temperature', 0, 'a number above 0'),
    ('model_params.kp_detector_params.temperature', float('nan'), 'a number above 0'),
    ('model_params.kp_detector_params.temperature', float('inf'), 'a number above 0'),
    ('model_params.kp_detector_params.scale_factor', 0.3, 'inverse is whole'),
    ('model_params.kp_detector_params.scale_factor', 2, 'inverse is whole'),
    ('model_params.kp_detector_params.scale_factor', '1/4', 'inverse is whole'),
    ('model_params.kp_detector_params.num_blocks', 0, 'from 1 to 16'),
    ('model_params.generator_params.num_down_blocks', 10**9, 'from 0 to 16'),
    ('model_params.generator_params.dense_motion_params.kp_variance', 0, 'a number above 0'),
    (f'{DISCRIMINATOR}.scales', [], 'a list of scales'),
    (f'{DISCRIMINATOR}.scales', [1, 1], 'none twice'),
    (f'{DISCRIMINATOR}.scales', [1.0], 'not 1.0'),
    (f'{DISCRIMINATOR}.scales', [0.4], 'inverse is whole'),
    (f'{DISCRIMINATOR}.scales', 1, 'a list of scales'),
    ('train_params.lr_generator', '2e-4 ', 'at least 0'),
    ('train_params.lr_generator', -1, 'at least 0'),
    ('train_params.lr_generator', 10**400, 'at least 0'),
    ('train_params.batch_size', 0, 'from 1'),
    ('train_params.epoch_milestones', [90, 60], 'each above the one before'),
    ('train_params.epoch_milestones', [60, 60], 'each above the one before'),
    ('train_params.epoch_milestones', 60, 'each above the one before'),
    ('train_params.scalars', 'wandb', 'one of visualdl, tensorboard, or null'),
    ('train_params.scalars', True, 'one of visualdl, tensorboard, or null'),
    ('train_params.transform_params.points_tps', 1, 'from 2'),
    ('train_params.loss_weights.perceptual', [10] * 4, 'a list of 5 numbers'),
    ('train_params.loss_weights.perceptual', 10, 'a list of 5 numbers'),
    ('train_params.loss_weights.feature_matching', [], 'one for each block'),
    ('reconstruction_params.num_videos', 'all', 'or null'),
    ('animate_params.format', 'mp4', 'one of .mp4, .mov, .mkv, .gif'),
    ('animate_params.normalization_params.use_relative_movement', None, 'not null'),
    ('visualizer_params.kp_size', 0, 'above 0'),
]


@pytest.mark.parametrize(('path', 'value', 'words'), MISTAKES)
def test_wrong_value_names_key_and_expectation(path, value, words):
    config = valid()
    put(config, path, value)
    text = message(config)
    assert text.startswith(f'c.yaml: {path}') and words in text


CONTRADICTIONS = [  # what to change, the key blamed, what the message must say
    ({'dataset_params.frame_shape': [256, 256, 1]}, 'dataset_params.frame_shape', 'num_channels'),
    ({'dataset_params.frame_shape': [256, 320, 3]}, 'dataset_params.frame_shape', 'by 128 '),
    (
        {'model_params.kp_detector_params.scale_factor': 0.0625},
        'dataset_params.frame_shape',
        '512 for the blocks of model_params.kp_detector_params',
    ),
    (
        {'model_params.generator_params.dense_motion_params.num_blocks': 7},
        'dataset_params.frame_shape',
        '512 for the blocks of model_params.generator_params.dense_motion_params',
    ),
    (
        {'model_params.generator_params.num_down_blocks': 9},
        'dataset_params.frame_shape',
        '512 for the blocks of model_params.generator_params',
    ),
    (
        {
            'model_params.kp_detector_params.num_blocks': 2,
            'model_params.kp_detector_params.scale_factor': 1 / 64,
        },
        'model_params.kp_detector_params.pad',
        'less than 2 pixels',
    ),
    (
        {f'{DISCRIMINATOR}.scales': [1, 0.125]},
        f'{DISCRIMINATOR}.num_blocks',
        '256x256 at scale 0.125 in block 4',
    ),
    (
        {'train_params.loss_weights.feature_matching': [10] * 3},
        'train_params.loss_weights.feature_matching',
        '3 weights for 4 blocks',
    ),
    ({'train_params.scales': [1, 1 / 32]}, 'train_params.scales', 'at least 16'),
    (
        {'model_params.common_params.estimate_jacobian': False},
        'train_params.loss_weights.equivariance_jacobian',
        'must be 0, or model_params.common_params.estimate_jacobian True',
    ),
    (
        {
            'model_params.common_params.num_channels': 4,
            'dataset_params.frame_shape': [256, 256, 4],
        },
        'train_params.loss_weights.perceptual',
        '1 or 3 channels',
    ),
    (
        {'train_params.transform_params.sigma_tps': None},
        'train_params.transform_params',
        'go together',
    ),
    (
        {'train_params.accumulation_steps': 7},
        'train_params.accumulation_steps',
        'equal parts of a batch',
    ),
    (
        {f'{AUGMENTATION}.crop_param.size': [128, 256]},
        f'{AUGMENTATION}.crop_param.size',
        'must be [256, 256] as in frame_shape, not [128, 256]',
    ),
    ({f'{AUGMENTATION}.crop_param.size': 512}, f'{AUGMENTATION}.crop_param.size', 'not 512'),
    (
        {f'{AUGMENTATION}.crop_param': None},
        f'{AUGMENTATION}.resize_param',
        'needs crop_param: {size: [256, 256]}',
    ),
    (
        {'model_params.generator_params.max_features': 32},
        'model_params.generator_params.max_features',
        'below block_expansion 64',
    ),
    (
        {'model_params.kp_detector_params.max_features': 16},
        'model_params.kp_detector_params.max_features',
        'below block_expansion 32',
    ),
]


@pytest.mark.parametrize(('changes', 'key', 'words'), CONTRADICTIONS)
def test_keys_that_disagree(changes, key, words):
    config = valid()
    for path, value in changes.items():
        put(config, path, value)
    text = message(config)
    assert text.startswith(f'c.yaml: {key}: ') and words in text


LEGAL = [
    {'dataset_params.frame_shape': [128, 384, 3], f'{AUGMENTATION}.crop_param.size': [128, 384]},
    {f'{AUGMENTATION}.crop_param.size': 256},
    {f'{AUGMENTATION}.rotation_param': {'degrees': [-10, 20]}},
    {f'{AUGMENTATION}': None},
    {'model_params.kp_detector_params.pad': 3},
    {f'{DISCRIMINATOR}.scales': [1, 0.5, 0.25]},
    {
        # without adversarial training the discriminator never sees a frame
        f'{DISCRIMINATOR}.scales': [1, 0.125],
        'train_params.loss_weights.generator_gan': 0,
    },
    {
        # one VGG layer has no pool before it
        'train_params.scales': [1, 1 / 64],
        'train_params.loss_weights.perceptual': [10, 0, 0, 0, 0],
    },
    {
        'model_params.common_params.estimate_jacobian': False,
        'train_params.loss_weights.equivariance_jacobian': 0,
    },
    {'reconstruction_params.num_videos': None},
]


@pytest.mark.parametrize('changes', LEGAL)
def test_unusual_but_legal(changes):
    config = valid()
    for path, value in changes.items():
        put(config, path, value)
    check_config(config, need=SECTIONS)


@pytest.mark.parametrize(
    ('scale', 'blocks', 'fits'),
    [
        (1, 4, True),  # blocks leave 61, 27, 10 and 2 pixels of 64 ...
        (1, 5, False),  # ... and the fifth nothing
        (0.5, 3, True),  # 29, 11, 2 of 32
        (0.5, 4, False),
        (1 / 21, 1, True),  # 64 / 21 rounded up: 4, 1
        (1 / 22, 1, False),
        (1 / 5, 2, True),  # 13: 10, 2
        (1 / 6, 2, False),  # 11: 8, 1, and nothing varies over a single pixel for instance norm
    ],
)
def test_discriminator_on_small_frames(scale, blocks, fits):
    config = load_config(FACES)
    put(config, f'{DISCRIMINATOR}.scales', [scale])
    put(config, f'{DISCRIMINATOR}.num_blocks', blocks)
    put(config, 'train_params.loss_weights.feature_matching', [10] * blocks)
    if fits:
        check_config(config)
    else:
        assert f'{DISCRIMINATOR}.num_blocks' in message(config)


@pytest.mark.parametrize(('scale', 'pad', 'fits'), [(1 / 8, 0, True), (1 / 16, 1, False)])
def test_smallest_heatmap(scale, pad, fits):
    """Two pixels are the least that keypoints can be told apart on."""
    config = load_config(FACES)
    config['model_params']['kp_detector_params'].update(scale_factor=scale, pad=pad, num_blocks=2)
    if fits:
        check_config(config)
    else:
        assert 'kp_detector_params.pad' in message(config)


def test_weights_are_looked_for_beside_the_config_too(tmp_path, monkeypatch):
    """From the current folder, the config's folder, then the one above; else left as it is."""
    folder = tmp_path / 'project' / 'config'
    folder.mkdir(parents=True)
    names = {'generator': 'a.npz', 'kp': 'vox', 'discriminator': None}
    config = {'model_params': PUBLISHED['model_params'], 'ckpt_model': names}
    (folder / 'c.yaml').write_text(yaml.safe_dump(config))
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    path = Path('../here/../project/config/c.yaml')
    assert load_config(path)['ckpt_model'] == names
    for place in (folder.parent, folder):
        (place / 'a.npz').touch()
        assert load_config(path)['ckpt_model'] == {**names, 'generator': str(place / 'a.npz')}
    Path('a.npz').touch()
    assert load_config(path)['ckpt_model'] == names


def test_frames_need_three_channels():
    config = {'model_params': copy.deepcopy(PUBLISHED['model_params'])}
    config['model_params']['common_params']['num_channels'] = 1
    config['dataset_params'] = {'frame_shape': [256, 256, 1]}
    check_config(config)
    assert message(config, need=['dataset_params.frame_shape']) == (
        'c.yaml: dataset_params.frame_shape: 1 channels; must be 3, frames are RGB'
    )


def test_only_needed_keys_must_be_there():
    config = {'model_params': PUBLISHED['model_params'], 'train_params': {'scales': [1]}}
    resolved = check_config(config)
    assert resolved['train_params']['scales'] == [1]
    assert resolved['train_params']['num_repeats'] == 1  # a default
    assert 'num_epochs' not in resolved['train_params']  # has none
    assert 'dataset_params' not in resolved
    assert resolved['ckpt_model']['kp'] is None
    assert message(config, need=['train_params']).startswith(
        'c.yaml: train_params.num_epochs: missing; must be a whole number'
    )
    assert 'c.yaml: dataset_params: missing' in message(config, ['dataset_params.frame_shape'])
    config['dataset_params'] = {'frame_shape': [256, 256, 3]}
    check_config(config, need=['dataset_params.frame_shape'])
    assert 'dataset_params.root_dir: missing' in message(config, need=['dataset_params'])
    config['train_params'] = {'scale': [1]}
    assert 'did you mean scales' in message(config, need=())
    assert 'c.yaml: model_params: missing' in message({}, need=())


def test_model_is_always_needed_whole():
    config = valid()
    put(config, 'model_params.kp_detector_params.temperature', ...)
    assert 'kp_detector_params.temperature: missing' in message(config, need=())


FILES = [  # what a file holds, what the message must say
    ('', 'must hold the sections of a config, not null'),
    ('- 1', 'must hold the sections of a config, not [1]'),
    ('a: 1\nb: [1', 'line 2: not valid YAML'),
    ('a: 1\na: 2', 'line 2: a: given twice'),
    ('train_params:\n  scales: [1]\n  "scales": [1]\n', 'line 3: scales: given twice'),
    ('a: [{b: 1, b: 2}]', 'line 1: b: given twice'),
    ('a: !!python/object/apply:os.system [echo]', 'line 1: not valid YAML'),
    ('a: 2024-99-99', 'not valid YAML'),
    ('a: 1\n---\nb: 1', 'not valid YAML'),
    ('a: \a', 'not valid YAML'),
    ('[' * 20000, 'nested too deeply'),
    ('&a [*a]', 'must hold the sections of a config'),
]


@pytest.mark.parametrize(('text', 'words'), FILES)
def test_unreadable_file(tmp_path, text, words):
    path = tmp_path / 'c.yaml'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(UserError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f'{path}: ') and words in str(caught.value)


def test_missing_file_folder_and_bytes(tmp_path):
    with pytest.raises(UserError, match=r'none\.yaml: no such config'):
        load_config(tmp_path / 'none.yaml')
    with pytest.raises(UserError, match='cannot be read as a config: Is a directory'):
        load_config(tmp_path)
    (tmp_path / 'x.yaml').write_bytes(b'a: \xff\xfe')
    with pytest.raises(UserError, match=r'x\.yaml: not valid YAML'):
        load_config(tmp_path / 'x.yaml')


@pytest.mark.parametrize('text', ['1e-4', '1E-4', '1.e-4', '+1e-04', '.1e-3', '1.0e-4', '0.0001'])
def test_floats_in_any_notation(tmp_path, text):
    path = tmp_path / 'c.yaml'
    lines = (CONFIGS / 'vox-256.yaml').read_text(encoding='utf-8')
    path.write_text(lines.replace('lr_generator: 2.0e-4', f'lr_generator: {text}'))
    assert load_config(path)['train_params']['lr_generator'] == 1e-4


MERGED = """
model_params:
  common_params: {num_kp: 10, num_channels: 3}
  kp_detector_params:
    <<: &hourglass {block_expansion: 8, max_features: 64, num_blocks: 3}
    temperature: 0.1
  generator_params:
    block_expansion: 16
    max_features: 64
    num_down_blocks: 2
    num_bottleneck_blocks: 3
    dense_motion_params: {<<: *hourglass, max_features: 32}
  discriminator_params: {scales: [1]}
"""


def test_merged_keys_are_no_duplicates(tmp_path):
    """YAML's own means of not repeating oneself stays usable."""
    path = tmp_path / 'c.yaml'
    path.write_text(MERGED, encoding='utf-8')
    model = load_config(path)['model_params']
    assert model['kp_detector_params']['num_blocks'] == 3
    assert model['generator_params']['dense_motion_params']['num_blocks'] == 3
    assert model['generator_params']['dense_motion_params']['max_features'] == 32
