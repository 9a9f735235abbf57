"""An export is worth what its frames are: they are compared with the networks' on the spot.

Converters lose things without a word: a slope, a padding, a constant that is added to an output.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import paddle

from modules.animation.animator import to_batch
from modules.build import Models
from modules.eager import EagerEngine
from modules.runtime.errors import UserError
from modules.util import Keypoints
from tools.exporting.formats import Program

ALLOWED = 1e-4  # of frames in [0, 1]


def eager_frames(models: Models, source: np.ndarray, driving: Sequence[np.ndarray]) -> np.ndarray:
    """What the networks themselves make, frame by frame: (T, C, H, W).

    Args:
        source, driving: pictures (H, W, C), float32 in [0, 1], of the model's size.
    """
    engine, frames = EagerEngine(models), []
    with paddle.no_grad():
        image = to_batch(source)
        kp_source = engine.detect(image)
        encoded = engine.encode(image, kp_source)
        for picture in driving:
            kp_driving = engine.detect(to_batch(picture))
            frames.append(engine.decode(encoded, kp_driving, kp_source).prediction.numpy())
    return np.concatenate(frames)


def exported_frames(
    programs: Mapping[str, Program],
    source: np.ndarray,
    driving: Sequence[np.ndarray],
    batch: int,
) -> np.ndarray:
    """The same by exported programs, `batch` frames a run; the last one fills the batch up."""
    image = items([source], batch)
    kp_source = Keypoints(*programs['keypoints']({'image': image}))
    reduced, features = programs['source']({'image': image})
    frames = []
    for start in range(0, len(driving), batch):
        part = driving[start : start + batch]
        kp_driving = Keypoints(*programs['keypoints']({'image': items(part, batch)}))
        inputs = {
            'reduced': reduced,
            'features': features,
            'driving_value': kp_driving.value,
            'source_value': kp_source.value,
        }
        if kp_driving.jacobian is not None:
            inputs['driving_jacobian'] = kp_driving.jacobian
            inputs['source_jacobian'] = kp_source.jacobian
        (frame,) = programs['frame'](inputs)
        frames.append(frame[: len(part)])
    return np.concatenate(frames)


def items(pictures: Sequence[np.ndarray], batch: int) -> np.ndarray:
    """Pictures (H, W, C) -> (batch, C, H, W), the last one repeated where some are missing."""
    return to_batch(*pictures, *[pictures[-1]] * (batch - len(pictures))).numpy()


def difference(name: str, found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of frames.

    Args:
        name: of what has run the export.

    Raises:
        UserError: it is too large, or something is no number.
    """
    largest = float(np.abs(found - expected).max())
    if not largest <= ALLOWED:  # nor for NaN
        raise UserError(
            f'{name}: its frames differ by up to {largest:.1e} from those of the networks, more '
            f'than {ALLOWED}; nothing is written. Please tell the versions of the packages'
        )
    return largest
