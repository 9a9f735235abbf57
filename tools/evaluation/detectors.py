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
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from skimage.feature import match_template

from modules.runtime.errors import UserError

# Of a search for a piece of the truth in the result; sizes as parts of the frame's smaller side.
PATCH = 1 / 16  # half the side of the piece
REACH = 1 / 8  # how far it may have moved, in x and in y
PLAIN = 4  # least standard deviation, in levels, of a piece that can be told from others
MATCH = 0.7  # least correlation with the piece that was looked for
TIE = 0.01  # of correlations that are as good as equal

MEDIAPIPE_HINT = 'install requirements-mediapipe.txt into an environment of its own'
VISIBLE = 0.5  # least visibility of a body's keypoint that counts as found


class FramePair(NamedTuple):
    """A frame of a clip and its reconstruction."""

    clip: Path  # of the dataset
    number: int  # of the frame, from 0
    truth: np.ndarray  # (H, W, 3) uint8
    prediction: np.ndarray  # (H, W, 3) float32 in [0, 1], as the generator gives it
    result: np.ndarray  # (H, W, 3) uint8: the prediction as it is saved


class Detector(Protocol):
    """Finds keypoints in a frame, without regard to other frames."""

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        """(H, W, 3) uint8 -> (K, 2) x, y in pixels, NaN where not found; None if none is found."""
        ...


class PairDetector(Protocol):
    """Finds the same keypoints in a frame's truth and in its reconstruction."""

    def __call__(self, pair: FramePair) -> tuple[np.ndarray, np.ndarray]:
        """-> (K, 2) of the truth and (K, 2) of the result; x, y in pixels, NaN where not found."""
        ...


class Embedder(Protocol):
    """Tells who or what is in a frame."""

    def __call__(self, frame: np.ndarray) -> np.ndarray | None:
        """(H, W, 3) uint8 -> (D,), or None if nobody is found."""
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


def find_piece(truth: np.ndarray, result: np.ndarray, point: np.ndarray) -> np.ndarray | None:
    """Where in `result` the piece of `truth` around a point is.

    The piece is moved by whole pixels, and its normalized correlation with what is there decides.
    Of places as good as the best, the nearest is taken: along a plain limb no movement is claimed
    that the picture does not show.

    Args:
        truth, result: (H, W, 3) uint8.
        point: (2,) x, y in pixels.

    Returns:
        (2,) x, y in pixels: the point, moved as far as the piece; None if it is not there.

    Raises:
        ValueError: the piece is plain, and could be anywhere.
    """
    side = min(truth.shape[:2])
    half, reach = max(3, round(PATCH * side)), round(REACH * side)
    x, y = np.rint(point).astype(int)
    piece = _around(truth, x, y, half)
    if piece.std() < PLAIN:
        raise ValueError('a plain piece')
    scores = match_template(_around(result, x, y, half + reach), piece)[..., 0]
    best = scores.max()
    if best < MATCH:
        return None
    rows, columns = np.nonzero(scores >= best - TIE)
    moves = np.stack([columns, rows], axis=1) - reach
    return point + moves[np.square(moves).sum(axis=1).argmin()]


def _around(frame: np.ndarray, x: int, y: int, half: int) -> np.ndarray:
    """(2 * half + 1, 2 * half + 1, 3) float; outside the frame its border goes on."""
    rows, columns = (
        np.clip(np.arange(centre - half, centre + half + 1), 0, size - 1)
        for centre, size in zip((y, x), frame.shape)
    )
    return frame[rows[:, None], columns].astype('float64')


class DrawnJoints:
    """A PairDetector for drawn creatures, whose joints in the truth are exact.

    They are in the files that make_demo_dataset.py writes, DATA/joints/test/CLIP.npz: `points`
    (T, J, 2), x and y in pixels, and `visible` (T, J). Any annotated dataset may bring such files.

    In the result a joint is where the piece of the truth around it is found again (find_piece). It
    does not count as found in the truth where it is hidden or in plain surroundings. Measured on
    drawn clips of 64 x 64: in the same clip's next frame the joint is found in 99 % of the cases,
    in the median 0.4 pixels from where it truly is; where the creature is taken away, in 1 %.
    """

    def __init__(self):
        self._path: Path | None = None
        self._points, self._visible = np.empty((0, 0, 2)), np.empty((0, 0), bool)

    def __call__(self, pair: FramePair) -> tuple[np.ndarray, np.ndarray]:
        path = pair.clip.parent.parent / 'joints' / pair.clip.parent.name / f'{pair.clip.name}.npz'
        if path != self._path:
            self._points, self._visible = read_joints(path)
            self._path = path
        if pair.number >= len(self._points):
            raise UserError(f'{path}: {len(self._points)} frames, but {pair.clip} has more')
        truth = self._points[pair.number].copy()
        result = np.full_like(truth, np.nan)
        for index, visible in enumerate(self._visible[pair.number]):
            try:
                if not visible:
                    raise ValueError('a hidden joint')
                found = find_piece(pair.truth, pair.result, truth[index])
            except ValueError:
                truth[index] = np.nan
                continue
            result[index] = np.nan if found is None else found
        return truth, result


def read_joints(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """points (T, J, 2) and visible (T, J) of a clip's file; see DrawnJoints.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            points, visible = np.asarray(file['points'], 'float64'), file['visible'].astype(bool)
    except FileNotFoundError:
        raise UserError(
            f'{path}: no such file; --detector joints is for data drawn by make_demo_dataset.py'
        ) from None
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise UserError(f'{path}: is no file of joints ({error}); draw the data again') from error
    if points.shape != (*visible.shape, 2) or visible.ndim != 2:
        raise UserError(f'{path}: points of shape {points.shape}, visible {visible.shape}')
    return points, visible


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
