"""Runs of animate.py, and what they leave."""

import json
import sys
from fractions import Fraction

import numpy as np
import pytest
import yaml
from PIL import Image

import animate
from modules.animation import animator
from modules.data.clips import open_clip
from modules.video.levels import to_bytes
from tests.support.tiny_checkpoint import LEGACY, TINY

NTSC = Fraction(30000, 1001)
RELATIVE = {'use_relative_movement': True, 'use_relative_jacobian': True}


def driving_frames():
    return np.load(TINY / 'driving.npy')


def write_config(path, root, normalization=RELATIVE, num_pairs=4, video_format='.mp4', **dataset):
    config = yaml.safe_load((TINY / 'tiny.yaml').read_text())
    config['dataset_params'].update(root_dir=str(root), **dataset)
    config['animate_params'] = {
        'num_pairs': num_pairs,
        'format': video_format,
        'normalization_params': dict(normalization),
    }
    config['visualizer_params'] = {'kp_size': 2, 'draw_border': False}
    path.write_text(yaml.safe_dump(config))
    return path


def run(config, save_dir, *arguments, checkpoint=LEGACY):
    given = ['--config', config, '--save_dir', save_dir, '--checkpoint', checkpoint, *arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['animate.py', '--cpu', '--engine', 'eager', *map(str, given)])
        animate.main()
    return save_dir


def files_of(folder):
    """{path within the folder: bytes}, hidden ones too."""
    found = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def run_file(folder):
    return json.loads((folder / 'run.json').read_text())


def strip_frames(path):
    picture = np.asarray(Image.open(path))
    return np.stack(np.split(picture, picture.shape[1] // 64, axis=1))


def expected_frames(models, dataset, name, normalization):
    driving, source = (open_clip(dataset / 'test' / n, (64, 64)) for n in name.split('-'))
    frames = (frame / np.float32(255) for frame in driving.frames())
    first = next(source.frames()) / np.float32(255)
    return np.stack([to_bytes(f) for f in animator.animate(models, first, frames, normalization)])
