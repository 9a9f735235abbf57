"""A config that fits a data set and a device, for a first run: `train.py --data`.

It starts from a shipped config, or from that of the weights that training goes on from, and sets
what depends on the data and on the device.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from modules.checkpoints.frozen import find_imagenet
from modules.config import check_config, load_config
from modules.data.clips import CROP, EXACT, Size, decode_apart, group_by_id, list_part, open_clip
from modules.runtime import distributed
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike
from modules.runtime.memory import available_memory
from modules.runtime.messages import counted, note
from modules.runtime.process import available_cores, local_processes

CONFIGS = Path(__file__).resolve().parents[2] / 'config'
# By the side of the frames; what the sides of other frames must divide by, as the networks halve.
SHIPPED = {64: ('own-64.yaml', 32), 128: ('own-128.yaml', 64), 256: ('vox-256.yaml', 128)}
NEARLY = 0.75  # clips of so large a part of a side are enlarged to it
SQUARE = 1.15  # ratio of a frame's sides, below which it is a square
WIDEST = 2.0
OPENED = 100  # clips, to see of what size they are
FAST_CORES = 16  # of a CPU, from which frames of 128 pixels are bearable

EPOCHS = 100
STEPS = {'cpu': 3000, 'gpu': 25000}  # in all
LEAST_EPOCH = 25  # steps, unless there are fewer in all
# A validation takes about as long as ten steps: at most ten of them, at least so many steps apart.
VALIDATIONS, APART = 10, 300
VALIDATED, FRAMES = {'cpu': 4, 'gpu': 20}, 32  # clips, and frames of each, at most
# A step's memory: of a sample, and of networks, optimizers and VGG19. Twice what a step of
# vox-256 keeps for backward (doc/gpu.md); the configs for smaller frames have smaller networks.
BYTES_PER_PIXEL, FIXED = 24_000, 1.5e9
SHARE = {'cpu': 0.5, 'gpu': 0.85}  # of the memory
BATCHES = {'cpu': 8, 'gpu': 32}  # at most, in all processes
STEADY = 8  # least batch that batch norm is steady with; less at once is summed up in parts
# Where VGG19's weights of ImageNet can't be had; see config/own-64.yaml.
RANDOM_VGG = {'perceptual': [10, 10, 10, 0, 0], 'pixel': 20}


class Data(NamedTuple):
    """What a config depends on of a data set."""

    folder: Path
    clips: int  # for training
    ids: int
    size: Size  # (height, width) of most frames
    is_one_size: bool  # all that were opened are
    test_clips: int = 0  # to measure the networks with

    @property
    def id_sampling(self) -> bool:
        """Whether some have more clips than others, so that an epoch had better pass over ids."""
        return 1 < self.ids < self.clips

    @property
    def samples(self) -> int:
        return self.ids if self.id_sampling else self.clips


class Device(NamedTuple):
    """What a config depends on of a machine."""

    kind: str  # 'cpu' or 'gpu'
    memory: float | None  # bytes of a process; None: unknown
    processes: int = 1
    cores: int = 1


def look_at_data(folder: Path) -> Data:
    """Lists a data set, and opens some of its clips.

    Raises:
        UserError: there is no clip to train on, or none can be opened.
    """
    part = list_part(folder, is_train=True)
    names = part.clips[:: max(1, len(part.clips) // OPENED)]

    def size(name: str) -> Size | str:
        try:
            return decode_apart(part.folder / name, open_clip, part.folder / name).size
        except UserError as error:
            return str(error)

    with ThreadPoolExecutor(available_cores()) as pool:
        answers = list(pool.map(size, names))
    sizes = [answer for answer in answers if isinstance(answer, tuple)]
    if not sizes:
        raise UserError(f'--data {folder}: no clip can be read; {answers[0]}')
    most = max(dict.fromkeys(sizes), key=sizes.count)
    if sizes.count(most) * 2 < len(sizes):  # all kinds of sizes: one in the middle
        most = round(median(h for h, _ in sizes)), round(median(w for _, w in sizes))
    ids = len(group_by_id(part.clips))
    try:
        test_clips = len(list_part(folder, is_train=False).clips)
    except UserError:  # none, and training needs none
        test_clips = 0
    return Data(folder, len(part.clips), ids, most, len(set(sizes)) == 1, test_clips)


def find_device(cpu: bool, processes: int, local: int) -> Device:
    """This machine, as Paddle sees it.

    Args:
        processes: that train together, `local` of them on this machine.
    """
    import paddle

    cores = available_cores() // local
    if not cpu and paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0:
        number = paddle.device.cuda.device_count() - 1
        memory = paddle.device.cuda.get_device_properties(number).total_memory
        return Device('gpu', memory, processes, cores)
    free = available_memory()
    return Device('cpu', None if free is None else free / local, processes, cores)


def config_for(
    folder: Path, steps: int | None, weights: PathLike | None, cpu: bool
) -> dict[str, Any]:
    """The config for a data set on this machine; says in a line what it is like.

    Args:
        steps, weights: as for make_config.
        cpu: use no GPU.

    Raises:
        UserError: there is no clip to train on.
    """
    data = look_at_data(folder)
    device = find_device(cpu, distributed.world_size(), local_processes())
    config = make_config(data, device, steps, weights)
    if distributed.rank() == 0:
        note(f'a config is made: {told(config, data, device)}')
    return config


def config_of_run(run: Path, folder: Path, need: Sequence[str]) -> dict[str, Any]:
    """The config that was made for a run, which goes on.

    Args:
        folder: of the data.

    Raises:
        UserError: the run has none, or trains on other data.
    """
    if not (run / 'config.yaml').is_file():
        raise UserError(f'--resume {run}: holds no run; give the folder of one, or leave it out')
    config = load_config(run / 'config.yaml', need)
    before = config['dataset_params']['root_dir']
    if os.path.realpath(before) != os.path.realpath(folder):
        raise UserError(f'--data {folder}: the run in {run} trains on {before}; give that')
    return config


def make_config(
    data: Data, device: Device, steps: int | None = None, weights: PathLike | None = None
) -> dict[str, Any]:
    """A checked config.

    Args:
        steps: of training, at least; None: what suits the device.
        weights: the config of those that training starts from, whose networks and frames are
            taken; None: random ones.

    Raises:
        UserError: `weights` is of no use.
    """
    base = weights or CONFIGS / SHIPPED[_side(data, device)][0]
    config = copy.deepcopy(load_config(base, ('dataset_params', 'train_params')))
    config['ckpt_model'] = {}
    shape = config['dataset_params']['frame_shape'] if weights else [*_frame(data, device), 3]
    config['dataset_params'].update(
        root_dir=str(data.folder),
        frame_shape=shape,
        resize=EXACT if data.is_one_size and list(data.size) == shape[:2] else CROP,
        id_sampling=data.id_sampling,
        pairs_list=None,
    )
    train = config['train_params']
    _set_features(train, device.kind, shape)
    _set_batch(train, shape, device)
    _set_length(train, data.samples, steps or STEPS[device.kind], device.kind)
    _set_validation(train, data, device.kind)
    if 'reconstruction_params' in config:
        config['reconstruction_params']['num_videos'] = None
    name = f'the config made for {data.folder}'
    return check_config(config, name, ('dataset_params', 'train_params'))


def _side(data: Data, device: Device) -> int:
    """The frames' shorter side: what the clips have and the device bears."""
    most = 256 if device.kind == 'gpu' else 128 if device.cores >= FAST_CORES else 64
    fitting = [side for side in SHIPPED if side <= most and side * NEARLY <= min(data.size)]
    return max(fitting, default=min(SHIPPED))


