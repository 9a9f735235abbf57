"""What finds keypoints and identities in frames, for AKD, MKR and AED.

Built in:

    joints            drawn creatures: the exact joints in the truth, see DrawnJoints; needs nothing
    mediapipe-face    468 points of a face      \\ an environment of its own:
    mediapipe-body    33 points of a person     / requirements-mediapipe.txt
    colours           embedding: which colours the picture has, whatever is where; needs nothing

Any other one is named module:function, in a module that Python finds from the current folder. The
function is called without arguments and returns a Detector or an Embedder.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Protocol

import numpy as np

from modules.evaluation.frame_pairs import Embedder, FramePair, PairDetector
from modules.evaluation.joints import DrawnJoints
from modules.runtime.errors import UserError

MEDIAPIPE_HINT = 'install requirements-mediapipe.txt into an environment of its own'
VISIBLE = 0.5  # least visibility of a body's keypoint that counts as found


class Detector(Protocol):
    """Finds keypoints in a frame, without regard to other frames."""

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        """(H, W, 3) uint8 -> (K, 2) x, y in pixels, NaN where not found; None if none is found."""
        ...


class EachFrame:
    """A PairDetector that asks a Detector about truth and result, one without the other."""

    def __init__(self, name: str, detect: Detector):
        self._name, self._detect = name, detect

    def __call__(self, pair: FramePair) -> tuple[np.ndarray, np.ndarray]:
        truth, result = (self._points(frame) for frame in (pair.truth, pair.result))
        if truth is None:  # nothing to compare with, whatever was found in the result
            return np.empty((0, 2)), np.empty((0, 2))
        if result is None:
            return truth, np.full_like(truth, np.nan)
        if truth.shape != result.shape:
            raise UserError(
                f'--detector {self._name}: {len(truth)} keypoints in one frame and {len(result)} '
                'in another; it must always give as many, NaN for those not found'
            )
        return truth, result

    def _points(self, frame: np.ndarray) -> np.ndarray | None:
        points = self._detect(frame)
        if points is None:
            return None
        points = np.asarray(points, 'float64')
        if points.ndim != 2 or points.shape[1] != 2:
            raise UserError(
                f'--detector {self._name}: gave an array of shape {points.shape}, wanted (K, 2)'
            )
        return points


def colours(frame: np.ndarray) -> np.ndarray:
    """An Embedder: the shares of 8 x 8 x 8 colours in the frame -> (512,) of length 1.

    Distances are from 0, the same colours, to 1.41, none in common. It tells whether the colours of
    a creature and what is around it are kept, not whether a face is. Each value is shared linearly
    between its two nearest bins, so that slight changes make slight distances.
    """
    position = frame.reshape(-1, 3).astype('float64') * (7 / 255)
    low = np.minimum(position.astype(int), 6)
    rest = position - low
    shares = np.zeros((8, 8, 8))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, rest, 1 - rest).prod(axis=1)
        np.add.at(shares, tuple((low + corner).T), weight)
    return shares.ravel() / np.linalg.norm(shares)


class MediaPipeFace:
    """A Detector: 468 points of the most certain face, all or none of them."""

    def __init__(self):
        solution = _mediapipe_solutions().face_mesh
        self._model = solution.FaceMesh(static_image_mode=True, max_num_faces=1)

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        faces = self._model.process(frame).multi_face_landmarks
        return _to_pixels(faces[0].landmark, frame) if faces else None


class MediaPipeBody:
    """A Detector: 33 points of a person, those that are visible by the model's own judgement."""

    def __init__(self):
        self._model = _mediapipe_solutions().pose.Pose(static_image_mode=True, model_complexity=1)

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        body = self._model.process(frame).pose_landmarks
        if body is None:
            return None
        points = _to_pixels(body.landmark, frame)
        points[[landmark.visibility < VISIBLE for landmark in body.landmark]] = np.nan
        return points


def _mediapipe_solutions():
    """MediaPipe's models that come inside its package; raises UserError where they don't."""
    os.environ.setdefault('GLOG_minloglevel', '2')  # it is talkative on stderr
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    try:
        import mediapipe
    except Exception as error:  # with an unfit protobuf or NumPy its import fails in any way
        reason = f'{type(error).__name__}: {error}'
        raise UserError(f'--detector: MediaPipe: {reason}; {MEDIAPIPE_HINT}') from error
    if not hasattr(mediapipe, 'solutions'):
        raise UserError(
            f'--detector: MediaPipe {mediapipe.__version__} comes without its weights; 0.10.21 was '
            f'the last release to bring them: {MEDIAPIPE_HINT}'
        )
    return mediapipe.solutions


def _to_pixels(landmarks, frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.array([[point.x * width, point.y * height] for point in landmarks])


DETECTORS: dict[str, Callable[[], Detector]] = {
    'mediapipe-face': MediaPipeFace,
    'mediapipe-body': MediaPipeBody,
}


def build_detector(name: str) -> PairDetector:
    """The detector of --detector; see the head of this file.

    Raises:
        UserError: there is none of that name, or it lacks what it needs.
    """
    if name == 'joints':
        return DrawnJoints()
    build = DETECTORS.get(name) or _import(name, '--detector', ['joints', *DETECTORS])
    return EachFrame(name, build())


def build_embedder(name: str) -> Embedder:
    """The embedder of --embedder, likewise."""
    return colours if name == 'colours' else _import(name, '--embedder', ['colours'])()


def _import(name: str, option: str, known) -> Callable:
    """The function that module:function names."""
    module, _, function = name.partition(':')
    if not (module and function):
        raise UserError(f'{option} {name}: none of {", ".join(known)}, and no module:function')
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f'{option} {name}: can not be had: {error}; modules are looked for in the current '
            'folder and among the installed ones'
        ) from error
