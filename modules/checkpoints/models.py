"""Checkpoints: loaded strictly into networks, and written.

Our own format is a safetensors file, for inference and training alike: nothing in it can execute,
and its metadata carries the format's version, the config, a checksum of each tensor and whatever
else JSON can hold.
"""

import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Union

import numpy as np

from modules.checkpoints.download import find_weights
from modules.checkpoints.fitting import fitting_configs, shapes_of
from modules.checkpoints.reading import FORMAT, VERSION, Checkpoint, content_hash, read_checkpoint
from modules.checkpoints.weight_names import (
    NETWORKS,
    State,
    is_constant,
    is_counter,
    to_paddle_names,
)
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike, atomic_output
from modules.runtime.messages import note

if TYPE_CHECKING:  # a mistake in a path is reported before Paddle is imported
    from paddle import Tensor
    from paddle.nn import Layer

    from modules.build import Models

__all__ = [
    'Checkpoint',
    'Loaded',
    'StoredModels',
    'listed_weights',
    'load_checkpoint',
    'load_models',
    'read_checkpoint',
    'save_checkpoint',
    'save_pdparams',
]

ANIMATING = ('generator', 'kp_detector')  # networks that an animation needs
Network = Union['Layer', Mapping[str, np.ndarray]]


class Loaded(NamedTuple):
    """What load_checkpoint found besides the weights."""

    path: Path
    missing: tuple[str, ...]  # networks that the file lacks and that were not required
    config: dict[str, Any] | None
    meta: dict[str, Any]
    tensors: dict[str, np.ndarray]


def load_checkpoint(
    path_or_name: PathLike,
    *,
    generator: Optional['Layer'] = None,
    kp_detector: Optional['Layer'] = None,
    discriminator: Optional['Layer'] = None,
    required: Sequence[str] = ANIMATING,
    training_state: bool = False,
    rescaled: bool = False,
) -> Loaded:
    """Loads the given networks from a file, all of them or, when one doesn't fit, none.

    The weights are cast to the networks' dtype. A given network that the file lacks is an error if
    it is in `required`; otherwise it stays as it is and is named in the result.

    Args:
        path_or_name: a file or folder that read_checkpoint reads, the folder of a training run,
            of which the newest checkpoint is taken, or a name in KNOWN_WEIGHTS.
        training_state: read the training tensors of our own files too.
        rescaled: the networks may shrink their images by another scale_factor than the file's,
            for training to go on with frames of another size.

    Raises:
        UserError: nothing to read there, a required network is missing, keys or shapes differ, or a
            value is not finite.
    """
    path = find_weights(path_or_name)
    checkpoint = read_checkpoint(path, training_state)
    given = {'generator': generator, 'kp_detector': kp_detector, 'discriminator': discriminator}
    names = list(checkpoint.networks)
    shapes = {name: shapes_of(to_paddle_names(checkpoint.networks[name])) for name in names}
    fitting, missing = [], []
    for name, layer in given.items():
        if layer is None:
            continue
        if name in checkpoint.networks:
            # Taken out, and by _fit turned into tensors one by one, so that memory holds one copy.
            state = to_paddle_names(checkpoint.networks.pop(name))
            if rescaled:
                state = {key: array for key, array in state.items() if not is_constant(key)}
            try:
                fitting.append((layer, _fit(layer, state, f'{path}: its {name}')))
            except _MisfitError as error:
                wanted = {name, *(key for key in names if given[key] is not None)}
                fits = fitting_configs({key: shapes[key] for key in wanted}, path)
                raise UserError(f'{error}; {fits}') from None
            del state
        elif name in required:
            held = ', '.join(names)
            raise UserError(f'{path}: holds no {name}, only {held}; give a checkpoint with it')
        else:
            missing.append(name)
    for layer, tensors in fitting:
        _set_state(layer, tensors)
    return Loaded(path, tuple(missing), checkpoint.config, checkpoint.meta, checkpoint.tensors)


class _MisfitError(Exception):
    """Weights of other names or shapes than the network's; the message lacks a mend."""


