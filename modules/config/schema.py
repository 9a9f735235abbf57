"""Every key that a config may hold: its kind, its meaning and its default.

A new key is one line of `SCHEMA`. The values go to constructors as they stand, so a default here
is the constructor's. config/mgif-256.yaml explains the keys to users.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from modules.runtime.messages import printable

REQUIRED = ...  # the default of a key that only the user can set


class Kind(NamedTuple):
    """What a value may be."""

    expected: str  # ends the sentence 'must be ...'
    accepts: Callable[[Any], bool]


class Field(NamedTuple):
    """A key with a single value (a list counts as one)."""

    kind: Kind
    doc: str  # one phrase, shown where the key is missing
    default: Any = REQUIRED


class OptionalSection(dict[str, Any]):
    """A section that may be left out or null; it is None then, and what it describes is off."""


Entry = Field | Mapping[str, Any]  # a key, or a section of further entries


def _is_whole(value: Any) -> bool:
    return type(value) is int  # True is no number here


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300  # neither infinite nor NaN


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != '' and printable(value) == value


def _is_scale(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 1 and float(1 / value).is_integer()


def _is_range(value: Any) -> bool:
    """[low, high] of finite numbers."""
    of_two = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return of_two and value[0] <= value[1]


def integer(low: int, high: int = 10**6) -> Kind:
    return Kind(f'a whole number from {low} to {high}', lambda v: _is_whole(v) and low <= v <= high)


def either(kind: Kind, other: Kind) -> Kind:
    return Kind(
        f'{kind.expected}, or {other.expected}', lambda v: kind.accepts(v) or other.accepts(v)
    )


def choice(*values: str) -> Kind:
    return Kind('one of ' + ', '.join(values), lambda v: isinstance(v, str) and v in values)


def list_of(expected: str, kind: Kind, accepts: Callable[[list[Any]], bool]) -> Kind:
    """A list of `kind` that `accepts` takes as a whole; `expected` says both in words."""
    return Kind(
        expected, lambda v: isinstance(v, list) and all(map(kind.accepts, v)) and accepts(v)
    )


BLOCKS = integer(1, 16)  # each halves an image, so that 16 suit 65536 pixels
NULL = Kind('null', lambda v: v is None)
FLAG = Kind('True or False', lambda v: isinstance(v, bool))
TEXT = Kind('a text', _is_text)
FORMAT = choice('.mp4', '.mov', '.mkv', '.gif')  # what modules/video writes
WEIGHT = Kind('a number of at least 0', lambda v: _is_number(v) and v >= 0)
DECAY = Kind('a number from 0 to below 1', lambda v: _is_number(v) and 0 <= v < 1)
POSITIVE = Kind('a number above 0', lambda v: _is_number(v) and v > 0)
HUE = Kind('a number from 0 to 0.5', lambda v: _is_number(v) and 0 <= v <= 0.5)
SCALE = Kind('1 or a part whose inverse is whole, such as 0.5 or 0.25', _is_scale)
SCALES = list_of(
    'a list of scales, none twice, each 1 (not 1.0) or a part whose inverse is whole, such as 0.5',
    Kind('', lambda v: _is_scale(v) and (v < 1 or _is_whole(v))),  # layers bear the scale's name
    lambda v: 0 < len(v) == len(set(v)),
)
SIZE = list_of('[height, width] in pixels', integer(1), lambda v: len(v) == 2)
SHAPE = list_of('[height, width, channels]', integer(1), lambda v: len(v) == 3)
RANGE = Kind('[low, high]', _is_range)
RATIO = Kind('[low, high], both above 0', lambda v: _is_range(v) and v[0] > 0)
EPOCHS = list_of(
    'a list of whole numbers from 1 on, each above the one before ([] for none)',
    integer(1),
    lambda v: all(a < b for a, b in itertools.pairwise(v)),
)
BLOCK_WEIGHTS = list_of(
    'a list of numbers of at least 0, one for each block of the discriminator', WEIGHT, bool
)
VGG_WEIGHTS = list_of(
    'a list of 5 numbers of at least 0, one for each VGG layer', WEIGHT, lambda v: len(v) == 5
)
FILE = Kind('a path, or null', lambda v: v is None or (TEXT.accepts(v) and v != 'None'))

_HOURGLASS = {
    'block_expansion': Field(integer(1), 'channels of the outermost block'),
    'max_features': Field(integer(1), 'most channels of any block'),
    'num_blocks': Field(BLOCKS, 'how often the image is halved'),
    'scale_factor': Field(SCALE, 'size of the image looked at, as a part of the frame', 1),
}

_AUGMENTATION = OptionalSection(
    flip_param=OptionalSection(
        horizontal_flip=Field(FLAG, 'mirror frames', False),
        time_flip=Field(FLAG, 'let source and driving change places', False),
    ),
    rotation_param=OptionalSection(
        degrees=Field(either(WEIGHT, RANGE), 'largest angle either way, or the range of angles'),
    ),
    resize_param=OptionalSection(
        ratio=Field(RATIO, 'range of the factor', [3 / 4, 4 / 3]),
        interpolation=Field(choice('nearest', 'bilinear'), 'how pixels are found', 'nearest'),
    ),
    crop_param=OptionalSection(size=Field(either(SIZE, integer(1)), 'size of the crop')),
    jitter_param=OptionalSection(
        brightness=Field(WEIGHT, 'largest change of the factor', 0),
        contrast=Field(WEIGHT, 'largest change of the factor', 0),
        saturation=Field(WEIGHT, 'largest change of the factor', 0),
        hue=Field(HUE, 'largest shift, in turns of the colour circle', 0),
    ),
)

SCHEMA: dict[str, Entry] = {
    'ckpt_model': {
        'generator': Field(FILE, 'file of weights', None),
        'kp': Field(FILE, 'file of weights', None),
        'discriminator': Field(FILE, 'file of weights', None),
    },
    'dataset_params': {
        'root_dir': Field(TEXT, 'folder of the clips'),
        'frame_shape': Field(SHAPE, 'size of a frame', [256, 256, 3]),
        'id_sampling': Field(FLAG, 'an epoch is a pass over ids, not over clips', False),
        'pairs_list': Field(FILE, 'csv of the pairs to animate', None),
        'augmentation_params': _AUGMENTATION,
        'resize': Field(choice('exact', 'crop', 'pad'), 'how frames get their size', 'exact'),
        'cache_dir': Field(FILE, 'folder for decoded frames', None),
        'cache_gb': Field(WEIGHT, 'most gigabytes of decoded frames to keep', 100),
    },
    'model_params': {
        'common_params': {
            'num_kp': Field(integer(1), 'number of keypoints'),
            'num_channels': Field(integer(1), 'channels of an image'),
            'estimate_jacobian': Field(FLAG, 'a Jacobian with each keypoint', False),
            'align_corners': Field(FLAG, 'pixel convention of the warps', True),
        },
        'kp_detector_params': {
            'temperature': Field(POSITIVE, 'temperature of the softmax over the heatmaps'),
            **_HOURGLASS,
            'single_jacobian_map': Field(FLAG, 'the keypoints share one map', False),
            'pad': Field(integer(0), 'padding of the heatmap convolution', 0),
        },
        'generator_params': {
            'block_expansion': Field(integer(1), 'channels of the first layer'),
            'max_features': Field(integer(1), 'most channels of any layer'),
            'num_down_blocks': Field(integer(0, 16), 'how often the features are halved'),
            'num_bottleneck_blocks': Field(integer(0), 'number of residual blocks'),
            'estimate_occlusion_map': Field(FLAG, 'mask what the source does not show', False),
            'dense_motion_params': {
                **_HOURGLASS,
                'kp_variance': Field(POSITIVE, 'variance of the keypoint heatmaps', 0.01),
            },
        },
        'discriminator_params': {
            'scales': Field(SCALES, 'scales of the image that are judged'),
            'block_expansion': Field(integer(1), 'half the channels of the first block', 64),
            'max_features': Field(integer(1), 'most channels of any block', 512),
            'num_blocks': Field(BLOCKS, 'number of blocks', 4),
            'sn': Field(FLAG, 'spectral norm', False),
            'use_kp': Field(FLAG, 'keypoint heatmaps beside the image', False),
            'kp_variance': Field(POSITIVE, 'variance of the keypoint heatmaps', 0.01),
        },
    },
    'train_params': {
        'num_epochs': Field(integer(1), 'number of epochs'),
        'num_repeats': Field(integer(1), 'passes over the data in an epoch', 1),
        'epoch_milestones': Field(EPOCHS, 'epochs after which the learning rates drop'),
        'lr_generator': Field(WEIGHT, 'learning rate'),
        'lr_discriminator': Field(WEIGHT, 'learning rate'),
        'lr_kp_detector': Field(WEIGHT, 'learning rate'),
        'batch_size': Field(integer(1), 'samples in a step'),
        'scales': Field(SCALES, 'pyramid of the perceptual loss'),
        'checkpoint_freq': Field(integer(1), 'epochs from checkpoint to checkpoint'),
        'checkpoint_minutes': Field(POSITIVE, 'most minutes without a checkpoint', 30),
        'keep_checkpoints': Field(integer(1), 'how many of the newest are kept', 5),
        'accumulation_steps': Field(integer(1), 'equal parts a batch is computed in', 1),
        'freeze_batch_norm': Field(
            either(integer(0), NULL), 'epoch from which batch norm keeps its statistics', None
        ),
        'ema_decay': Field(either(DECAY, NULL), 'of a moving average of the weights', None),
        'clip_grad_norm': Field(
            either(POSITIVE, NULL), "largest norm of a network's gradients", None
        ),
        'warmup_steps': Field(integer(0), 'steps over which the learning rates rise', 0),
        'validation': OptionalSection(
            every=Field(integer(1), 'epochs from validation to validation', 1),
            num_videos=Field(either(integer(1), NULL), 'most clips of the test part', 10),
            num_frames=Field(either(integer(2), NULL), 'most frames of a clip', None),
            best_by=Field(choice('l1', 'psnr', 'ssim', 'akd'), 'figure of the best weights', 'l1'),
            patience=Field(
                either(integer(1), NULL), 'validations without a better one that end a run', None
            ),
        ),
        'amp': Field(
            either(choice('bf16', 'fp16'), NULL), 'mixed precision; bf16 on CPUs, too', None
        ),
        'num_workers': Field(either(integer(0), NULL), 'processes that load data', None),
        'scalars': Field(
            either(choice('visualdl', 'tensorboard'), NULL), 'whose curves to write', None
        ),
        'vgg19_weights': Field(TEXT, 'imagenet, random, or a file', 'imagenet'),
        'transform_params': {
            'sigma_affine': Field(WEIGHT, 'deviation of the affine part'),
            'sigma_tps': Field(either(WEIGHT, NULL), 'deviation of the thin-plate part', None),
            'points_tps': Field(either(integer(2), NULL), 'control points on a side', None),
        },
        'loss_weights': {
            'generator_gan': Field(WEIGHT, 'weight of the adversarial loss'),
            'discriminator_gan': Field(WEIGHT, "weight of the discriminator's loss"),
            'feature_matching': Field(BLOCK_WEIGHTS, 'weights by block'),
            'perceptual': Field(VGG_WEIGHTS, 'weights by layer'),
            'pixel': Field(WEIGHT, 'weight of plain differences', 0),
            'equivariance_value': Field(WEIGHT, 'weight for positions'),
            'equivariance_jacobian': Field(WEIGHT, 'weight for Jacobians'),
        },
    },
    'reconstruction_params': {
        'num_videos': Field(either(integer(1), NULL), 'most clips to reconstruct'),
        'format': Field(FORMAT, 'format of the videos'),
    },
    'animate_params': {
        'num_pairs': Field(integer(1), 'most pairs to animate'),
        'format': Field(FORMAT, 'format of the videos'),
        'normalization_params': {
            'adapt_movement_scale': Field(FLAG, "fit the motion to the object's size", False),
            'use_relative_movement': Field(FLAG, 'motion since the first frame', False),
            'use_relative_jacobian': Field(FLAG, 'the same for Jacobians', False),
        },
    },
    'visualizer_params': {
        'kp_size': Field(POSITIVE, 'radius of a drawn keypoint', 5),
        'draw_border': Field(FLAG, 'white frame around a picture', False),
        'colormap': Field(TEXT, 'colours of the keypoints', 'gist_rainbow'),
    },
}
