"""Checkpoints of every format, read by one function.

PyTorch's .pth.tar in both formats, also unpacked into a folder, .npz (a file, or a folder with
G.npz, KP.npz and D.npz), Paddle's .pdparams, and our own .safetensors. What a file is, its content
decides, not its name; and nothing in it is ever executed.
"""

import contextlib
import hashlib
import os
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from modules.checkpoints.no_checkpoint import HEAD, describe, describe_archive
from modules.checkpoints.npz_file import Archive, Unpacked, read_npz
from modules.checkpoints.numpy_pickle import ArrayStandIn, numpy_table
from modules.checkpoints.safe_pickle import Budget, Machine, Reader, RefusedError, Unread, shorten
from modules.checkpoints.safetensors_file import TensorFile
from modules.checkpoints.torch_file import (
    LEGACY_MAGIC,
    TensorStandIn,
    read_torch_legacy,
    read_torch_zip,
)
from modules.checkpoints.weight_names import (
    NETWORKS,
    State,
    identify,
    name_keypoint_detector,
    to_official_names,
    without_wrappers,
)
from modules.runtime.errors import UserError, reason_of
from modules.runtime.files import PathLike, file_hash, open_file
from modules.runtime.json_text import parse_json

FORMAT, VERSION = 'first-order-model', 1  # of our own files, in their metadata
NPZ_FILES = {'generator': 'G.npz', 'discriminator': 'D.npz', 'kp_detector': 'KP.npz'}
PADDLE_NAME_TABLE = 'StructuredToParameterName@@'  # paddle.save adds it to a state dict
WEIGHT_NAME = re.compile(r'[\w.-]{1,200}', re.ASCII)


class Checkpoint(NamedTuple):
    """What a file holds."""

    networks: dict[str, State]  # by name ('generator', ...), with official names in each
    config: dict[str, Any] | None  # our own files carry it
    meta: dict[str, Any]  # 'epoch' and other numbers and texts; any JSON in our own files
    tensors: dict[str, np.ndarray]  # training state of our own files, where asked for
    left_out: tuple[str, ...]  # parts that were not read, such as 'optimizer_generator'


def read_checkpoint(path: PathLike, training_state: bool = False) -> Checkpoint:
    """All networks of a file, or of a folder of .npz files, as arrays.

    Args:
        training_state: read the training tensors of our own files too.

    Raises:
        UserError: there is no such file, it is damaged, or none of the formats.
    """
    path = Path(path)
    with telling_errors(path):
        if path.is_dir():
            return _read_folder(path)
        with open_file(path) as file:
            if is_safetensors(file):
                return _read_safetensors(path, training_state)
            tree, budget = _read_tree(file)
            return _find_networks(tree, budget)


def read_run_state(path: PathLike) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Config and training numbers of one of our own files, without its tensors; else (None, {}).

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    path = Path(path)
    with telling_errors(path):
        with open_file(path) as file:
            if not is_safetensors(file):
                return None, {}
        with TensorFile(path) as tensors:
            config, meta, _ = _read_metadata(tensors.metadata)
            return config, meta


def content_hash(path: PathLike) -> str:
    """SHA-256 of all that `read_checkpoint` reads of a file or folder.

    Raises:
        UserError: there is no such file, or it can't be read.
    """
    path = Path(path)
    with telling_errors(path):
        if path.is_dir():
            unpacked = _find_unpacked(path)
            held = [name for name in NPZ_FILES.values() if (path / name).exists()]
            if unpacked is not None:
                files = (*unpacked.glob('*'), *unpacked.glob('data/*'))
                held = sorted(str(file.relative_to(path)) for file in files if file.is_file())
            lines = (f'{name} {content_hash(path / name)}' for name in held)
            return hashlib.sha256(os.fsencode('\n'.join(lines))).hexdigest()
        with open_file(path) as file:
            return file_hash(file)


def read_weights(path: PathLike) -> State:
    """The weights by name in a file of a single network, whatever network that is.

    It must be a .pth or .pdparams file of a state dict, or an .npz file; see read_checkpoint.
    """
    path = Path(path)
    with telling_errors(path), open_file(path) as file:
        tree, budget = _read_tree(file)
        return _read_state(tree, 'network', budget)