def _fit(layer: 'Layer', state: State, what: str) -> dict[str, 'Tensor']:
    """The part of `state` that goes into `layer`, cast to its dtype.

    `state` is emptied. _MisfitError unless keys and shapes agree, UserError unless all values are
    finite.
    """
    import paddle

    for key in list(filter(is_counter, state)):
        del state[key]
    shapes = {key: tuple(tensor.shape) for key, tensor in layer.state_dict().items()}
    missing = [key for key in shapes if key not in state and not is_constant(key)]
    unexpected = [key for key in state if key not in shapes]
    differing = [
        f'{key} is {_show(state[key].shape)}, not {_show(shape)}'
        for key, shape in shapes.items()
        if key in state and state[key].shape != shape
    ]
    counts = [
        (missing, 'missing', 'such as {}'),
        (unexpected, 'too many', 'such as {}'),
        (differing, 'of another shape', '{}'),
    ]
    if missing or unexpected or differing:
        *_, (keys, _, example) = (entry for entry in counts if entry[0])
        listed = ', '.join(f'{len(keys)} {kind}' for keys, kind, _ in counts if keys)
        raise _MisfitError(
            f'{what} does not fit the config: of its weights {listed} '
            f'({example.format(min(keys, key=len))})'
        )
    tensors = {}
    for key, tensor in layer.state_dict().items():
        if key in state:
            tensors[key] = paddle.to_tensor(state.pop(key)).astype(tensor.dtype)
            if not paddle.isfinite(tensors[key]).all():
                raise UserError(f'{what}: {key} has values that are not finite; get it again')
    return tensors


def _show(shape: Sequence[int]) -> str:
    return ' x '.join(map(str, shape)) or 'a number'


def _set_state(layer: 'Layer', tensors: Mapping[str, 'Tensor']) -> None:
    for key, tensor in layer.state_dict().items():
        if key in tensors:
            tensor.set_value(tensors[key])


def load_models(
    config: Mapping[str, Any],
    models: 'Models',
    checkpoint: PathLike | None = None,
    rescaled: bool = False,
    names: Sequence[str] = NETWORKS,
) -> tuple[str, ...]:
    """Loads networks from `checkpoint`, else from the config's ckpt_model.

    Args:
        rescaled: as for load_checkpoint.
        names: of the networks to load; what there is of others need not fit.

    Returns:
        Those of them that keep their initial weights: at most ('discriminator',).

    Raises:
        UserError: no weights are given for generator or kp_detector, or they can't be loaded.
    """
    networks = {name: layer for name, layer in models._asdict().items() if name in names}
    if checkpoint is not None:
        return load_checkpoint(checkpoint, **networks, rescaled=rescaled).missing
    listed = listed_weights(config)
    paths = {name: listed[name] for name in networks}
    for path in dict.fromkeys(filter(None, paths.values())):
        wanted = {name: networks[name] for name in networks if paths[name] == path}
        load_checkpoint(path, **wanted, required=tuple(wanted), rescaled=rescaled)
    return tuple(name for name in networks if not paths[name])


class StoredModels:
    """What animates: generator and keypoint detector of a config with the weights of a checkpoint.

    They are loaded only where they are needed. A discriminator is not looked at.

    Args:
        config, checkpoint: as for load_models.

    Raises:
        UserError: no weights are given, or they are not there.
    """

    def __init__(self, config: Mapping[str, Any], checkpoint: PathLike | None = None):
        self._config = config
        self._checkpoint = None if checkpoint is None else find_weights(checkpoint)
        if self._checkpoint and os.path.isdir(checkpoint or '') and self._checkpoint.is_file():
            note(f'{checkpoint}: its newest checkpoint is taken, {self._checkpoint.name}')
        listed = listed_weights(config) if checkpoint is None else {}
        paths = [self._checkpoint or listed[name] for name in ANIMATING]
        self._paths = [find_weights(path) for path in paths if path is not None]
        self._told: str | None = None

    def identity(self) -> str:
        """SHA-256 of what the files of generator and keypoint detector hold: where it is the same,
        `load` gives both the same weights.

        Raises:
            UserError: a file can't be read.
        """
        held = {path: content_hash(path) for path in set(self._paths)}
        self._told = ' '.join(held[path] for path in self._paths)
        return self._told

    def load(self) -> 'Models':
        """The networks, built and loaded; the discriminator has initial weights.

        Raises:
            UserError: as load_models, or the files have changed since `identity` told of them.
        """
        from modules.build import build_models

        models = build_models(self._config)
        load_models(self._config, models, self._checkpoint, names=ANIMATING)
        told = self._told
        if told is not None and self.identity() != told:
            raise UserError('the checkpoint has been changed while it was read; start again')
        return models


