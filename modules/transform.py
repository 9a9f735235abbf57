"""Random affine and thin-plate transform for the equivariance losses (paper Sec. 3.1)."""

from __future__ import annotations

import numpy as np
import paddle
from paddle import Tensor

from modules.ops.sampling import grid_sample
from modules.test_mode import tap
from modules.util import make_coordinate_grid

_EPSILON = 1e-6  # keeps the logarithm of the radial term finite; part of the trained models


class Transform:
    """T(z) = A z + b + s(z) (1, 1), with s a sum of radial terms r^2 log r, r the L1 distance.

    Args:
        affine_noise: (B, 2, 3), added to the identity map [A | b].
        control_params: (B, 1, P * P) weights of the control points, or None for an affine map.
    """

    def __init__(self, affine_noise: Tensor, control_params: Tensor | None = None):
        self.affine_noise = affine_noise
        self.theta = affine_noise + paddle.eye(2, 3, dtype=affine_noise.dtype)
        self.control_params = control_params
        if control_params is not None:
            points = round(control_params.shape[-1] ** 0.5)
            grid = make_coordinate_grid((points, points), affine_noise.dtype)
            self.control_points = grid.flatten(0, 1)  # (P * P, 2)

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        batch_size: int,
        sigma_affine: float,
        sigma_tps: float | None = None,
        points_tps: int | None = None,
    ) -> Transform:
        """Draws normal noise from `rng`; without both tps arguments an affine map."""
        affine_noise = rng.normal(0, sigma_affine, (batch_size, 2, 3))
        control_params = None
        if sigma_tps is not None and points_tps is not None:
            control_params = rng.normal(0, sigma_tps, (batch_size, 1, points_tps**2))
            control_params = paddle.to_tensor(control_params, paddle.get_default_dtype())
        return cls(paddle.to_tensor(affine_noise, paddle.get_default_dtype()), control_params)

    def __getitem__(self, samples: slice) -> Transform:
        """The transforms of some samples of the batch."""
        control_params = self.control_params
        return Transform(
            self.affine_noise[samples],
            None if control_params is None else control_params[samples],
        )

    def _distances(self, coordinates: Tensor) -> Tensor:
        """Signed distances to the control points: (B or 1, N, 2) -> (B or 1, N, P * P, 2)."""
        return coordinates.unsqueeze(2) - self.control_points

    def warp_coordinates(self, coordinates: Tensor) -> Tensor:
        """T of (B or 1, N, 2) coordinates: (B, N, 2)."""
        affine = self.theta[:, :, :2].transpose([0, 2, 1])
        warped = coordinates @ affine + self.theta[:, :, 2].unsqueeze(1)
        if self.control_params is None:
            return warped
        r = self._distances(coordinates).abs().sum(-1)  # (B or 1, N, P * P)
        radial = r * r * paddle.log(r + _EPSILON)
        return warped + radial @ self.control_params.transpose([0, 2, 1])

    def jacobian(self, coordinates: Tensor) -> Tensor:
        """T' at (B, N, 2) coordinates: (B, N, 2, 2), rows d T_x and d T_y.

        In closed form, so that the loss needs first-order gradients only.
        """
        affine = self.theta[:, :, :2].unsqueeze(1)
        if self.control_params is None:
            return affine.expand([*coordinates.shape, 2])
        distances = self._distances(coordinates)
        r = distances.abs().sum(-1)
        slope = 2 * r * paddle.log(r + _EPSILON) + r * r / (r + _EPSILON)  # of r^2 log(r + eps)
        slope = (slope * self.control_params).unsqueeze(-1)
        gradient = (slope * distances.sign()).sum(2)  # (B, N, 2), of the shift common to x and y
        return affine + gradient.unsqueeze(2)

    def transform_frame(self, frame: Tensor, align_corners: bool) -> Tensor:
        """The frame seen through T, mirrored at its border: (B, C, H, W)."""
        h, w = frame.shape[2:]
        grid = make_coordinate_grid((h, w), frame.dtype).reshape([1, h * w, 2])
        grid = self.warp_coordinates(grid).reshape([-1, h, w, 2])
        warped = grid_sample(frame, grid, align_corners, padding_mode='reflection')
        return tap('transformed_frame', warped)