def _frame(data: Data, device: Device) -> Size:
    """(height, width), in about the shape of the clips."""
    side = _side(data, device)
    unit = SHIPPED[side][1]
    ratio = min(WIDEST, max(data.size) / min(data.size))
    longer = side if ratio < SQUARE else max(side, round(side * ratio / unit) * unit)
    return (side, longer) if data.size[0] <= data.size[1] else (longer, side)


def _set_features(train: dict[str, Any], kind: str, shape: Sequence[int]) -> None:
    """VGG19 of ImageNet where it is there, or a GPU is worth its download; else a random one."""
    weights = train['loss_weights']
    if not any(weights['perceptual']):
        return
    smallest = min(shape[:2]) * min(train['scales'])
    # VGG halves a picture four times before its last layer.
    if smallest >= 16 and find_imagenet(download=kind == 'gpu') is not None:
        train['vgg19_weights'] = 'imagenet'
        weights.update(perceptual=[10, 10, 10, 10, 10], pixel=0)
        return
    if train['vgg19_weights'] == 'imagenet':
        note("VGG19's weights of ImageNet are not here; the perceptual loss takes random ones")
    if train['vgg19_weights'] in ('imagenet', 'random'):
        train['vgg19_weights'] = 'random'
        weights.update(RANDOM_VGG)


