"""Configs: the published values, the defaults, and one clear line for every mistake."""

import copy

import pytest

from modules.config import check_config, load_config
from modules.runtime.errors import UserError
from tests.support.configs import (
    AUGMENTATION,
    DISCRIMINATOR,
    FACES,
    PUBLISHED,
    SECTIONS,
    put,
    valid,
)


def message(config, need=SECTIONS):
    with pytest.raises(UserError) as caught:
        check_config(config, 'c.yaml', need)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 300
    return text


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
    ('train_params.ema_decay', 1, 'a number from 0 to below 1, or null, not 1'),
    ('train_params.ema_decay', -0.1, 'a number from 0 to below 1, or null'),
    ('train_params.clip_grad_norm', 0, 'a number above 0, or null, not 0'),
    ('train_params.warmup_steps', -1, 'a whole number from 0'),
    ('train_params.validation', True, 'a section with keys under it, not True'),
    ('train_params.validation', {'every': 0}, 'a whole number from 1'),
    ('train_params.validation', {'num_frames': 1}, 'a whole number from 2 to 1000000, or null'),
    ('train_params.validation', {'best_by': 'lpips'}, 'one of l1, psnr, ssim, akd'),
    ('train_params.validation', {'patience': 0}, 'a whole number from 1 to 1000000, or null'),
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
        '512 for the blocks of model_params.generator_params: lower num_down_blocks',
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
    (
        {'model_params.generator_params.dense_motion_params.max_features': 63},
        'model_params.generator_params.dense_motion_params.max_features',
        '63 is below block_expansion 64',
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
    {'model_params.generator_params.max_features': 64},  # no more than the first block's
    {'train_params.scales': [1, 1 / 16]},  # 16 pixels, halved four times
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