def listed_weights(config: Mapping[str, Any]) -> dict[str, str | None]:
    """Where the config's ckpt_model has the weights of each network; None: nowhere.

    Raises:
        UserError: it has none for the generator or the keypoint detector.
    """
    section = config.get('ckpt_model') or {}
    keys = {'generator': 'generator', 'kp_detector': 'kp', 'discriminator': 'discriminator'}
    paths = {name: section.get(key) for name, key in keys.items()}
    if not (paths['generator'] and paths['kp_detector']):
        raise UserError(
            'no weights: give --checkpoint, or ckpt_model.generator and ckpt_model.kp in the config'
        )
    return paths


def save_checkpoint(
    path: PathLike,
    networks: Mapping[str, Network],
    config: Mapping[str, Any] | None = None,
    extra_tensors: Mapping[str, np.ndarray] | None = None,
    extra_meta: Mapping[str, Any] | None = None,
) -> None:
    """Writes our own format, a safetensors file: whole, or not at all.

    The same contents give the same bytes.

    Args:
        networks: by name ('generator', ...): a Layer, or a state as read_checkpoint gives it.
        config: kept with the weights.
        extra_tensors: training state; comes back bit for bit as `tensors`. No name may start with
            a network's and a dot.
        extra_meta: training state that JSON can hold; comes back as `meta` (tuples as lists).
    """
    from safetensors.numpy import save

    tensors = {
        f'{name}.{key}': array
        for name, network in networks.items()
        for key, array in _arrays(network).items()
    }
    for key, array in (extra_tensors or {}).items():
        if key.partition('.')[0] in NETWORKS:
            raise ValueError(f'{key}: this prefix is reserved for the networks')
        tensors[key] = np.asarray(array, order='C')
    metadata = {
        'format': FORMAT,
        'version': str(VERSION),
        'config': json.dumps(config),
        'meta': json.dumps(dict(extra_meta or {})),
        'crc32': json.dumps({key: zlib.crc32(tensors[key].data) for key in sorted(tensors)}),
    }
    data = memoryview(save(tensors, metadata))  # save_file hides which error the disk gives
    begin = 8 + int.from_bytes(data[:8], 'little')
    # The package leaves the order of metadata to chance.
    ordered = {**json.loads(bytes(data[8:begin])), '__metadata__': metadata}
    header = json.dumps(ordered, separators=(',', ':')).encode()
    header += b' ' * (-len(header) % 8)
    with atomic_output(path) as target, open(target, 'wb') as file:
        file.write(len(header).to_bytes(8, 'little') + header)
        file.write(data[begin:])


def save_pdparams(path: PathLike, networks: Mapping[str, Network]) -> None:
    """Writes {network: state dict} as paddle.load and PaddleGAN read it: whole, or not at all."""
    import paddle

    tree = {
        name: {key: paddle.to_tensor(array) for key, array in _arrays(network).items()}
        for name, network in networks.items()
    }
    with atomic_output(path) as target:
        paddle.save(tree, str(target))


def _arrays(network: Network) -> State:
    """A network's weights with Paddle's names, for writing."""
    if isinstance(network, Mapping):
        state = to_paddle_names(network)
    else:
        # NumPy lacks bfloat16, for which Paddle gives it the bits as integers.
        state = {
            key: (tensor.astype('float32') if 'bfloat16' in str(tensor.dtype) else tensor).numpy()
            for key, tensor in network.state_dict().items()
        }
    return {k: np.asarray(v, order='C') for k, v in state.items() if not is_counter(k)}