def _set_batch(train: dict[str, Any], shape: Sequence[int], device: Device) -> None:
    """As many samples as memory holds; if these are few, parts of a larger batch."""
    most = max(1, BATCHES[device.kind] // device.processes)
    at_once = most
    if device.memory is not None:
        room = device.memory * SHARE[device.kind] - FIXED
        at_once = min(most, max(1, int(room / (BYTES_PER_PIXEL * shape[0] * shape[1]))))
    at_once = 2 ** int(math.log2(at_once))
    parts = max(1, min(STEADY, BATCHES[device.kind]) // (at_once * device.processes))
    train['batch_size'] = at_once * parts * device.processes
    train['accumulation_steps'] = parts


def _set_length(train: dict[str, Any], samples: int, steps: int, kind: str) -> None:
    """Epochs, and how often each passes over the data, for `steps` or a few more."""
    epochs = max(1, min(EPOCHS, steps // LEAST_EPOCH))
    repeats = math.ceil(math.ceil(steps / epochs) * train['batch_size'] / samples)
    each = samples * repeats // train['batch_size']
    epochs = math.ceil(steps / each)
    drops = sorted({max(1, round(epochs * share)) for share in (0.6, 0.9)})
    train.update(
        num_epochs=epochs,
        num_repeats=repeats,
        epoch_milestones=[drop for drop in drops if drop < epochs],
        checkpoint_freq=max(1, epochs // 20),
        freeze_batch_norm=None,
    )


def _set_validation(train: dict[str, Any], data: Data, kind: str) -> None:
    """Test clips say now and then how good the networks are; the best ones are kept."""
    if data.test_clips == 0:
        train['validation'] = None
        return
    each = data.samples * train['num_repeats'] // train['batch_size']
    every = max(math.ceil(train['num_epochs'] / VALIDATIONS), math.ceil(APART / each))
    train['validation'] = {
        'every': min(every, train['num_epochs']),
        'num_videos': VALIDATED[kind],
        'num_frames': FRAMES,
    }


def told(config: Mapping[str, Any], data: Data, device: Device) -> str:
    """A made config in a line."""
    height, width, _ = config['dataset_params']['frame_shape']
    train = config['train_params']
    of_ids = f' of {counted(data.ids, "person")}' if data.id_sampling else ''
    parts = train['accumulation_steps']
    each = data.samples * train['num_repeats'] // train['batch_size']
    validated = ''
    if train['validation'] is not None:
        every = train['validation']['every']
        validated = f', validation after every {every}' if every > 1 else ', validation after each'
    return (
        f'{counted(data.clips, "clip")}{of_ids} on {device.kind}: frames of {width}x{height}, '
        f'batches of {train["batch_size"]}{f" in {parts} parts" if parts > 1 else ""}, '
        f'{counted(train["num_epochs"], "epoch")} of {counted(each, "step")}{validated}'
    )
