"""Checkpoints of every format, with networks of a few small weights; motion files; runs."""

import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from modules.animation.motion_file import Motion, write_motion
from modules.checkpoints.torch_file import write_torch
from modules.config import load_config
from tests.fuzz.cases import Seed
from tests.support import crafted
from tests.support.hostile import hostile_files
from tests.support.places import ROOT
from tests.support.tiny_checkpoint import CONFIG

# Networks, and a weight by which each is known.
_NETWORKS = {
    'generator': 'final.weight', 'kp_detector': 'kp.weight', 'discriminator': 'discs.1.conv.weight',
}  # fmt: skip
RUN = {  # of an animated test set
    'dataset_params': {'root_dir': 'data', 'frame_shape': [64, 64, 3]}, 'weights_sha256': 'ab' * 32,
    'model_params': CONFIG['model_params'], 'pairs': ['b-a', 'a-b'],
}  # fmt: skip
RUN_CONFIG = load_config(ROOT / 'config' / 'demo-64.yaml')
TRACK_SETTINGS = {'clip': 'a.mp4', 'sha256': 'ab' * 32, 'rules': {'margin': 0.5, 'every': 8}}
_LARGEST_HOSTILE = 100_000  # bytes


def states(seed: int = 0) -> dict[str, dict[str, np.ndarray]]:
    """Networks by name, each with a few arrays under official names."""
    rng = np.random.default_rng(seed)
    names = {'first.conv.weight': (2, 3, 3, 3), 'first.conv.bias': (2,),
        'first.norm.running_mean': (2,),
             'first.norm.num_batches_tracked': ()}  # fmt: skip

    def state(key: str) -> dict[str, np.ndarray]:
        shapes = {**names, key: (2, 2, 1, 1)}
        made = {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}
        made['first.norm.num_batches_tracked'] = np.array(7, np.int64)
        return made

    return {network: state(key) for network, key in _NETWORKS.items()}


def _written(write: Any, *arguments: Any) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder, 'file')
        write(path, *arguments)
        return path.read_bytes()


def _tensors(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None) -> bytes:
    header: dict[str, Any] = {} if metadata is None else {'__metadata__': dict(metadata)}
    kinds = {'float32': 'F32', 'int64': 'I64', 'float64': 'F64'}
    body = b''
    for key, array in arrays.items():
        data = array.tobytes()
        ends = [len(body), len(body) + len(data)]
        header[key] = {'dtype': kinds[str(array.dtype)], 'shape': array.shape, 'data_offsets': ends}
        body += data
    return crafted.safetensors(header, body)


def _flat() -> dict[str, np.ndarray]:
    return {
        f'{network}.{key}': array
        for network, state in states().items()
        for key, array in state.items()
    }


def own(config: dict[str, Any] = CONFIG, **more: Any) -> bytes:
    """A checkpoint as training saves it."""
    arrays = {**_flat(), 'optimizer_generator.moment': np.arange(4, dtype=np.float32)}
    meta = {'epoch': 3, 'progress': {'epoch': 3, 'batch': 0, 'samples': 24},
        'changes': ['from epoch 2 on'],
            'torn': None, 'loss': 0.25, **more}  # fmt: skip
    sums = {key: zlib.crc32(array.tobytes()) for key, array in arrays.items()}
    told = {
        'format': 'first-order-model',
        'version': '1',
        'config': config,
        'meta': meta,
        'crc32': sums,
    }
    texts = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()
    }
    return _tensors(arrays, texts)


def _npz(arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays) if isinstance(arrays, dict) else np.savez(buffer, arrays)
    return buffer.getvalue()


def _legacy() -> bytes:
    names = [('first.conv.weight', (2, 2)), ('first.conv.bias', (4,))]
    body = b'}' + crafted.text('generator') + crafted.call('collections.OrderedDict')
    for key, shape in names:
        strides = (2, 1) if len(shape) == 2 else (1,)
        body += crafted.text(key) + crafted.tensor(shape, strides) + b's'
    return crafted.torch_legacy(body + b's' + crafted.text('epoch') + crafted.integer(3) + b's')


