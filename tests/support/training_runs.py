"""Whole runs of train.py on a small dataset."""

import os
import random
import subprocess
import sys
import time

import numpy as np
import yaml
from PIL import Image

from modules.checkpoints.npz_file import write_npz
from modules.checkpoints.places import find_checkpoints
from modules.config import load_config
from tests.support.places import ROOT
from tests.support.tiny import TINY


def write_clips(root, clips=8, size=32):
    """Clips of a moving square as folders of frames, two more to test."""
    rng = np.random.RandomState(0)
    unit = size // 32
    for part, count in (('train', clips), ('test', 2)):
        for clip in range(count):
            folder = root / part / f'{clip:02d}'
            folder.mkdir(parents=True)
            color, ground = rng.randint(0, 255, (2, 3))
            for t in range(6):
                frame = np.full((size, size, 3), ground, 'uint8')
                frame[8 * unit : 20 * unit, (2 + 3 * t) * unit : (14 + 3 * t) * unit] = color
                Image.fromarray(frame).save(folder / f'{t}.png')
    return root


def write_joints(root, clips=('00', '01')):
    """Joints of test clips that `write_clips` wrote for size 32: two corners of the square."""
    (root / 'joints' / 'test').mkdir(parents=True)
    for clip in clips:
        left = 2 + 3 * np.arange(6.0)
        upper, lower = np.full(6, 8), np.full(6, 19)
        corners = np.stack([left, upper, left + 11, lower], axis=1).reshape(6, 2, 2)
        visible = np.ones((6, 2), bool)
        write_npz(root / 'joints' / 'test' / f'{clip}.npz', {'points': corners, 'visible': visible})
    return root


def read_log(folder):
    """log.txt: a dict of numbers for each epoch."""
    lines = []
    for line in (folder / 'log.txt').read_text().splitlines():
        values = line.partition(') ')[2].split('; ')
        lines.append({name: float(value) for name, value in (e.split(' - ') for e in values)})
    return lines


def write_config(path, dataset, **train_params):
    config = {**TINY, 'dataset_params': {**TINY['dataset_params'], 'root_dir': str(dataset)}}
    config['dataset_params']['augmentation_params'] = {
        'flip_param': {'horizontal_flip': True, 'time_flip': True},
        'jitter_param': {'hue': 0.1},
    }
    config['train_params'] = {**TINY['train_params'], **train_params}
    path.write_text(yaml.safe_dump(config))
    return path


def start(*arguments, **environment):
    command = [sys.executable, str(ROOT / 'train.py'), '--cpu', *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
    )


def launched(*arguments, folder):
    """A run of train.py as two processes, whose logs go to the folder."""
    launch = ['-m', 'paddle.distributed.launch', '--nproc_per_node', '2', '--log_dir']
    command = [sys.executable, *launch, folder, ROOT / 'train.py', '--cpu', *arguments]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False
    )
    log = folder / 'workerlog.0'
    assert done.returncode == 0, log.read_text() if log.exists() else done.stdout + done.stderr


def run(*arguments, status=0, **environment):
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, err
    return out, err


def kill_and_resume(config, place, kills, compare, **environment):
    """Kills runs at random moments and resumes them; each that is over goes to `compare`.

    Args:
        place: folder for the runs.
        kills: how many.
        compare: takes a run's folder, which may not be quite over, and raises what is wrong.

    Returns:
        How often a run was resumed.
    """
    chance = random.Random(0)
    epochs = load_config(config)['train_params']['num_epochs']
    pace = None  # seconds from a sign of life to a checkpoint, on this machine
    folder, resumed = place / 'run 0', 0
    for number in range(kills):
        begun = find_checkpoints(folder)
        resumed += bool(begun)
        more = ['--resume'] if begun else ['--seed', 3]
        process = start('--config', config, '--save_dir', folder, *more, **environment)
        process.stdout.readline()  # it is alive; importing Paddle lies ahead
        if pace:
            time.sleep(pace * chance.uniform(0.7, 1.3))
        else:
            alive = time.monotonic()
            while not find_checkpoints(folder):
                assert process.poll() is None
                time.sleep(0.01)
            pace = time.monotonic() - alive
        process.kill()
        process.communicate()
        if list(folder.glob(f'{epochs:08d}-*.safetensors')):
            compare(folder)
            folder = place / f'run {number + 1}'
    if find_checkpoints(folder):
        compare(folder)
    return resumed
