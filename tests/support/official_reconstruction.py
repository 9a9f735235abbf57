"""Runs the official reconstruction.py, from a clone, on the CPU: a program of its own for PyTorch's
Python.

    python official_reconstruction.py CLONE < job

The job is the config as tools/official/parity.py's official_config gives it, the `dataset_params`,
and paths: `checkpoint`, `out`. What the official code prints comes on stdout.
"""

import functools
import json
import sys
from unittest.mock import MagicMock

# What it imports, itself or on the way, and doesn't use to reconstruct folders of PNG frames.
NOT_NEEDED = (
    'torchvision', 'sklearn', 'sklearn.model_selection', 'matplotlib', 'matplotlib.pyplot', 'pandas'
)  # fmt: skip


def main() -> None:
    job = json.load(sys.stdin)
    sys.path[0] = sys.argv[1]
    sys.modules.update({name: MagicMock() for name in NOT_NEEDED})
    import torch

    functional = torch.nn.functional
    functional.grid_sample = functools.partial(
        functional.grid_sample, align_corners=job['align_corners']
    )
    import reconstruction

    from frames_dataset import FramesDataset
    from modules.generator import OcclusionAwareGenerator
    from modules.keypoint_detector import KPDetector

    # It draws pictures for a video, which is not compared; and it reads by a worker process.
    reconstruction.Visualizer = MagicMock()
    reconstruction.imageio.mimsave = MagicMock()
    reconstruction.DataLoader = lambda dataset, **options: torch.utils.data.DataLoader(dataset)
    params = job['config']['model_params']
    common = params['common_params']
    config = {
        'reconstruction_params': {'num_videos': None, 'format': '.mp4'},
        'visualizer_params': {},
    }
    reconstruction.reconstruction(
        config,
        OcclusionAwareGenerator(**params['generator_params'], **common),
        KPDetector(**params['kp_detector_params'], **common),
        job['checkpoint'],
        job['out'],
        FramesDataset(**job['dataset_params'], is_train=False),
    )


if __name__ == '__main__':
    main()