def checkpoints() -> dict[str, Seed]:
    nets = states()
    boxed = np.empty((), object)
    boxed[()] = nets['generator']
    torch = _written(write_torch, nets, 3)
    paddle_form = {
        name: {key: (f'p_{key}', array) for key, array in state.items()}
        for name, state in nets.items()
    }
    half = crafted.network(
        crafted.tensor((4,), (1,), of=crafted.storage(kind='torch.BFloat16Storage'))
    )
    with zipfile.ZipFile(io.BytesIO(torch)) as archive:
        unpacked = {f'folder/{name}': archive.read(name) for name in archive.namelist()}
    unpacked = {'folder/archive/data.pkl': unpacked.pop('folder/archive/data.pkl'), **unpacked}
    sound = {
        'own': {'a.safetensors': own()},
        'safetensors': {'a.safetensors': _tensors(_flat(), None)},
        'pdparams-2': {'a.pdparams': pickle.dumps(nets, 2)},
        'pdparams-4': {'a.pdparams': pickle.dumps({**nets, 'epoch': 3, 'rest': [1, (2.5, None)]},
        4)},
        'pdparams-single': {'a.pdparams': pickle.dumps(paddle_form['generator'], 4)},
        'npz': {'a.npz': _npz(nets['generator'])},
        'npz-boxed': {'a.npz': _npz(boxed)},
        'torch': {'a.pth.tar': torch},
        'torch-half': {'a.pth.tar': crafted.torch_zip(half, bytes(8))},
        'legacy': {'a.pth.tar': _legacy()},
        'unpacked': unpacked,
        'folder': {'folder/G.npz': _npz(nets['generator']),
        'folder/KP.npz': _npz(nets['kp_detector']),
                   'folder/D.npz': _npz(nets['discriminator'])},
    }  # fmt: skip
    hostile = {
        name: Seed({'a.pth.tar': data}, False)
        for name, data in hostile_files()
        if len(data) < _LARGEST_HOSTILE
    }
    return {**{name: Seed(files) for name, files in sound.items()}, **hostile}


def motions() -> dict[str, Seed]:
    """Of 3 frames and 2 keypoints; with all that a file may hold, and with the least."""
    rng = np.random.default_rng(0)
    value = rng.uniform(-1, 1, (3, 2, 2)).astype(np.float32)
    jacobian = rng.normal(size=(3, 2, 2, 2)).astype(np.float32)
    boxes = np.array([[1.0, 2.0, 30.0, 40.0]])
    slots = np.array([0, 1, 3])
    whole = Motion(
        value, jacobian, slots, 5, Fraction(30000, 1001), (64, 64), 'ab' * 32, boxes, Fraction(1, 2)
    )
    plain = Motion(value, None, np.arange(3), 3, Fraction(25), (64, 64), 'ab' * 32)
    each = whole._replace(boxes=boxes.repeat(3, 0), speed=Fraction(2))
    return {
        name: Seed({'a.safetensors': _written(write_motion, motion)})
        for name, motion in (('whole', whole), ('plain', plain), ('each', each))
    }


def runs() -> dict[str, Seed]:
    """The newest checkpoint of a run; the JSON in the folder of an animated test set, and beside
    clips that were cut out of another.
    """
    state = {
        'step_count': 24,
        'seed': 0,
        'schedules': {'generator': {'last_epoch': 3, 'last_lr': 0.001}},
        'scaler': {'scale': 2.0, 'incr_count': 1},
    }
    progress = {'epoch': 3, 'batch': 1, 'loss_sums': {'pixel': 0.5}, 'epoch_steps': 8}
    progress['validation'] = {'compared': ['l1', 10, None], 'figures': {'l1': 0.1}, 'epoch': 3}
    checkpoint = own(RUN_CONFIG, trainer=state, progress=progress)
    tracks = {
        **TRACK_SETTINGS,
        'tracks': [[0, 40, [1.5, 2.5, 30.0, 30.0]]],
        'claimed': True,
        'looks': {'0': [[1.5, 2.5, 30.0, 30.0]], '8': []},
    }
    return {
        'checkpoint': Seed({'00000003-00000000-checkpoint.safetensors': checkpoint}),
        'animation': Seed({'run.json': json.dumps(RUN, indent=1).encode()}),
        'tracks': Seed({'tracks.json': json.dumps(tracks).encode()}),
    }