@contextlib.contextmanager
def telling_errors(path: Path) -> Iterator[None]:
    """Makes a UserError with the path of what goes wrong in reading it."""
    try:
        yield
    except RefusedError as error:
        raise UserError(f'{path}: {error}') from error
    except FileNotFoundError as error:
        raise UserError(f'{path}: no such file or folder') from error
    except OSError as error:
        raise UserError(f'{path}: can not be read: {reason_of(error)}') from error


def _only(networks: dict[str, State]) -> Checkpoint:
    return Checkpoint(networks, None, {}, {}, ())


def _peek(file: BinaryIO) -> bytes:
    head = file.read(len(LEGACY_MAGIC))
    file.seek(0)
    return head


def is_safetensors(file: BinaryIO) -> bool:
    """Whether a header in JSON follows its length, 8 bytes; the first may look like a pickle's."""
    head = _peek(file)
    return head[4:9] == b'\0\0\0\0{'


def _read_tree(file: BinaryIO) -> tuple[Any, Budget]:
    """The object in a file of any format but safetensors, and the memory that it may fill."""
    size = os.fstat(file.fileno()).st_size
    head = _peek(file)
    if size == 0:
        raise RefusedError('is empty; get it again')
    if head[:4] in (b'PK\x03\x04', b'PK\x05\x06'):
        archive = Archive(file, size)
        budget = Budget(archive.total)
        if all(name.endswith('.npy') for name in archive.sizes):
            return read_npz(archive), budget
        if not any(name.endswith('/data.pkl') for name in archive.sizes):
            around = describe_archive(archive.sizes)
            if around is not None:
                raise RefusedError(around)
        return read_torch_zip(archive, budget), budget
    budget = Budget(size)
    if head == LEGACY_MAGIC:
        return read_torch_legacy(file, size, budget), budget
    if head[:1] == b'\x80':
        return Machine(numpy_table(budget)).load(Reader(file, size)), budget
    raise RefusedError(describe(file.read(HEAD)))


def _find_unpacked(path: Path) -> Path | None:
    """The folder that some programs make of a .pth.tar, which is a zip archive: it, or in it."""
    try:
        folders = [path, *sorted(folder for folder in path.iterdir() if folder.is_dir())]
    except PermissionError as error:
        raise RefusedError('no permission to read it; change its permissions') from error
    return next((folder for folder in folders if (folder / 'data.pkl').is_file()), None)


def _read_folder(path: Path) -> Checkpoint:
    unpacked = _find_unpacked(path)
    if unpacked is not None:
        archive = Unpacked(unpacked)
        budget = Budget(archive.total)
        return _find_networks(read_torch_zip(archive, budget), budget)
    networks: dict[str, State] = {}
    for name, file in NPZ_FILES.items():
        if (path / file).exists():
            found = read_checkpoint(path / file).networks
            if list(found) != [name]:
                raise RefusedError(f'its {file} holds {" and ".join(found)} instead of {name}')
            networks.update(found)
    if not networks:
        raise RefusedError(
            'a folder without G.npz and KP.npz, nor with the data.pkl of an unpacked .pth.tar; '
            'give one with them, or a file'
        )
    return _only(networks)


def _find_networks(tree: Any, budget: Budget) -> Checkpoint:
    """A checkpoint from the object in a file."""
    if isinstance(tree, Unread):
        raise RefusedError(tree.reason)
    if type(tree) is not dict:
        raise RefusedError('holds no dict of networks')
    networks = {name: _read_state(tree[name], name, budget) for name in NETWORKS if name in tree}
    if not networks:
        if tree and all(isinstance(value, dict) for value in tree.values()):
            names = ', '.join(shorten(name) for name in list(tree)[:5])
            raise RefusedError(f'holds none of {", ".join(NETWORKS)}, but {names}')
        return _only(_name_network(tree, budget))
    rest = {name: value for name, value in tree.items() if name not in networks}
    meta = {
        key: value
        for key, value in rest.items()
        if isinstance(value, (int, float, str, type(None))) and _is_plain(key)
    }
    left_out = (key if _is_plain(key) else shorten(key) for key in rest if key not in meta)
    return Checkpoint(networks, None, meta, {}, tuple(left_out))


