"""Checkpoints written: our own format, and Paddle's.

Our own is a safetensors file, for inference and training alike: nothing in it can execute, and its
metadata carries the format's version, the config, a checksum of each tensor and whatever else JSON
can hold.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from modules.checkpoints.reading import FORMAT, VERSION
from modules.checkpoints.safetensors_file import checksums, write_tensors
from modules.checkpoints.weight_names import NETWORKS, State, is_counter, to_paddle_names
from modules.runtime.files import PathLike, atomic_output


class Layer(Protocol):
    """A network of Paddle's, which need not be installed to write arrays."""

    def state_dict(self) -> Mapping[str, Any]:
        """Its tensors by name."""


Network = Layer | Mapping[str, np.ndarray]


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
        'crc32': checksums(tensors),
    }
    write_tensors(path, tensors, metadata)


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
