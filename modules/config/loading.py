"""Configurations: YAML files, read and checked as a whole before anything is built.

What a key may be is said in config_schema.py; what keys must agree on, here.
"""

import copy
import difflib
import os
import re
import reprlib
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

import yaml

from modules.config.schema import REQUIRED, SCHEMA, Entry, Field, OptionalSection
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike

Problem = Tuple[str, str]  # dotted path of a key, what is wrong there

_HALVING = 'num_blocks or raise scale_factor'
_LINE = 290  # characters of a message
_HEATMAP_KERNEL = 7  # of the convolutions to keypoint heatmaps
_JUDGE_KERNEL = 4  # of the discriminator's blocks


def load_config(path: PathLike, need: Sequence[str] = ()) -> Dict[str, Any]:
    """Reads and checks a config.

    Args:
        path: the YAML file.
        need: dotted paths of what the command uses beside `model_params`, such as 'train_params'
            or 'dataset_params.frame_shape'. Any other section may be absent or partial. A command
            that uses a part of dataset_params shows the networks frames, which are RGB.

    Returns:
        The config with the defaults of `SCHEMA` filled in, in the schema's order. A section that is
        absent and cannot be made of defaults stays absent. A relative path in ckpt_model counts
        from the current folder; what is not there, from the config's folder, then the one above.

    Raises:
        UserError: no readable YAML file, or any mistake in it; names the file and the dotted key.
    """
    config = check_config(_read_yaml(path), str(path), need)
    weights = config['ckpt_model']
    weights.update({key: _locate(name, path) for key, name in weights.items() if name is not None})
    return config


def _locate(name: str, config_path: PathLike) -> str:
    """The path of a config's file of weights; see load_config."""
    folder = os.path.dirname(os.path.abspath(config_path))
    beside = (os.path.join(base, name) for base in (folder, os.path.dirname(folder)))
    return next(filter(os.path.exists, (name, *beside)), name)


def check_config(
    config: Mapping[str, Any], source: str = 'config', need: Sequence[str] = ()
) -> Dict[str, Any]:
    """`load_config` for a config at hand, which stays as it is; `source` names it in messages.

    Frame sizes are checked where `dataset_params` is there, losses where `train_params` has them.
    """
    assert set(need) <= set(_paths(SCHEMA)), f'not in the schema: {need}'
    resolved = _resolve(config, SCHEMA, '', source, ('model_params', *need))
    problems = [f'{path}: {problem}' for path, problem in _contradictions(resolved)]
    if problems:
        raise UserError(f'{source}: {_fitting_a_line(problems)}')
    if any(path.startswith('dataset_params') for path in need):
        channels = resolved['dataset_params']['frame_shape'][2]
        if channels != 3:
            path = 'dataset_params.frame_shape'
            raise UserError(f'{source}: {path}: {channels} channels; must be 3, frames are RGB')
    return resolved


def _fitting_a_line(problems: Sequence[str]) -> str:
    """The first, and those after it, which may have the same cause, as far as a line holds them."""
    line = problems[0]
    for problem in problems[1:]:
        if len(line) + len(problem) < _LINE:
            line += f'; {problem}'
    return line


# --- reading -----------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain data only, and 1e-4 is a number as in YAML 1.2 (PyYAML's 1.1 takes it for a text)."""


_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$'),
    list('-+.0123456789'),
)


def _read_yaml(path: PathLike) -> Any:
    try:
        loader = _Loader(Path(path).read_bytes())
        node = loader.get_single_node()
        _refuse_duplicates(node, str(path))
        return None if node is None else loader.construct_document(node)
    except FileNotFoundError:
        raise UserError(f'{path}: no such config; the published ones are in config/') from None
    except OSError as error:
        raise UserError(f'{path}: cannot be read as a config: {error.strerror}') from error
    except RecursionError as error:
        raise UserError(f'{path}: not a config: nested too deeply') from error
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f'line {mark.line + 1}: ' if mark else ''
        what = getattr(error, 'problem', None) or error
        raise UserError(f'{path}: {where}not valid YAML: {what}') from error


