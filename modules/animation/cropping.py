"""Which part of a picture and of a clip goes into a model: what `--crop` means; needs no Paddle.

A face, or where the model's own keypoints say that its object is. What is as the model wants it
already stays whole. The two are framed alike, which absolute motion and all results rest on.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from modules.animation.boxes import Box, brought_inside, cut, overlap, whole
from modules.animation.faces import INSTALL, Face, FindFaces, face_crop
from modules.animation.finding import Finder, Found
from modules.animation.following import Segment, Way, find_way
from modules.animation.inputs import (
    BUNDLED,
    BUNDLED_CHECKPOINT,
    is_same,
    is_squeezed,
    note_squeezed,
)
from modules.animation.motion_file import Motion
from modules.animation.timeline import TimedClip
from modules.runtime.errors import UserError
from modules.runtime.messages import note, say, watched
from modules.video import read_image

# Overlap of what a model wants with all of a picture, from which the picture is left as it is.
# Frames of the published vox networks' examples reach 0.7.
FILLED = 0.5
# Of what is found by keypoints. The bundled networks find nothing in drawn scenes without a
# creature, reach 0.33 on photographs of people, and in 99 of 100 scenes with one more than 0.47.
SURE = 0.4
PATIENCE = 4  # looks at a clip without its object, until all of a frame is searched for it again
# A face's crop that reaches beyond the picture may keep so much of its side, and be moved by so
# large a part of it, to show less that is mirrored.
SHRINK, MOVE = 0.85, 0.08
# Data sets in which a face is a small part of what is animated, by their names in configs.
BODIES = ('taichi', 'fashion')


class Crops(NamedTuple):
    """What goes into the model; all of it, whatever its shape, where there is None."""

    source: Box | None
    driving: Way | None
    others: tuple[Box, ...] = ()  # further faces of the picture, the larger ones first

    @property
    def boxes(self) -> list[Box]:
        """All that was cropped of the picture."""
        return [box for box in (self.source, *self.others) if box is not None]


class Material(NamedTuple):
    """What is to be cropped: a clip, or a picture as a clip of one frame."""

    name: str  # as the user gave it
    option: str  # by which the user can crop it
    first: np.ndarray  # (H, W, 3) uint8: the first frame
    frames: Callable[[], Iterable[np.ndarray]]  # all of them, from the first on
    fps: Fraction | float
    frame_count: int | None  # where it is known

    @classmethod
    def of_picture(cls, path: Path, picture: np.ndarray) -> Material:
        return cls(str(path), '--source_crop', picture, lambda: [picture], 25, 1)

    @classmethod
    def of_clip(cls, clip: TimedClip) -> Material:
        first = next(iter(clip))
        return cls(
            str(clip.path), '--driving_crop', first, clip.__iter__, clip.fps, clip.frame_count
        )


def choose_crops(
    options: argparse.Namespace,
    config: Mapping[str, Any],
    source: Material,
    driving: Material | None,
    finder: Finder,
    faces: FindFaces | None,
    num_faces: int | None = 1,
    pose: np.ndarray | None = None,
) -> Crops:
    """The crops that demo.py's options ask for; says in a line what each is.

    Args:
        options: crop, source_crop, driving_crop, checkpoint, config.
        finder: what finds objects by the model's keypoints.
        faces: what finds faces; None where it is not installed.
        driving: None where no clip is seen, since its motion is in a file.
        num_faces: of the picture, if not one alone: the largest so many, or, with None, all.
        pose: (K, 2), the first keypoints of that file.

    Raises:
        UserError: nothing was found, or a crop by hand lies outside of its picture.
    """
    size = tuple(config['dataset_params']['frame_shape'][:2])
    by_hand = options.source_crop, options.driving_crop
    chooser = _Chooser(options, config, size, finder, faces)
    materials = [source] if driving is None else [source, driving]
    ways: list[Way | None] = [
        None if box is None else _by_hand(material, box, size)
        for material, box in zip(materials, by_hand)
    ]
    others: list[Box] = []
    if num_faces != 1 and faces is not None:
        first, *others = _several_faces(source, faces, size[1] / size[0], num_faces)
        ways[0] = Way.still(first)
    if options.crop == 'none':
        for material, way in zip(materials, ways):
            if way is None:
                note_squeezed(material.name, material.first.shape, size)
    elif options.crop != 'auto' or any(by_hand) or not _is_bundled(options):
        ways = chooser.choose(materials, ways, pose)
    box = None if ways[0] is None else ways[0].box(0)
    return Crops(box, None if driving is None else ways[1], tuple(others))


def motion_boxes(way: Way | None, slots: np.ndarray) -> np.ndarray | None:
    """What a motion file keeps of a clip's crop: (N, 4), or (1, 4) where that stands still.

    Args:
        slots: (N,) numbers of frames.
    """
    if way is None:
        return None
    return np.array([way.box(number) for number in (slots[:1] if way.stands_still else slots)])


def way_of_motion(motion: Motion) -> Way | None:
    """The crop of the clip in which a motion was found."""
    if motion.boxes is None:
        return None
    return Way([
        Segment(int(slot), np.zeros(1), box[None], 0.0)
        for slot, box in zip(motion.slots, motion.boxes)
    ])  # fmt: skip


def _is_bundled(options: argparse.Namespace) -> bool:
    """Whether picture and clip are those that come with this project."""
    clip = options.driving_video
    return is_same(options.source_image, BUNDLED / 'source.png') and (
        clip is None or is_same(clip, BUNDLED / 'driving.mp4')
    )


def _by_hand(material: Material, box: Box, size: tuple[int, int]) -> Way:
    picture = whole(material.first)
    text = f'{material.option} {",".join(f"{number:g}" for number in box)}'
    shape = f'{material.name}, {picture.w:g} x {picture.h:g}'
    if overlap(box, picture) == 0:
        raise UserError(f'{text}: lies outside of {shape}')
    if max(box.w, box.h) > 8 * max(picture.w, picture.h):
        raise UserError(f'{text}: is far larger than {shape}')
    note_squeezed(f'{text} of {material.name}', (round(box.h), round(box.w)), size)
    return Way.still(box)


class _Chooser:
    """The crops of a picture and a clip by faces, and where there are none by keypoints."""

    def __init__(
        self,
        options: argparse.Namespace,
        config: Mapping[str, Any],
        size: tuple[int, int],
        finder: Finder,
        faces: FindFaces | None,
    ):
        self.options = options
        self.size = size
        self.ratio = size[1] / size[0]
        self.auto = options.crop == 'auto'
        self.faces = faces
        self.finder = finder
        data = f'{config["dataset_params"]["root_dir"]} {options.config}'
        self.for_bodies = any(name in data for name in BODIES)

    def choose(
        self, materials: list[Material], ways: list[Way | None], pose: np.ndarray | None
    ) -> list[Way | None]:
        """Way for way: what was given, what was found, or None for all of a picture.

        Args:
            pose: keypoints (K, 2) that show how objects are framed; None if a clip shows that.
        """
        settled = [way is not None for way in ways]
        if self.auto:
            ready = [self._is_ready(material) for material in materials]
            settled = [one or other for one, other in zip(settled, ready)]
        if self.options.crop != 'object' and not (self.auto and self.for_bodies):
            for i, material in enumerate(materials):
                if not settled[i]:
                    settled[i], ways[i] = self._by_face(material)
        if not all(settled):
            ways = self._by_object(materials, ways, settled, pose)
        left = [m.name for m, way in zip(materials, ways) if way is None]
        if left:
            say(f'not cropped, for it is as the model wants it: {" and ".join(left)}')
        return ways

    def _is_ready(self, material: Material) -> bool:
        """Whether somebody has made a picture or clip for just this model."""
        return material.first.shape[:2] == self.size

    def _fits(self, material: Material) -> bool:
        return not is_squeezed(material.first.shape, self.size)

    def _by_face(self, material: Material) -> tuple[bool, Way | None]:
        """Whether there is a face, and where, unless it fills the picture."""
        if self.faces is None:
            return False, None
        if self.auto and self._fits(material):
            found = self.faces(material.first)
            if not found:
                return False, None
            crop = face_crop(found[0].box, self.ratio)
            if overlap(crop, whole(material.first)) >= FILLED:
                return True, None
        way = _way_of_face(material, self.faces, self.ratio)
        if way is None:
            if not self.auto:
                raise UserError(
                    f'{material.name}: has no face that could be found; give '
                    f'{material.option} x,y,w,h, or --crop object or none'
                )
            return False, None
        _tell(material, way, 'its face')
        return True, way

    def _by_object(
        self,
        materials: list[Material],
        ways: list[Way | None],
        settled: list[bool],
        wanted: np.ndarray | None,
    ) -> list[Way | None]:
        """The ways of those that are not settled, framed as the other one, or the clip first.

        Args:
            wanted: keypoints (K, 2) of the clip, where there is only a picture.
        """
        source, driving = 0, 1
        settled, ways = list(settled), list(ways)
        if wanted is not None:
            ways[source] = self._search(materials[source], wanted)
            self._note_faces(ways)
            return ways
        for i in (driving, source):  # what has the model's shape shows how it is framed
            if not any(settled) and self._fits(materials[i]):
                settled[i] = True
        if not any(settled):
            pose = self._own_pose(materials[driving])
            ways[driving] = self._search(materials[driving], pose)
            settled[driving] = True
        known = driving if settled[driving] else source
        frame, way = materials[known].first, ways[known]
        wanted = self.finder.points(frame, whole(frame) if way is None else way.box(0))
        for i in (driving, source):
            if not settled[i]:
                ways[i] = self._search(materials[i], wanted)
        self._note_faces(ways)
        return ways

    def _note_faces(self, ways: list[Way | None]) -> None:
        if self.auto and self.faces is None and not self.for_bodies and any(ways):
            note(f"faces are cropped by an extra, the networks' keypoints did it: {INSTALL}")

    def _own_pose(self, material: Material) -> np.ndarray | None:
        """What to look for where neither picture nor clip shows how the model wants it."""
        checkpoint = self.options.checkpoint
        if checkpoint is not None and is_same(checkpoint, BUNDLED_CHECKPOINT):
            example = read_image(BUNDLED / 'source.png')
            return self.finder.points(example, whole(example))
        return self.finder.pose(material.first)

    def _search(self, material: Material, wanted: np.ndarray | None) -> Way | None:
        """Where keypoints lie as wanted; None where that is about all of the picture."""
        left_whole = self.auto and self._fits(material)
        if wanted is not None:
            if left_whole and self.finder.fills(material.first, wanted) >= FILLED:
                return None
            say(f'looking for the object in {material.name}')  # takes seconds
            found = self.finder.find(material.first, wanted)
            if found is not None and _is_sure(found):
                if left_whole and overlap(found.box, whole(material.first)) >= FILLED:
                    return None
                way = _way_of_object(material, self.finder, wanted, found)
                _tell(material, way, f'its object, found with a certainty of {found.quality:.2f}')
                return way
        if left_whole:
            return None
        what = 'no object' if self.options.crop == 'object' else 'neither a face nor an object'
        extra = f' (faces are found by an extra: {INSTALL})' if self.faces is None else ''
        raise UserError(
            f'{material.name}: {what} could be found{extra}; give {material.option} x,y,w,h, or '
            '--crop none'
        )


def _way_of_face(material: Material, faces: FindFaces, ratio: float) -> Way | None:
    """Where a face is through a clip; of several the largest, and from then on the same."""
    picture = whole(material.first)

    def locate(frame: np.ndarray, last: Box | None) -> Box | None:
        crops = [_crop_in(face, picture, ratio) for face in faces(frame)]
        if last is None or not crops:
            return crops[0] if crops else None
        nearest = max(crops, key=lambda crop: overlap(crop, last))
        return nearest if overlap(nearest, last) > 0 else crops[0]

    return _find_way(material, locate)


def _several_faces(
    material: Material, faces: FindFaces, ratio: float, count: int | None
) -> list[Box]:
    """The crops of a picture's largest faces, or of all of them."""
    picture = whole(material.first)
    boxes = [_crop_in(face, picture, ratio) for face in faces(material.first)][:count]
    if not boxes:
        raise UserError(
            f'{material.name}: has no face that could be found; give {material.option} x,y,w,h '
            'instead of --faces'
        )
    for number, box in enumerate(boxes):
        _tell(material, Way.still(box), f'face {number + 1} of {len(boxes)}')
    if count is not None and len(boxes) < count:
        note(f'{material.name}: {len(boxes)} of {count} --faces could be found')
    return boxes


