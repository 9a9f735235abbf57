"""A picture in the motion of a clip, frame by frame from the decoder to the result."""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import paddle

from modules.animation.animator import Painter, detect_all, detected, paint, paint_moving
from modules.animation.batches import twice
from modules.animation.boxes import Box, cut, whole
from modules.animation.composing import Composer
from modules.animation.crop_picture import write_crop_picture
from modules.animation.cropping import (
    Crops,
    Material,
    choose_crops,
    cut_frames,
    cut_source,
    motion_boxes,
    way_of_motion,
)
from modules.animation.driving import (
    ClipDriving,
    Driving,
    MotionDriving,
    Recorder,
    Smoother,
    find_best_frame,
)
from modules.animation.faces import has_face_detector, load_face_detector
from modules.animation.finding import Detect, Finder
from modules.animation.following import Way
from modules.animation.inputs import Inputs, stretch_text
from modules.animation.motion_file import check_detector, write_motion
from modules.animation.normalization import Normalization
from modules.animation.timeline import TimedClip
from modules.checkpoints.models import StoredModels
from modules.eager import Engine
from modules.inference.choice import build_engine
from modules.runtime.errors import UserError
from modules.runtime.messages import note, say, watched
from modules.util import Keypoints
from modules.video import VideoWriter, map_repeated
from modules.video.prefetch import prefetch

PAINTING = 'on '  # begins the title of the bar of the frames that are made


def keypoint_detection(engine: Engine) -> Detect:
    """An engine's keypoint detector, for arrays."""

    def detect(frames: Sequence[np.ndarray]) -> np.ndarray:
        with paddle.no_grad():
            return np.concatenate([kp.value.numpy() for kp in detect_all(engine, frames)])

    return detect


def crop(options: argparse.Namespace, inputs: Inputs, engine: Engine) -> Crops:
    """What of picture and clip goes into the model, by demo.py's options; shown if they want it."""
    source = Material.of_picture(options.source_image, inputs.picture)
    driving, pose, motion = None, None, inputs.motion
    if motion is not None:
        pose = motion.value[0]
    elif inputs.driving is not None:
        driving = Material.of_clip(inputs.driving)
    wants_faces = options.crop in ('auto', 'face') and has_face_detector()
    # Loaded once a face is looked for, which takes time and memory.
    faces = (lambda shown: load_face_detector()(shown)) if wants_faces else None
    finder = Finder(keypoint_detection(engine), inputs.size)
    crops = choose_crops(
        options, inputs.config, source, driving, finder, faces, options.faces, pose
    )
    if motion is not None and options.side_by_side:  # else no frame of the clip is looked at
        taken = motion.take(list(inputs.timeline.numbers()))
        crops = crops._replace(driving=way_of_motion(taken))
    if options.show_crop is not None:
        shown = [(inputs.picture, crops.boxes)]
        if driving is not None:
            first = [] if crops.driving is None else [crops.driving.box(0)]
            shown.append((driving.first, first))
        write_crop_picture(options.show_crop, shown)
        say(f'written: {options.show_crop}')
    return crops


def initial_pose(
    options: argparse.Namespace, kp_source: Keypoints, driving: Driving, inputs: Inputs
) -> Keypoints | None:
    """The driving pose that movement is measured from; None for the first."""
    if options.find_best_frame:
        say('looking for the best frame')
        bar = watched(driving, 'best frame', inputs.frame_count)
        index, pose = find_best_frame(kp_source, bar)
        say(f'best frame: {inputs.timeline.number(index)}')
        return pose
    if options.best_frame is None:
        return None
    found = driving.pose(options.best_frame)
    if found is None:
        raise UserError(
            f'--best_frame {options.best_frame}: {options.motion or options.driving_video} has no '
            f'such frame{stretch_text(options)}; they count from 0, the first one of the file'
        )
    return found


class _DrivingFrames:
    """The driving clip as it goes into the model; no frames where there is none."""

    def __init__(self, clip: TimedClip | None, way: Way | None, size: tuple[int, int]):
        self._clip, self._way, self._size = clip, way, size

    def __iter__(self) -> Iterator[np.ndarray]:
        return cut_frames(self._clip or (), self._way, self._size)

    def at(self, number: int) -> Iterator[np.ndarray]:
        """The frame of a number; none where the stretch of the clip has none of this number."""
        if self._clip is not None:
            place = self._clip.index(number)
            for frame in self._clip.frame_at(number):
                box = None if self._way is None else self._way.box(place)
                yield cut_source(frame, box, self._size)


