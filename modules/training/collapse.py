"""Keypoints that say nothing any more: training rarely finds back by itself."""

import numpy as np

NEAR = 0.03  # from their mean, in half frames: keypoints that are all at one place
EDGE = 0.97  # of half a frame from its middle, and beyond: nothing is seen there
CURES = (
    'usual cures: a lower lr_kp_detector, train_params.warmup_steps or clip_grad_norm, larger '
    'batches, a higher equivariance_value, clips whose object fills the frame and moves, or '
    '--checkpoint with weights that work'
)


def collapse(value: np.ndarray) -> str | None:
    """What is wrong with the keypoints of a batch.

    Args:
        value: (B, K, 2), coordinates in [-1, 1].

    Returns:
        The end of a sentence about them, or None.
    """
    if value.shape[1] > 1:
        distance = np.linalg.norm(value - value.mean(axis=1, keepdims=True), axis=2)
        if distance.max() < NEAR:
            return 'are all at one place'
    if (np.abs(value).max(axis=2) > EDGE).mean() > 0.5:
        return 'are mostly at the edge of the picture or outside'
    return None