def _refuse_duplicates(node: Optional[yaml.Node], source: str) -> None:
    """PyYAML silently keeps the last of two equal keys; here the second is an error."""
    queue, seen = [node], set()  # an alias makes a node appear twice, or inside itself
    while queue:
        node = queue.pop()
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            queue += node.value
            continue
        keys = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                line = key.start_mark.line + 1
                raise UserError(f'{source}: line {line}: {key.value}: given twice; keep one')
            keys.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
            queue.append(value)


# --- checking against the schema ---------------------------------------------------------------


def _resolve(value: Any, entry: Entry, path: str, source: str, need: Sequence[str]) -> Any:
    """A copy of the value with defaults filled in."""
    where = f'{source}: {path}' if path else source
    if isinstance(entry, Field):
        if not entry.kind.accepts(value):
            raise UserError(f'{where}: must be {entry.kind.expected}, not {_show(value)}')
        return copy.deepcopy(value)
    if value is None and isinstance(entry, OptionalSection):
        return None
    if not isinstance(value, Mapping):
        what = 'be a section with keys under it' if path else 'hold the sections of a config'
        raise UserError(f'{where}: must {what}, not {_show(value)}')
    for key in value:
        if key not in entry:
            raise UserError(f'{where}{": " if not path else "."}{_unknown(key, entry)}')
    resolved = {}
    for key, child in entry.items():
        child_path = f'{path}.{key}' if path else key
        if key in value:
            resolved[key] = _resolve(value[key], child, child_path, source, need)
            continue
        default = _default(child)
        if default is not REQUIRED:
            resolved[key] = default
        elif _is_needed(child_path, need):
            raise UserError(f'{source}: {child_path}: missing; must be {_describe(child)}')
    return resolved


def _default(entry: Entry) -> Any:
    """The value of an absent key or section, or REQUIRED where no default makes it whole."""
    if isinstance(entry, Field):
        return copy.deepcopy(entry.default)
    if isinstance(entry, OptionalSection):
        return None
    values = {key: _default(child) for key, child in entry.items()}
    return REQUIRED if REQUIRED in values.values() else values


def _describe(entry: Entry) -> str:
    if isinstance(entry, Field):
        return f'{entry.kind.expected} ({entry.doc})'
    return f'a section with {", ".join(entry)}'


def _is_needed(path: str, need: Sequence[str]) -> bool:
    """Whether the path is one of those needed, lies in one or leads to one."""
    return any(f'{path}.'.startswith(f'{n}.') or f'{n}.'.startswith(f'{path}.') for n in need)


def _unknown(key: Any, entry: Mapping[str, Entry]) -> str:
    """The end of the message about an unknown key, with the nearest that is known."""
    elsewhere = [path for path in _paths(SCHEMA) if path.split('.')[-1] == key]
    if elsewhere:
        return f'{key}: unknown key here; it is known as {" or ".join(elsewhere)}'
    near = difflib.get_close_matches(str(key), entry, n=1)
    if near:
        return f'{key}: unknown key; did you mean {near[0]}?'
    return f'{key}: unknown key; known here: {", ".join(entry)}'


def _paths(entry: Mapping[str, Entry], prefix: str = '') -> Iterator[str]:
    for key, child in entry.items():
        yield prefix + key
        if not isinstance(child, Field):
            yield from _paths(child, f'{prefix}{key}.')


def _show(value: Any) -> str:
    return 'null' if value is None else reprlib.repr(value)


# --- checking keys against each other ----------------------------------------------------------


def _contradictions(config: Mapping[str, Any]) -> Iterator[Problem]:
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


def _check_frame(model: Mapping[str, Any], shape: List[int]) -> Iterator[Problem]:
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


def _check_discriminator(model: Mapping[str, Any], shape: List[int]) -> Iterator[Problem]:
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


def _check_pyramid(train: Mapping[str, Any], shape: List[int]) -> Iterator[Problem]:
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


def _size(shape: List[int]) -> str:
    return f'{shape[0]}x{shape[1]}'
