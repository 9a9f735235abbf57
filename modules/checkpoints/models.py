"""Networks loaded strictly from checkpoints: all weights, or a line that says what does not fit."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle import Tensor
from paddle.nn import Layer

from modules.build import Models, build_models, build_network
from modules.checkpoints.fitting import fitting_configs, shapes_of
from modules.checkpoints.places import find_weights, listed_weights
from modules.checkpoints.reading import content_hash, read_checkpoint
from modules.checkpoints.weight_names import (
    NETWORKS,
    State,
    is_constant,
    is_counter,
    to_paddle_names,
)
from modules.keypoint_detector import KPDetector
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.messages import note

ANIMATING = ('generator', 'kp_detector')  # networks that an animation needs


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
    generator: Layer | None = None,
    kp_detector: Layer | None = None,
    discriminator: Layer | None = None,
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
        for key, tensor in layer.state_dict().items():
            if key in tensors:
                tensor.set_value(tensors[key])
    return Loaded(path, tuple(missing), checkpoint.config, checkpoint.meta, checkpoint.tensors)


class _MisfitError(Exception):
    """Weights of other names or shapes than the network's; the message lacks a mend."""


def _fit(layer: Layer, state: State, what: str) -> dict[str, Tensor]:
    """The part of `state` that goes into `layer`, cast to its dtype.

    `state` is emptied. _MisfitError unless keys and shapes agree, UserError unless all values are
    finite.
    """
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
            if state[key].dtype.kind != 'f':  # packed numbers, whose meaning is elsewhere
                raise UserError(f'{what}: {key} is {state[key].dtype}; save the weights as float32')
            tensors[key] = paddle.to_tensor(state.pop(key)).astype(tensor.dtype)
            if not paddle.isfinite(tensors[key]).all():
                raise UserError(f'{what}: {key} has values that are not finite; get it again')
    return tensors


def _show(shape: Sequence[int]) -> str:
    return ' x '.join(map(str, shape)) or 'a number'


def load_models(
    config: Mapping[str, Any],
    models: Models,
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

    def detector_hash(self) -> str:
        """`detector_hash` of the keypoint detector, of which alone the weights are loaded.

        Raises:
            UserError: they can't be.
        """
        detector = build_network('kp_detector', self._config['model_params'])
        path = self._paths[ANIMATING.index('kp_detector')]
        load_checkpoint(path, kp_detector=detector, required=('kp_detector',))
        return detector_hash(detector)

    def load(self) -> Models:
        """The networks, built and loaded; the discriminator has initial weights.

        Raises:
            UserError: as load_models, or the files have changed since `identity` told of them.
        """
        models = build_models(self._config)
        load_models(self._config, models, self._checkpoint, names=ANIMATING)
        if self._told is not None:
            self.must_be(self._told)
        return models

    def must_be(self, identity: str) -> None:
        """Raises UserError if the files hold something else by now than `identity` told of."""
        if self.identity() != identity:
            raise UserError('the checkpoint has been changed while it was read; start again')


def weights_hash(models: Models) -> str:
    """SHA-256 of the weights that animate, whatever file they came from."""
    digest = hashlib.sha256()
    for network in (models.generator, models.kp_detector):
        _add_weights(digest, network)
    return digest.hexdigest()


def detector_hash(detector: KPDetector) -> str:
    """SHA-256 of all that the keypoints of a picture depend on, whatever file it came from."""
    settings = detector.temperature, detector.scale_factor, detector.kp._updated_padding[0]
    digest = hashlib.sha256(' '.join(f'{float(value):.9g}' for value in settings).encode())
    _add_weights(digest, detector)
    return digest.hexdigest()


def _add_weights(digest: Any, network: Layer) -> None:
    for name, tensor in network.state_dict().items():
        digest.update(f'{name} {tensor.shape}\n'.encode())
        digest.update(tensor.numpy().tobytes())
