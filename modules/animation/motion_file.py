"""The motion of a clip as keypoints alone, without a pixel of it: kept in a safetensors file.

metadata    format 'first-order-model motion', version, rate ('30000/1001'), frame_count, start and
            speed (of the clip, see Motion, '5/2'), size of
            the frames that the keypoints were found in ('256x256', height first), detector (see
            `detector_hash` of modules/checkpoints/models.py), crc32 of each tensor
value       (N, K, 2) float32, of the N frames that are not repeated
jacobian    (N, K, 2, 2) float32; only of models that estimate Jacobians
slots       (N,) int64: their numbers; those between show the one before again
boxes       (N, 4) or (1, 4) float64, where the clip was cropped: x, y, w, h in pixels of its frames

Nothing here needs Paddle, so that an unfit file is told at once.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.checkpoints.reading import is_safetensors, telling_errors
from modules.checkpoints.safe_pickle import RefusedError, shorten
from modules.checkpoints.safetensors_file import TensorFile, checksums, write_tensors
from modules.runtime.errors import UserError
from modules.runtime.files import PathLike, open_file
from modules.runtime.json_text import parse_json

FORMAT, VERSION = 'first-order-model motion', 1
# What a keypoint can be at most: it is a mean of coordinates in [-1, 1], rounded.
_BORDER = 1 + 1e-4
# An entry of a Jacobian has no bound of its own; by such numbers no picture is warped.
_STEEP = 1e6
_MOST_FRAMES = 10_000_000  # 90 hours at 30 a second
_FASTEST = 1000
_RATE = re.compile(r'([1-9]\d{0,9})/([1-9]\d{0,9})', re.ASCII)
_START = re.compile(r'(0|[1-9]\d{0,18})/([1-9]\d{0,18})', re.ASCII)
_COUNT = re.compile(r'[1-9]\d{0,8}', re.ASCII)
_SIZE = re.compile(r'([1-9]\d{0,4})x([1-9]\d{0,4})', re.ASCII)
_NO_MOTION = 'holds no motion; --save_motion writes files that do'
_ANOTHER = "is the motion of another model's keypoints"
_MEND = 'give the --checkpoint that it was made with, or make it anew by --save_motion'
_DAMAGED = 'take another copy, or make it anew by --save_motion'


class Motion(NamedTuple):
    """The keypoints of a clip's frames, as they were detected."""

    value: np.ndarray  # (N, K, 2) float32, of the frames that are not repeated
    jacobian: np.ndarray | None  # (N, K, 2, 2) float32; None in the zero-order model
    slots: np.ndarray  # (N,) int64, ascending from 0: the numbers of those frames
    frame_count: int  # with the repeated ones
    fps: Fraction
    size: tuple[int, int]  # (H, W) of the frames that the keypoints were found in
    detector: str  # what found them: detector_hash
    boxes: np.ndarray | None = None  # (N or 1, 4) float64: what was cropped of the clip, x, y, w, h
    start: Fraction = Fraction(0)  # second of the clip that is second 0 of the motion
    speed: Fraction = Fraction(1)  # seconds of the clip per second of the motion

    def take(self, numbers: Sequence[int], fps: Fraction | None = None) -> Motion:
        """The motion of some of the frames, such as those of a timeline.

        Args:
            numbers: of the frames, ascending; one that comes again is a repeated frame.
            fps: at which they are shown; as they were if None.

        Raises:
            IndexError: there is no such frame, or none is wanted.
        """
        wanted = np.asarray(numbers, 'int64')
        if not (len(wanted) and 0 <= wanted[0] <= wanted[-1] < self.frame_count):
            raise IndexError(f'frames {numbers} of {self.frame_count}')
        shown = np.searchsorted(self.slots, wanted, 'right') - 1
        slots = np.flatnonzero(np.diff(shown, prepend=-1))
        kept = shown[slots]
        boxes = self.boxes
        return self._replace(
            value=self.value[kept],
            jacobian=None if self.jacobian is None else self.jacobian[kept],
            slots=slots,
            frame_count=len(wanted),
            fps=self.fps if fps is None else fps,
            boxes=boxes if boxes is None or len(boxes) == 1 else boxes[kept],
        )


def write_motion(path: PathLike, motion: Motion) -> None:
    """Writes a motion file: whole, or not at all. The same motion gives the same bytes."""
    arrays = {
        'value': motion.value,
        'jacobian': motion.jacobian,
        'slots': motion.slots,
        'boxes': motion.boxes,
    }
    tensors = {key: np.asarray(a, order='C') for key, a in arrays.items() if a is not None}
    metadata = {
        'format': FORMAT,
        'version': str(VERSION),
        'rate': f'{motion.fps.numerator}/{motion.fps.denominator}',
        'frame_count': str(motion.frame_count),
        'start': f'{motion.start.numerator}/{motion.start.denominator}',
        'speed': f'{motion.speed.numerator}/{motion.speed.denominator}',
        'size': f'{motion.size[0]}x{motion.size[1]}',
        'detector': motion.detector,
        'crc32': checksums(tensors),
    }
    write_tensors(path, tensors, metadata)


def read_motion(path: PathLike) -> Motion:
    """Reads a motion file, of which nothing is trusted.

    Raises:
        UserError: no motion file, a damaged one, or one of a newer version.
    """
    path = Path(path)
    with telling_errors(path):
        with open_file(path) as file:
            if not is_safetensors(file):
                raise RefusedError(_NO_MOTION)
        with TensorFile(path) as tensors:
            if tensors.metadata.get('format') != FORMAT:
                raise RefusedError(_NO_MOTION)
            version = tensors.metadata.get('version', '')
            if version != str(VERSION):
                raise RefusedError(
                    f'is a motion of version {shorten(version)}, and this program reads version '
                    f'{VERSION}: update it'
                )
            motion = _read(tensors)
        _check(motion)
        return motion


