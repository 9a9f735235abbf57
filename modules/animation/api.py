"""Animation from Python: NumPy arrays in, NumPy arrays out. See doc/python.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Literal

import numpy as np

from modules.animation.animator import Painter, detect_all, detected, paint, paint_moving
from modules.animation.driving import MotionDriving, Recorder, Smoother, find_best_frame
from modules.animation.inputs import choose_weights, last_stays
from modules.animation.motion_file import Motion, check_config, check_detector
from modules.animation.normalization import Normalization
from modules.animation.timeline import Timeline
from modules.checkpoints.models import StoredModels
from modules.config import load_config
from modules.inference.choice import build_engine
from modules.runtime.files import PathLike
from modules.runtime.process import prepare_library
from modules.util import Keypoints
from modules.video import FOLDER_FPS, VideoReader, map_repeated, resize_frame
from modules.video.levels import to_bytes
from modules.video.timing import Rate, exact_rate

Frames = np.ndarray | Iterable[np.ndarray]


class Animator:
    """A model that animates pictures by the motion of clips.

        animator = Animator('vox')
        frames = animator.animate(picture, clip, relative=True, adapt_scale=True)

    Pictures and frames are (H, W, 3), RGB: uint8, or float in [0, 1]. They may have any size, and
    are brought to the model's as `demo.py` does, squeezed if their shape is another. Results are of
    the model's size, and uint8 if the source is, else float32 in [0, 1].

    It is used by one thread at a time.

    Args:
        checkpoint: weights, as for demo.py: a known name ('vox', 'vox-512'), or the path of a file,
            of a run's folder, ...; the bundled networks, for drawn creatures, if None.
        config: path of their config; where it is left out that of a known name, or of a run.
        cpu: compute on the CPU, to which Paddle is switched; else on the device that Paddle is set
            to.
        engine, precision: as of demo.py.
        batch: frames computed at once; None: as many as are fastest here. 1 where each frame is
            waited for, as from a camera.

    Attributes:
        size: (H, W) of the results.

    Raises:
        UserError: the weights or the config are not there, or don't fit.
    """

    def __init__(
        self,
        checkpoint: PathLike | None = None,
        config: PathLike | None = None,
        *,
        cpu: bool = False,
        engine: str = 'auto',
        precision: str = 'fp32',
        batch: int | None = None,
    ):
        path, weights = choose_weights(config, checkpoint)
        self._config = load_config(path, need=('dataset_params.frame_shape',))
        height, width = self._config['dataset_params']['frame_shape'][:2]
        self.size: tuple[int, int] = (height, width)
        prepare_library(cpu)
        self._models = StoredModels(self._config, weights)
        params = self._config['model_params']
        self._engine = build_engine(self._models, params, self.size, engine, precision, batch=batch)
        self._detector: str | None = None

    def animate(
        self,
        source: np.ndarray,
        driving: Frames | Motion,
        *,
        relative: bool = False,
        adapt_scale: bool = False,
        motion_scale: float = 1.0,
        best_frame: int | Literal['find'] | None = None,
        smooth: bool = False,
        fps: Rate = FOLDER_FPS,
    ) -> np.ndarray:
        """Animates a picture; the settings are the options of demo.py.

        Args:
            source: a picture (H, W, 3), or frames (T, H, W, 3) of a clip: its frame i then goes
                with driving frame i, and its last one with those that are left.
            driving: (T, H, W, 3), a list or any other iterable of frames, a VideoReader, or a
                motion (from `detect` or `read_motion`).
            relative, adapt_scale, motion_scale, smooth: as of demo.py.
            best_frame: with `relative`, the number of the driving frame that movement is measured
                from, or 'find'; None: the first.
            fps: frames per second of `driving`, for `smooth`; a VideoReader and a motion know it.

        Returns:
            (T, H, W, 3), a frame for each driving frame.

        Raises:
            ValueError: an array of another shape, type or range, no frames, no such best_frame.
            UserError: a motion of another model; sizes to be adapted that are none.
        """
        frames = list(
            self.stream(
                source,
                driving,
                relative=relative,
                adapt_scale=adapt_scale,
                motion_scale=motion_scale,
                best_frame=best_frame,
                smooth=smooth,
                fps=fps,
            )
        )
        if not frames:
            raise ValueError('there are no driving frames')
        return np.stack(frames)

    def stream(
        self,
        source: np.ndarray,
        driving: Frames | Motion,
        *,
        relative: bool = False,
        adapt_scale: bool = False,
        motion_scale: float = 1.0,
        best_frame: int | Literal['find'] | None = None,
        smooth: bool = False,
        fps: Rate = FOLDER_FPS,
    ) -> Iterator[np.ndarray]:
        """As `animate`, frame by frame as the driving frames come: memory does not grow with them.

        With `best_frame` all of them are gone through first; their keypoints are kept.
        """
        if motion_scale != 1 and not relative:
            raise ValueError('motion_scale scales the movement, which is carried over by relative')
        keypoints = self._poses(driving)
        rate = driving.fps if isinstance(driving, Motion | VideoReader) else exact_rate(fps)
        normalization = Normalization(relative, relative, adapt_scale, motion_scale)
        sources = source if source.ndim == 4 else source[None]
        if len(sources) == 0:
            raise ValueError('the source has no frames')
        first = _prepare(sources[0], self.size)
        initial = None
        if best_frame is not None:
            poses = list(keypoints)
            initial = self._initial(first, poses, best_frame)
            keypoints = iter(poses)
        if smooth:
            keypoints = Smoother(rate, self.size).smooth(keypoints)
        if source.ndim == 4:
            prepared = (_prepare(frame, self.size) for frame in source)
            moving = last_stays(prepared)
            frames = paint_moving(self._engine, moving, keypoints, normalization, initial)
        else:
            painter = Painter(self._engine, first, normalization)
            frames = map_repeated(itemgetter(0), paint([painter], keypoints, initial))
        yield from map_repeated(to_bytes, frames) if source.dtype == np.uint8 else frames

    def detect(self, frames: Frames, fps: Rate = FOLDER_FPS) -> Motion:
        """The motion of a clip: its keypoints, which `animate` takes in place of frames, and
        `write_motion` (modules/animation/motion_file.py) keeps.

        Args:
            frames: as `driving` of `animate`.
            fps: frames per second; a VideoReader knows it.
        """
        rate = frames.fps if isinstance(frames, VideoReader) else exact_rate(fps)
        recorder = Recorder(Timeline(rate, rate), self.size, self._hash())
        for _ in recorder.record(self._poses(frames)):
            pass
        if recorder.count == 0:
            raise ValueError('there are no frames')
        return recorder.motion()

    def _poses(self, driving: Frames | Motion) -> Iterator[Keypoints]:
        if isinstance(driving, Motion):
            check_config('motion', driving, self.size, self._config['model_params'])
            check_detector('motion', driving, self._hash())
            rate, count = driving.fps, driving.frame_count
            return iter(MotionDriving(driving, Timeline(rate, rate, stop=count)))

        def prepare(frame: np.ndarray) -> np.ndarray:
            return _prepare(frame, self.size)

        # The same array again is a repeated frame of a reader's; others may have been given the
        # next frame in the same array.
        is_reader = isinstance(driving, VideoReader)
        frames = map_repeated(prepare, driving) if is_reader else map(prepare, driving)
        return detected(self._engine, frames)

    def _initial(
        self, source: np.ndarray, poses: list[Keypoints], best_frame: int | Literal['find']
    ) -> Keypoints:
        if best_frame == 'find':
            (kp_source,) = detect_all(self._engine, [source])
            return find_best_frame(kp_source, poses)[1]
        if not 0 <= best_frame < len(poses):
            raise ValueError(f'best_frame = {best_frame} of {len(poses)}; they count from 0')
        return poses[best_frame]

    def _hash(self) -> str:
        if self._detector is None:
            self._detector = self._models.detector_hash()
        return self._detector


def _prepare(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8, or float in [0, 1] -> a new array of the model's size, float32 in [0, 1]."""
    if frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f'a frame of shape {frame.shape}; must be (H, W, 3)')
    if frame.dtype == np.uint8:
        return resize_frame(frame, size)
    if not np.issubdtype(frame.dtype, np.floating):
        raise ValueError(f'a frame of {frame.dtype}; must be uint8, or float in [0, 1]')
    if not (frame.min() >= 0 and frame.max() <= 1):
        raise ValueError('a frame of floats outside [0, 1]; divide levels by 255')
    if frame.shape[:2] == tuple(size):
        return frame.astype(np.float32)
    return resize_frame(frame * 255, size)
