"""What tests/support/joint_steps.py writes, compared."""

import numpy as np


def assert_as_one_process(one, several):
    """Losses, weights and statistics of several processes are those of one on the joint batch."""
    for name in set(one.files) - {'calls', 'norms'}:
        largest = np.abs(one[name]).max()
        scale = largest if name.startswith('norm.') else max(1.0, largest)
        assert np.abs(one[name] - several[name]).max() < 1e-9 * scale, name
