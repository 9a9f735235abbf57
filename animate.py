"""Animation: a still source image moves as a driving video does (paper Sec. 3.4).

The one animation loop of the project: arrays in, arrays out, one frame at a time.
"""

from typing import Iterable, Iterator, NamedTuple, Optional, Tuple

import numpy as np
import paddle
from paddle import Tensor
from scipy.spatial import ConvexHull, QhullError

from modules.build import Models
from modules.cli import UserError
from modules.util import Keypoints


class Normalization(NamedTuple):
    """How the driving keypoints are carried over to the source."""

    use_relative_movement: bool = False  # add the movement since the initial frame to the source's
    use_relative_jacobian: bool = False  # likewise for the Jacobians; needs relative movement
    adapt_movement_scale: bool = False  # scale the movement by the ratio of the objects' sizes


ABSOLUTE = Normalization()  # the driving keypoints as they are


def hull_area(kp_value: np.ndarray) -> float:
    """Area of the convex hull of keypoints (K, 2).

    Raises:
        UserError: fewer than three keypoints, or all on a line.
    """
    if kp_value.ndim != 2:
        raise ValueError(f'keypoints of shape {kp_value.shape}, not (K, 2)')
    try:
        return ConvexHull(kp_value).volume  # in two dimensions the volume is the area
    except (QhullError, ValueError) as error:
        raise UserError(
            'the keypoints span no area, so there is no size to adapt to or compare; leave out '
            '--adapt_scale and --find_best_frame for this model or clip'
        ) from error


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

    Args:
        kp_initial: keypoints of the driving frame whose pose is the source's.
        scale: of the movement, from `movement_scale`.
    """
    if not normalization.use_relative_movement:
        return kp_driving
    value = (kp_driving.value - kp_initial.value) * scale + kp_source.value
    jacobian = kp_driving.jacobian
    if normalization.use_relative_jacobian and jacobian is not None:
        jacobian = jacobian @ paddle.inverse(kp_initial.jacobian) @ kp_source.jacobian
    return Keypoints(value, jacobian)


def to_batch(frame: np.ndarray) -> Tensor:
    """(H, W, C) float in [0, 1] -> (1, C, H, W) float32."""
    return paddle.to_tensor(frame.astype('float32').transpose(2, 0, 1)[np.newaxis])


def to_bytes(frame: np.ndarray) -> np.ndarray:
    """Float in [0, 1] -> uint8, rounded."""
    return np.rint(frame * 255).astype('uint8')


@paddle.no_grad()
def find_best_frame(
    models: Models, source: np.ndarray, driving: Iterable[np.ndarray]
) -> Tuple[int, np.ndarray]:
    """The driving frame whose pose is most like the source's: its number and itself.

    Poses are compared by the model's own keypoints, centred and scaled to a hull of area 1. Frames
    whose keypoints span no area are passed over.

    Raises:
        UserError: the source's span none, or those of no frame do.
    """
    models.eval()

    def pose(frame: np.ndarray) -> np.ndarray:
        kp = models.kp_detector(to_batch(frame)).value[0].numpy()
        return (kp - kp.mean(axis=0)) / np.sqrt(hull_area(kp))

    target = pose(source)
    best = None
    for number, frame in enumerate(driving):
        try:
            distance = np.square(pose(frame) - target).sum()
        except UserError:  # of no size, so not to be compared; the next frames may be
            continue
        if best is None or distance < best[0]:
            best = distance, number, frame
    if best is None:
        raise UserError(
            'the keypoints span no area in any driving frame, so there is none to compare; leave '
            'out --find_best_frame for this model or clip'
        )
    return best[1:]


class Animator:
    """Animates one source image; all that depends on the source alone is computed once.

    Args:
        models: networks with trained weights; they are switched to eval mode.
        source: (H, W, C) float in [0, 1], of the size the model was trained for.
        initial: (H, W, C), the driving frame whose pose is the source's.
    """

    @paddle.no_grad()
    def __init__(
        self,
        models: Models,
        source: np.ndarray,
        initial: np.ndarray,
        normalization: Normalization = ABSOLUTE,
    ):
        self.models = models.eval()
        self.normalization = normalization
        batch = to_batch(source)
        self.kp_source = models.kp_detector(batch)
        self.kp_initial = models.kp_detector(to_batch(initial))
        self.encoded = models.generator.encode(batch)
        adapt = normalization.adapt_movement_scale and normalization.use_relative_movement
        self.scale = movement_scale(self.kp_source, self.kp_initial) if adapt else 1.0

    @paddle.no_grad()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """A driving frame -> the source in its pose; both (H, W, C) float in [0, 1]."""
        kp_driving = self.models.kp_detector(to_batch(frame))
        kp_driving = normalize_kp(
            self.kp_source, kp_driving, self.kp_initial, self.normalization, self.scale
        )
        generated = self.models.generator.decode(
            self.encoded, kp_driving, self.kp_source, with_deformed=False
        )
        return generated.prediction[0].numpy().transpose(1, 2, 0)


def animate(
    models: Models,
    source: np.ndarray,
    driving: Iterable[np.ndarray],
    normalization: Normalization = ABSOLUTE,
    initial: Optional[np.ndarray] = None,
) -> Iterator[np.ndarray]:
    """Animates `source` by the frames of `driving` as they come, holding one at a time.

    Args:
        models, source, normalization: as for Animator.
        driving: frames (H, W, C) float in [0, 1] of the source's size.
        initial: the driving frame whose pose is the source's; the first one if None.

    Yields:
        (H, W, C) float32 in [0, 1], one for every driving frame.
    """
    animator = None
    for frame in driving:
        if animator is None:
            initial = frame if initial is None else initial
            animator = Animator(models, source, initial, normalization)
        yield animator(frame)
