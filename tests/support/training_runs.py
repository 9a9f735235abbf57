"""Whole runs of train.py on a small dataset."""

import os
import subprocess
import sys

import numpy as np
import yaml
from PIL import Image

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
        env={**os.environ, **environment},
    )


def run(*arguments, status=0, **environment):
    process = start(*arguments, **environment)
    out, err = process.communicate(timeout=300)
    assert process.returncode == status, err
    return out, err