def animate_clip(
    options: argparse.Namespace,
    inputs: Inputs,
    writer: VideoWriter,
    device: str,
    build: Callable[..., Engine] | None = None,
) -> None:
    """Animates a picture with the motion of demo.py's options into a writer.

    Args:
        inputs: from `open_inputs`.
        device: its name, for the progress bar.
        build: gives an engine for the arguments of `build_engine`, which is taken if left out.
    """
    models = StoredModels(inputs.config, options.checkpoint)
    recorder = None
    if options.motion is not None or options.save_motion is not None:
        detector = models.detector_hash()
        if inputs.motion is not None:
            check_detector(options.motion, inputs.motion, detector)
        else:
            recorder = Recorder(inputs.timeline, inputs.size, detector)
    smoother = Smoother(inputs.fps, inputs.size) if options.smooth else None
    engine = _engine(options, inputs, models, build or build_engine)

    crops = crop(options, inputs, engine)
    boxes = crops.boxes or [whole(inputs.picture)]
    sources = [cut(inputs.picture, box, inputs.size) for box in boxes]
    composer = Composer(options, inputs.picture, crops.boxes, sources)

    frames = _DrivingFrames(inputs.driving, crops.driving, inputs.size)
    driving: Driving = ClipDriving(engine, frames.__iter__, frames.at)
    if inputs.motion is not None:
        driving = MotionDriving(inputs.motion, inputs.timeline)
    normalization = Normalization(
        options.relative, options.relative, options.adapt_scale, options.motion_scale
    )
    painters = [Painter(engine, source, normalization) for source in sources]
    initial = initial_pose(options, painters[0].kp_source, driving, inputs)

    keypoints, shown = _poses(options, inputs, engine, driving, frames)
    if recorder is not None:
        keypoints = recorder.record(keypoints)
    if smoother is not None:
        keypoints = smoother.smooth(keypoints)
    if inputs.sources is None:
        painted = paint(painters, keypoints, initial)
    else:
        painted = _paint_clip(inputs, boxes[0], engine, keypoints, normalization, initial, composer)
    with writer:
        bar = watched(painted, PAINTING + device, inputs.frame_count)
        for squares, driving_frame in zip(bar, shown):
            writer.write(composer.frame(squares, driving_frame))
        if inputs.motion is not None and writer.frame_count < (inputs.frame_count or 0):
            # Known beforehand (see `open_inputs`) but of streams without time stamps.
            raise UserError(f'{options.driving_video}: ends before the motion does; leave it out')
        if recorder is not None:
            motion = recorder.motion()
            found_in = motion_boxes(crops.driving, motion.slots)
            write_motion(options.save_motion, motion._replace(boxes=found_in))
    if smoother is not None:
        say(smoother.report())


def _engine(
    options: argparse.Namespace, inputs: Inputs, models: StoredModels, build: Callable[..., Engine]
) -> Engine:
    batch = options.batch
    if inputs.sources is not None:
        if batch is not None and batch > 1:
            note(f'--batch {batch}: frames of a moving source are computed one by one')
        batch = 1
    params = inputs.config['model_params']
    return build(models, params, inputs.size, options.engine, options.precision, batch=batch)


def _poses(
    options: argparse.Namespace,
    inputs: Inputs,
    engine: Engine,
    driving: Driving,
    frames: _DrivingFrames,
) -> tuple[Iterator[Keypoints], Iterator[np.ndarray | None]]:
    """Driving poses, and the frames to be shown beside the result, if they are."""
    if inputs.motion is not None and not options.side_by_side:
        return iter(driving), itertools.repeat(None)
    # One decoder serves the networks and, side by side, the picture of the result. While a batch is
    # computed it gets the next one ready.
    ready = prefetch(iter(frames), ahead=max(2, engine.batch))
    if inputs.motion is not None:
        return iter(driving), ready
    seen, shown = twice(ready)
    return detected(engine, seen), shown


def _paint_clip(
    inputs: Inputs,
    box: Box,
    engine: Engine,
    keypoints: Iterator[Keypoints],
    normalization: Normalization,
    initial: Keypoints | None,
    composer: Composer,
) -> Iterator[tuple[np.ndarray]]:
    """The frames of a source that moves itself, each for the composer, which gets the whole of it.

    Args:
        box: what of every frame goes into the model.
    """
    whole_frames, to_cut = twice(inputs.source_frames())
    pieces, sources = twice(map_repeated(lambda f: cut(f, box, inputs.size), to_cut))
    frames = paint_moving(engine, pieces, keypoints, normalization, initial)
    last: np.ndarray | None = None
    squares: tuple[np.ndarray] | None = None
    for frame, picture, source in zip(frames, whole_frames, sources):
        if picture is not last:
            composer.onto(picture, [source])
            last, squares = picture, None
        if squares is None or squares[0] is not frame:
            squares = (frame,)
        yield squares
