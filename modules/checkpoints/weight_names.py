"""The names that weights have in the official checkpoints and in Paddle's networks.

A `State` is a network's weights by name. The layouts are the same on both sides; the names differ
in the norms: running_mean and running_var are _mean and _variance, an instance norm's weight is its
scale.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

State = dict[str, np.ndarray]
T = TypeVar('T')  # an array, or a network's tensor

NETWORKS = ('generator', 'kp_detector', 'discriminator')
COUNTER = 'num_batches_tracked'  # PyTorch counts a batch norm's steps; Paddle's has no such thing
_WRAPPERS = ('module', '_layers', '_orig_mod')  # of PyTorch, of Paddle, of torch.compile
_PADDLE = {'running_mean': '_mean', 'running_var': '_variance'}
_OFFICIAL = {'_mean': 'running_mean', '_variance': 'running_var', 'scale': 'weight'}


def _split(name: str) -> tuple[str, str]:
    layer, _, last = name.rpartition('.')
    return layer, last


def _join(layer: str, last: str) -> str:
    return f'{layer}.{last}' if layer else last


def to_paddle_names(state: Mapping[str, T]) -> dict[str, T]:
    """Weights by their names in Paddle's networks, from official ones, in the same order."""
    renamed = {}
    for name, array in state.items():
        layer, last = _split(name)
        is_norm = _split(layer)[1].startswith('norm')
        if last == 'weight' and is_norm and f'{layer}.running_mean' not in state:
            last = 'scale'  # a norm without statistics is an instance norm
        renamed[_join(layer, _PADDLE.get(last, last))] = array
    return renamed


def to_official_names(state: Mapping[str, T]) -> dict[str, T]:
    """Weights by their official names, from Paddle's (official ones stay), in the same order."""
    renamed = {}
    for name, array in state.items():
        layer, last = _split(name)
        renamed[_join(layer, _OFFICIAL.get(last, last))] = array
    return renamed


def without_wrappers(state: Mapping[str, T]) -> dict[str, T]:
    """Weights without the names of what the network was wrapped in: DataParallel, compile."""
    names = list(state)
    while names:
        wrapper = names[0].partition('.')[0]
        if wrapper not in _WRAPPERS or not all(name.startswith(f'{wrapper}.') for name in names):
            break
        names = [name[len(wrapper) + 1 :] for name in names]
    return dict(zip(names, state.values()))


def is_counter(name: str) -> bool:
    return _split(name)[1] == COUNTER


def is_constant(name: str) -> bool:
    """Blur kernels follow from the config; a checkpoint may lack them."""
    return name == 'down.weight' or name.endswith('.down.weight')


def identify(state: Mapping[str, np.ndarray]) -> str | None:
    """Which network a state with official names belongs to; None when it is none of them."""
    if any(name.startswith('discs.') for name in state):
        return 'discriminator'
    if 'kp.weight' in state:
        return 'kp_detector'
    if 'final.weight' in state:
        return 'generator'
    return None


def name_keypoint_detector(arrays: Sequence[np.ndarray]) -> list[str] | None:
    """Official names of a keypoint detector's arrays, from nothing but their order and axes.

    An earlier port's snippet saves them under the generator's first names. The official order is:
    per block of the hourglass a convolution (weight, bias) and a batch norm (weight, bias, mean,
    variance, counter); the heads kp and, in the first-order model, jacobian (weight, bias); the
    blur kernel, if the detector works at a reduced size.

    Returns:
        The names in the order of `arrays`, or None where it is not that of a keypoint detector.
    """
    layers: list[list[int]] = []  # each layer's numbers of axes; it starts with its 4-d weight
    for array in arrays:
        if array.ndim == 4:
            layers.append([])
        if not layers:
            return None
        layers[-1].append(array.ndim)
    norm = ['norm.weight', 'norm.bias', 'norm.running_mean', 'norm.running_var', f'norm.{COUNTER}']
    block, head, kernel = [4, 1, 1, 1, 1, 1], [4, 1], [4]
    count = sum(layer in (block, [*block, 0]) for layer in layers)
    blocks, rest = layers[:count], layers[count:]
    heads = rest.count(head)
    if (
        count < 2
        or count % 2
        or heads not in (1, 2)
        or rest not in ([head] * heads, [head] * heads + [kernel])
    ):
        return None
    names = []
    for index, layer in enumerate(blocks):
        half = count // 2
        part, number = ('encoder.down', index) if index < half else ('decoder.up', index - half)
        tail = ['conv.weight', 'conv.bias', *norm][: len(layer)]
        names += [f'predictor.{part}_blocks.{number}.{last}' for last in tail]
    names += ['kp.weight', 'kp.bias', 'jacobian.weight', 'jacobian.bias'][: 2 * heads]
    return names + ['down.weight'] * (rest[-1] == kernel)