def _crop_in(face: Face, picture: Box, ratio: float) -> Box:
    return brought_inside(face_crop(face.box, ratio), picture, SHRINK, MOVE)


def _is_sure(found: Found | None) -> bool:
    return found is not None and found.quality >= SURE


def _way_of_object(material: Material, finder: Finder, wanted: np.ndarray, found: Found) -> Way:
    """Where an object is through a clip, from where it was found in the first frame."""
    if material.frame_count == 1:
        return Way.still(found.box)
    lost = 0  # looks in a row at which it was not there

    def locate(frame: np.ndarray, last: Box | None) -> Box | None:
        nonlocal lost
        if last is None:
            return found.box
        # It has moved on: from where it was some glances may have missed it.
        near = finder.find_near(frame, wanted, last)
        seen: Found | None = finder.find_near(frame, wanted, near.box)
        if lost % PATIENCE == PATIENCE - 1 and not _is_sure(seen):
            seen = finder.find(frame, wanted)
        lost = 0 if _is_sure(seen) else lost + 1
        return seen.box if seen is not None and _is_sure(seen) else None

    way = _find_way(material, locate)
    assert way is not None  # the first frame has one
    return way


def _find_way(
    material: Material, locate: Callable[[np.ndarray, Box | None], Box | None]
) -> Way | None:
    if material.frame_count == 1:
        box = locate(material.first, None)
        return None if box is None else Way.still(box)
    title = f'looking through {Path(material.name).name}'
    frames = watched(material.frames(), title, material.frame_count)
    return find_way(frames, locate, material.fps, material.frame_count)


def _tell(material: Material, way: Way, what: str) -> None:
    """Says what was cropped, so that it can be changed by hand."""
    x, y, w, h = (round(number) for number in way.box(0))
    follows = '' if way.stands_still else ', from where the crop follows it'
    say(f'cropped to {x},{y},{w},{h}: {what} in {material.name}{follows}')


def cut_source(picture: np.ndarray, box: Box | None, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) float32 in [0, 1]: what goes into the model of a picture (H, W, 3) uint8."""
    return cut(picture, whole(picture) if box is None else box, size)


def cut_frames(
    frames: Iterable[np.ndarray], way: Way | None, size: tuple[int, int]
) -> Iterator[np.ndarray]:
    """What goes into the model of a clip's frames, float32 in [0, 1], as they come.

    A repeated frame, the same array again, gives the same array again.

    Args:
        way: the crop; all of each frame if None.
    """
    last: np.ndarray | None = None
    for number, frame in enumerate(frames):
        if frame is not last:
            last = frame
            result = cut_source(frame, None if way is None else way.box(number), size)
        yield result
