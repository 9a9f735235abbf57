"""How the keypoints of a driving frame are carried over to the source (paper Sec. 3.4)."""

from typing import NamedTuple

import numpy as np
import paddle

from modules.ops.linalg import inverse_2x2
from modules.runtime.errors import UserError
from modules.util import Keypoints


class Normalization(NamedTuple):
    """How the driving keypoints are carried over to the source."""

    use_relative_movement: bool = False  # add the movement since the initial frame to the source's
    use_relative_jacobian: bool = False  # likewise for the Jacobians; needs relative movement
    adapt_movement_scale: bool = False  # scale the movement by the ratio of the objects' sizes
    motion_scale: float = 1.0  # the movement is so many times the driving one; 0: none


ABSOLUTE = Normalization()  # the driving keypoints as they are
_FLAT = 1e-6  # float32 keypoints on a line span so much of their squared extent, by rounding


def hull_area(kp_value: np.ndarray) -> float:
    """Area of the convex hull of keypoints (K, 2).

    Raises:
        UserError: fewer than three keypoints, or all on a line, or one is not finite.
    """
    if kp_value.ndim != 2:
        raise ValueError(f'keypoints of shape {kp_value.shape}, not (K, 2)')
    # SciPy's hull would do, but for its import: a quarter of a second and 34 MB.
    points = np.sort(kp_value.astype('float64') @ [1, 1j])  # by x, then by y
    corners = np.array([*_half_hull(points), *_half_hull(points[::-1])])
    area = (corners.conj() * np.roll(corners, -1)).imag.sum() / 2
    if not area > _FLAT * np.abs(points - points.mean()).max() ** 2:  # nor for NaN
        raise UserError(
            'the keypoints span no area, so there is no size to adapt to or compare; for this '
            'model or clip, leave out --adapt_scale (in a config: adapt_movement_scale) and '
            '--find_best_frame'
        )
    return float(area)


def _half_hull(points: np.ndarray) -> list[complex]:
    """The corners of the lower half of a convex hull but for the last, of sorted points x + iy; of
    points in the opposite order, those of the upper half (Andrew's monotone chain).
    """
    corners: list[complex] = []
    for point in points:
        while len(corners) > 1 and _turn(corners[-2], corners[-1], point) <= 0:
            corners.pop()
        corners.append(point)
    return corners[:-1]


def _turn(a: complex, b: complex, c: complex) -> float:
    """Above 0 if the way from a over b to c turns to the left."""
    return ((b - a).conjugate() * (c - a)).imag


def movement_scale(kp_source: Keypoints, kp_initial: Keypoints) -> float:
    """sqrt(area of the source's keypoints / area of the initial driving frame's)."""
    areas = [hull_area(kp.value[0].numpy()) for kp in (kp_source, kp_initial)]
    return float(np.sqrt(areas[0]) / np.sqrt(areas[1]))


def normalize_kp(
    kp_source: Keypoints,
    kp_driving: Keypoints,
    kp_initial: Keypoints,
    normalization: Normalization,
    scale: float = 1.0,
) -> Keypoints:
    """The driving keypoints as the source's (paper Eq. 12).

    A motion_scale m multiplies how far every point is moved since the initial frame. Near a
    keypoint the movement is the affine map of Jacobian R = J_driving J_initial^-1, which moves a
    point z by (R - 1) z; m times as far moves it the map of Jacobian 1 + m (R - 1).

    Args:
        kp_initial: keypoints of the driving frame whose pose is the source's.
        scale: of the movement, from `movement_scale`.
    """
    if not normalization.use_relative_movement:
        return kp_driving
    factor = normalization.motion_scale
    value = (kp_driving.value - kp_initial.value) * (scale * factor) + kp_source.value
    jacobian = kp_driving.jacobian
    if normalization.use_relative_jacobian and jacobian is not None:
        movement = jacobian @ inverse_2x2(kp_initial.jacobian)
        if factor != 1:  # else it would be rounded
            still = paddle.eye(2, dtype=movement.dtype)
            movement = still + (movement - still) * factor
        jacobian = movement @ kp_source.jacobian
    return kp_driving._replace(value=value, jacobian=jacobian)
