"""Weights, frames and noise drawn from names and seeds, for comparison with the official code.

Needs NumPy only: tools/official/parity.py loads this file where Paddle need not be installed.
"""

import zlib
from collections.abc import Sequence

import numpy as np


def seeded_value(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The float32 array that stands for the parameter or buffer of this official name.

    Args:
        name: 'generator.', 'kp_detector.', 'discriminator.' or 'vgg19.' and the state-dict key.
    """
    rng = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**31)
    parts = name.split('.')
    last, of_jacobian = parts[-1], 'jacobian' in parts
    if last == 'running_mean':
        value = rng.uniform(-0.1, 0.1, shape)
    elif last == 'running_var':
        value = rng.uniform(0.5, 1.5, shape)
    elif last in ('weight_u', 'weight_v'):
        value = rng.standard_normal(shape)
        value /= np.linalg.norm(value)
    elif last in ('weight', 'weight_orig') and len(shape) == 4:
        value = rng.uniform(-1, 1, shape) * np.sqrt(3 / np.prod(shape[1:]))
        value = value * 0.1 if of_jacobian else value
    elif last == 'weight':
        value = rng.uniform(0.5, 1.5, shape)
    elif last == 'bias':
        value = rng.uniform(-0.1, 0.1, shape)
        if of_jacobian:
            value = value * 0.5 + np.tile([1.0, 0.0, 0.0, 1.0], shape[0] // 4)
    else:
        raise ValueError(f'{name}: no rule to draw a value from this name')
    return value.astype('float32')


def seeded_inputs(
    seed: int,
    frame_shape: Sequence[int],
    sigma_affine: float,
    sigma_tps: float | None = None,
    points_tps: int | None = None,
    batch_size: int = 2,
) -> dict[str, np.ndarray]:
    """Frames and transform noise of one training step.

    Args:
        frame_shape: (H, W, C).

    Returns:
        source and driving, (B, C, H, W) uint8, smooth with some noise, the second one moved;
        tps_affine_noise (B, 2, 3) and, with both tps arguments, tps_control_params (B, 1, P * P).
    """
    rng = np.random.RandomState(seed)
    height, width, channels = frame_shape
    coarse = rng.uniform(0, 255, (batch_size, channels, height // 8 + 1, width // 8 + 1))
    fine = coarse.repeat(8, axis=2).repeat(8, axis=3)[:, :, :height, :width]
    noise = rng.uniform(-20, 20, fine.shape)
    inputs = {
        'source': np.clip(fine + noise, 0, 255).astype('uint8'),
        'driving': np.clip(np.roll(fine, (3, 5), axis=(2, 3)) + noise, 0, 255).astype('uint8'),
        'tps_affine_noise': rng.normal(0, sigma_affine, (batch_size, 2, 3)).astype('float32'),
    }
    if sigma_tps is not None and points_tps is not None:
        control_params = rng.normal(0, sigma_tps, (batch_size, 1, points_tps**2))
        inputs['tps_control_params'] = control_params.astype('float32')
    return inputs
