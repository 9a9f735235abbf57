"""What the keys of a config must agree on: widths, losses, sizes of frames."""

from collections.abc import Iterator, Mapping
from typing import Any

Problem = tuple[str, str]  # dotted path of a key, what is wrong there

_HALVING = 'num_blocks or raise scale_factor'
_HEATMAP_KERNEL = 7  # of the convolutions to keypoint heatmaps
_JUDGE_KERNEL = 4  # of the discriminator's blocks


def contradictions(config: Mapping[str, Any]) -> Iterator[Problem]:
    model = config['model_params']
    dataset, train = config.get('dataset_params'), config.get('train_params', {})
    yield from _check_widths(model)
    yield from _check_losses(model, train)
    if dataset is not None:
        yield from _check_frame(model, dataset['frame_shape'])
        if train.get('loss_weights', {}).get('generator_gan'):
            yield from _check_discriminator(model, dataset['frame_shape'])
        yield from _check_pyramid(train, dataset['frame_shape'])
        yield from _check_augmentation(dataset)


def _check_widths(model: Mapping[str, Any]) -> Iterator[Problem]:
    generator = model['generator_params']
    for path, params in (
        ('kp_detector_params', model['kp_detector_params']),
        ('generator_params', generator),
        ('generator_params.dense_motion_params', generator['dense_motion_params']),
    ):
        most, first = params['max_features'], params['block_expansion']
        if most < first:
            yield f'model_params.{path}.max_features', f'{most} is below block_expansion {first}'


def _check_losses(model: Mapping[str, Any], train: Mapping[str, Any]) -> Iterator[Problem]:
    weights, transform = train.get('loss_weights', {}), train.get('transform_params', {})
    blocks = model['discriminator_params']['num_blocks']
    path = 'train_params.loss_weights'
    if len(weights.get('feature_matching', [0] * blocks)) != blocks:
        count = len(weights['feature_matching'])
        yield (
            f'{path}.feature_matching',
            f'{count} weights for {blocks} blocks (model_params.discriminator_params.num_blocks)',
        )
    if weights.get('equivariance_jacobian') and not model['common_params']['estimate_jacobian']:
        yield (
            f'{path}.equivariance_jacobian',
            'must be 0, or model_params.common_params.estimate_jacobian True',
        )
    if any(weights.get('perceptual', [])) and model['common_params']['num_channels'] not in (1, 3):
        yield f'{path}.perceptual', 'VGG sees images of 1 or 3 channels; set all weights to 0'
    parts = train.get('accumulation_steps', 1)
    if train.get('batch_size', parts) % parts:
        yield (
            'train_params.accumulation_steps',
            f'{parts} equal parts of a batch of {train["batch_size"]} there are not',
        )
    if (transform.get('sigma_tps') is None) != (transform.get('points_tps') is None):
        yield 'train_params.transform_params', 'sigma_tps and points_tps go together; set both'


def _check_frame(model: Mapping[str, Any], shape: list[int]) -> Iterator[Problem]:
    """Networks that halve an image and double it again need sizes that divide without a rest."""
    channels = model['common_params']['num_channels']
    if shape[2] != channels:
        yield (
            'dataset_params.frame_shape',
            f'{shape[2]} channels, but model_params.common_params.num_channels is {channels}',
        )
    generator, kp = model['generator_params'], model['kp_detector_params']
    motion, here = generator['dense_motion_params'], 'model_params.generator_params'
    steps = (
        (2 ** generator['num_down_blocks'], here, 'num_down_blocks'),
        (_step(motion) * 2 ** motion['num_blocks'], f'{here}.dense_motion_params', _HALVING),
        (_step(kp) * 2 ** kp['num_blocks'], 'model_params.kp_detector_params', _HALVING),
    )
    misfits = [step for step in steps if any(side % step[0] for side in shape[:2])]
    if misfits:
        hardest = max(step for step, _, _ in misfits)
        first, *others = (path for _, path, _ in misfits)
        places = ' and '.join((first, *(path.split('.')[-1] for path in others)))
        yield (
            'dataset_params.frame_shape',
            f'{_size(shape)} must be divisible by {hardest} for the blocks of {places}: '
            f'lower {misfits[-1][-1]}',
        )
    heatmap = min(shape[:2]) // _step(kp) - _HEATMAP_KERNEL + 1 + 2 * kp['pad']
    if heatmap < 2:
        yield (
            'model_params.kp_detector_params.pad',
            f'a frame of {_size(shape)} leaves heatmaps of less than 2 pixels; '
            'raise pad or scale_factor, or take larger frames',
        )


def _check_discriminator(model: Mapping[str, Any], shape: list[int]) -> Iterator[Problem]:
    """Each block takes 3 pixels off and all but the last halve; instance norm needs 2 pixels."""
    params = model['discriminator_params']
    for scale in params['scales']:
        sides = [_scaled(side, scale) for side in shape[:2]]
        for block in range(params['num_blocks']):
            sides = [side - _JUDGE_KERNEL + 1 for side in sides]
            if min(sides) < 1 or (block > 0 and sides == [1, 1]):
                yield (
                    'model_params.discriminator_params.num_blocks',
                    f'nothing is left of a frame of {_size(shape)} at scale {scale} '
                    f'in block {block + 1}; take fewer blocks or larger frames',
                )
                break
            if block < params['num_blocks'] - 1:
                sides = [side // 2 for side in sides]


def _check_pyramid(train: Mapping[str, Any], shape: list[int]) -> Iterator[Problem]:
    """VGG halves the image before each of its layers but the first."""
    weights = train.get('loss_weights', {}).get('perceptual', [])
    halvings = max((i for i, weight in enumerate(weights) if weight), default=0)
    for scale in train.get('scales', []):
        smallest = _scaled(min(shape[:2]), scale)
        if any(weights) and smallest < 2**halvings:
            yield (
                'train_params.scales',
                f'{_size(shape)} at scale {scale} is {smallest} pixels; '
                f'the perceptual loss needs at least {2**halvings}',
            )


def _check_augmentation(dataset: Mapping[str, Any]) -> Iterator[Problem]:
    params, shape = dataset['augmentation_params'] or {}, dataset['frame_shape']
    path = 'dataset_params.augmentation_params'
    if params.get('crop_param') is not None:
        size = params['crop_param'].get('size', shape[:2])
        if (size if isinstance(size, list) else [size, size]) != shape[:2]:
            yield f'{path}.crop_param.size', f'must be {shape[:2]} as in frame_shape, not {size}'
    elif params.get('resize_param') is not None:
        yield f'{path}.resize_param', f'needs crop_param: {{size: {shape[:2]}}} beside it'


def _scaled(side: int, scale: float) -> int:
    """Every (1 / scale)-th pixel, from the first on."""
    return -(-side // round(1 / scale))


def _step(params: Mapping[str, Any]) -> int:
    return round(1 / params['scale_factor'])


def _size(shape: list[int]) -> str:
    return f'{shape[0]}x{shape[1]}'