def _is_plain(name: Any) -> bool:
    """Whether a name can be printed and written as it is."""
    return type(name) is str and WEIGHT_NAME.fullmatch(name) is not None


def _read_state(items: Any, network: str, budget: Budget) -> State:
    """A network's arrays with official names, whatever stands for them in the file."""
    if isinstance(items, Unread):
        raise RefusedError(items.reason)
    if type(items) is not dict:
        raise RefusedError(f'its {network} is no dict of weights')
    state = {}
    for name, value in items.items():
        if name == PADDLE_NAME_TABLE:
            continue
        if not _is_plain(name):
            raise RefusedError(f'its {network} has a weight called {shorten(name)}')
        if type(value) is tuple and len(value) == 2:  # paddle.save: (the parameter's name, array)
            value = value[1]
        if isinstance(value, Unread):
            raise RefusedError(value.reason)
        if not isinstance(value, (ArrayStandIn, TensorStandIn, np.ndarray)):
            raise RefusedError(f'its {network} has {shorten(name)}, which is no array')
        budget.spend(value.nbytes)
        array = value if isinstance(value, np.ndarray) else value.array()
        if array.dtype in (np.uint16, np.uint32, np.uint64):  # neither PyTorch's nor Paddle's
            raise RefusedError(
                f'its {network} has {name} as {array.dtype}; save its weights as float32'
            )
        state[name] = array
    official = to_official_names(without_wrappers(state))
    if len(official) < len(state):
        raise RefusedError(
            f"its {network} has a weight twice, by its official and by Paddle's name"
        )
    return official


def _name_network(items: Any, budget: Budget) -> dict[str, State]:
    """{network: state} of the one network that a file holds without saying which."""
    state = _read_state(items, 'network', budget)
    network = identify(state)
    if network is not None:
        return {network: state}
    names = name_keypoint_detector(list(state.values()))
    if names is None:
        raise RefusedError(f'holds the weights of none of {", ".join(NETWORKS)}')
    warnings.warn(
        "a keypoint detector's weights are under other names, as an earlier port saves them: they"
        ' are taken by their order, with their shapes checked',
        stacklevel=2,
    )
    return {'kp_detector': dict(zip(names, state.values()))}


def _read_safetensors(path: Path, training_state: bool) -> Checkpoint:
    states: dict[str, dict[str, np.ndarray]] = {}
    tensors, left_out = {}, set()
    with TensorFile(path) as file:
        config, meta, sums = _read_metadata(file.metadata)
        names = without_wrappers(dict.fromkeys(file.keys))
        for key, plain in zip(file.keys, names):
            network, _, name = plain.partition('.')
            if network not in NETWORKS and not training_state:
                left_out.add(network)
                continue
            array = file.read(key)
            if sums and zlib.crc32(array.data) != sums.get(key):
                raise RefusedError(f'its {shorten(key)} is damaged; take another checkpoint')
            if network in NETWORKS:
                states.setdefault(network, {})[name] = array
            else:
                tensors[key] = array
    if not states:
        raise RefusedError(f'holds none of {", ".join(NETWORKS)}')
    budget = Budget(path.stat().st_size)
    networks = {n: _read_state(states[n], n, budget) for n in NETWORKS if n in states}
    return Checkpoint(networks, config, meta, tensors, tuple(sorted(left_out)))


def _read_metadata(
    metadata: Mapping[str, str],
) -> tuple[dict[str, Any] | None, dict[str, Any], dict[str, int]]:
    """Config, training numbers and tensors' checksums of our own files; nothing of another's."""
    if metadata.get('format') != FORMAT:
        return None, {}, {}
    version = metadata.get('version', '')
    if version != str(VERSION):
        raise RefusedError(
            f'is of version {shorten(version)}, and this program reads version {VERSION}: update it'
        )
    try:
        config, meta = parse_json(metadata['config']), parse_json(metadata['meta'])
        sums = parse_json(metadata.get('crc32', '{}'))  # the first files of ours had none
    except (KeyError, ValueError) as error:
        raise RefusedError(f'its metadata is damaged ({shorten(error)})') from error
    if not (
        isinstance(config, (dict, type(None))) and isinstance(meta, dict) and isinstance(sums, dict)
    ):
        raise RefusedError('its metadata is damaged')
    return config, meta, sums
