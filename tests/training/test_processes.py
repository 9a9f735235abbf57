"""Several processes train as one does."""

import subprocess
import sys

import numpy as np

from tests.support.places import ROOT


def test_two_processes_equal_one_on_the_joint_batch(tmp_path):
    """Batch norm is synchronised (its statistics are the joint batch's), gradients are averaged."""
    script = str(ROOT / 'tests' / 'support' / 'joint_steps.py')
    launch = [
        '-m',
        'paddle.distributed.launch',
        '--nproc_per_node',
        '2',
        '--log_dir',
        tmp_path / 'l',
    ]
    for mode, name in (([], 'one.npz'), (launch, 'two.npz')):
        command = [sys.executable, *map(str, mode), script, str(tmp_path / name)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    one, two = np.load(tmp_path / 'one.npz'), np.load(tmp_path / 'two.npz')
    # One message for each norm, one for its gradient; a step's gradients and losses are two more.
    assert two['norms'] > 0 and two['messages'] == 2 * two['norms'] + 2 * len(two['losses'])
    for name in set(one.files) - {'messages', 'norms'}:
        scale = max(1.0, np.abs(one[name]).max())
        assert np.abs(one[name] - two[name]).max() < 1e-9 * scale, name
    assert np.abs(one['losses'][0] - one['losses'][-1]).max() > 1e-3  # something was learnt