def check_config(
    path: PathLike, motion: Motion, size: Sequence[int], model_params: Mapping[str, Any]
) -> None:
    """Raises UserError unless a motion, of a file, can be one of a config's model.

    Args:
        size: the model's (H, W).
    """
    common = model_params['common_params']
    kinds = [
        (motion.size, motion.value.shape[1], motion.jacobian is not None),
        (tuple(size), common['num_kp'], common['estimate_jacobian']),
    ]
    if kinds[0] != kinds[1]:
        here, wanted = (
            f'{count} keypoints {"with" if jacobian else "without"} Jacobians in frames of '
            f'{width} x {height}'
            for (height, width), count, jacobian in kinds
        )
        raise UserError(f'{path}: {_ANOTHER}: {here}, not {wanted}; {_MEND}')


def check_detector(path: PathLike, motion: Motion, detector: str) -> None:
    """Raises UserError unless a motion, of a file, was found by the detector of this hash (see
    `detector_hash`): keypoints of one model mean nothing to another.
    """
    if motion.detector != detector:
        raise UserError(f'{path}: {_ANOTHER} (its weights are others); {_MEND}')


def _read(tensors: TensorFile) -> Motion:
    told = tensors.metadata
    patterns = {
        'rate': _RATE, 'frame_count': _COUNT, 'size': _SIZE, 'start': _START, 'speed': _RATE
    }  # fmt: skip
    told = {'start': '0/1', 'speed': '1/1', **told}  # where nothing is said: the clip's own
    rate, count, size, start, speed = (_match(told, *item) for item in patterns.items())
    try:
        sums = parse_json(told.get('crc32', ''))
    except ValueError as error:
        raise RefusedError(f'its metadata is damaged; {_DAMAGED}') from error
    if not isinstance(sums, dict):
        raise RefusedError(f'its metadata is damaged; {_DAMAGED}')
    arrays = {}
    kinds = {'value': np.float32, 'jacobian': np.float32, 'slots': np.int64, 'boxes': np.float64}
    for key, kind in kinds.items():
        if key not in tensors.keys:
            continue
        arrays[key] = tensors.read(key)
        if arrays[key].dtype != kind:
            raise RefusedError(
                f'its {key} is {arrays[key].dtype}, not {np.dtype(kind)}; {_DAMAGED}'
            )
        if sums.get(key) != zlib.crc32(np.ascontiguousarray(arrays[key]).data):
            raise RefusedError(f'its {key} is damaged; {_DAMAGED}')
    for key in ('value', 'slots'):
        if key not in arrays:
            raise RefusedError(f'has no {key}; {_DAMAGED}')
    return Motion(
        arrays['value'],
        arrays.get('jacobian'),
        arrays['slots'],
        int(count[0]),
        Fraction(int(rate[1]), int(rate[2])),
        (int(size[1]), int(size[2])),
        told.get('detector', ''),
        arrays.get('boxes'),
        Fraction(int(start[1]), int(start[2])),
        Fraction(int(speed[1]), int(speed[2])),
    )


def _match(told: Mapping[str, str], key: str, pattern: re.Pattern[str]) -> re.Match[str]:
    found = pattern.fullmatch(told.get(key, ''))
    if found is None:
        raise RefusedError(f'its {key} is {shorten(told.get(key, ""))}; {_DAMAGED}')
    return found


def _check(motion: Motion) -> None:
    """Raises RefusedError unless the numbers of a file agree and can be those of a clip."""
    value, jacobian, slots, boxes = motion.value, motion.jacobian, motion.slots, motion.boxes
    count = len(slots) if slots.ndim == 1 else 0
    shapes: list[tuple[str, Any, list[tuple[int, ...]]]] = [
        ('slots', slots, [(max(count, 1),)]),
        ('value', value, [(count, *value.shape[1:2], 2)]),
        ('jacobian', jacobian, [(count, *value.shape[1:2], 2, 2)]),
        ('boxes', boxes, [(count, 4), (1, 4)]),
    ]
    for key, array, expected in shapes:
        if array is not None and (array.shape not in expected or 0 in array.shape):
            raise RefusedError(f'its {key} has the shape {shorten(array.shape)}; {_DAMAGED}')
        if array is not None and not np.isfinite(array).all():
            raise RefusedError(f'its {key} has values that are not finite; {_DAMAGED}')
    if np.abs(value).max() > _BORDER:
        raise RefusedError(f'its value lies outside the frame; {_DAMAGED}')
    if jacobian is not None and np.abs(jacobian).max() > _STEEP:
        raise RefusedError(f'its jacobian has values above {_STEEP:.0e}; {_DAMAGED}')
    if boxes is not None and (boxes[:, 2:] <= 0).any():
        raise RefusedError(f'its boxes have no area; {_DAMAGED}')
    if motion.frame_count > _MOST_FRAMES or motion.fps > _FASTEST:
        raise RefusedError(
            f'says {motion.frame_count} frames at {float(motion.fps):.6g} a second, more than '
            f'{_MOST_FRAMES} or {_FASTEST}; {_DAMAGED}'
        )
    if slots[0] != 0 or slots[-1] >= motion.frame_count or (slots[1:] <= slots[:-1]).any():
        raise RefusedError(
            f'its slots are not the numbers of {motion.frame_count} frames, ascending from 0; '
            f'{_DAMAGED}'
        )
